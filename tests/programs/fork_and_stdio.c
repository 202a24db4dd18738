/* fork_and_stdio: fork while other threads hold stdio's list of files and want memory (glibc's tst-malloc-fork-deadlock in
 * our own words): nobody waits for ever, and the child can use both. */
#include "program.h"
#include <pthread.h>
#include <time.h>

static _Atomic int stop;

static void *allocating(void *argument) {
    while (!stop) {
        void *p[50];
        for (int i = 0; i < 50; i++) p[i] = malloc((size_t)(i * i * 40 + 1));
        for (int i = 0; i < 50; i++) free(p[i]);
    }
    return NULL;
}

static void *opening(void *argument) {
    while (!stop) {
        FILE *f = fopen("/dev/null", "w"); /* allocates, and goes into the list */
        if (!f) continue;
        fprintf(f, "%s", "text");
        fclose(f);
    }
    return NULL;
}

static void *streaming(void *argument) {
    while (!stop) { /* flushing all takes the list, then a file that allocates */
        char *text = NULL;
        size_t length;
        FILE *f = open_memstream(&text, &length);
        for (int i = 0; i < 200; i++) fprintf(f, "line %d\n", i);
        fflush(NULL);
        fclose(f);
        free(text);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[6];
    void *(*work[])(void *) = { allocating, opening, streaming, allocating, opening, streaming };
    alarm(45);
    for (int i = 0; i < 6; i++) CHECK(pthread_create(&threads[i], NULL, work[i], NULL) == 0);
    time_t end = time(NULL) + 5;
    int forks = 0;
    for (; forks < 2000 && time(NULL) < end; forks++) {
        int status;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(20);
            char *p = malloc(1000), *q = malloc(100000);
            FILE *f = fopen("/dev/null", "w");
            if (!p || !q || !f) _exit(1);
            fprintf(f, "child");
            fclose(f), free(p), free(q);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    stop = 1;
    for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
    printf("%d forks\n", forks);
    CHECK(forks > 20);
    return 0;
}
