/* module.h: modules, libraries, functions.
 * An *image* is whatever the program loads. Where it is PTX text, its entries, their parameters and its variables are read from
 * it, so that an unknown name is an error; of any other image nothing is known, and every name is found.
 * A function and a kernel (CUkernel) are the same object here, so either is accepted for the other. */
#ifndef SIM_MODULE_H
#define SIM_MODULE_H
#include "sim.h"

enum { MAX_PARAMS = 64 };
struct CUfunc_st {
    struct object object;
    struct CUfunc_st *next;
    struct CUmod_st *module;
    char *name;
    int param_count;                     /* -1: unknown */
    unsigned short offset[MAX_PARAMS], size[MAX_PARAMS];
    int zero_param;                      /* SIM_ZERO: this parameter points at zero_bytes that the kernel sets to zero */
    size_t zero_bytes;
    int attribute[CU_FUNC_ATTRIBUTE_MAX];
};

struct variable { struct variable *next; char *name; size_t size; CUdeviceptr pointer; bool managed; };

struct CUmod_st {
    struct object object;
    struct CUmod_st *next;
    CUcontext context;                   /* NULL: a library's, in all contexts */
    struct CUlib_st *library;
    bool known;                          /* names were read from the image */
    struct CUfunc_st *functions;
    struct variable *variables;
};

struct CUmod_st *module_make(CUcontext context, const void *image);
void module_free(struct CUmod_st *module);
struct CUfunc_st *module_function(struct CUmod_st *module, const char *name);
void modules_drop_context(CUcontext context);
static inline struct CUfunc_st *function_of(const void *handle) { return is(handle, FUNCTION) ? (struct CUfunc_st *)(uintptr_t)handle : NULL; }

void function_read_zero(struct CUfunc_st *function);        /* launch.c */

/* ptx.c */
void ptx_read(struct CUmod_st *module, const char *text);
struct CUfunc_st *function_add(struct CUmod_st *module, const char *name, size_t length);
bool looks_like_ptx(const void *image);
#endif
