/* import.c: see import.h. Two locks: who maps or unmaps, one at a time, also while another process is asked; and the table, for those who
 * only look. */
#include "device/import.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/sys.h"
#include "device/capture.h"
#include "device/fence.h"
#include "device/space.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLAB_BYTES = 16 << 10, COMPLAINTS = 16, DEVICES = 32 };
#define IDLE_WAIT_NS 20000000u
#define SLOTS_MOST ((uint32_t)1 << 20) /* 2 TiB */

struct import {
    struct import *next;    /* mapped ones, or spare ones */
    struct context *context;
    uint64_t token[2];
    CUdeviceptr base;       /* of the pages */
    uint64_t lead, size;    /* of the block in them */
    uint32_t slots, count;  /* count: opens without their close; 0: idle, */
    uint64_t epoch;         /* until this one has passed */
};
static struct lock mapping = LOCK_INIT(RANK_IMPORT), table = LOCK_INIT(RANK_EXPORTS);
static struct import *imports, *spare; /* changed under both */
static _Atomic uint32_t import_count;
static _Atomic uint32_t admitted[CONTEXTS]; /* by index of the context: the devices of peers, one bit each */

/* One refusal may be the machine's: a second is the driver's. */
#define TWICE(call) ({ CUresult answer_ = (call); answer_ == CUDA_SUCCESS ? answer_ : (call); })

static bool driver_can(void) {
    return driver.cuMemAddressReserve && driver.cuMemAddressFree && driver.cuMemImportFromShareableHandle && driver.cuMemRelease && driver.cuMemMap &&
           driver.cuMemUnmap && driver.cuMemSetAccess;
}

static void complain(const char *what) {
    static _Atomic unsigned complaints;
    if (complaints++ < COMPLAINTS) log_line("legacy IPC: the process that made a handle ", what, "; its memory is not mapped", NULL);
}

/* --- the table */
static struct import *new_entry(void) {
    if (!spare) {
        struct import *slab = sys_map(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE);
        for (size_t i = 0; slab && i < SLAB_BYTES / sizeof *slab; i++) slab[i].next = spare, spare = &slab[i];
    }
    struct import *i = spare;
    if (i) spare = i->next;
    return i;
}

static void enter(struct import *i) {
    lock_take(&table);
    i->next = imports, imports = i;
    atomic_fetch_add(&import_count, 1);
    lock_release(&table);
}

static void leave(struct import *i) {
    lock_take(&table);
    struct import **link = &imports;
    while (*link != i) link = &(*link)->next;
    *link = i->next;
    atomic_fetch_sub(&import_count, 1);
    lock_release(&table);
    i->next = spare, spare = i;
}

bool import_find(CUdeviceptr address, struct imported *found) {
    bool is = false;
    if (likely(atomic_load(&import_count) == 0)) return false;
    lock_take(&table);
    for (const struct import *i = imports; i && !is; i = i->next) {
        is = i->count > 0 && address - (i->base + i->lead) < i->size;
        if (is) *found = (struct imported){ i->base + i->lead, i->size, i->context };
    }
    lock_release(&table);
    return is;
}

/* --- pages: mapped one by one as they come */
static void let_addresses_go(const struct import *i) { (void)TWICE(driver.cuMemAddressFree(i->base, i->slots * PAGE_BYTES)); }

static CUresult unmap(const struct import *i, uint32_t slots) {
    CUresult answer = slots > 0 ? TWICE(driver.cuMemUnmap(i->base, slots * PAGE_BYTES)) : CUDA_SUCCESS;
    if (answer == CUDA_SUCCESS) let_addresses_go(i);
    return answer;
}

struct arrival { const struct import *import; uint32_t slots; CUresult answer; };

static bool is_of_a_device(CUmemGenericAllocationHandle page) {
    CUmemAllocationProp property = { 0 };
    if (!driver.cuMemGetAllocationPropertiesFromHandle) return true;
    return TWICE(driver.cuMemGetAllocationPropertiesFromHandle(&property, page)) == CUDA_SUCCESS && property.type == CU_MEM_ALLOCATION_TYPE_PINNED &&
           property.location.type == CU_MEM_LOCATION_TYPE_DEVICE;
}

/* The mapping keeps the memory: the handle is not needed any more. */
static const char *map_page(int fd, uint32_t slots, void *with) {
    struct arrival *a = with;
    const struct import *i = a->import;
    CUmemGenericAllocationHandle page = 0;
    if (slots == 0 || slots > i->slots - a->slots) return "says that its pages have another size than its handle does";
    if (TWICE(driver.cuMemImportFromShareableHandle(&page, (void *)(intptr_t)fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)) != CUDA_SUCCESS)
        return "sent a descriptor that is no page of a device here";
    bool fits = is_of_a_device(page);
    if (fits) a->answer = TWICE(driver.cuMemMap(i->base + a->slots * PAGE_BYTES, slots * PAGE_BYTES, 0, page, 0));
    (void)TWICE(driver.cuMemRelease(page));
    if (!fits) return "sent a descriptor that is no page of a device here";
    if (a->answer == CUDA_ERROR_OUT_OF_MEMORY) return export_gone; /* our own trouble: no line */
    if (a->answer != CUDA_SUCCESS) return "sent a page of another size than it says";
    a->slots += slots;
    return NULL;
}

static CUresult open_to(const struct import *i, uint32_t devices) {
    CUmemAccessDesc access[DEVICES];
    size_t count = 0;
    for (int device = 0; device < DEVICES; device++)
        if (devices >> device & 1)
            access[count++] = (CUmemAccessDesc){ { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device }, CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    return TWICE(driver.cuMemSetAccess(i->base, i->slots * PAGE_BYTES, access, count));
}

/* The pages of the handle, at i->base. Nothing is left behind when it fails. */
static CUresult map_all(struct import *i, const struct export_handle *h) {
    struct arrival a = { .import = i, .answer = CUDA_SUCCESS };
    if (TWICE(driver.cuMemAddressReserve(&i->base, i->slots * PAGE_BYTES, PAGE_BYTES, 0, 0)) != CUDA_SUCCESS) return CUDA_ERROR_MAP_FAILED;
    const char *wrong = export_peers->fetch(h, map_page, &a);
    if (!wrong && a.slots < i->slots) wrong = "says that its pages have another size than its handle does";
    if (wrong && wrong != export_gone) complain(wrong);
    uint32_t devices = atomic_load(&admitted[i->context->index]) | (uint32_t)1 << i->context->ordinal;
    CUresult answer = a.answer == CUDA_ERROR_OUT_OF_MEMORY ? a.answer : wrong == export_gone ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_MAP_FAILED;
    if (!wrong && open_to(i, devices) == CUDA_SUCCESS) return CUDA_SUCCESS;
    unmap(i, a.slots);
    return answer;
}

/* --- opening */
static bool is_sane(const struct export_handle *h) {
    return h->pages > 0 && h->pages <= h->slots && h->slots <= SLOTS_MOST && h->size > 0 && h->size <= h->slots * PAGE_BYTES &&
           h->lead <= h->slots * PAGE_BYTES - h->size;
}

static bool is_our_own(const struct export_handle *h) {
    return h->pid == (uint32_t)getpid() && h->start == sys_start_ticks(0);
}

static struct import *mapped_before(const struct context *c, const struct export_handle *h) {
    struct import *i = imports;
    while (i && (i->context != c || i->token[0] != h->token[0] || i->token[1] != h->token[1])) i = i->next;
    return i;
}

static CUresult map_new(struct context *c, const struct export_handle *h, struct import **made) {
    struct import *i = new_entry();
    if (!i) return CUDA_ERROR_OUT_OF_MEMORY;
    *i = (struct import){ .context = c, .token = { h->token[0], h->token[1] }, .lead = h->lead, .size = h->size, .slots = h->slots };
    CUresult answer = map_all(i, h);
    if (answer == CUDA_SUCCESS) {
        enter(i);
        *made = i;
    } else {
        i->next = spare, spare = i;
    }
    return answer;
}

/* What was closed during a capture, once nothing can use it any more. */
static void unmap_idle(void) {
    for (struct import *i = imports, *next; i && !capture_active(); i = next) {
        next = i->next;
        if (i->count > 0 || !fence_wait(i->epoch, IDLE_WAIT_NS)) continue;
        bool relaxed = capture_relax();
        if (unmap(i, i->slots) == CUDA_SUCCESS) leave(i);
        capture_unrelax(relaxed);
    }
}

static void set_count(struct import *i, uint32_t count) {
    lock_take(&table);
    i->count = count;
    lock_release(&table);
}

CUresult import_open(CUdeviceptr *address, const CUipcMemHandle *bytes, unsigned flags) {
    struct export_handle h = export_read(bytes);
    struct context *c = context_current();
    if (!address || flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS || !is_sane(&h)) return CUDA_ERROR_INVALID_VALUE;
    if (!c || is_our_own(&h)) return CUDA_ERROR_INVALID_CONTEXT;
    if (!driver_can() || !export_peers || c->ordinal >= DEVICES) return CUDA_ERROR_MAP_FAILED;
    lock_take(&mapping);
    unmap_idle();
    bool relaxed = capture_relax();
    struct import *i = mapped_before(c, &h);
    CUresult answer = i ? CUDA_SUCCESS : map_new(c, &h, &i);
    if (answer == CUDA_SUCCESS) set_count(i, i->count + 1), *address = i->base + i->lead;
    counter_add(answer == CUDA_SUCCESS ? &c->counters->imports_opened : &c->counters->imports_refused, 1);
    capture_unrelax(relaxed);
    lock_release(&mapping);
    return answer;
}

/* --- closing */
static struct import *opened_at(CUdeviceptr address) {
    struct import *i = imports;
    while (i && (i->count == 0 || i->base + i->lead != address)) i = i->next;
    return i;
}

static CUresult close_last(struct import *i, bool drained) {
    i->epoch = fence_tag();
    if (!drained || capture_active()) return set_count(i, 0), CUDA_SUCCESS;
    CUresult answer = unmap(i, i->slots);
    if (answer == CUDA_SUCCESS) leave(i);
    return answer;
}

bool import_close(CUdeviceptr address, CUresult *answer) {
    struct imported found;
    if (!import_find(address, &found) || found.address != address) return false;
    bool drained = !capture_active() && fence_finish(found.context); /* holding nothing: work may wait for what another thread does here */
    lock_take(&mapping);
    bool relaxed = capture_relax();
    struct import *i = opened_at(address);
    if (!i) *answer = CUDA_ERROR_INVALID_VALUE;
    else if (i->count > 1) set_count(i, i->count - 1), *answer = CUDA_SUCCESS;
    else *answer = close_last(i, drained);
    capture_unrelax(relaxed);
    lock_release(&mapping);
    return true;
}

/* --- peers, contexts, processes */
void imports_admit(const struct context *c, CUdevice device) {
    if (device < 0 || device >= DEVICES) return;
    lock_take(&mapping);
    bool relaxed = capture_relax();
    uint32_t devices = atomic_fetch_or(&admitted[c->index], (uint32_t)1 << device) | (uint32_t)1 << device | (uint32_t)1 << c->ordinal;
    for (struct import *i = imports; i; i = i->next)
        if (i->context == c) open_to(i, devices);
    capture_unrelax(relaxed);
    lock_release(&mapping);
}

void imports_context_ended(const struct context *c) {
    lock_take(&mapping);
    atomic_store(&admitted[c->index], 0);
    for (struct import *i = imports, *next; i; i = next) {
        next = i->next;
        if (i->context == c) unmap(i, i->slots), leave(i);
    }
    lock_release(&mapping);
}

void imports_fork_child(void) {
    lock_reset(&mapping), lock_reset(&table);
    imports = NULL;
    atomic_store(&import_count, 0);
}
