/* module.c: loading images and finding things in them by name. The nouns are in module.h. */
#define _GNU_SOURCE
#include "module.h"
#include "memory.h"
#include "stream.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct CUmod_st *all;

struct CUlib_st { struct object object; struct CUmod_st *module; };

struct CUfunc_st *function_add(struct CUmod_st *m, const char *name, size_t length) {
    struct CUfunc_st *f = object_new(FUNCTION, sizeof *f);
    f->module = m;
    f->name = strndup(name, length);
    f->param_count = -1;
    f->attribute[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = 1024;
    f->attribute[CU_FUNC_ATTRIBUTE_NUM_REGS] = 32;
    f->attribute[CU_FUNC_ATTRIBUTE_PTX_VERSION] = f->attribute[CU_FUNC_ATTRIBUTE_BINARY_VERSION] = opt.cc_major * 10 + opt.cc_minor;
    f->attribute[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = 49152;
    f->attribute[CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT] = -1;
    if (opt.zero) function_read_zero(f);
    f->next = m->functions;
    m->functions = f;
    return f;
}

struct CUmod_st *module_make(CUcontext c, const void *image) {
    struct CUmod_st *m = object_new(MODULE, sizeof *m);
    m->context = c;
    if (looks_like_ptx(image)) ptx_read(m, image);
    pthread_mutex_lock(&lock);
    m->next = all;
    all = m;
    pthread_mutex_unlock(&lock);
    return m;
}

void module_free(struct CUmod_st *m) {
    pthread_mutex_lock(&lock);
    for (struct CUmod_st **p = &all; *p; p = &(*p)->next)
        if (*p == m) {
            *p = m->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    while (m->functions) {
        struct CUfunc_st *f = m->functions;
        m->functions = f->next;
        free(f->name);
        object_free(f);
    }
    while (m->variables) {
        struct variable *v = m->variables;
        m->variables = v->next;
        struct block *b = NULL;
        pthread_mutex_lock(&memory_lock);
        if (v->pointer) b = space_find(v->pointer);
        pthread_mutex_unlock(&memory_lock);
        if (b && b->base == v->pointer) block_release(b);
        free(v->name);
        free(v);
    }
    object_free(m);
}

/* Variables go with the module; teardown of a context has it go before the context's blocks do. */
void modules_drop_context(CUcontext c) {
    for (;;) {
        struct CUmod_st *m;
        pthread_mutex_lock(&lock);
        for (m = all; m && m->context != c; m = m->next) {}
        for (struct CUmod_st *l = m ? NULL : all; l; l = l->next)
            for (struct variable *v = l->context ? NULL : l->variables; v; v = v->next) {
                struct block *b = v->pointer ? space_find(v->pointer) : NULL;
                if (b && b->context == c) v->pointer = 0;     /* a library's variable is made again where it is asked for */
            }
        pthread_mutex_unlock(&lock);
        if (!m) return;
        module_free(m);
    }
}

struct CUfunc_st *module_function(struct CUmod_st *m, const char *name) {
    pthread_mutex_lock(&lock);
    struct CUfunc_st *f = m->functions;
    while (f && strcmp(f->name, name) != 0) f = f->next;
    if (!f && !m->known) f = function_add(m, name, strlen(name));
    pthread_mutex_unlock(&lock);
    return f;
}

/* A variable gets device memory when it is first asked for; one of unknown size gets 4 KiB. */
static CUresult module_variable(struct CUmod_st *m, CUcontext c, const char *name, CUdeviceptr *pointer, size_t *size) {
    pthread_mutex_lock(&lock);
    struct variable *v = m->variables;
    while (v && strcmp(v->name, name) != 0) v = v->next;
    if (!v && !m->known) {
        v = calloc(1, sizeof *v);
        v->name = strdup(name);
        v->size = 4096;
        v->next = m->variables;
        m->variables = v;
    }
    CUresult result = v ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
    if (v && !v->pointer) {
        struct block *b;
        result = block_allocate(c->device, c, v->size, BLOCK_PLAIN, &b);
        if (result == CUDA_SUCCESS) v->pointer = b->base;
    }
    if (result == CUDA_SUCCESS) {
        if (pointer) *pointer = v->pointer;
        if (size) *size = v->size;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static void *read_file(const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    char *bytes = fstat(fd, &st) == 0 ? malloc((size_t)st.st_size + 1) : NULL;
    ssize_t n = bytes ? read(fd, bytes, (size_t)st.st_size) : -1;
    close(fd);
    if (n < 0) {
        free(bytes);
        return NULL;
    }
    bytes[n] = 0;
    return bytes;
}

/* ---- modules */
CUresult DRV(cuModuleLoadData)(CUmodule *out, const void *image) {
    CUcontext c;
    if (!out || !image) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    *out = module_make(c, image);
    return CUDA_SUCCESS;
}

CUresult DRV(cuModuleLoadDataEx)(CUmodule *out, const void *image, unsigned count, CUjit_option *options, void **values) {
    (void)count, (void)options, (void)values;
    return DRV(cuModuleLoadData)(out, image);
}

CUresult DRV(cuModuleLoadFatBinary)(CUmodule *out, const void *image) { return DRV(cuModuleLoadData)(out, image); }

CUresult DRV(cuModuleLoad)(CUmodule *out, const char *path) {
    if (!out || !path) return CUDA_ERROR_INVALID_VALUE;
    void *bytes = read_file(path);
    if (!bytes) return CUDA_ERROR_FILE_NOT_FOUND;
    CUresult result = DRV(cuModuleLoadData)(out, bytes);
    free(bytes);
    return result;
}

CUresult DRV(cuModuleUnload)(CUmodule m) {
    if (!is(m, MODULE)) return CUDA_ERROR_INVALID_HANDLE;
    if (m->library) return CUDA_ERROR_NOT_PERMITTED;
    device_synchronize(NULL);
    module_free(m);
    return CUDA_SUCCESS;
}

CUresult DRV(cuModuleGetLoadingMode)(CUmoduleLoadingMode *out) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    *out = CU_MODULE_LAZY_LOADING;
    return CUDA_SUCCESS;
}

CUresult DRV(cuModuleGetFunction)(CUfunction *out, CUmodule m, const char *name) {
    if (!out || !name) return CUDA_ERROR_INVALID_VALUE;
    if (!is(m, MODULE)) return CUDA_ERROR_INVALID_HANDLE;
    if (!*name) return CUDA_ERROR_NOT_FOUND;
    *out = module_function(m, name);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult DRV(cuModuleGetGlobal_v2)(CUdeviceptr *pointer, size_t *size, CUmodule m, const char *name) {
    CUcontext c;
    if (!name) return CUDA_ERROR_INVALID_VALUE;
    TRY(context_current(&c));
    if (!is(m, MODULE)) return CUDA_ERROR_INVALID_HANDLE;
    return module_variable(m, c, name, pointer, size);
}

static unsigned function_count(struct CUmod_st *m) {
    unsigned n = 0;
    for (struct CUfunc_st *f = m->functions; f; f = f->next) n++;
    return n;
}

CUresult DRV(cuModuleGetFunctionCount)(unsigned *out, CUmodule m) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!is(m, MODULE)) return CUDA_ERROR_INVALID_HANDLE;
    *out = function_count(m);
    return CUDA_SUCCESS;
}

CUresult DRV(cuModuleEnumerateFunctions)(CUfunction *out, unsigned count, CUmodule m) {
    if (!out || !count) return CUDA_ERROR_INVALID_VALUE;
    if (!is(m, MODULE)) return CUDA_ERROR_INVALID_HANDLE;
    unsigned n = 0;
    for (struct CUfunc_st *f = m->functions; f && n < count; f = f->next) out[n++] = f;
    return CUDA_SUCCESS;
}

/* ---- libraries */
CUresult DRV(cuLibraryLoadData)(CUlibrary *out, const void *code, CUjit_option *jit, void **jit_values, unsigned jit_count,
                                CUlibraryOption *options, void **values, unsigned count) {
    (void)jit, (void)jit_values, (void)jit_count, (void)options, (void)values, (void)count;
    if (!out || !code) return CUDA_ERROR_INVALID_VALUE;
    struct CUlib_st *l = object_new(LIBRARY, sizeof *l);
    l->module = module_make(NULL, code);
    l->module->library = l;
    *out = l;
    return CUDA_SUCCESS;
}

CUresult DRV(cuLibraryLoadFromFile)(CUlibrary *out, const char *path, CUjit_option *jit, void **jit_values, unsigned jit_count,
                                    CUlibraryOption *options, void **values, unsigned count) {
    if (!out || !path) return CUDA_ERROR_INVALID_VALUE;
    void *bytes = read_file(path);
    if (!bytes) return CUDA_ERROR_FILE_NOT_FOUND;
    CUresult result = DRV(cuLibraryLoadData)(out, bytes, jit, jit_values, jit_count, options, values, count);
    free(bytes);
    return result;
}

CUresult DRV(cuLibraryUnload)(CUlibrary l) {
    if (!is(l, LIBRARY)) return CUDA_ERROR_INVALID_HANDLE;
    device_synchronize(NULL);
    module_free(l->module);
    object_free(l);
    return CUDA_SUCCESS;
}

CUresult DRV(cuLibraryGetKernel)(CUkernel *out, CUlibrary l, const char *name) {
    if (!out || !name) return CUDA_ERROR_INVALID_VALUE;
    if (!is(l, LIBRARY)) return CUDA_ERROR_INVALID_HANDLE;
    *out = (CUkernel)module_function(l->module, name);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult DRV(cuLibraryGetKernelCount)(unsigned *out, CUlibrary l) {
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!is(l, LIBRARY)) return CUDA_ERROR_INVALID_HANDLE;
    *out = function_count(l->module);
    return CUDA_SUCCESS;
}

CUresult DRV(cuLibraryEnumerateKernels)(CUkernel *out, unsigned count, CUlibrary l) {
    if (!is(l, LIBRARY)) return CUDA_ERROR_INVALID_HANDLE;
    return DRV(cuModuleEnumerateFunctions)((CUfunction *)out, count, l->module);
}

CUresult DRV(cuLibraryGetModule)(CUmodule *out, CUlibrary l) {
    CUcontext c;
    if (!out) return CUDA_ERROR_INVALID_VALUE;
    if (!is(l, LIBRARY)) return CUDA_ERROR_INVALID_HANDLE;
    TRY(context_current(&c));
    *out = l->module;
    return CUDA_SUCCESS;
}

CUresult DRV(cuLibraryGetGlobal)(CUdeviceptr *pointer, size_t *size, CUlibrary l, const char *name) {
    CUcontext c;
    if (!name) return CUDA_ERROR_INVALID_VALUE;
    if (!is(l, LIBRARY)) return CUDA_ERROR_INVALID_HANDLE;
    TRY(context_current(&c));
    return module_variable(l->module, c, name, pointer, size);
}

CUresult DRV(cuLibraryGetManaged)(CUdeviceptr *pointer, size_t *size, CUlibrary l, const char *name) {
    (void)pointer, (void)size;
    if (!name) return CUDA_ERROR_INVALID_VALUE;
    return is(l, LIBRARY) ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_HANDLE;
}

CUresult DRV(cuLibraryGetUnifiedFunction)(void **out, CUlibrary l, const char *name) {
    if (!out || !name) return CUDA_ERROR_INVALID_VALUE;
    return is(l, LIBRARY) ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_HANDLE;
}
