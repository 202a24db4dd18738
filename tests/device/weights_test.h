/* weights_test.h: for the tests of weights held once: another process with the same weights, that does what it is told, and what
 * both do. Contents come from a seed; a byte's value depends on its position. */
#ifndef COPPICE_WEIGHTS_TEST_H
#define COPPICE_WEIGHTS_TEST_H
#include "other_process.h"
#define MB ((size_t)1 << 20)
#define PAGE (2 * MB)

__attribute__((unused)) static void *symbol(const char *name) {
    static void *handle;
    if (!handle) handle = dlopen("libcuda.so.1", RTLD_NOW);
    void *found = dlsym(handle, name);
    if (!found) FAIL("no %s in the driver", name);
    return found;
}
#define CALL(name) ((__typeof__(&name))symbol(#name))

__attribute__((unused)) static unsigned char *contents(unsigned seed, size_t size) {
    uint32_t *words = malloc(size);
    for (size_t i = 0; i < size / 4; i++) words[i] = (uint32_t)(i * 2654435761u) ^ (seed * 0x9e3779b9u) ^ (uint32_t)(i >> 3);
    return (unsigned char *)words;
}
/* Uploads in pieces, as a loader does tensor by tensor: pages straddle pieces. */
__attribute__((unused)) static void upload(CUdeviceptr to, unsigned seed, size_t size, size_t piece) {
    unsigned char *bytes = contents(seed, size);
    for (size_t at = 0, n; at < size; at += n) {
        n = size - at < piece ? size - at : piece;
        OK(CALL(cuMemcpyHtoD_v2)(to + at, bytes + at, n));
    }
    free(bytes);
}
__attribute__((unused)) static bool holds(CUdeviceptr at, unsigned seed, size_t size) {
    unsigned char *bytes = contents(seed, size), *got = malloc(size);
    OK(p_cuMemcpyDtoH_v2(got, at, size));
    bool same = memcmp(bytes, got, size) == 0;
    free(bytes), free(got);
    return same;
}
static double weights_number(const char *name) __attribute__((unused));
/* The same, and waits until its pages have been looked for: on a busy machine that may not be possible at once. */
__attribute__((unused)) static void load(CUdeviceptr to, unsigned seed, size_t size, size_t piece) {
    static double offered; /* by this process */
    char byte;
    upload(to, seed, size, piece);
    offered += (double)((size + PAGE - 1) / PAGE);
    for (int i = 0; i < 10 && weights_number("offered") < offered; i++) {
        usleep(2100000);
        OK(p_cuMemcpyDtoH_v2(&byte, to, 1));
    }
}
/* What the device has taken, all processes together, and its highest. */
__attribute__((unused)) static size_t taken_mb(void) { return truth().reserved / MB; }
__attribute__((unused)) static size_t peak_mb(void) { return truth().peak_reserved / MB; }
__attribute__((unused)) static double weights_number(const char *name) {
    char field[64];
    snprintf(field, sizeof field, "weights_%s", name);
    return stat_number(field);
}
__attribute__((unused)) static void kernel(CUfunction f, CUdeviceptr at, uint64_t size) {
    void *parameters[] = { &at, &size };
    OK(p_cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
}
static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".visible .entry reads(.param .u64 p, .param .u64 n) { ret; }\n.visible .entry writes(.param .u64 p, .param .u64 n) { ret; }\n";
static void read_it(const struct simctl_launch *l) { p_simctl_touch(*(uint64_t *)l->params[0], *(uint64_t *)l->params[1], false); }
static void write_it(const struct simctl_launch *l) {
    void *at = p_simctl_touch(*(uint64_t *)l->params[0], *(uint64_t *)l->params[1], true);
    if (at) memset(at, 0x77, *(uint64_t *)l->params[1]);
}
/* A kernel that reads, or writes, what it is given. */
__attribute__((unused)) static CUfunction kernel_named(const char *name) {
    CUmodule module;
    CUfunction f;
    p_simctl_register_twin("reads", read_it), p_simctl_register_twin("writes", write_it);
    OK(p_cuModuleLoadData(&module, ptx));
    OK(p_cuModuleGetFunction(&f, module, name));
    return f;
}

/* The test again, as a process of its own whose standard error is a file from the start: what it says is counted. */
struct said { unsigned ours, others; };
__attribute__((unused)) static struct said run_listening(char *self, const char *ours) {
    struct said said = { 0 };
    FILE *file = tmpfile();
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fileno(file), 2);
        setenv("LISTENED_TO", "1", 1);
        execl(self, self, NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    rewind(file);
    for (char line[500]; fgets(line, sizeof line, file);) {
        if (strstr(line, ours)) said.ours++;
        else said.others++, printf("it said %s", line);
    }
    if (status) exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    return said;
}

/* --- the other process */
enum order { LOAD, CHECK_IT, FREE_IT, FILL_IT, NUMBER, FORK_IT };
struct task { enum order order; unsigned seed; size_t size, piece, at; };

static long obey(const struct task *t) {
    static CUdeviceptr weights;
    switch (t->order) {
    case LOAD:
        weights = take(t->size);
        load(weights, t->seed, t->size, t->piece);
        OK(p_cuCtxSynchronize());
        return 1;
    case CHECK_IT: return holds(weights + t->at, t->seed, t->size);
    case FREE_IT: give(weights); return 1;
    case FILL_IT: OK(p_cuMemsetD8_v2(weights + t->at, (unsigned char)t->seed, t->size)); return 1;
    case NUMBER: return (long)weights_number(t->seed ? "once_bytes" : "copied");
    case FORK_IT: {
        pid_t pid = fork();
        if (pid == 0) _exit(0);
        int status;
        return waitpid(pid, &status, 0) == pid && status == 0;
    }
    }
    return 0;
}
__attribute__((unused)) static int be_another(void) {
    struct task task;
    start();
    while (read(OTHER_HEARS, &task, sizeof task) == sizeof task) {
        long answer = obey(&task);
        if (write(OTHER_TELLS, &answer, sizeof answer) != sizeof answer) return 1;
    }
    return 0;
}
__attribute__((unused)) static void tell(struct other *o, struct task task) { CHECK(write(o->tell, &task, sizeof task) == sizeof task); }
__attribute__((unused)) static long hear(struct other *o) {
    long answer = -1;
    int status = 0;
    if (read(o->hear, &answer, sizeof answer) != sizeof answer) waitpid(o->pid, &status, 0), FAIL("the other process is gone: status %#x", status);
    return answer;
}
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define TOLD(other, ...) (tell(other, (struct task){ __VA_ARGS__ }), hear(other))
#endif
