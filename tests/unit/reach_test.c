/* reach_test.c: pages taken out of reach, while others use them. Where the kernel does not permit it the program says so and skips. */
#include "heap/reach.h"
#include "suite.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 512 };
static char *memory;
static struct reach r;

static void begin(void) {
    memory = mmap(NULL, 2 * REACH_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(memory != MAP_FAILED);
}
static void fill(void) {
    for (unsigned i = 0; i < PAGES; i++) memset(memory + i * REACH_PAGE, (int)(i % 250 + 1), REACH_PAGE);
}
static bool is_all(const char *page, unsigned value) {
    for (unsigned i = 0; i < REACH_PAGE; i++)
        if ((unsigned char)page[i] != value) return false;
    return true;
}

START_TEST(pages_come_back_as_they_were) {
    fill();
    munmap(memory + 7 * REACH_PAGE, REACH_PAGE);
    mmap(memory + 7 * REACH_PAGE, REACH_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    for (unsigned round = 0; round < 3; round++) {
        ck_assert(reach_out(&r, memory, PAGES));
        for (unsigned i = 0; i < PAGES; i++) {
            ck_assert_int_eq(r.state[i], i == 7 ? REACH_LEFT : REACH_OUT);
            ck_assert(i == 7 || is_all(r.look + i * REACH_PAGE, i % 250 + 1));
        }
        reach_back(&r);
        for (unsigned i = 0; i < PAGES; i++) ck_assert(i == 7 || is_all(memory + i * REACH_PAGE, i % 250 + 1));
    }
    ck_assert(is_all(memory + 7 * REACH_PAGE, 0));
}
END_TEST

START_TEST(dropped_pages_read_as_zero_and_can_be_written) {
    fill();
    ck_assert(reach_out(&r, memory, PAGES));
    for (unsigned i = 0; i < PAGES; i += 3) reach_drop(&r, i);
    reach_back(&r);
    for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i % 3 ? i % 250 + 1 : 0));
    memset(memory, 5, REACH_PAGE);
    ck_assert(is_all(memory, 5));
}
END_TEST

START_TEST(replaced_pages_are_the_files_until_they_are_written) {
    int fd = memfd_create("pages", 0);
    static char page[2 * REACH_PAGE];
    memset(page, 77, sizeof page);
    ck_assert_int_eq(write(fd, page, sizeof page), (ssize_t)sizeof page);
    fill();
    ck_assert(reach_out(&r, memory + 3 * REACH_PAGE, 10));
    ck_assert(reach_replace(&r, 4, 2, fd, 0));
    reach_back(&r);
    for (unsigned i = 0; i < 20; i++) ck_assert(is_all(memory + i * REACH_PAGE, i == 7 || i == 8 ? 77 : i + 1));
    memory[7 * REACH_PAGE] = 1;
    ck_assert(pread(fd, page, 1, 0) == 1 && page[0] == 77);
    ck_assert(memory[7 * REACH_PAGE] == 1 && memory[7 * REACH_PAGE + 1] == 77);
    close(fd);
}
END_TEST

START_TEST(what_cannot_be_taken_is_left) {
    fill();
    memory[REACH_CHUNK] = 1;
    ck_assert(!reach_out(&r, memory + REACH_CHUNK + REACH_PAGE, 4)); /* nothing is there */
    mprotect(memory + 100 * REACH_PAGE, REACH_PAGE, PROT_READ);
    reach_out(&r, memory, PAGES) ? reach_back(&r) : (void)0; /* several mappings */
    for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i % 250 + 1));
    munmap(memory + REACH_CHUNK, REACH_CHUNK);
    ck_assert(!reach_out(&r, memory + REACH_CHUNK, 4));
}
END_TEST

START_TEST(pages_shared_with_a_child_are_left) {
    fill();
    int go[2];
    ck_assert(pipe(go) == 0);
    pid_t child = fork();
    if (child == 0) {
        char c;
        close(go[1]);
        _exit(read(go[0], &c, 1) == 0 ? 0 : 1);
    }
    bool taken = reach_out(&r, memory, PAGES);
    if (taken) reach_back(&r);
    ck_assert(!taken);
    close(go[1]);
    waitpid(child, NULL, 0);
    for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i % 250 + 1));
}
END_TEST

/* --- others meanwhile: nobody sees a page missing, no write is lost */

static _Atomic bool stop;
static _Atomic unsigned wrong;

static void *count_up(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument;
    uint64_t written = 0;
    while (!atomic_load(&stop)) {
        written++;
        for (unsigned i = 0; i < PAGES; i += 5) {
            volatile uint64_t *word = (volatile uint64_t *)(void *)(memory + i * REACH_PAGE) + thread;
            wrong += *word != written - 1;
            *word = written;
        }
    }
    return NULL;
}

/* The same through the kernel: read(2) into the pages. */
static void *read_into(void *unused) {
    int zero = open("/dev/zero", 0);
    for (unsigned n = 0; !atomic_load(&stop); n++) {
        char *at = memory + (n * 5 % PAGES) * REACH_PAGE + 2048;
        memset(at, 9, 1024);
        wrong += read(zero, at, 1024) != 1024 || at[0] != 0 || at[1023] != 0;
    }
    close(zero);
    return NULL;
}

START_TEST(nobody_misses_a_page_and_no_write_is_lost) {
    pthread_t threads[4];
    memset(memory, 0, REACH_CHUNK);
    memory[0] = 0;
    for (unsigned i = 0; i < PAGES; i++) memory[i * REACH_PAGE + 4000] = 3;
    for (uintptr_t i = 0; i < 3; i++) pthread_create(&threads[i], NULL, count_up, (void *)i);
    pthread_create(&threads[3], NULL, read_into, NULL);
    unsigned taken = 0;
    for (unsigned round = 0; round < 400; round++) {
        if (!reach_out(&r, memory + round % 3 * REACH_PAGE, PAGES - 2)) continue;
        taken++;
        for (unsigned i = 0; i < r.pages; i++) wrong += r.state[i] == REACH_OUT && r.look[i * REACH_PAGE + 4000] != 3;
        reach_back(&r);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_gt(taken, 300);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

static _Atomic bool out; /* pages are, and will be for a moment */
static void *reach_all_the_time(void *unused) {
    struct reach mine;
    while (!atomic_load(&stop)) {
        if (reach_out(&mine, memory, PAGES)) {
            atomic_store(&out, true);
            usleep(300);
            atomic_store(&out, false);
            reach_back(&mine);
        }
        usleep(100); /* as whoever reaches in earnest does: without a pause a fork may wait for its turn for ever */
    }
    return NULL;
}

START_TEST(a_child_has_all_pages_and_reaches_for_its_own) {
    pthread_t thread;
    pthread_atfork(reach_fork_prepare, reach_fork_parent, reach_fork_child);
    fill();
    pthread_create(&thread, NULL, reach_all_the_time, NULL);
    for (unsigned round = 0; round < 60; round++) {
        fill(); /* what the last child shared does not move before it is written */
        while (!atomic_load(&out)) usleep(50);
        pid_t child = fork();
        if (child == 0) {
            bool whole = true;
            for (unsigned i = 0; i < PAGES; i++) whole = whole && is_all(memory + i * REACH_PAGE, i % 250 + 1);
            fill();
            char *own = mmap(NULL, REACH_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            memset(own, 4, REACH_CHUNK);
            whole = whole && (round % 10 || (reach_out(&r, own, PAGES) && is_all(r.look, 4)));
            if (round % 10 == 0 && whole) reach_drop(&r, 0), reach_back(&r);
            _exit(whole && (round % 10 || is_all(own, 0)) ? 0 : 1);
        }
        int status;
        waitpid(child, &status, 0);
        ck_assert_int_eq(status, 0);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i % 250 + 1));
}
END_TEST

/* The kernel locks all memory by touching it, also where pages go; who has begun to wait there for a page would wait for ever. */
START_TEST(all_memory_can_be_locked_between_two_reaches) {
    fill();
    ck_assert(reach_out(&r, memory, PAGES));
    reach_drop(&r, 3), reach_back(&r);
    alarm(10);
    ck_assert_int_eq(syscall(SYS_mlockall, MCL_CURRENT), 0); /* past the hook, as a raw call is */
    alarm(0);
    if (reach_out(&r, memory, PAGES)) reach_back(&r);
    for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i == 3 ? 0 : i % 250 + 1));
}
END_TEST

START_TEST(what_was_dropped_stays_so_when_memory_was_locked_meanwhile) {
    fill();
    ck_assert(reach_out(&r, memory, PAGES));
    ck_assert_int_eq(syscall(SYS_mlockall, MCL_CURRENT | MCL_ONFAULT), 0); /* touches nothing */
    reach_drop(&r, 3), reach_back(&r);
    if (reach_out(&r, memory, PAGES)) reach_back(&r);
    for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i == 3 ? 0 : i % 250 + 1));
}
END_TEST

START_TEST(nothing_goes_out_of_reach_after_a_stop) {
    fill();
    ck_assert(reach_out(&r, memory, PAGES));
    reach_back(&r);
    reach_stop();
    ck_assert(!reach_possible() && !reach_out(&r, memory, PAGES));
    for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i % 250 + 1));
}
END_TEST

static int descriptor(void) {
    char path[64], what[64];
    for (int fd = 3; fd < 1024; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, what, sizeof what - 1);
        if (n > 0 && (what[n] = 0, strstr(what, "userfaultfd"))) return fd;
    }
    return -1;
}

START_TEST(a_program_that_closes_all_descriptors_loses_no_page) {
    for (unsigned round = 0; round < 3; round++) {
        fill();
        ck_assert(reach_out(&r, memory, PAGES));
        ck_assert_int_ge(descriptor(), 512);
        close(descriptor());
        reach_drop(&r, 5);
        alarm(10);
        reach_back(&r);
        alarm(0);
        for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i == 5 ? 0 : i % 250 + 1));
    }
}
END_TEST

START_TEST(a_number_that_the_program_uses_now_is_left_to_it) {
    ck_assert(reach_possible());
    int fd = descriptor(), null = open("/dev/null", O_RDWR);
    ck_assert(null >= 0 && dup2(null, fd) == fd);
    pid_t child = fork();
    if (child == 0) {
        reach_fork_child();
        _exit(write(fd, "x", 1) == 1 ? 0 : 1);
    }
    int status;
    ck_assert(waitpid(child, &status, 0) == child);
    ck_assert_int_eq(status, 0);
    fill();
    ck_assert(reach_out(&r, memory, PAGES)); /* with another one */
    reach_back(&r);
    ck_assert_int_eq(write(fd, "x", 1), 1);
    for (unsigned i = 0; i < PAGES; i++) ck_assert(is_all(memory + i * REACH_PAGE, i % 250 + 1));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        pages_come_back_as_they_were, dropped_pages_read_as_zero_and_can_be_written, replaced_pages_are_the_files_until_they_are_written,
        what_cannot_be_taken_is_left, pages_shared_with_a_child_are_left, nobody_misses_a_page_and_no_write_is_lost,
        a_child_has_all_pages_and_reaches_for_its_own, all_memory_can_be_locked_between_two_reaches,
        what_was_dropped_stays_so_when_memory_was_locked_meanwhile, nothing_goes_out_of_reach_after_a_stop,
        a_program_that_closes_all_descriptors_loses_no_page, a_number_that_the_program_uses_now_is_left_to_it };
    if (!reach_possible()) {
        printf("userfaultfd is not permitted here, or cannot move pages\n");
        return 77;
    }
    reach_fork_child(); /* each test is a child */
    return suite_run("reach", begin, NULL, tests, sizeof tests / sizeof *tests);
}
