/* conform.c: what the conformance programs share: running one behaviour, kernels and their twins, gates, second processes. */
#define _GNU_SOURCE
#include "conform.h"
#include "simctl.h"
#include <dlfcn.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

/* ---- the driver, found at run time */
void *conform_driver(const char *name) {
    static void *driver;
    if (!driver) driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    return driver ? dlsym(driver, name) : NULL;
}

const char *conform_error(CUresult result) {
    const char *name = NULL;
    static char number[4][24];
    static int turn;
    if (cuGetErrorName(result, &name) == CUDA_SUCCESS && name) return name;
    snprintf(number[turn = (turn + 1) % 4], sizeof number[0], "error %d", (int)result);
    return number[turn];
}

/* ---- verdicts */
void conform_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "  %s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(stderr);
    _exit(1);
}

void conform_skip(const char *why) {
    fprintf(stderr, "  skipped: %s\n", why);
    fflush(stderr);
    _exit(77);
}

static struct behaviour *first, **last = &first;
void conform_register(struct behaviour *b) { *last = b, last = &b->next; }

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (struct behaviour *b = first; b; b = b->next) printf("%s\t%s\n", b->name, b->page);
        return 0;
    }
    for (struct behaviour *b = first; b && argc == 2; b = b->next)
        if (strcmp(b->name, argv[1]) == 0) {
            alarm(getenv("CONFORM_TIMEOUT") ? (unsigned)atoi(getenv("CONFORM_TIMEOUT")) : 20);
            b->run();
            fflush(NULL);
            _exit(0);
        }
    fprintf(stderr, "usage: %s --list | BEHAVIOUR\n", argv[0]);
    return 2;
}

/* ---- the device */
CUcontext begin(void) {
    CUcontext c;
    CUresult r = conform_driver("cuInit") ? cuInit(0) : CUDA_ERROR_NO_DEVICE;
    if (r == CUDA_ERROR_NO_DEVICE || r == CUDA_ERROR_NOT_FOUND) conform_skip("no CUDA device");
    WANT(r, CUDA_SUCCESS);
    OK(cuDevicePrimaryCtxRetain(&c, 0));
    OK(cuCtxSetCurrent(c));
    return c;
}

bool simulated(void) { return conform_driver("coppice_sim_control") != NULL; }
void only_simulated(void) { if (!simulated()) conform_skip("about the simulated device only"); }

size_t free_memory(void) {
    size_t n;
    OK(cuMemGetInfo(&n, NULL));
    return n;
}

CUmemAllocationProp pinned_on_device(void) {
    CUmemAllocationProp p = { .type = CU_MEM_ALLOCATION_TYPE_PINNED };
    p.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    return p;
}

size_t granularity(void) {
    size_t g;
    CUmemAllocationProp p = pinned_on_device();
    OK(cuMemGetAllocationGranularity(&g, &p, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    return g;
}

CUmemAccessDesc read_write(void) {
    CUmemAccessDesc a = { .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    a.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    return a;
}

/* Freed memory that a layer above the driver keeps is still the driver's live memory: touching it is no fault, and it is counted. */
bool direct(void) { return !dlsym(RTLD_DEFAULT, "coppice_version"); }
void only_direct(void) { if (!direct()) conform_skip("a layer above the driver keeps freed memory"); }

/* ---- gates */
static void gate_function(void *arg) {
    struct gate_state *g = arg;
    for (int i = 0; !g->open && i < 15000; i++) nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

void gate_close(struct gate *g, CUstream s) {
    g->state = calloc(1, sizeof *g->state);
    OK(cuLaunchHostFunc(s, gate_function, g->state));
}

void gate_open(struct gate *g) { g->state->open = 1; }

/* ---- kernels */
static const char text[] =
    ".version 6.0\n.target sm_50\n.address_size 64\n"
    ".visible .global .align 4 .b8 table[64];\n"
    ".visible .entry fill(.param .u64 fill_p, .param .u32 fill_v, .param .u32 fill_n)\n{\n"
    " .reg .pred %p<2>;\n .reg .b32 %r<6>;\n .reg .b64 %rd<5>;\n"
    " ld.param.u64 %rd1, [fill_p];\n cvta.to.global.u64 %rd2, %rd1;\n ld.param.u32 %r1, [fill_v];\n ld.param.u32 %r2, [fill_n];\n"
    " mov.u32 %r3, 0;\nFILL_LOOP:\n setp.ge.u32 %p1, %r3, %r2;\n @%p1 bra FILL_DONE;\n mul.wide.u32 %rd3, %r3, 4;\n"
    " add.s64 %rd4, %rd2, %rd3;\n st.global.u32 [%rd4], %r1;\n add.u32 %r3, %r3, 1;\n bra FILL_LOOP;\nFILL_DONE:\n ret;\n}\n"
    ".visible .entry add(.param .u64 add_p, .param .u32 add_n)\n{\n"
    " .reg .pred %p<2>;\n .reg .b32 %r<6>;\n .reg .b64 %rd<5>;\n"
    " ld.param.u64 %rd1, [add_p];\n cvta.to.global.u64 %rd2, %rd1;\n ld.param.u32 %r2, [add_n];\n mov.u32 %r3, 0;\n"
    "ADD_LOOP:\n setp.ge.u32 %p1, %r3, %r2;\n @%p1 bra ADD_DONE;\n mul.wide.u32 %rd3, %r3, 4;\n add.s64 %rd4, %rd2, %rd3;\n"
    " ld.global.u32 %r4, [%rd4];\n add.u32 %r4, %r4, 1;\n st.global.u32 [%rd4], %r4;\n add.u32 %r3, %r3, 1;\n bra ADD_LOOP;\n"
    "ADD_DONE:\n ret;\n}\n"
    ".visible .entry spin(.param .u64 spin_ns)\n{\n .reg .pred %p<2>;\n .reg .b64 %rd<5>;\n ld.param.u64 %rd1, [spin_ns];\n"
    " mov.u64 %rd2, %globaltimer;\n add.u64 %rd3, %rd2, %rd1;\nSPIN_LOOP:\n mov.u64 %rd4, %globaltimer;\n"
    " setp.lt.u64 %p1, %rd4, %rd3;\n @%p1 bra SPIN_LOOP;\n ret;\n}\n";

static void *(*touch)(uint64_t, size_t, bool);

static void twin_fill(const struct simctl_launch *l) {
    unsigned n = *(unsigned *)l->params[2], *p = touch(*(uint64_t *)l->params[0], n * 4ul, true);
    for (unsigned i = 0; p && i < n; i++) p[i] = *(unsigned *)l->params[1];
}

static void twin_add(const struct simctl_launch *l) {
    unsigned n = *(unsigned *)l->params[1], *p = touch(*(uint64_t *)l->params[0], n * 4ul, true);
    for (unsigned i = 0; p && i < n; i++) p[i] += 1;
}

static void twin_spin(const struct simctl_launch *l) {
    uint64_t ns = *(uint64_t *)l->params[0];
    nanosleep(&(struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) }, NULL);
}

const char *kernels_text(void) { return text; }

static void register_twins(void) {
    void *ctl = simulated() ? dlopen("libcoppice-simctl.so", RTLD_NOW) : NULL;
    if (!ctl) return;
    bool (*add)(const char *, simctl_twin *) = (__typeof__(add))dlsym(ctl, "simctl_register_twin");
    touch = (__typeof__(touch))dlsym(ctl, "simctl_touch");
    if (!add || !touch) conform_fail(__FILE__, __LINE__, "libcoppice-simctl.so is not complete");
    add("fill", twin_fill);
    add("add", twin_add);
    add("spin", twin_spin);
}

CUmodule kernels(void) {
    static CUmodule module;
    if (module) return module;
    register_twins();
    OK(cuModuleLoadData(&module, text));
    return module;
}

CUfunction kernel(const char *name) {
    CUfunction f;
    OK(cuModuleGetFunction(&f, kernels(), name));
    return f;
}

void launch_fill(CUdeviceptr p, unsigned value, unsigned n, CUstream s) {
    void *args[] = { &p, &value, &n };
    OK(cuLaunchKernel(kernel("fill"), 1, 1, 1, 1, 1, 1, 0, s, args, NULL));
}

void launch_spin(unsigned long long ns, CUstream s) {
    void *args[] = { &ns };
    OK(cuLaunchKernel(kernel("spin"), 1, 1, 1, 1, 1, 1, 0, s, args, NULL));
}

unsigned read_word(CUdeviceptr p) {
    unsigned v = 0;
    OK(cuCtxSynchronize());
    OK(cuMemcpyDtoH(&v, p, sizeof v));
    return v;
}

/* ---- a second process */
static pid_t peer;

int peer_start(peer_function *function) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    peer = fork();
    CHECK(peer >= 0);
    if (peer == 0) {
        close(pair[0]);
        alarm(20);
        function(pair[1]);
        _exit(0);
    }
    close(pair[1]);
    return pair[0];
}

void peer_finish(void) {
    int status = 0;
    CHECK(waitpid(peer, &status, 0) == peer);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) _exit(77);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void send_bytes(int socket, const void *bytes, size_t size) { CHECK(write(socket, bytes, size) == (ssize_t)size); }

void receive_bytes(int socket, void *bytes, size_t size) {
    for (char *p = bytes; size;) {
        ssize_t n = read(socket, p, size);
        if (n <= 0) conform_fail(__FILE__, __LINE__, "the other process is gone");
        p += n, size -= (size_t)n;
    }
}

void send_descriptor(int socket, int fd) {
    char control[CMSG_SPACE(sizeof fd)] = { 0 }, byte = 1;
    struct iovec io = { &byte, 1 };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    CHECK(sendmsg(socket, &m, 0) == 1);
}

int receive_descriptor(int socket) {
    int fd = -1;
    char control[CMSG_SPACE(sizeof fd)] = { 0 }, byte;
    struct iovec io = { &byte, 1 };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    CHECK(recvmsg(socket, &m, 0) == 1);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    CHECK(c && c->cmsg_type == SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}
