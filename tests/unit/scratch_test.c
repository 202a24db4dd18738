/* scratch_test.c: memory that may go away is read without a signal, and stays shared with whom it was shared. */
#include "base/scratch.h"
#include "suite.h"
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 64, LENGTH = PAGES * PAGE };
static struct scratch s;
static unsigned char *memory;

static void begin(void) {
    memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(memory != MAP_FAILED && scratch_open(&s, LENGTH));
    for (unsigned i = 0; i < LENGTH; i++) memory[i] = (unsigned char)(i / PAGE + i);
}
static void end(void) { scratch_close(&s); }

START_TEST(what_is_there_is_read) {
    ck_assert_uint_eq(scratch_read(&s, (uintptr_t)memory, LENGTH), LENGTH);
    ck_assert(memcmp(s.bytes, memory, LENGTH) == 0);
    ck_assert_uint_eq(scratch_read(&s, (uintptr_t)memory + 5 * PAGE, PAGE), PAGE);
    ck_assert(memcmp(s.bytes, memory + 5 * PAGE, PAGE) == 0);
}
END_TEST

START_TEST(what_has_gone_ends_the_read) {
    ck_assert_int_eq(munmap(memory + 9 * PAGE, PAGE), 0);
    ck_assert_uint_eq(scratch_read(&s, (uintptr_t)memory, LENGTH), 9 * PAGE);
    ck_assert(memcmp(s.bytes, memory, 9 * PAGE) == 0);
    ck_assert_uint_eq(scratch_read(&s, (uintptr_t)memory + 9 * PAGE, PAGE), 0);
    ck_assert_int_eq(mprotect(memory, PAGE, PROT_NONE), 0);
    ck_assert_uint_eq(scratch_read(&s, (uintptr_t)memory, PAGE), 0);
}
END_TEST

/* KiB of the mapping at `memory` that only this process has. */
static long own_kib(void) {
    char line[512];
    bool here = false;
    long all = 0, kib;
    FILE *maps = fopen("/proc/self/smaps", "r");
    ck_assert(maps);
    while (fgets(line, sizeof line, maps)) {
        uintptr_t from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) here = from <= (uintptr_t)memory && to > (uintptr_t)memory;
        else if (here && (sscanf(line, "Private_Dirty: %ld", &kib) == 1 || sscanf(line, "Private_Clean: %ld", &kib) == 1)) all += kib;
    }
    fclose(maps);
    return all;
}

START_TEST(what_a_fork_shares_stays_shared) {
    int hold[2];
    char byte;
    ck_assert_int_eq(pipe(hold), 0);
    pid_t child = fork();
    ck_assert(child >= 0);
    if (child == 0) {
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) != 0);
    }
    long before = own_kib();
    ck_assert_uint_eq(scratch_read(&s, (uintptr_t)memory, LENGTH), LENGTH);
    ck_assert_int_eq(own_kib(), before);
    close(hold[1]), close(hold[0]);
    waitpid(child, NULL, 0);
}
END_TEST

START_TEST(a_limit_on_files_is_no_signal) {
    struct rlimit little = { PAGE, RLIM_INFINITY };
    struct scratch other;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    ck_assert(!scratch_open(&other, LENGTH));
    scratch_close(&other);
}
END_TEST

/* A program that closes all descriptors, and opens a file of its own under the number. */
START_TEST(a_file_of_the_programs_is_not_written) {
    FILE *own = tmpfile();
    ck_assert_ptr_nonnull(own);
    ck_assert_int_ge(s.file.fd, 512);
    ck_assert_int_eq(dup2(fileno(own), s.file.fd), s.file.fd);
    ck_assert_uint_eq(scratch_read(&s, (uintptr_t)memory, LENGTH), 0);
    const int number = s.file.fd;
    scratch_close(&s);
    ck_assert_int_eq(fcntl(number, F_GETFD), 0); /* nor closed */
    ck_assert_int_eq(fseek(own, 0, SEEK_END), 0);
    ck_assert_int_eq(ftell(own), 0);
}
END_TEST

SUITE("scratch", begin, end, what_is_there_is_read, what_has_gone_ends_the_read, what_a_fork_shares_stays_shared, a_limit_on_files_is_no_signal,
      a_file_of_the_programs_is_not_written)
