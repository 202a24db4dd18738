/* fork_meets_lookups.c: the first large allocation from new code asks the dynamic linker where that code lies, under the linker's lock. A
 * child of a fork by another thread meanwhile can use the linker all the same: the fork waits for who asks already, though not for
 * ever, and nobody begins to ask before it is over; afterwards both processes ask as before.
 * The moment lasts as long as this program wants, because the linker's function is called through one of its own. */
#include "program.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

enum { LARGE = 16 << 20, ROUNDS = 6, SHORT_US = 1000, LONG_US = 10000000, HELD_US = 60000, PATIENCE_S = 10 };

/* --- code that nothing is known of yet */
#define ONE(n) static void *from_##n(void) { void *volatile p = malloc(LARGE); return p; }
#define NAME(n) from_##n,
#define TEN(X, n) X(n##0) X(n##1) X(n##2) X(n##3) X(n##4) X(n##5) X(n##6) X(n##7) X(n##8) X(n##9)
#define MANY(X) TEN(X, 1) TEN(X, 2) TEN(X, 3) TEN(X, 4) TEN(X, 5)
MANY(ONE)
static void *(*const from[])(void) = { MANY(NAME) };
static _Atomic unsigned used;
static void allocate_anew(void) {
    unsigned n = atomic_fetch_add(&used, 1);
    CHECK(n < sizeof from / sizeof *from);
    void *p = from[n]();
    CHECK(p);
    free(p);
}

/* --- the linker's function, slow where somebody wants it to be */
static void wait_us(unsigned us) { nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL); }

static _Atomic unsigned asked, linger_us; /* how often it was called; how long the next one has the lock */
static _Atomic bool there, released;
struct slow { int (*each)(struct dl_phdr_info *, size_t, void *); void *with; };
static int slowly(struct dl_phdr_info *info, size_t size, void *with) {
    const struct slow *s = with;
    unsigned limit = atomic_exchange(&linger_us, 0);
    if (limit) atomic_store(&there, true);
    for (unsigned us = 0; us < limit && !atomic_load(&released); us += 500) wait_us(500);
    return s->each(info, size, s->with);
}
int dl_iterate_phdr(int (*each)(struct dl_phdr_info *, size_t, void *), void *with) {
    static __typeof__(&dl_iterate_phdr) real;
    if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, "dl_iterate_phdr");
    atomic_fetch_add(&asked, 1);
    return real(slowly, &(struct slow){ each, with });
}

/* --- another thread, which allocates when it is told to */
static sem_t go, done;
static void *allocator(void *unused) {
    for (;;) {
        while (sem_wait(&go)) {}
        allocate_anew();
        sem_post(&done);
    }
    return unused;
}
static void tell(unsigned us) {
    atomic_store(&there, false), atomic_store(&released, false), atomic_store(&linger_us, us);
    sem_post(&go);
}
static bool is_there(unsigned within_us) {
    for (unsigned us = 0; us < within_us && !atomic_load(&there); us += 200) wait_us(200);
    return atomic_load(&there);
}
static void expect_done(void) {
    atomic_store(&released, true);
    while (sem_wait(&done)) {}
    atomic_store(&linger_us, 0);
}

/* Runs after every other handler of a fork, since it is registered before them all: at the last moment before the process doubles. */
static bool tell_late;
static void last_before_fork(void) {
    if (!tell_late) return;
    tell(LONG_US);
    is_there(HELD_US);
}
static void register_first(int argc, char **argv, char **envp) { pthread_atfork(last_before_fork, NULL, NULL); }
__attribute__((section(".preinit_array"), used)) static void (*const before_all)(int, char **, char **) = register_first;

/* --- what a child does */
static int nothing(struct dl_phdr_info *info, size_t size, void *with) { return 0; }
static void use_linker(void) {
    alarm(PATIENCE_S);
    atomic_store(&linger_us, 0);
    dl_iterate_phdr(nothing, NULL);
    void *library = dlopen("libresolv.so.2", RTLD_NOW);
    if (library) dlclose(library);
    unsigned before = atomic_load(&asked);
    allocate_anew();
    CHECK(atomic_load(&asked) > before); /* it is known where that code lies */
    _exit(0);
}
static void fork_and_use_linker(void) {
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) use_linker();
    expect_done();
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) printf("the child waits for the linker's lock for ever\n");
    CHECK(status == 0);
}

int main(void) {
    pthread_t other;
    alarm(50);
    sem_init(&go, 0, 0), sem_init(&done, 0, 0);
    CHECK(pthread_create(&other, NULL, allocator, NULL) == 0);
    tell(0), expect_done();

    for (int i = 0; i < ROUNDS; i++) { /* who asks already is waited for */
        tell(SHORT_US);
        CHECK(is_there(LONG_US));
        fork_and_use_linker();
    }
    tell_late = true;
    for (int i = 0; i < ROUNDS; i++) { /* nobody begins to ask */
        fork_and_use_linker();
        CHECK(!atomic_load(&there));
    }
    tell_late = false;
    tell(LONG_US); /* who asks for very long is not waited for: such a child does not use the linker */
    CHECK(is_there(LONG_US));
    int status;
    pid_t child = fork();
    if (child == 0) _exit(0);
    CHECK(!atomic_load(&released) && sem_trywait(&done) != 0);
    expect_done();
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return 0;
}
