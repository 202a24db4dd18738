/* modules.c: nvcc's host interface, and the translation from host addresses to kernels and variables.
 *
 * Code that nvcc compiled registers each *image* (a fat binary) at start-up, then every kernel and variable in it under
 * the address of a host-side stand-in. Nothing is given to the driver until a kernel or variable of the image is first
 * used: then the image is loaded as a library and its members are found by name. A *record* is one registered address;
 * records live in a hash table by address and hang on their image. A kernel that has been found gets a second record
 * under its driver handle, because programs may launch handles too, and graph nodes are asked for the way back. */
#include "runtime.h"
#include "nvcc_interface.h"
#include <pthread.h>
#include <stdlib.h>

struct image {
    const void *code;
    CUlibrary library; /* under load_lock, NULL until first use */
    struct record *members;
};
enum kind { KERNEL, VARIABLE, MANAGED };
struct record {
    const void *key;
    struct image *image; /* NULL after the image was unregistered; handles have none from the start */
    const char *name;
    enum kind kind;
    size_t size;
    void **managed_pointer;
    CUkernel kernel;  /* atomic; NULL until found */
    const void *host; /* of a handle: the stand-in it was found for */
    struct record *next_member;
};

static struct record **table; /* open addressing, a power of two slots, at most half full; all under table_lock */
static size_t slots, used;
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;

static struct record **slot_of(struct record **in, size_t count, const void *key)
{
    size_t at = ((size_t)key >> 4) * 0x9e3779b97f4a7c15u;
    for (at ^= at >> 32;; at++)
        if (!in[at & (count - 1)] || in[at & (count - 1)]->key == key)
            return &in[at & (count - 1)];
}

static void grow(void)
{
    size_t count = slots ? slots * 2 : 1024;
    struct record **bigger = calloc(count, sizeof *bigger);
    if (!bigger)
        abort(); /* a test double without memory has nothing to prove */
    for (size_t i = 0; i < slots; i++)
        if (table[i])
            *slot_of(bigger, count, table[i]->key) = table[i];
    free(table);
    table = bigger;
    slots = count;
}

static void insert(struct record fields)
{
    pthread_rwlock_wrlock(&table_lock);
    if (used * 2 >= slots)
        grow();
    struct record **slot = slot_of(table, slots, fields.key);
    if (!*slot) {
        *slot = malloc(sizeof **slot);
        if (!*slot)
            abort();
        used++;
    }
    if (fields.image) {
        fields.next_member = fields.image->members;
        fields.image->members = *slot;
    }
    **slot = fields;
    pthread_rwlock_unlock(&table_lock);
}

static struct record *find(const void *key)
{
    pthread_rwlock_rdlock(&table_lock);
    struct record *found = slots ? *slot_of(table, slots, key) : NULL;
    if (found && !found->image && !found->kernel)
        found = NULL;
    pthread_rwlock_unlock(&table_lock);
    return found;
}

static cudaError_t load(struct image *image, CUlibrary *library)
{
    pthread_mutex_lock(&load_lock);
    cudaError_t error = cudaSuccess;
    if (!image->library)
        error = rt(DRV(cuLibraryLoadData)(&image->library, image->code, NULL, NULL, 0, NULL, NULL, 0));
    *library = image->library;
    pthread_mutex_unlock(&load_lock);
    return error;
}

void rt_remember_kernel(CUkernel kernel) { insert((struct record){ .key = kernel, .kernel = kernel, .host = kernel }); }

cudaError_t rt_kernel(const void *function, CUkernel *kernel)
{
    CUlibrary library;
    struct record *r = function ? find(function) : NULL;
    if (!r || r->kind != KERNEL)
        return cudaErrorInvalidDeviceFunction;
    *kernel = __atomic_load_n(&r->kernel, __ATOMIC_ACQUIRE);
    if (*kernel)
        return cudaSuccess;
    TRY(load(r->image, &library));
    TRY(rt(DRV(cuLibraryGetKernel)(kernel, library, r->name)));
    insert((struct record){ .key = *kernel, .kernel = *kernel, .host = function });
    __atomic_store_n(&r->kernel, *kernel, __ATOMIC_RELEASE);
    return cudaSuccess;
}

const void *rt_host_function(CUfunction function)
{
    struct record *r = find(function);
    return r && r->host ? r->host : (const void *)function;
}

cudaError_t rt_symbol(const void *variable, CUdeviceptr *address, size_t *size)
{
    CUlibrary library;
    struct record *r = variable ? find(variable) : NULL;
    size_t driver_size = 0;
    if (!r || r->kind == KERNEL)
        return cudaErrorInvalidSymbol;
    TRY(load(r->image, &library));
    TRY(rt(r->kind == MANAGED ? DRV(cuLibraryGetManaged)(address, &driver_size, library, r->name)
                              : DRV(cuLibraryGetGlobal)(address, &driver_size, library, r->name)));
    *size = r->size;
    return cudaSuccess;
}

/* --- what the generated code calls */
void **__cudaRegisterFatBinary(void *wrapper)
{
    struct image *image = calloc(1, sizeof *image);
    if (!image)
        abort();
    image->code = ((const struct fatbin_wrapper *)wrapper)->data;
    return (void **)image;
}

void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }

/* At exit, or when a plug-in is closed. The library itself stays with the driver: the process is usually ending. */
void __cudaUnregisterFatBinary(void **handle)
{
    struct image *image = (struct image *)handle;
    if (!image)
        return;
    pthread_rwlock_wrlock(&table_lock);
    for (struct record *r = image->members; r; r = r->next_member)
        if (r->image == image) {
            r->image = NULL;
            r->kernel = NULL;
        }
    pthread_rwlock_unlock(&table_lock);
    free(image);
}

void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int limit,
                            uint3 *tid, uint3 *bid, dim3 *block, dim3 *grid, int *warp)
{
    (void)device, (void)limit, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
    insert((struct record){ .key = host, .image = (struct image *)handle, .name = name, .kind = KERNEL });
}

void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int ext, size_t size, int constant, int global)
{
    (void)device, (void)ext, (void)constant, (void)global;
    insert((struct record){ .key = host, .image = (struct image *)handle, .name = name, .kind = VARIABLE, .size = size });
}

/* The program's stand-in of a managed variable is a pointer that __cudaInitModule fills in before first use. */
void __cudaRegisterManagedVar(void **handle, void **pointer, char *device, const char *name, int ext, size_t size, int constant, int global)
{
    (void)device, (void)ext, (void)constant, (void)global;
    insert((struct record){ .key = pointer, .image = (struct image *)handle, .name = name, .kind = MANAGED,
                            .size = size, .managed_pointer = pointer });
}

char __cudaInitModule(void **handle)
{
    struct image *image = (struct image *)handle;
    if (rt_enter() != cudaSuccess)
        return 0;
    for (struct record *r = image->members; r; r = r->next_member) {
        CUdeviceptr address;
        size_t size;
        if (r->kind == MANAGED && rt_symbol(r->key, &address, &size) == cudaSuccess)
            *r->managed_pointer = (void *)address;
    }
    return 1;
}

API(__cudaGetKernel, (cudaKernel_t *kernel, const void *function), (kernel, function))
{
    NEED(kernel);
    return rt_kernel(function, kernel);
}
API(cudaGetKernel, (cudaKernel_t *kernel, const void *function), (kernel, function))
{
    NEED(kernel);
    return rt_kernel(function, kernel);
}
API_CTX(cudaGetFuncBySymbol, (cudaFunction_t *function, const void *symbol), (function, symbol))
{
    CUkernel kernel;
    NEED(function);
    TRY(rt_kernel(symbol, &kernel));
    return rt(DRV(cuKernelGetFunction)(function, kernel));
}
