/* page.c: physical pages: taken, free, mapped, given back; see page.h. */
#include "device/page.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "device/capture.h"
#include "device/weights_parts.h"
#include <sys/mman.h>

enum { RESERVE_TIMES = 8, SLAB_BYTES = 64 << 10 };

/* --- opening */
static int attribute(CUdevice device, CUdevice_attribute which) {
    int value = 0;
    return driver.cuDeviceGetAttribute && driver.cuDeviceGetAttribute(&value, which, device) == CUDA_SUCCESS ? value : 0;
}

static bool driver_has_pages(void) {
    return driver.cuMemAddressReserve && driver.cuMemAddressFree && driver.cuMemCreate && driver.cuMemRelease && driver.cuMemMap &&
           driver.cuMemUnmap && driver.cuMemSetAccess && driver.cuMemGetAllocationGranularity;
}

/* What a page of the device is like: as capable as memory of cuMemAlloc would be. */
static CUmemAllocationProp property_of(CUdevice device) {
    CUmemAllocationProp p = { .type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device } };
    if (attribute(device, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED))
        p.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    p.allocFlags.gpuDirectRDMACapable = (unsigned char)attribute(device, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED);
    return p;
}

static uint64_t reserve(uint64_t capacity, uint64_t *bytes) {
    CUdeviceptr base = 0;
    for (uint64_t times = RESERVE_TIMES; times > 0; times /= 2) {
        *bytes = (capacity * times + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        if (driver.cuMemAddressReserve(&base, *bytes, PAGE_BYTES, 0, 0) == CUDA_SUCCESS) return base;
    }
    return 0;
}

static const char *open_pages(struct context *c, struct pages **made) {
    if (!driver_has_pages()) return "the driver has no virtual-memory functions";
    if (!attribute(c->ordinal, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED)) return "the device has no virtual-memory management";
    struct pages *p = sys_map(NULL, sizeof *p, PROT_READ | PROT_WRITE);
    if (!p) return "no memory";
    *p = (struct pages){ .lock = LOCK_INIT(RANK_CONTEXT), .context = c, .property = property_of(c->ordinal), .access_count = 1 };
    p->access[0] = (CUmemAccessDesc){ .location = p->property.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    size_t granularity = 0;
    if (driver.cuMemGetAllocationGranularity(&granularity, &p->property, CU_MEM_ALLOC_GRANULARITY_MINIMUM) != CUDA_SUCCESS ||
        granularity == 0 || PAGE_BYTES % granularity)
        return "its pages are not of 2 MiB";
    uint64_t bytes, base = reserve(c->capacity, &bytes);
    if (!base) return "no addresses can be reserved";
    if (!space_open(&p->space, base, bytes) || !gaps_open(&p->gaps, (uint32_t)(bytes / PAGE_BYTES))) return "no memory";
    *made = p;
    return NULL;
}

struct pages *pages_of(struct context *c) {
    static struct lock opening = LOCK_INIT(RANK_START);
    static bool said;
    if (option_number(device_backend) != BACKEND_PAGE || atomic_load_explicit(&c->pages_opened, memory_order_acquire)) return c->pages;
    lock_take(&opening);
    if (!atomic_load(&c->pages_opened)) {
        const char *why = open_pages(c, &c->pages);
        if (why && !said) log_line("DEVICE_BACKEND=page is not possible on ", c->counters->name, ": ", why, "; using block", NULL);
        said |= why != NULL;
        for (unsigned i = 0; c->pages && i < SHARDS; i++) c->shard[i].slack_shift = PAGE_SLACK_SHIFT;
        atomic_store_explicit(&c->pages_opened, true, memory_order_release);
    }
    lock_release(&opening);
    return c->pages;
}

/* --- mapping */
bool page_map(struct pages *p, uint32_t slot, const struct page *page) {
    return driver.cuMemMap(space_address(&p->space, slot), PAGE_BYTES, 0, page->handle, 0) == CUDA_SUCCESS;
}
bool page_open_access(struct pages *p, uint32_t first, uint32_t count) {
    return driver.cuMemSetAccess(space_address(&p->space, first), count * PAGE_BYTES, p->access, p->access_count) == CUDA_SUCCESS;
}
bool page_unmap(struct pages *p, uint32_t first, uint32_t count) {
    return driver.cuMemUnmap(space_address(&p->space, first), count * PAGE_BYTES) == CUDA_SUCCESS;
}

/* A slot of its own for the small blocks in the page; under the lock, so that nobody takes an extent of a page without. */
bool page_make_home(struct pages *p, struct page *page) {
    if (page->home != NO_SLOT) return true;
    uint32_t slot = space_take(&p->space, 1);
    if (slot == NO_SLOT) return false;
    if (page_map(p, slot, page)) {
        if (page_open_access(p, slot, 1)) {
            p->space.page[slot] = page, p->space.owner[slot] = 0, page->home = slot;
            return true;
        }
        page_unmap(p, slot, 1);
    }
    space_give(&p->space, slot, 1);
    return false;
}

/* --- free pages, under the lock */
struct page *page_pop(struct pages *p, bool with_home) {
    struct page **list = &p->free[p->free[with_home] ? with_home : !with_home], *page = *list;
    if (!page) return NULL;
    *list = page->next;
    atomic_fetch_sub_explicit(&p->free_count, 1, memory_order_relaxed);
    return page;
}

void page_push(struct pages *p, struct page *page) {
    struct page **list = &p->free[page->home != NO_SLOT];
    page->share = NULL, page->next = *list, *list = page;
    atomic_fetch_add_explicit(&p->free_count, 1, memory_order_relaxed);
}

struct page *page_descriptor(struct pages *p) {
    if (!p->spare) {
        struct page *slab = sys_map(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE);
        for (size_t i = 0; slab && i < SLAB_BYTES / sizeof *slab; i++) slab[i].next = p->spare, p->spare = &slab[i];
    }
    struct page *page = p->spare;
    if (page) p->spare = page->next;
    return page;
}

/* --- to and from the driver */
uint32_t pages_grow(struct pages *p, uint32_t n) {
    struct device_counters *d = p->context->counters;
    bool mode = capture_relax();
    uint32_t got = 0;
    for (; got < n; got++) {
        CUmemGenericAllocationHandle handle;
        if (driver.cuMemCreate(&handle, PAGE_BYTES, &p->property, 0) != CUDA_SUCCESS) break;
        lock_take(&p->lock);
        struct page *page = page_descriptor(p);
        if (page) {
            *page = (struct page){ .handle = handle, .home = NO_SLOT };
            page_push(p, page);
            p->count++;
        }
        lock_release(&p->lock);
        if (!page) {
            driver.cuMemRelease(handle);
            break;
        }
        counter_raise(&d->peak_reserved_bytes, atomic_fetch_add(&d->reserved_bytes, PAGE_BYTES) + PAGE_BYTES);
        counter_add(&d->driver_allocs, 1);
    }
    capture_unrelax(mode);
    return got;
}

/* The slot is nobody's any more; under the lock. */
static void leave_home(struct pages *p, struct page *page) {
    p->space.page[page->home] = NULL;
    space_give(&p->space, page->home, 1);
    page->home = NO_SLOT;
}

/* A page that nobody uses goes back. Nothing of it is reached by anybody, so calls are made without the lock. One that the
 * driver does not take is free, as before. */
bool page_release(struct pages *p, struct page *page) {
    bool unmapped = page->home == NO_SLOT || page_unmap(p, page->home, 1);
    CUresult answer = unmapped ? driver.cuMemRelease(page->handle) : CUDA_ERROR_UNKNOWN;
    lock_take(&p->lock);
    if (unmapped && page->home != NO_SLOT) leave_home(p, page);
    if (answer == CUDA_SUCCESS) p->count--, page->next = p->spare, p->spare = page;
    else page_push(p, page);
    lock_release(&p->lock);
    context_noticed(p->context, answer == CUDA_ERROR_UNKNOWN ? CUDA_SUCCESS : answer);
    if (answer != CUDA_SUCCESS) return false;
    counter_add(&p->context->counters->reserved_bytes, -PAGE_BYTES);
    counter_add(&p->context->counters->driver_frees, 1);
    return true;
}

uint64_t pages_shrink(struct pages *p, uint64_t bytes) {
    uint64_t gone = 0;
    if (pages_free(p) == 0) return 0;
    bool mode = capture_relax();
    while (gone < bytes) {
        lock_take(&p->lock);
        struct page *page = page_pop(p, false);
        lock_release(&p->lock);
        if (!page || !page_release(p, page)) break;
        gone += PAGE_BYTES;
    }
    capture_unrelax(mode);
    return gone;
}

/* --- peers */
void pages_admit(struct pages *p, CUdevice device) {
    bool mode = capture_relax();
    lock_take(&p->lock);
    bool known = p->access_count == PAGE_ACCESS;
    for (uint32_t i = 0; i < p->access_count; i++) known |= p->access[i].location.id == device;
    if (!known) {
        p->access[p->access_count] = p->access[0];
        p->access[p->access_count++].location.id = device;
        /* a slot without its page mapped yet is opened by whoever maps it, with the longer list */
        for (uint32_t slot = 0; slot < p->space.slots; slot++)
            if (p->space.page[slot] && !p->space.page[slot]->read_only) page_open_access(p, slot, 1);
            else if (p->space.page[slot]) weight_open_access(p, slot, false);
    }
    lock_release(&p->lock);
    capture_unrelax(mode);
}

/* --- the end of a context */
static void drop(struct page *page, struct page **all) {
    if (!page->handle) return; /* it was met before, in another slot */
    driver.cuMemRelease(page->handle);
    page->handle = 0, page->next = *all, *all = page;
}

void pages_drop(struct pages *p) {
    struct page *all = NULL;
    lock_take(&p->lock);
    for (struct page *page; (page = page_pop(p, false));) drop(page, &all);
    for (uint32_t slot = 0; slot < p->space.slots; slot++) {
        if (!p->space.page[slot]) continue;
        page_unmap(p, slot, 1);
        drop(p->space.page[slot], &all);
        p->space.page[slot] = NULL, p->space.owner[slot] = 0;
    }
    for (struct page *page; (page = all);) all = page->next, page->next = p->spare, p->spare = page;
    p->count = 0, p->access_count = 1;
    space_clear(&p->space), gaps_clear(&p->gaps);
    lock_release(&p->lock);
}
