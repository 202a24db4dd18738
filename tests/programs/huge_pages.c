/* COPPICE_THP: with `always` a sparsely touched block costs huge pages, with `never` and with `auto` it does not (where the
 * machine makes none unasked, and after a large clear where it does); a type whose memory is filled has them with `auto` and not with
 * `never`. Each setting in a process of its own; smaps says what is there. */
#include "memory.h"
#include "../../include/coppice/coppice.h"
#include <dlfcn.h>
#include <stdint.h>

enum { LARGE = 64 << 20, STEP = 2 << 20 };
static void *(*volatile fill)(void *, int, size_t) = memset;

static void touch(char *p) {
    for (size_t i = STEP / 2; i < LARGE; i += STEP) p[i] = 1;
}

static int child(const char *setting, int machine_always) {
    char *p = malloc(LARGE);
    CHECK(p);
    if (machine_always) fill(p, 0, LARGE); /* a cache for the longest context */
    touch(p);
    long sparse = mapped_kib("AnonHugePages") >> 10;
    __typeof__(&coppice_alloc) alloc_typed;
    *(void **)&alloc_typed = dlsym(RTLD_DEFAULT, "coppice_alloc");
    CHECK(alloc_typed);
    char *q = alloc_typed(LARGE, COPPICE_SEMANTIC);
    CHECK(q);
    touch(q);
    long dense = (mapped_kib("AnonHugePages") >> 10) - sparse;
    printf("%s: %ld MiB of huge pages for an untyped block, %ld for a semantic one\n", setting, sparse, dense);
    if (strcmp(setting, "always") == 0) CHECK(sparse >= LARGE / 2 >> 20 && dense >= LARGE / 2 >> 20);
    if (strcmp(setting, "never") == 0) CHECK(sparse == 0 && dense == 0);
    if (strcmp(setting, "auto") == 0) CHECK(sparse == 0 && dense >= LARGE / 2 >> 20);
    return 0;
}

int main(int count, char **arguments) {
    const char *settings[] = { "auto", "never", "always" };
    char machine[128] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (!f || !fgets(machine, sizeof machine, f) || strstr(machine, "[never]")) SKIP("this machine makes no huge pages");
    fclose(f);
    if (count > 1) return child(arguments[1], strstr(machine, "[always]") != NULL);
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        int status;
        if (pid == 0) {
            setenv("COPPICE_THP", settings[i], 1);
            execl(arguments[0], arguments[0], settings[i], NULL);
            _exit(2);
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return 0;
}
