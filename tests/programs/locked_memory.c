// env: COPPICE_INTERN=pages
/* A program that has come to a size at which equal pages are looked for locks all its memory: the call returns, and nothing of ours goes on
 * moving its pages. */
#include "program.h"
#include <dirent.h>
#include <stdbool.h>
#include <sys/mman.h>

enum { SIZE = 8 << 20, PATIENCE = 50 /* tenths of a second */ };

static bool pages_can_move(void) {
    bool found = false;
    char path[300], target[64];
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        found |= strstr(target, "userfaultfd") != NULL;
    }
    closedir(folder);
    return found;
}

int main(void) {
    char *block = malloc(SIZE);
    CHECK(block);
    memset(block, 7, SIZE);
    for (int i = 0; !pages_can_move(); i++) {
        if (i == PATIENCE) SKIP("userfaultfd is not permitted here, or cannot move pages");
        usleep(100000);
    }
    alarm(20);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) SKIP("memory may not be locked here");
    CHECK(!pages_can_move());
    for (int i = 0; i < SIZE; i += 4096) CHECK(block[i] == 7);
    char *more = calloc(1, SIZE);
    CHECK(more && more[SIZE / 2] == 0);
    free(more), free(block);
    return 0;
}
