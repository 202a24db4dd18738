/* channel_test.c: the broker and its clients, and peers that break the rules: each is cut off with a line, nothing crashes, and what others
 * share stays right. */
#include "base/options.h"
#include "intern/broker.h"
#include "intern/channel.h"
#include "intern/client.h"
#include "intern/sealed.h"
#include "stats/folder.h"
#include "suite.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = SEALED_PAGE };
static char folder[] = "/tmp/coppice-channel-XXXXXX", path[256];
static struct channel_frame frame;

static void begin(void) {
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("COPPICE_STATE_DIR", folder, 1);
    options_load();
    ck_assert(channel_path(path, sizeof path));
}
static void end(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static int open_socket(const char *to) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, to);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    struct timeval patience = { .tv_sec = 5 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ck_assert_msg(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "%s", strerror(errno));
    return fd;
}
static int peer(void) {
    broker_start(path);
    return open_socket(path);
}

static int ask(int fd, enum channel_kind kind, uint32_t count, int sent) {
    frame.head = (struct channel_head){ CHANNEL_MAGIC, kind, count, 0 };
    frame.fd = sent;
    ck_assert_int_eq(channel_send(fd, &frame), 0);
    return channel_receive(fd, &frame);
}
static uint32_t offer(int fd, uint64_t hash) {
    frame.hash[0] = hash;
    ck_assert_int_eq(ask(fd, CHANNEL_OFFER, 1, -1), 1);
    return frame.answer[0];
}

/* A sealed file of `pages` pages, each all of its number + `first`. */
static struct sealed pages_file(unsigned pages, int first) {
    static char bytes[64 * PAGE];
    uintptr_t at[64];
    for (unsigned i = 0; i < pages; i++) at[i] = (uintptr_t)bytes + i * PAGE, memset(bytes + i * PAGE, first + (int)i, PAGE);
    struct sealed s;
    ck_assert(sealed_make(&s, at, pages));
    return s;
}

/* --- who keeps the rules */

START_TEST(what_two_have_is_wanted_published_and_found) {
    int a = peer(), b = peer(), c = peer();
    struct sealed s = pages_file(3, 5);
    ck_assert_uint_eq(offer(a, s.hash[1] & ~CHANNEL_FLAGS), CHANNEL_NONE);
    ck_assert_uint_eq(offer(a, (s.hash[1] & ~CHANNEL_FLAGS) | CHANNEL_AGAIN), CHANNEL_NONE); /* one and the same page */
    ck_assert_uint_eq(offer(b, s.hash[1] & ~CHANNEL_FLAGS), CHANNEL_WANTED);
    ck_assert_uint_eq(offer(c, s.hash[1] & ~CHANNEL_FLAGS), CHANNEL_NONE); /* b is about to */
    ck_assert_int_eq(ask(b, CHANNEL_PUBLISH, 0, s.file.fd), 1);
    uint32_t file = frame.answer[0];
    ck_assert_uint_gt(file, 0);
    ck_assert_uint_eq(offer(c, s.hash[1] & ~CHANNEL_FLAGS), channel_place(file, 1));
    ck_assert_int_eq(ask(c, CHANNEL_FETCH, file, -1), 1);
    struct sealed found;
    const char *why;
    ck_assert(sealed_open(&found, frame.fd, &why));
    ck_assert(found.pages == 3 && memcmp(found.content, s.content, 3 * PAGE) == 0);
    close(b), close(c);
}
END_TEST

START_TEST(what_nobody_uses_any_more_is_forgotten) {
    int a = peer(), b = peer();
    struct sealed s = pages_file(1, 9);
    ck_assert_int_eq(ask(b, CHANNEL_PUBLISH, 0, s.file.fd), 1);
    uint32_t file = frame.answer[0];
    ck_assert_uint_eq(offer(a, s.hash[0] & ~CHANNEL_FLAGS), channel_place(file, 0));
    close(b);
    while (offer(a, s.hash[0] & ~CHANNEL_FLAGS) != CHANNEL_NONE) poll(NULL, 0, 10);
    ck_assert_int_eq(ask(a, CHANNEL_FETCH, file, -1), 1);
    ck_assert_int_eq(frame.fd, -1);
}
END_TEST

START_TEST(only_the_user_can_reach_it) {
    struct stat s;
    close(peer());
    ck_assert(stat(path, &s) == 0 && (s.st_mode & 0777) == 0600);
    char parent[FOLDER_PATH];
    strcpy(parent, path);
    *strrchr(parent, '/') = 0;
    ck_assert(stat(parent, &s) == 0 && (s.st_mode & 0777) == 0700);
}
END_TEST

START_TEST(a_client_becomes_the_broker_where_there_is_none) {
    ck_assert(client_ready());
    struct sealed s = pages_file(2, 1);
    uint32_t file = client_publish(&s);
    ck_assert_uint_gt(file, 0);
    client_fetch(file);
    ck_assert_ptr_nonnull(client_file(file));
    client_put_files();
    ck_assert_ptr_null(client_file(file));
    client_fetch(99), client_fetch(100000);
    ck_assert(!client_file(99) && !client_file(100000));
    ck_assert_uint_eq(client_published(), 1);
}
END_TEST

START_TEST(a_broker_that_is_killed_is_followed_by_another) {
    pid_t first = fork();
    if (first == 0) {
        struct sealed s = pages_file(2, 1);
        while (!client_ready() || !client_publish(&s)) {}
        pause();
    }
    struct stat s;
    while (stat(path, &s) != 0) poll(NULL, 0, 10);
    while (client_published() != 1) poll(NULL, 0, 10);
    client_fetch(1);
    const struct sealed *file = client_file(1);
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    ck_assert(file && file->content[PAGE] == 2); /* what was fetched stays */
    while (client_published() != 0 || !client_ready()) poll(NULL, 0, 10);
    uint64_t hash = 4096;
    uint32_t answer;
    ck_assert(client_offer(&hash, 1, false, &answer));
}
END_TEST

/* A worker that the broker has forked lives on when the broker dies: it has nothing of it, so another becomes the broker. */
START_TEST(a_child_of_the_broker_keeps_nothing_of_it) {
    int alive[2], ready[2];
    char one = 1;
    ck_assert(pipe(alive) == 0 && pipe(ready) == 0);
    pid_t first = fork();
    if (first == 0) {
        struct sealed s = pages_file(2, 1);
        close(alive[1]);
        while (!client_ready() || !client_publish(&s)) {}
        if (fork() == 0) {
            broker_fork_child(), client_fork_child();
            if (write(ready[1], &one, 1) == 1 && read(alive[0], &one, 1) == 0) _exit(0); /* when the test has ended */
        }
        pause();
    }
    ck_assert_int_eq(read(ready[0], &one, 1), 1);
    ck_assert_uint_eq(client_published(), 1);
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    bool follows = false;
    for (unsigned turn = 0; turn < 500 && !follows; turn++) poll(NULL, 0, 10), follows = client_published() == 0 && client_ready();
    uint64_t hash = 4096;
    uint32_t answer;
    ck_assert(follows && client_offer(&hash, 1, false, &answer));
    close(alive[1]);
}
END_TEST

/* A program closes all descriptors that there are, and opens its own: these are its own. */
START_TEST(numbers_that_the_program_uses_now_are_left_to_it) {
    int a = peer(), own[2];
    char text[8];
    offer(a, 77);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, own), 0);
    ck_assert_int_eq(write(own[0], "mine", 4), 4);
    unsigned taken = 0;
    for (int n = 512; n < 600; n++)
        if (fcntl(n, F_GETFD) >= 0 && dup2(own[1], n) == n) taken++;
    ck_assert_uint_ge(taken, 3); /* where it listens, its lock, where it hears of us */
    close(a);
    usleep(200000);
    if (fork() == 0) {
        broker_fork_child();
        for (int n = 512; n < 600; n++) taken -= fcntl(n, F_GETFD) >= 0;
        _exit(taken != 0);
    }
    int status;
    ck_assert(wait(&status) > 0);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(read(own[1], text, sizeof text), 4);
}
END_TEST

/* --- who does not; a client of good faith is served all the same */

static void still_serves(void) {
    int good = open_socket(path);
    ck_assert_uint_eq(offer(good, 0x1234567890u), CHANNEL_NONE);
    close(good);
}
/* Is the other side closed? */
static void is_cut_off(int fd) {
    while (1) {
        int got = channel_receive(fd, &frame);
        if (got == 0) break;
        ck_assert_msg(got == 1, "still connected");
    }
    close(fd);
}

START_TEST(frames_of_a_wrong_form_are_cut_off) {
    unsigned char bytes[sizeof(struct channel_frame) + 100];
    srand(3);
    for (unsigned round = 0; round < 200; round++) {
        int fd = peer();
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)rand();
        struct channel_head head = { CHANNEL_MAGIC, round % 6, round % 3 ? (uint32_t)rand() % 5000 : UINT32_MAX, (uint32_t)rand() };
        if (round % 2) memcpy(bytes, &head, sizeof head);
        size_t length = round % 5 ? 1 + (size_t)rand() % 300 : sizeof bytes;
        if (length == channel_length((struct channel_head *)(void *)bytes)) length++;
        ck_assert_int_eq(send(fd, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
        is_cut_off(fd);
    }
    still_serves();
}
END_TEST

START_TEST(an_answer_is_no_question) {
    int fd = peer();
    frame.head = (struct channel_head){ CHANNEL_MAGIC, CHANNEL_ANSWER, 1, 0 };
    frame.fd = -1;
    ck_assert_int_eq(channel_send(fd, &frame), 0);
    is_cut_off(fd);
    still_serves();
}
END_TEST

static int memfd(size_t length, int seals) {
    int fd = memfd_create("bad", MFD_ALLOW_SEALING);
    ck_assert(fd >= 0 && ftruncate(fd, (off_t)length) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

START_TEST(files_that_are_not_as_they_must_be_are_refused) {
    const int all = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    const size_t good = sealed_length(3);
    int pipes[2];
    ck_assert(pipe(pipes) == 0);
    const int bad[] = {
        memfd(good, 0), memfd(good, all & ~F_SEAL_WRITE), memfd(good, all & ~F_SEAL_SHRINK), memfd(good, all & ~F_SEAL_SEAL), /* can change after it was looked at */
        memfd(0, all), memfd(100, all), memfd(PAGE, all), memfd(good - 1, all), memfd(good + PAGE * 2 - 8, all),                /* short, or odd */
        memfd(sealed_length(SEALED_PAGES_MOST) + PAGE, all), pipes[0], open("/dev/zero", O_RDWR), open("/etc/passwd", O_RDONLY), open("/tmp", O_RDONLY),
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sealed s;
        const char *why = NULL;
        ck_assert_msg(!sealed_open(&s, dup(bad[i]), &why) && why, "file %u was taken", i);
        int fd = peer();
        frame.head = (struct channel_head){ CHANNEL_MAGIC, CHANNEL_PUBLISH, 0, 0 };
        frame.fd = bad[i];
        ck_assert_int_eq(channel_send(fd, &frame), 0);
        is_cut_off(fd);
    }
    int fd = peer();
    frame.head = (struct channel_head){ CHANNEL_MAGIC, CHANNEL_PUBLISH, 0, 0 }, frame.fd = -1;
    ck_assert_int_eq(channel_send(fd, &frame), 0); /* none at all */
    is_cut_off(fd);
    still_serves();
}
END_TEST

START_TEST(false_hashes_are_no_more_than_hints) {
    int fd = peer(), memory = memfd_create("liar", MFD_ALLOW_SEALING);
    const uint64_t claimed = 0xABCDEF00u;
    ck_assert(ftruncate(memory, (off_t)sealed_length(1)) == 0 && pwrite(memory, &claimed, 8, PAGE) == 8);
    ck_assert_int_eq(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    ck_assert_int_eq(ask(fd, CHANNEL_PUBLISH, 0, memory), 1);
    uint32_t file = frame.answer[0];
    ck_assert_uint_eq(offer(fd, claimed), channel_place(file, 0)); /* who compares finds zeros */
    client_fetch(file);
    ck_assert(client_file(file) && client_file(file)->content[0] == 0);
}
END_TEST

START_TEST(who_takes_no_answers_is_cut_off) {
    int fd = peer();
    frame.head = (struct channel_head){ CHANNEL_MAGIC, CHANNEL_OFFER, CHANNEL_COUNT_MOST, 0 }, frame.fd = -1;
    for (unsigned i = 0; i < CHANNEL_COUNT_MOST; i++) frame.hash[i] = (i + 1) * 4096;
    int error = 0;
    for (unsigned i = 0; i < 1000 && error == 0; i++) error = channel_send(fd, &frame);
    ck_assert_int_ne(error, 0);
    still_serves();
    close(fd);
}
END_TEST

START_TEST(a_peer_that_says_nothing_delays_nobody) {
    int silent[20];
    for (unsigned i = 0; i < 20; i++) silent[i] = peer();
    still_serves();
    for (unsigned i = 0; i < 20; i++) close(silent[i]);
}
END_TEST

/* --- a broker that breaks the rules */

static int listener;
static int (*answer_with)(int fd, unsigned turn); /* 0: it said something */

static void *false_broker(void *unused) {
    for (unsigned turn = 0;; turn++) {
        int fd = accept(listener, NULL, NULL);
        static struct channel_frame asked;
        while (channel_receive(fd, &asked) == 1 && answer_with(fd, turn) == 0) {}
        close(fd);
    }
    return NULL;
}

static int say_garbage(int fd, unsigned turn) { return send(fd, "garbage that is longer than a head", 34, MSG_NOSIGNAL) < 0; }
static int say_too_much(int fd, unsigned turn) {
    static struct channel_frame much = { .head = { CHANNEL_MAGIC, CHANNEL_ANSWER, CHANNEL_COUNT_MOST, 0 }, .fd = -1 };
    for (unsigned i = 0; i < CHANNEL_COUNT_MOST; i++) much.answer[i] = UINT32_MAX - i;
    return channel_send(fd, &much);
}
static int say_nothing(int fd, unsigned turn) { return 0; }
static int send_unsealed(int fd, unsigned turn) {
    struct channel_frame bad = { .head = { CHANNEL_MAGIC, CHANNEL_ANSWER, 0, 0 }, .fd = memfd(sealed_length(2), 0) };
    return channel_send(fd, &bad);
}

static void meet_a_broker_that_says(int (*something)(int, unsigned)) {
    answer_with = something;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, path);
    listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    ck_assert(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 5) == 0);
    pthread_t thread;
    pthread_create(&thread, NULL, false_broker, NULL);
    uint64_t hash[2] = { 4096, 8192 };
    uint32_t answer[2] = { 7, 7 };
    ck_assert(client_ready());
    ck_assert(!client_offer(hash, 2, false, answer) || something == send_unsealed);
    ck_assert(answer[0] == 0 && answer[1] == 0);
    client_fetch(1);
    ck_assert_ptr_null(client_file(1));
    ck_assert(!client_offer(hash, 2, false, answer)); /* it is not asked again for a while */
}

START_TEST(garbage_is_not_believed) { meet_a_broker_that_says(say_garbage); }
END_TEST
START_TEST(too_many_answers_are_not_believed) { meet_a_broker_that_says(say_too_much); }
END_TEST
START_TEST(a_broker_that_says_nothing_is_not_waited_for) { meet_a_broker_that_says(say_nothing); }
END_TEST
START_TEST(a_file_that_is_not_sealed_is_not_believed) { meet_a_broker_that_says(send_unsealed); }
END_TEST

SUITE("channel", begin, end, what_two_have_is_wanted_published_and_found, what_nobody_uses_any_more_is_forgotten, only_the_user_can_reach_it,
      a_client_becomes_the_broker_where_there_is_none, a_broker_that_is_killed_is_followed_by_another, a_child_of_the_broker_keeps_nothing_of_it,
      numbers_that_the_program_uses_now_are_left_to_it,
      frames_of_a_wrong_form_are_cut_off, an_answer_is_no_question, files_that_are_not_as_they_must_be_are_refused, false_hashes_are_no_more_than_hints,
      who_takes_no_answers_is_cut_off, a_peer_that_says_nothing_delays_nobody, garbage_is_not_believed, too_many_answers_are_not_believed,
      a_broker_that_says_nothing_is_not_waited_for, a_file_that_is_not_sealed_is_not_believed)
