/* address_limits: our address space does not stand in the way: under RLIMIT_AS from the start and set later, with mlockall, and with
 * many times the memory of a first segment. */
#include "memory.h"
#include <sys/mman.h>
#include <sys/resource.h>

static void works(size_t total) {
    char *parts[64];
    for (int i = 0; i < 64; i++) CHECK((parts[i] = malloc(total / 64)) && memset(parts[i], i, total / 64));
    for (int i = 0; i < 64; i++) CHECK(parts[i][total / 64 - 1] == (char)i), free(parts[i]);
    CHECK(malloc((size_t)1 << 45) == NULL && errno == ENOMEM);
}

static void limit(size_t bytes) {
    struct rlimit l = { bytes, bytes };
    CHECK(setrlimit(RLIMIT_AS, &l) == 0);
    void *p = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED); /* the program's own mappings still fit */
    munmap(p, 64 << 20);
    works(128 << 20);
    int refused = 0;
    for (int i = 0; i < 100 && !refused; i++) refused = malloc(16 << 20) == NULL;
    CHECK(refused);
}

static void limited_from_the_start(char **arguments) {
    struct rlimit l = { 512 << 20, 512 << 20 };
    CHECK(setrlimit(RLIMIT_AS, &l) == 0);
    execl(arguments[0], arguments[0], "limited", NULL);
    CHECK(!"exec");
}

static void locked(void) {
    CHECK(taken().space > 8l << 30);
    int error = mlockall(MCL_CURRENT | MCL_FUTURE);
    CHECK(taken().space < 1l << 30); /* what the kernel counted */
    if (error) { /* as without us: too little may be locked here */
        CHECK(errno == ENOMEM || errno == EPERM);
        return;
    }
    works(64 << 20);
}

static void locked_small(void) { /* unprivileged, with room for the program but not for a reservation */
    struct rlimit l = { 400 << 20, 400 << 20 };
    if (setrlimit(RLIMIT_MEMLOCK, &l) != 0 || (geteuid() == 0 && setuid(65534) != 0)) return;
    CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    works(64 << 20);
}

int main(int count, char **arguments) {
    if (count > 1) return works(100 << 20), limit(512 << 20), 0;
    free(malloc(100));
    IN_CHILD(works(256 << 20));
    IN_CHILD(limit(512 << 20));
    IN_CHILD(limited_from_the_start(arguments));
    IN_CHILD(locked());
    IN_CHILD(locked_small());
    return 0;
}
