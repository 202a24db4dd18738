/* ipc_test.h: for the tests of legacy IPC of memory made of pages: another process that opens, reads, writes and closes what it is told
 * to, or takes memory and shows it. One order, one answer, over a socket. */
#ifndef COPPICE_IPC_TEST_H
#define COPPICE_IPC_TEST_H
#include "cuda_test.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#define MB ((size_t)1 << 20)
#define LAZY CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS

enum what { OPEN, CLOSE, FILL, HOLDS, RANGE, FREE, TAKE, SHOW, NUMBER, RESET, CLOSE_IN_CAPTURE, DEVICE, PEER, ACCESS };
struct order { enum what what; CUipcMemHandle handle; CUdeviceptr at; size_t size; int value; char field[32]; };
struct answer { CUresult result; CUipcMemHandle handle; CUdeviceptr at; size_t size; double number; };
struct other { pid_t pid; int socket; };

/* Every byte, without an end of the test: which process is wrong is for the one that asks. */
static bool all_are(CUdeviceptr at, int value, size_t size) {
    unsigned char *host = malloc(size);
    bool same = p_cuMemcpyDtoH_v2(host, at, size) == CUDA_SUCCESS;
    for (size_t i = 0; i < size; i++) same = same && host[i] == value;
    free(host);
    return same;
}

static CUresult close_in_capture(CUdeviceptr at) {
    CUstream stream;
    CUgraph graph;
    OK(p_cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(p_cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CUresult closed = p_cuIpcCloseMemHandle(at);
    OK(p_cuStreamEndCapture(stream, &graph));
    OK(p_cuGraphDestroy(graph));
    OK(p_cuStreamDestroy_v2(stream));
    return closed;
}

/* Device 1 may reach what device 0 has from now on. */
static CUresult enable_peer(void) {
    __typeof__(&cuCtxEnablePeerAccess) enable = (__typeof__(enable))dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuCtxEnablePeerAccess");
    CUcontext one;
    OK(p_cuDevicePrimaryCtxRetain(&one, 1));
    OK(p_cuCtxSetCurrent(one));
    CUresult enabled = enable(test_context, 0);
    OK(p_cuCtxSetCurrent(test_context));
    return enabled;
}
static CUresult access_of(CUdeviceptr at, int device, size_t *flags) {
    __typeof__(&cuMemGetAccess) get = (__typeof__(get))dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuMemGetAccess");
    unsigned long long found = 0;
    CUresult result = get(&found, &(CUmemLocation){ .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device }, at);
    *flags = found;
    return result;
}

static struct answer obey(const struct order *o) {
    struct answer a = { .at = o->at };
    switch (o->what) {
    case OPEN: a.result = p_cuIpcOpenMemHandle_v2(&a.at, o->handle, o->value ? (unsigned)o->value : LAZY); break;
    case CLOSE: a.result = p_cuIpcCloseMemHandle(o->at); break;
    case CLOSE_IN_CAPTURE: a.result = close_in_capture(o->at); break;
    case FILL:
        a.result = p_cuMemsetD8_v2(o->at, (unsigned char)o->value, o->size);
        OK(p_cuCtxSynchronize());
        break;
    case HOLDS: a.result = all_are(o->at, o->value, o->size) ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN; break;
    case RANGE: a.result = p_cuMemGetAddressRange_v2(&a.at, &a.size, o->at); break;
    case FREE: a.result = p_cuMemFree_v2(o->at); break;
    case TAKE: a.result = p_cuMemAlloc_v2(&a.at, o->size); break;
    case SHOW: a.result = p_cuIpcGetMemHandle(&a.handle, o->at); break;
    case NUMBER: a.number = stat_number(o->field); break;
    case RESET: a.result = p_cuDevicePrimaryCtxReset_v2(0); break;
    case PEER: a.result = enable_peer(); break;
    case ACCESS: a.result = access_of(o->at, o->value, &a.size); break;
    case DEVICE: {
        CUcontext context;
        a.result = p_cuDevicePrimaryCtxRetain(&context, o->value);
        OK(p_cuCtxSetCurrent(context));
        break;
    }
    }
    return a;
}

__attribute__((unused)) static int be_another(int socket) {
    struct order o;
    start();
    while (read(socket, &o, sizeof o) == sizeof o) {
        struct answer a = obey(&o);
        if (write(socket, &a, sizeof a) != sizeof a) return 1;
    }
    return 0;
}
/* `setting`: NAME=VALUE in its environment, or NULL. */
__attribute__((unused)) static struct other begin(char *self, const char *setting) {
    int ends[2];
    char number[16];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    snprintf(number, sizeof number, "%d", ends[1]);
    pid_t pid = fork();
    if (pid == 0) {
        fcntl(ends[1], F_SETFD, 0);
        if (setting) putenv((char *)setting);
        execl(self, self, number, NULL);
        _exit(127);
    }
    close(ends[1]);
    return (struct other){ pid, ends[0] };
}
__attribute__((unused)) static struct answer tell(struct other *o, struct order order) {
    struct answer a;
    int status = 0;
    if (write(o->socket, &order, sizeof order) != sizeof order || read(o->socket, &a, sizeof a) != sizeof a)
        waitpid(o->pid, &status, 0), FAIL("the other process is gone: status %#x", status);
    return a;
}
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define TOLD(other, ...) tell(other, (struct order){ __VA_ARGS__ })
#define TOLD_OK(other, ...) OK(TOLD(other, __VA_ARGS__).result)
__attribute__((unused)) static void end(struct other *o) {
    int status;
    close(o->socket);
    CHECK(waitpid(o->pid, &status, 0) == o->pid && status == 0, "the other process ended with %#x", status);
}
__attribute__((unused)) static void kill_it(struct other *o) {
    kill(o->pid, SIGKILL), waitpid(o->pid, NULL, 0);
    close(o->socket);
}

__attribute__((unused)) static CUipcMemHandle handle_of(CUdeviceptr p) {
    CUipcMemHandle h;
    OK(p_cuIpcGetMemHandle(&h, p));
    return h;
}
__attribute__((unused)) static CUdeviceptr take_filled(size_t size, int value) {
    CUdeviceptr p = take(size);
    OK(p_cuMemsetD8_v2(p, (unsigned char)value, size));
    OK(p_cuCtxSynchronize());
    return p;
}
/* What the device has taken is what this process has reserved: soon, for others may end and our own cleaner may give back just now. */
__attribute__((unused)) static void nothing_is_left_of_others(void) {
    double ours = stat_number("reserved_bytes");
    size_t left; /* asking for it makes the device look what nobody has a descriptor of any more */
    for (int i = 0; i < 50 && (double)truth().live != ours; i++) {
        usleep(20000);
        OK(p_cuMemGetInfo_v2(&left, NULL));
        ours = stat_number("reserved_bytes");
    }
    CHECK((double)truth().live == ours, "the device holds %lu bytes, ours are %.0f", (unsigned long)truth().live, ours);
}
#endif
