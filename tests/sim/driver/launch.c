/* launch.c: kernel launches. A kernel with a twin runs it; any other kernel only takes stream time.
 * Parameters are copied at submission where their sizes are known: from PTX text, or from the twin's registration. */
#include "work.h"
#include "control.h"
#include "memory.h"
#include "module.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct arguments *arguments_new(int count, size_t bytes) {
    struct arguments *a = calloc(1, sizeof *a + bytes + 16);
    a->refs = 1;
    a->count = count;
    return a;
}

/* The sizes of a kernel's parameters: as many as are known, at the offsets of the parameter buffer. */
static int layout(struct CUfunc_st *f, size_t *offset, size_t *size) {
    int n = f->param_count;
    for (int i = 0; i < n; i++) offset[i] = f->offset[i], size[i] = f->size[i];
    const struct twin *t = n < 0 ? twin_find(f->name) : NULL;
    size_t at = 0;
    for (int i = 0; t && i < t->count; i++) {
        size_t align = MIN(t->sizes[i] & -t->sizes[i], (size_t)16);
        at = align ? ALIGN_UP(at, align) : at;
        offset[i] = at, size[i] = t->sizes[i];
        at += t->sizes[i];
    }
    return t ? t->count : MAX(n, 0);
}

static struct arguments *arguments_copy(struct CUfunc_st *f, void **params, void **extra) {
    size_t offset[MAX_PARAMS], size[MAX_PARAMS], given = 0, end = 0;
    const char *buffer = NULL;
    int n = layout(f, offset, size);
    for (void **e = extra; e && *e != CU_LAUNCH_PARAM_END; e += 2) {
        if (*e == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = e[1];
        else if (*e == CU_LAUNCH_PARAM_BUFFER_SIZE) given = *(size_t *)e[1];
    }
    if (n) end = offset[n - 1] + size[n - 1];
    struct arguments *a = arguments_new(n, MAX(end, given));
    if (buffer) memcpy(a->bytes, buffer, given);
    for (int i = 0; i < n; i++) {
        if (!buffer && params && params[i]) memcpy(a->bytes + offset[i], params[i], size[i]);
        a->pointer[i] = a->bytes + offset[i];
        a->given[i] = a->pointer[i];
    }
    if (n == 0 && buffer) a->pointer[0] = a->bytes, a->count = 1;
    return a;
}

/* SIM_ZERO=part:parameter:bytes[,...]: a kernel whose name contains the part sets that many bytes to zero where the parameter
 * points. For programs that size something by what a kernel counted: nothing, then, instead of whatever lay there. */
void function_read_zero(struct CUfunc_st *f) {
    char part[128];
    int param, used;
    size_t bytes;
    for (const char *p = opt.zero; p && sscanf(p, "%127[^:]:%d:%zu%n", part, &param, &bytes, &used) == 3; p++) {
        if (strstr(f->name, part)) f->zero_param = param, f->zero_bytes = bytes;
        p += used;
        if (*p != ',') break;
    }
}

CUresult launch_make(const CUDA_KERNEL_NODE_PARAMS *p, struct launch *out) {
    struct CUfunc_st *f = function_of(p->func ? (void *)p->func : (void *)p->kern);
    if (!f) return CUDA_ERROR_INVALID_HANDLE;
    if (!p->gridDimX || !p->gridDimY || !p->gridDimZ || !p->blockDimX || !p->blockDimY || !p->blockDimZ) return CUDA_ERROR_INVALID_VALUE;
    if (p->gridDimX > 2147483647u || p->gridDimY > 65535 || p->gridDimZ > 65535) return CUDA_ERROR_INVALID_VALUE;
    if (p->blockDimZ > 64 || (u64)p->blockDimX * p->blockDimY * p->blockDimZ > 1024) return CUDA_ERROR_INVALID_VALUE;
    if (p->sharedMemBytes > 232448) return CUDA_ERROR_INVALID_VALUE;
    if (p->kernelParams && p->extra) return CUDA_ERROR_INVALID_VALUE;
    if (f->param_count > 0 && !p->kernelParams && !p->extra) return CUDA_ERROR_INVALID_VALUE;
    *out = (struct launch){ .function = f, .grid = { p->gridDimX, p->gridDimY, p->gridDimZ },
                            .block = { p->blockDimX, p->blockDimY, p->blockDimZ }, .shared = p->sharedMemBytes };
    out->arguments = arguments_copy(f, p->kernelParams, p->extra);
    if (f->zero_bytes && p->kernelParams && p->kernelParams[f->zero_param]) {
        memcpy(&out->zero_at, p->kernelParams[f->zero_param], sizeof out->zero_at);
        out->zero_bytes = f->zero_bytes;
    }
    return CUDA_SUCCESS;
}

__thread CUcontext twin_context;         /* whose kernel the running twin stands in for */

CUresult launch_run(const struct work *w) {
    const struct launch *l = &w->launch;
    const struct twin *t = is(l->function, FUNCTION) ? twin_find(l->function->name) : NULL;
    if (l->zero_bytes) {
        void *at = in_window(l->zero_at) ? space_touch(l->zero_at, l->zero_bytes, true) : NULL;
        if (at) memset(at, 0, l->zero_bytes);
    }
    if (!t) {
        if (opt.kernel_ns) spin_ns(opt.kernel_ns);
        return CUDA_SUCCESS;
    }
    struct simctl_launch call = { .name = l->function->name, .shared_bytes = l->shared, .user = t->user,
                                  .params = l->arguments ? l->arguments->pointer : NULL };
    memcpy(call.grid, l->grid, sizeof call.grid);
    memcpy(call.block, l->block, sizeof call.block);
    twin_context = w->context;
    t->run(&call);
    twin_context = NULL;
    return (CUresult)atomic_load(&w->context->error);
}

static CUresult launch(CUstream handle, const CUDA_KERNEL_NODE_PARAMS *p, bool cooperative) {
    CUstream s;
    struct work w = { .type = CU_GRAPH_NODE_TYPE_KERNEL };
    TRY(stream_resolve(handle, &s));
    TRY(launch_make(p, &w.launch));
    w.launch.cooperative = cooperative;
    return work_submit(s, &w, WORK_ASYNC);
}

#define GRID(f, gx, gy, gz, bx, by, bz, shared, params, ex)                                                                  \
    { .func = f, .gridDimX = gx, .gridDimY = gy, .gridDimZ = gz, .blockDimX = bx, .blockDimY = by, .blockDimZ = bz,          \
      .sharedMemBytes = shared, .kernelParams = params, .extra = ex }

CUresult DRV(cuLaunchKernel)(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                             unsigned shared, CUstream s, void **params, void **extra) {
    CUDA_KERNEL_NODE_PARAMS p = GRID(f, gx, gy, gz, bx, by, bz, shared, params, extra);
    return launch(s, &p, false);
}

CUresult DRV(cuLaunchCooperativeKernel)(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                        unsigned shared, CUstream s, void **params) {
    CUDA_KERNEL_NODE_PARAMS p = GRID(f, gx, gy, gz, bx, by, bz, shared, params, NULL);
    return launch(s, &p, true);
}

CUresult DRV(cuLaunchKernelEx)(const CUlaunchConfig *c, CUfunction f, void **params, void **extra) {
    if (!c || (c->numAttrs && !c->attrs)) return CUDA_ERROR_INVALID_VALUE;
    CUDA_KERNEL_NODE_PARAMS p = GRID(f, c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX, c->blockDimY, c->blockDimZ,
                                     c->sharedMemBytes, params, extra);
    return launch(c->hStream, &p, false);
}
