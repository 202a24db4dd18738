// env: COPPICE_INTERN=pages
/* Four processes fill memory from malloc with random numbers of their own, and seconds later read the same file into it, as workers make a
 * model and load its weights: soon they hold it about once, every byte is right, also after one of them was killed, and what one writes is its own. `worker FILE` is one of the four: it says `shared`; at a line on its input it
 * touches every page, at the next it says the Pss of its blocks, in KiB. */
#include "program.h"
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

enum { PIECES = 6, PIECE = 4 << 20, WORKERS = 4, PATIENCE = 40, KNOWN_AFTER = 3 /* s: every page has been looked at twice */ };

static unsigned char *piece[PIECES];

/* Sums over the mappings that hold the pieces: their Pss, and how much of them is shared files. */
static void look(long *pss, long *shared) {
    char line[512];
    bool ours = false, file = false;
    *pss = *shared = 0;
    FILE *maps = fopen("/proc/self/smaps", "r");
    CHECK(maps);
    while (fgets(line, sizeof line, maps)) {
        uintptr_t from, to;
        long kb;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            ours = false, file = strstr(line, "coppice-shared") != NULL;
            for (int i = 0; i < PIECES; i++) ours |= from < (uintptr_t)piece[i] + PIECE && to > (uintptr_t)piece[i];
            if (ours && file) *shared += (long)(to - from) / 1024;
        } else if (ours && sscanf(line, "Pss: %ld", &kb) == 1) *pss += kb;
    }
    fclose(maps);
}

static uint64_t sum(void) {
    uint64_t all = 0;
    for (int i = 0; i < PIECES; i++)
        for (size_t j = 0; j < PIECE; j += 8) all = all * 31 + *(uint64_t *)(void *)(piece[i] + j);
    return all;
}

static int worker(const char *path) {
    int fd = open(path, O_RDONLY);
    char line[16];
    long pss, shared = 0;
    int random = open("/dev/urandom", O_RDONLY);
    for (int i = 0; i < PIECES; i++) CHECK((piece[i] = malloc(PIECE)) && read(random, piece[i], PIECE) == PIECE);
    sleep(KNOWN_AFTER);
    for (int i = 0; i < PIECES; i++) CHECK(read(fd, piece[i], PIECE) == PIECE);
    uint64_t before = sum();
    time_t end = time(NULL) + PATIENCE;
    while (look(&pss, &shared), shared < PIECES * (PIECE / 1024) / 10 * 9 && time(NULL) < end) usleep(100000);
    printf("shared %ld\n", shared), fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin));
    CHECK(sum() == before); /* touches every page again */
    printf("1\n"), fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin));
    look(&pss, &shared);
    printf("%ld\n", pss), fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin));
    CHECK(sum() == before);
    memset(piece[0], 1, PIECE);
    for (size_t j = 0; j < PIECE; j++) CHECK(piece[0][j] == 1);
    return 0;
}

struct child { pid_t pid; FILE *to, *from; };

static struct child start(const char *path) {
    int to[2], from[2];
    CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    struct child c = { fork(), fdopen(to[1], "w"), fdopen(from[0], "r") };
    if (c.pid == 0) {
        dup2(to[0], 0), dup2(from[1], 1);
        execl("/proc/self/exe", "shared_weights", "worker", path, NULL);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    return c;
}

static long answer(struct child *c, const char *form) {
    long n = -1;
    CHECK(fscanf(c->from, form, &n) == 1);
    return n;
}
static void tell(struct child *c) { fputs("\n", c->to), fflush(c->to); }

int main(int count, char **arguments) {
    if (count > 2) return worker(arguments[2]);
    if (syscall(SYS_userfaultfd, O_CLOEXEC) < 0) SKIP("full userfaultfd is not permitted here");
    char path[] = "/tmp/shared-weights-XXXXXX";
    int fd = mkstemp(path), random = open("/dev/urandom", O_RDONLY);
    static unsigned char bytes[PIECE];
    for (int i = 0; i < PIECES; i++) {
        for (size_t n = 0; n < PIECE;) n += (size_t)read(random, bytes + n, PIECE - n);
        CHECK(write(fd, bytes, PIECE) == PIECE);
    }
    struct child child[WORKERS];
    long pss = 0;
    for (int i = 0; i < WORKERS; i++) child[i] = start(path);
    for (int i = 0; i < WORKERS; i++) printf("worker %d: %ld KiB shared\n", i, answer(&child[i], " shared %ld"));
    for (int i = 0; i < WORKERS; i++) tell(&child[i]), answer(&child[i], " %ld");
    for (int i = 0; i < WORKERS; i++) tell(&child[i]), pss += answer(&child[i], " %ld");
    printf("pss of the weights in all workers: %ld KiB, of %d\n", pss, WORKERS * PIECES * (PIECE / 1024)), fflush(stdout);
    unlink(path);
    kill(child[0].pid, SIGKILL);
    for (int i = 1, status; i < WORKERS; i++) {
        tell(&child[i]);
        CHECK(waitpid(child[i].pid, &status, 0) == child[i].pid && status == 0);
    }
    CHECK(pss < WORKERS * PIECES * (PIECE / 1024) * 45 / 100);
    return 0;
}
