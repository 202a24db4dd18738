/* program.h: what the programs of this folder share. Each shows one behaviour under the library, exits 0 when it holds, 1 when
 * it does not and 77 when this machine cannot show it. */
#ifndef PROGRAM_H
#define PROGRAM_H
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(x) ((x) ? (void)0 : (printf("%s:%d: not true: %s (errno %d)\n", __FILE__, __LINE__, #x, errno), fflush(stdout), exit(1)))
#define SKIP(...) (printf(__VA_ARGS__), puts(""), exit(77))

/* The status of a child that runs `body` and must end well within a few seconds. */
#define IN_CHILD(body) \
    do { \
        pid_t child_ = fork(); \
        CHECK(child_ >= 0); \
        if (child_ == 0) { alarm(20); body; exit(0); } \
        int status_; \
        CHECK(waitpid(child_, &status_, 0) == child_); \
        CHECK(WIFEXITED(status_) && WEXITSTATUS(status_) == 0); \
    } while (0)
#endif
