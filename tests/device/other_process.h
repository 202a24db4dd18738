/* other_process.h: another process of a test on the same device, that is told what to do through a pipe and answers through another. */
#ifndef COPPICE_OTHER_PROCESS_H
#define COPPICE_OTHER_PROCESS_H
#include "cuda_test.h"
#include <fcntl.h>
#include <signal.h>

enum { OTHER_HEARS = 3, OTHER_TELLS = 4 }; /* its descriptors */
struct other { pid_t pid; int tell, hear; };

/* Starts it: this program again, with an argument. */
__attribute__((unused)) static struct other begin(char *self) {
    int to[2], from[2];
    CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(to[0], 13), dup2(from[1], 14), dup2(13, OTHER_HEARS), dup2(14, OTHER_TELLS); /* the pipes may be these themselves */
        execl(self, self, "another", NULL);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    return (struct other){ pid, to[1], from[0] };
}
__attribute__((unused)) static void end(struct other *o) {
    kill(o->pid, SIGKILL), waitpid(o->pid, NULL, 0);
    close(o->tell), close(o->hear);
}
#endif
