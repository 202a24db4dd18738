// backend: page
// env: COPPICE_DEVICE_BACKEND=page
// env: COPPICE_SHARE_WEIGHTS=1
// env: COPPICE_TYPE_RULES=*:device:>=4M=semantic
/* Peers that claim to have the same weights and lie, in each way there is: garbage, too many answers, none, no descriptor, one of a file,
 * of other contents, of another size. Nothing is shared with them, nothing is lost, and each costs at most a line and its
 * patience once. Peers that ask for what there is not, too much, or nothing at all are cut off, and those who are honest are still served. */
#include "weights_test.h"
#include "frames.h"
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
enum { SIZE = 8 << 20 };

static const char *folder(void) {
    static char path[200];
    snprintf(path, sizeof path, "%s/coppice-%d", getenv("COPPICE_STATE_DIR"), (int)getuid());
    return path;
}

/* --- frames, by hand */
struct frame { struct channel_head head; uint32_t answer[128]; };
static void send_answers(int fd, uint32_t count, int descriptor) {
    struct frame f = { .head = { CHANNEL_MAGIC, CHANNEL_ANSWER, count, 0 } };
    for (unsigned i = 0; i < 128; i++) f.answer[i] = i + 1;
    send_frame(fd, &f, sizeof f.head + count * 4, descriptor);
}

/* --- a peer that lies: claims to have every page, and sends this for it */
enum lie { GARBAGE, TOO_MANY, SILENCE, NO_DESCRIPTOR, A_FILE, OTHER_CONTENTS, OTHER_SIZE, LIES };

static int what_it_sends(enum lie lie) {
    if (lie == A_FILE) {
        int fd = memfd_create("lie", 0);
        CHECK(ftruncate(fd, 2 << 20) == 0);
        return fd;
    }
    start();
    return shareable_memory(lie == OTHER_SIZE ? 4 << 20 : 2 << 20);
}
static void answer(int fd, enum lie lie, int descriptor) {
    struct { struct channel_head head; uint64_t hash[64]; } asked;
    while (recv(fd, &asked, sizeof asked, 0) > 0) {
        if (lie == GARBAGE) send_frame(fd, "garbage", 7, -1);
        else if (lie == TOO_MANY) send_answers(fd, 100, -1);
        else if (lie == SILENCE) continue;
        else if (asked.head.kind == CHANNEL_OFFER) send_answers(fd, asked.head.count, -1);
        else send_answers(fd, 0, lie == NO_DESCRIPTOR ? -1 : descriptor);
    }
    close(fd);
}
static int be_a_liar(enum lie lie) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%.80s/peer-1-1", folder());
    int descriptor = lie >= A_FILE ? what_it_sends(lie) : -1, listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    unlink(address.sun_path);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 8) == 0);
    CHECK(write(4, "", 1) == 1);
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) answer(fd, lie, descriptor);
    return 0;
}
static struct other begin_liar(char *self, enum lie lie) {
    char number[8], ready;
    int from[2];
    snprintf(number, sizeof number, "%d", lie);
    CHECK(pipe2(from, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(from[1], 4);
        setenv("COPPICE_DISABLE", "1", 1);
        execl(self, self, "liar", number, NULL);
        _exit(127);
    }
    close(from[1]);
    CHECK(read(from[0], &ready, 1) == 1);
    return (struct other){ pid, -1, from[0] };
}

/* --- one that asks for what it should not */
static int connect_to(const char *name) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%.60s/%.40s", folder(), name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}
static void be_a_nuisance(void) {
    char command[300], name[64] = "";
    snprintf(command, sizeof command, "ls %s | grep peer-%d-", folder(), (int)getpid());
    FILE *f = popen(command, "r");
    CHECK(f && fgets(name, sizeof name, f), "no socket of our own");
    pclose(f);
    name[strcspn(name, "\n")] = 0;
    struct stat file;
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder(), name);
    CHECK(stat(path, &file) == 0 && (file.st_mode & 0777) == 0600, "the socket has mode %o", (unsigned)file.st_mode);
    struct frame f1 = { .head = { CHANNEL_MAGIC, CHANNEL_ANSWER, 0, 0 } };
    struct { struct channel_head head; uint64_t hash[4096]; } much = { .head = { CHANNEL_MAGIC, CHANNEL_OFFER, 4096, 0 } };
    int fd;
    char byte;
    for (unsigned i = 0; i < 3; i++) { /* cut off */
        fd = connect_to(name);
        if (i == 0) send_frame(fd, "garbage", 7, 0);
        else if (i == 1) send_frame(fd, &f1, sizeof f1.head, -1);
        else send_frame(fd, &much, sizeof much, -1);
        CHECK(recv(fd, &byte, 1, 0) == 0, "who broke the rules was not cut off (%u)", i);
        close(fd);
    }
    fd = connect_to(name); /* numbers that are none */
    for (uint32_t i = 0; i < 40; i++) {
        struct channel_head fetch = { CHANNEL_MAGIC, CHANNEL_FETCH, i < 32 ? 1u << i : i == 33 ? UINT32_MAX : i * 77777777, 0 };
        struct channel_head got = { 0 };
        send_frame(fd, &fetch, sizeof fetch, -1);
        CHECK(recv(fd, &got, sizeof got, 0) == sizeof got && got.kind == CHANNEL_ANSWER, "no answer to number %u", i);
    }
    for (unsigned i = 0; i < 80; i++) CHECK(connect_to(name) >= 0); /* who says nothing, and stays */
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc > 2) return be_a_liar((enum lie)atoi(argv[2]));
    if (argc > 1) return be_another();
    if (!getenv("LISTENED_TO")) {
        struct said said = run_listening(argv[0], ": a peer ");
        CHECK(said.ours == 3 + 1 + 3 && said.others == 0, "%u lines, and %u others", said.ours, said.others);
        return 0;
    }
    start();
    need_simulator();
    for (enum lie lie = GARBAGE; lie < LIES; lie++) {
        struct other liar = begin_liar(argv[0], lie);
        /* a peer that was found out is left alone for a while: each lie is told to a process that does not know it yet */
        struct other honest = begin(argv[0]);
        double begun = now();
        CHECK(TOLD(&honest, LOAD, 1, SIZE, 3 * MB) == 1 && TOLD(&honest, CHECK_IT, 1, SIZE) == 1, "lie %d", lie);
        CHECK(TOLD(&honest, NUMBER, 1) == 0, "lie %d was believed", lie);
        CHECK(now() - begun < 8, "lie %d cost %g s", lie, now() - begun);
        end(&honest), end(&liar);
    }
    CUdeviceptr mine = take(SIZE);
    upload(mine, 1, SIZE, MB);
    be_a_nuisance();
    struct other a = begin(argv[0]);
    CHECK(TOLD(&a, LOAD, 1, SIZE, 3 * MB) == 1 && TOLD(&a, NUMBER, 1) == SIZE && holds(mine, 1, SIZE), "an honest peer is not served any more");
    end(&a);
    return 0;
}
