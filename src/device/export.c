/* export.c: see export.h. The lock is held while a page's descriptor is made, so that a block that is being freed keeps its pages until
 * then; pages of a live block stay where they are. */
#include "device/export.h"
#include "base/options.h"
#include "base/sys.h"
#include "device/capture.h"
#include "device/page.h"
#include "device/pool.h"
#include "device/weights.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLAB_BYTES = 16 << 10 };

struct export {
    struct export *next; /* live ones, or spare ones */
    const struct context *context;
    uint64_t address;
    uint32_t first;      /* slot where the first page begins */
    struct export_handle handle;
};

const struct export_peers *export_peers;
const char export_gone[] = "is gone, or has freed it";
static struct lock exports_lock = LOCK_INIT(RANK_EXPORTS);
static struct export *exports, *spare;

bool exports_possible(const struct context *c) {
    const struct pages *p = c->pages;
    return option_number(page_ipc) && export_peers && p && p->property.requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR &&
           driver.cuMemExportToShareableHandle;
}

/* --- pages of a block, under the lock of its pages */
static uint32_t begin_of(const struct pages *p, uint32_t slot) {
    uint32_t home = p->space.page[slot]->home;
    return home == NO_SLOT ? slot : home; /* a page of weights has no other */
}

static void measure(struct export *e, const struct pages *p, const struct block *b) {
    uint32_t slot = space_slot(&p->space, b->address), last = space_slot(&p->space, b->address + b->asked - 1);
    struct export_handle *h = &e->handle;
    e->first = begin_of(p, slot);
    h->lead = b->address - space_address(&p->space, e->first), h->size = b->asked;
    for (slot = e->first; slot <= last; slot += p->space.page[slot]->count) h->pages++;
    h->slots = slot - e->first;
}

static CUmemGenericAllocationHandle page_of(const struct export *e, uint32_t index, uint32_t *slots) {
    struct pages *p = e->context->pages;
    uint32_t slot = e->first;
    lock_take(&p->lock);
    while (index-- > 0) slot += p->space.page[slot]->count;
    *slots = p->space.page[slot]->count;
    CUmemGenericAllocationHandle handle = p->space.page[slot]->handle;
    lock_release(&p->lock);
    return handle;
}

/* One refusal may be the machine's: a second is the driver's. */
static int descriptor_of(const struct export *e, uint32_t index, uint32_t *slots) {
    int fd = -1;
    bool relaxed = capture_relax(), made = false;
    CUmemGenericAllocationHandle handle = page_of(e, index, slots);
    for (unsigned i = 0; i < 2 && !made; i++)
        made = driver.cuMemExportToShareableHandle(&fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0) == CUDA_SUCCESS;
    capture_unrelax(relaxed);
    return made ? fd : -1;
}

/* --- the table, under its lock */
static struct export **link_to(uint64_t address) {
    struct export **link = &exports;
    while (*link && (*link)->address != address) link = &(*link)->next;
    return link;
}

static struct export *new_entry(void) {
    if (!spare) {
        struct export *slab = sys_map(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE);
        for (size_t i = 0; slab && i < SLAB_BYTES / sizeof *slab; i++) slab[i].next = spare, spare = &slab[i];
    }
    struct export *e = spare;
    if (e) spare = e->next;
    return e;
}

static void forget(struct export **link) {
    struct export *e = *link;
    *link = e->next;
    *e = (struct export){ .next = spare }; /* its token is nobody's any more */
    spare = e;
}

/* NULL: no memory, no randomness, or the driver makes no descriptor of its first page. */
static struct export *show_first(const struct block *b) {
    struct pages *p = b->context->pages;
    struct export *e = new_entry();
    if (!e) return NULL;
    *e = (struct export){ .next = exports, .context = b->context, .address = b->address };
    e->handle = (struct export_handle){ .magic = EXPORT_MAGIC, .pid = (uint32_t)getpid(), .start = sys_start_ticks(0) };
    lock_take(&p->lock);
    measure(e, p, b);
    lock_release(&p->lock);
    exports = e;
    uint32_t slots;
    int saved = errno, fd = sys_random(e->handle.token, sizeof e->handle.token) == 0 ? descriptor_of(e, 0, &slots) : -1;
    if (fd < 0) return forget(&exports), NULL;
    close(fd);
    errno = saved;
    counter_add(&b->context->counters->exports_served, 1);
    return e;
}

bool export_show(struct block *b, CUipcMemHandle *handle) {
    if (!exports_possible(b->context)) return false;
    weights_exclude(b->address);
    if (!weights_are_own(b->address) || !export_peers->listen()) return false;
    lock_take(&exports_lock);
    struct export *e = *link_to(b->address);
    if (!e) e = show_first(b);
    if (e) pool_taint(b->address), memcpy(handle, &e->handle, sizeof e->handle);
    lock_release(&exports_lock);
    return e != NULL;
}

void export_ended(uint64_t address) {
    lock_take(&exports_lock);
    struct export **link = link_to(address);
    if (*link) forget(link);
    lock_release(&exports_lock);
}

void exports_context_ended(const struct context *c) {
    lock_take(&exports_lock);
    for (struct export **link = &exports; *link;)
        if ((*link)->context == c) forget(link);
        else link = &(*link)->next;
    lock_release(&exports_lock);
}

/* --- answering */
int export_page(const uint64_t token[2], uint32_t index, uint32_t *slots) {
    int fd = -1;
    lock_take(&exports_lock);
    for (const struct export *e = exports; e; e = e->next)
        if (e->handle.token[0] == token[0] && e->handle.token[1] == token[1]) {
            if (index < e->handle.pages) fd = descriptor_of(e, index, slots);
            break;
        }
    lock_release(&exports_lock);
    return fd;
}

void exports_fork_child(void) {
    lock_reset(&exports_lock);
    exports = NULL; /* they are the parent's */
}
