/* conform.h: a behaviour is one sentence that NVIDIA's public documentation promises, with a few lines that would notice if it
 * were not kept. Each runs in a process of its own: status 0 kept, 1 broken, 77 this machine cannot show it.
 *
 *     BEHAVIOUR(size_zero_is_invalid, MEM) { WANT(cuMemAlloc(&p, 0), CUDA_ERROR_INVALID_VALUE); }
 *
 * The second argument names the page. The programs use the documented driver API only, so that they run unchanged on the
 * simulated device and on a GPU. Kernels are PTX text; on the simulated device the same kernels have host twins. */
#ifndef CONFORM_H
#define CONFORM_H
#include <cuda.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOC "docs.nvidia.com/cuda/cuda-driver-api/"
#define MEM DOC "group__CUDA__MEM.html"
#define VMM DOC "group__CUDA__VA.html"
#define POOLS DOC "group__CUDA__MALLOC__ASYNC.html"
#define STREAM DOC "group__CUDA__STREAM.html"
#define EVENT DOC "group__CUDA__EVENT.html"
#define GRAPHS DOC "group__CUDA__GRAPH.html"
#define CONTEXT DOC "group__CUDA__CTX.html"
#define PRIMARY DOC "group__CUDA__PRIMARY__CTX.html"
#define DEVICE DOC "group__CUDA__DEVICE.html"
#define INIT DOC "group__CUDA__INITIALIZE.html"
#define ERRORS DOC "group__CUDA__ERROR.html"
#define ENTRY DOC "group__CUDA__DRIVER__ENTRY__POINT.html"
#define UNIFIED DOC "group__CUDA__UNIFIED.html"
#define MODULE DOC "group__CUDA__MODULE.html"
#define LIBRARY DOC "group__CUDA__LIBRARY.html"
#define EXEC DOC "group__CUDA__EXEC.html"
#define OCCUPANCY DOC "group__CUDA__OCCUPANCY.html"
#define MEMOP DOC "group__CUDA__MEMOP.html"
#define SYNC DOC "api-sync-behavior.html"
#define STREAMSYNC DOC "stream-sync-behavior.html"
#define TYPES DOC "group__CUDA__TYPES.html"
#define GUIDE "docs.nvidia.com/cuda/cuda-c-programming-guide/"
#define SIMULATED "tests/sim/driver/simctl.h"

struct behaviour { const char *name, *page; void (*run)(void); struct behaviour *next; int line; };
void conform_register(struct behaviour *b);

#define BEHAVIOUR(title, where)                                                                          \
    static void title(void);                                                                             \
    static struct behaviour behaviour_##title = { #title, where, title, NULL, __LINE__ };                \
    __attribute__((constructor)) static void register_##title(void) { conform_register(&behaviour_##title); } \
    static void title(void)

void conform_fail(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
void conform_skip(const char *why) __attribute__((noreturn));
const char *conform_error(CUresult result);

#define CHECK(condition) do { if (!(condition)) conform_fail(__FILE__, __LINE__, "%s", #condition); } while (0)
#define WANT(call, expected) do { CUresult r_ = (call); if (r_ != (expected))                            \
    conform_fail(__FILE__, __LINE__, "%s: %s, expected %s", #call, conform_error(r_), conform_error(expected)); } while (0)
#define OK(call) WANT(call, CUDA_SUCCESS)
/* The documentation lists several errors, or drivers have answered differently over time. */
#define WANT_ANY(call, a, b) do { CUresult r_ = (call); if (r_ != (a) && r_ != (b))                      \
    conform_fail(__FILE__, __LINE__, "%s: %s, expected %s or %s", #call, conform_error(r_), conform_error(a), conform_error(b)); } while (0)
#define FAILS(call) do { if ((call) == CUDA_SUCCESS) conform_fail(__FILE__, __LINE__, "%s succeeded", #call); } while (0)

CUcontext begin(void);                   /* initialise, primary context of device 0 current; skips without a device */
bool simulated(void);
void only_simulated(void);               /* skips on real hardware */
bool direct(void);                       /* no layer above the driver that keeps freed memory */
void only_direct(void);                  /* skips under a layer that keeps freed memory */

/* A stream that does nothing further until the gate is opened. */
struct gate_state { _Atomic int open; };
struct gate { struct gate_state *state; };            /* the state is never freed: the stream may get there late */
void gate_close(struct gate *gate, CUstream stream);
void gate_open(struct gate *gate);

/* Kernels: fill(u32 *p, u32 value, u32 n), spin(u64 ns), add(u32 *p, u32 n): p[i] += 1 */
CUfunction kernel(const char *name);
CUmodule kernels(void);
const char *kernels_text(void);
void launch_fill(CUdeviceptr p, unsigned value, unsigned n, CUstream s);
void launch_spin(unsigned long long ns, CUstream s);
unsigned read_word(CUdeviceptr p);       /* waits for the whole device first */
size_t free_memory(void);
CUmemAllocationProp pinned_on_device(void);
size_t granularity(void);
CUmemAccessDesc read_write(void);

/* A second process of the same program: runs `function` in a fresh process that never inherited CUDA; talk over a socket. */
typedef void peer_function(int socket);
int peer_start(peer_function *function);                     /* before any CUDA call of the parent; returns the socket */
void peer_finish(void);                                      /* fails when the peer did */
void send_bytes(int socket, const void *bytes, size_t size);
void receive_bytes(int socket, void *bytes, size_t size);
void send_descriptor(int socket, int fd);
int receive_descriptor(int socket);
#endif
