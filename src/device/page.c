/* page.c: physical pages: taken, mapped, given back, and what lies in them; see page.h. */
#include "device/page.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "device/capture.h"
#include "device/weights_parts.h"
#include <sys/mman.h>

enum { RESERVE_TIMES = 8, SMALL_PART = 4 /* of the addresses are for small blocks */, SLAB_BYTES = 64 << 10 };

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

/* Pages are of several slots, where there are many. */
static struct stretch page_around(const struct extents *x, uint64_t at) {
    const struct pages *p = (const struct pages *)((const char *)x - offsetof(struct pages, extents));
    const struct page *page = p->space.page[at / PAGE_GRANULES];
    uint64_t from = page ? page->home : at / PAGE_GRANULES, count = page ? page->count : 1;
    return (struct stretch){ from * PAGE_GRANULES, (from + count) * PAGE_GRANULES };
}

/* Where memory is mapped first. Runs of other owners (weights.h) begin far from what grows. */
static void set_rovers(struct pages *p) {
    p->rover[AREA_SMALL] = 0, p->rover[AREA_LARGE] = p->border;
    p->space.rover = p->border + (p->space.slots - p->border) / 2;
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
    uint32_t slots = (uint32_t)(bytes / PAGE_BYTES);
    p->border = slots / SMALL_PART;
    if (!space_open(&p->space, base, bytes)) return "no memory";
    set_rovers(p);
    if (!extents_open(&p->extents, (uint64_t)slots * PAGE_GRANULES, (uint64_t)p->border * PAGE_GRANULES)) return "no memory";
    p->extents.page_around = page_around;
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

/* --- single calls */
bool page_map(struct pages *p, uint32_t slot, const struct page *page) {
    return driver.cuMemMap(space_address(&p->space, slot), page->count * PAGE_BYTES, 0, page->handle, 0) == CUDA_SUCCESS;
}
bool page_open_access(struct pages *p, uint32_t first, uint32_t count) {
    return driver.cuMemSetAccess(space_address(&p->space, first), count * PAGE_BYTES, p->access, p->access_count) == CUDA_SUCCESS;
}
bool page_unmap(struct pages *p, uint32_t first, uint32_t count) {
    return driver.cuMemUnmap(space_address(&p->space, first), count * PAGE_BYTES) == CUDA_SUCCESS;
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

bool page_release(struct pages *p, struct page *page) {
    uint64_t bytes = page->count * PAGE_BYTES;
    CUresult answer = driver.cuMemRelease(page->handle);
    context_noticed(p->context, answer);
    if (answer != CUDA_SUCCESS) return false;
    lock_take(&p->lock);
    p->count -= page->count;
    page->next = p->spare, p->spare = page;
    lock_release(&p->lock);
    counter_add(&p->context->counters->reserved_bytes, -bytes);
    counter_add(&p->context->counters->driver_frees, 1);
    return true;
}

/* --- blocks */
static uint64_t granule_of(const struct pages *p, uint64_t address) { return (address - p->space.base) / GRANULE; }
static uint64_t address_of(const struct pages *p, const struct extent *e) { return p->space.base + e->at * GRANULE; }

static bool take_in(struct pages *p, enum area area, uint64_t asked, struct stitched *got) {
    struct extent *e = extents_take(&p->extents, area, pages_granules(asked));
    if (e) *got = (struct stitched){ address_of(p, e), e->length * GRANULE };
    return e != NULL;
}

bool pages_take(struct pages *p, uint64_t asked, struct stitched *got) {
    lock_take(&p->lock);
    bool taken = take_in(p, pages_area(asked), asked, got);
    lock_release(&p->lock);
    return taken;
}

bool pages_take_elsewhere(struct pages *p, uint64_t asked, struct stitched *got) {
    enum area other = pages_area(asked) == AREA_SMALL ? AREA_LARGE : AREA_SMALL;
    if (asked > ELSEWHERE_MOST || pages_missing(p, asked) == 0) return false;
    lock_take(&p->lock);
    bool taken = p->count < FEW_PAGES && take_in(p, other, asked, got);
    lock_release(&p->lock);
    return taken;
}

bool pages_fit(struct pages *p, uint64_t asked) {
    lock_take(&p->lock);
    bool fit = extents_fit(&p->extents, pages_area(asked), pages_granules(asked));
    lock_release(&p->lock);
    return fit;
}

/* Pages in which something was lost and nothing else lies any more, among those around the extent; under the lock. */
static void haul_lost(struct pages *p, struct haul *haul, uint64_t at, uint64_t length) {
    for (uint64_t slot = at / PAGE_GRANULES; slot <= (at + length - 1) / PAGE_GRANULES && haul->runs < RUNS;) {
        const struct page *page = p->space.page[slot];
        if (!page) {
            slot++;
            continue;
        }
        uint64_t from = (uint64_t)page->home * PAGE_GRANULES, size = (uint64_t)page->count * PAGE_GRANULES;
        if (extents_any_lost(&p->extents, from, size) && extents_remove(&p->extents, from, size)) haul->run[haul->runs++] = (struct run){ page->home, page->count };
        slot = page->home + page->count;
    }
}

/* Such a page never serves again, whatever the driver answers. */
static void send_away(struct pages *p, struct haul *haul) {
    bool mode = capture_relax();
    haul->lost = true;
    pages_send_away(p, haul_unmap(p, haul));
    capture_unrelax(mode);
}

void pages_give(struct pages *p, uint64_t address, uint64_t size, bool lost) {
    uint64_t at = granule_of(p, address), length = size / GRANULE;
    struct haul haul;
    lock_take(&p->lock);
    struct extent *e = extents_at(&p->extents, at);
    invariant(e && e->at == at && e->length == length && e->state == EXTENT_TAKEN);
    if (lost) extents_lose(&p->extents, e);
    else extents_give(&p->extents, e);
    do {
        haul.runs = 0, haul.slots = 0;
        if (unlikely(p->extents.lost > 0)) haul_lost(p, &haul, at, length);
        lock_release(&p->lock);
        if (haul.runs == 0) return;
        send_away(p, &haul);
        lock_take(&p->lock);
    } while (haul.runs == RUNS);
    lock_release(&p->lock);
}

static bool is_live(const struct extent *e, void *with) {
    const struct block *b = block_find(address_of(with, e));
    return !b || atomic_load(&b->state) != BLOCK_CACHED; /* none: it is about to be one */
}

uint64_t pages_stranded(struct pages *p) {
    lock_take(&p->lock);
    uint64_t granules = extents_stranded(&p->extents, is_live, p);
    lock_release(&p->lock);
    return granules * GRANULE;
}

uint64_t pages_base(struct pages *p, uint64_t address) {
    lock_take(&p->lock);
    const struct extent *e = extents_at(&p->extents, granule_of(p, address));
    uint64_t base = e ? e->state == EXTENT_TAKEN ? address_of(p, e) : 0 : p->space.owner[space_slot(&p->space, address)];
    lock_release(&p->lock);
    return base;
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
        /* what is being mapped is opened by whoever maps it, with the longer list */
        for (uint32_t slot = 0; slot < p->space.slots; slot++)
            if (!p->space.page[slot]) continue;
            else if (p->space.page[slot]->read_only) weight_open_access(p, slot, false);
            else if (p->space.page[slot]->home == NO_SLOT) page_open_access(p, slot, 1);
            else if (p->space.page[slot]->home == slot) page_open_access(p, slot, p->space.page[slot]->count);
    }
    lock_release(&p->lock);
    capture_unrelax(mode);
}

/* --- the end of a context */
static void drop(struct pages *p, struct page *page) {
    if (!page->handle) return; /* one of weights, which was met before in another slot */
    /* once more if need be: nobody will come back to it */
    if (driver.cuMemRelease(page->handle) != CUDA_SUCCESS) driver.cuMemRelease(page->handle);
    page->handle = 0;
    page->next = p->spare, p->spare = page;
}

void pages_drop(struct pages *p) {
    lock_take(&p->lock);
    for (struct page *page; (page = p->loose);) p->loose = page->next, drop(p, page);
    for (struct page *page; (page = p->condemned);) p->condemned = page->next, drop(p, page);
    for (uint32_t slot = 0; slot < p->space.slots;) {
        struct page *page = p->space.page[slot];
        uint32_t count = page && page->home == slot ? page->count : 1;
        if (page && !page_unmap(p, slot, count)) page_unmap(p, slot, count);
        if (page) drop(p, page);
        for (uint32_t i = 0; i < count; i++) p->space.page[slot + i] = NULL, p->space.owner[slot + i] = 0;
        slot += count;
    }
    p->count = 0, p->access_count = 1;
    space_clear(&p->space), extents_clear(&p->extents);
    set_rovers(p);
    lock_release(&p->lock);
}
