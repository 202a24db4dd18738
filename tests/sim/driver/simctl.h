/* simctl.h: ground truth about the simulated device, and control over it. Library: libcoppice-simctl.so.
 *
 * Two halves. *Reading* works from any process of the same user, whether or not it uses the device: the device set is a shared
 * file named by SIM_DEVICE_NAME. *Control* (twins, faults, device memory) acts on the libcuda.so.1 loaded in this process and
 * returns false, 0 or NULL where that is not the simulated one, so that a test runs unchanged on a real GPU.
 *
 * live      bytes that programs asked for, to the byte
 * reserved  bytes taken from the capacity: rounded up to 512 B, above 1 MiB to 2 MiB; pools count what they hold
 * twin      a host function that does a kernel's work when a kernel of that name is launched. It runs in stream order on the
 *           stream's thread. Parameters arrive as the launch gave them: params[i] points at a copy of parameter i. Their sizes
 *           are given at registration, or known when the module was PTX text that declares them.
 *           It reaches device memory with simctl_touch only; NULL from there means that a real kernel would have faulted, and
 *           the context has its sticky error already. */
#ifndef COPPICE_SIMCTL_H
#define COPPICE_SIMCTL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { SIMCTL_MAX_PARAMS = 64 };

struct simctl_device { uint64_t capacity, live, reserved, peak_live, peak_reserved, allocs, frees; };
struct simctl_launch {
    const char *name;
    unsigned grid[3], block[3], shared_bytes;
    void **params;               /* SIMCTL_MAX_PARAMS entries; those without a known size are NULL */
    void *user;
};
typedef void simctl_twin(const struct simctl_launch *launch);

/* ---- reading. name: a device set, NULL for this process's SIM_DEVICE_NAME. pid 0: all processes together. */
bool simctl_device(const char *name, int pid, int device, struct simctl_device *out);
bool simctl_reset_peaks(const char *name);              /* peaks become the present values */
uint64_t simctl_calls(const char *name, int pid, const char *function);    /* "cuMemAlloc_v2"; NULL: all functions */
uint64_t simctl_wrong_calls(const char *name, int pid, const char *function);
int simctl_processes(const char *name, int *pids, int max);                /* living ones; returns how many */
bool simctl_dump(const char *name, int fd);             /* text: devices, processes, calls by name */
bool simctl_remove(const char *name);                   /* the set's file, when nobody uses it */

/* ---- control of the driver in this process */
bool simctl_present(void);
bool simctl_register_twin(const char *kernel, simctl_twin *twin);
bool simctl_register_twin_sized(const char *kernel, simctl_twin *twin, void *user, int count, const size_t *sizes);
bool simctl_remove_twin(const char *kernel);
void *simctl_touch(uint64_t pointer, size_t size, bool write);   /* host view of device memory, or NULL (and the sticky error) */
void *simctl_peek(uint64_t pointer, size_t size);       /* the same without consequences: for tests */
bool simctl_fault(const char *function, unsigned long nth, int error);     /* as one entry of SIM_FAULT; nth counts from now */
bool simctl_clear_faults(void);
bool simctl_seed(uint64_t seed);                        /* as SIM_SEED, for streams made from now on; 0 ends exploring */

#ifdef __cplusplus
}
#endif
#endif
