/* A program forbids itself to open, name or remove files, on pain of death (seccomp), as network daemons and parsers do before they touch
 * what strangers sent. It allocates little or much, clears, frees and leaves, itself or in a fork's child, and lives. One that only forbids
 * itself new privileges still writes the statistics that it is asked for. */
#include "program.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void shut_in(void) {
#define FORBID(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        FORBID(openat), FORBID(mkdirat), FORBID(unlinkat), FORBID(readlinkat), FORBID(newfstatat), FORBID(ftruncate), FORBID(fallocate),
        FORBID(socket), FORBID(sysinfo), FORBID(mincore), FORBID(prctl),
#ifdef __x86_64__
        FORBID(open), FORBID(mkdir), FORBID(unlink), FORBID(readlink), FORBID(stat),
#endif
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
    struct sock_fprog filter = { sizeof rules / sizeof *rules, rules };
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) SKIP("seccomp is not permitted here");
}

static void allocate(unsigned blocks, size_t size) {
    for (unsigned round = 0; round < 3; round++) {
        char **block = calloc(blocks, sizeof *block);
        for (unsigned i = 0; i < blocks; i++) CHECK((block[i] = malloc(size)) && memset(block[i], 1, size));
        for (unsigned i = 0; i < blocks; i++) CHECK(block[i][size - 1] == 1), memset(block[i], 0, size);
        for (unsigned i = 0; i < blocks; i++) CHECK(block[i][size / 2] == 0), free(block[i]);
        free(block);
    }
}

static void little(void) { shut_in(), allocate(10, 100); }
static void often(void) { shut_in(), allocate(5000, 100); }
static void much(void) { shut_in(), allocate(20, 4 << 20); }
static void before_and_after(void) { allocate(20, 4 << 20), shut_in(), allocate(5000, 100), allocate(20, 4 << 20); }
static void in_a_child(void) {
    IN_CHILD(often());
    IN_CHILD(much());
    IN_CHILD(before_and_after(); _exit(0));
}

static void without_a_filter(void) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    allocate(10, 100);
}

int main(int count, char **arguments) {
    static void (*const body[])(void) = { little, often, much, before_and_after, in_a_child, without_a_filter };
    static const char *const number_of[] = { "0", "1", "2", "3", "4", "5" };
    if (count > 1) {
        alarm(20), body[atoi(arguments[1])]();
        return 0;
    }
    for (int i = 0; i < 5; i++) {
        printf("case %d\n", i), fflush(stdout);
        IN_CHILD((execl(arguments[0], arguments[0], number_of[i], NULL)));
    }
    char path[300];
    snprintf(path, sizeof path, "%s/sandboxed", getenv("COPPICE_STATE_DIR"));
    setenv("COPPICE_STATS", "exit", 1), setenv("COPPICE_STATS_FILE", path, 1);
    IN_CHILD((execl(arguments[0], arguments[0], number_of[5], NULL)));
    CHECK(access(path, F_OK) == 0);
    return 0;
}
