/* weights_page.c: pages of weights: taken, looked at, compared, replaced, copied; see weights.h. Pages are mapped and unmapped here
 * under the weights lock, the page space's own lock only where its tables change. */
#include "device/weights_parts.h"
#include "base/log.h"
#include "base/sys.h"
#include "device/fill.h"
#include "device/room.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIECE = 2 << 20 };
static unsigned char *piece[2]; /* host copies of what is compared */

/* --- handles and descriptors */
static struct page *adopt(struct pages *p, CUmemGenericAllocationHandle handle, bool borrowed) {
    lock_take(&p->lock);
    struct page *page = page_descriptor(p);
    if (page) *page = (struct page){ .handle = handle, .home = NO_SLOT, .count = 1, .borrowed = borrowed };
    lock_release(&p->lock);
    if (!page) driver.cuMemRelease(handle);
    return page;
}

static void forget(struct pages *p, struct page *page) {
    driver.cuMemRelease(page->handle);
    lock_take(&p->lock);
    page->handle = 0, page->next = p->spare, p->spare = page;
    lock_release(&p->lock);
}

static struct page *create(struct pages *p, CUresult *answer) {
    CUmemGenericAllocationHandle handle = 0;
    struct room room = { 0 };
    do *answer = driver.cuMemCreate(&handle, PAGE_BYTES, &p->weights->property, 0);
    while (room_made_for(&room, *answer, PAGE_BYTES));
    if (*answer != CUDA_SUCCESS) return NULL;
    struct page *page = adopt(p, handle, false);
    if (!page) *answer = CUDA_ERROR_OUT_OF_MEMORY;
    return page;
}

struct page *weight_import(struct pages *p, int fd) {
    CUmemGenericAllocationHandle handle = 0;
    CUmemAllocationProp property = { 0 };
    if (driver.cuMemImportFromShareableHandle(&handle, (void *)(intptr_t)fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != CUDA_SUCCESS) return NULL;
    bool fits = !driver.cuMemGetAllocationPropertiesFromHandle ||
                (driver.cuMemGetAllocationPropertiesFromHandle(&property, handle) == CUDA_SUCCESS && property.type == CU_MEM_ALLOCATION_TYPE_PINNED &&
                 property.location.type == CU_MEM_LOCATION_TYPE_DEVICE && property.location.id == p->context->ordinal);
    if (fits) return adopt(p, handle, true);
    driver.cuMemRelease(handle);
    return NULL;
}

int weight_export(struct page *page) {
    int fd = -1;
    if (driver.cuMemExportToShareableHandle(&fd, page->handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0) != CUDA_SUCCESS) return -1;
    page->exported = true;
    return fd;
}

/* once_bytes: slots beyond the first of a page of ours, and all of a page that is another process's. */
static void use(struct pages *p, struct page *page) {
    if (page->users++ > 0 || page->borrowed) counter_add(&p->context->counters->weights_once_bytes, PAGE_BYTES);
}

void weight_unuse(struct pages *p, struct page *page) {
    if (page->users > 0 && (--page->users > 0 || page->borrowed)) counter_add(&p->context->counters->weights_once_bytes, -PAGE_BYTES);
    if (page->users == 0) forget(p, page);
}

/* --- mapping */
static bool open_access(struct pages *p, uint32_t first, uint32_t count, bool write) {
    CUmemAccessDesc access[PAGE_ACCESS];
    memcpy(access, p->access, p->access_count * sizeof access[0]);
    for (uint32_t i = 0; i < p->access_count; i++) access[i].flags = write ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_READ;
    return driver.cuMemSetAccess(space_address(&p->space, first), count * PAGE_BYTES, access, p->access_count) == CUDA_SUCCESS;
}

bool weight_open_access(struct pages *p, uint32_t slot, bool write) {
    struct page *page = p->space.page[slot];
    bool was = page->read_only;
    page->read_only = !write;
    if (open_access(p, slot, 1, write)) return true;
    page->read_only = was;
    return false;
}

static bool map(struct pages *p, uint32_t slot, struct page *page, bool write) {
    if (!page_map(p, slot, page)) return false;
    if (open_access(p, slot, 1, write)) return true;
    page_unmap(p, slot, 1);
    return false;
}

static void set_page(struct pages *p, uint32_t slot, struct page *page) {
    lock_take(&p->lock);
    p->space.page[slot] = page;
    lock_release(&p->lock);
}

static uint32_t look_slot(struct pages *p) {
    struct weights *w = p->weights;
    lock_take(&p->lock);
    if (w->look == NO_SLOT) w->look = space_take(&p->space, 1);
    lock_release(&p->lock);
    return w->look;
}

static CUresult place(struct pages *p, uint32_t slot) {
    CUresult answer;
    struct page *page = create(p, &answer);
    if (!page) return answer;
    if (!page_map(p, slot, page)) {
        forget(p, page);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    use(p, page);
    set_page(p, slot, page);
    return CUDA_SUCCESS;
}

static void displace(struct pages *p, uint32_t slot) {
    struct page *page = p->space.page[slot];
    page_unmap(p, slot, 1);
    set_page(p, slot, NULL);
    weight_unuse(p, page);
}

/* Access is opened once for all of them: it costs as much for one. */
CUresult weight_back(struct pages *p, uint32_t first, uint32_t count) {
    CUresult answer = CUDA_SUCCESS;
    uint32_t placed = 0;
    while (placed < count && (answer = place(p, first + placed)) == CUDA_SUCCESS) placed++;
    if (placed == 0) return answer;
    bool opened = open_access(p, first, placed, true);
    for (uint32_t slot = first; slot < first + placed; slot++)
        if (opened) weight_set(p, slot, WEIGHT_OWN);
        else displace(p, slot);
    return opened ? answer : CUDA_ERROR_OUT_OF_MEMORY;
}

void weight_drop(struct pages *p, uint32_t slot) {
    if (p->space.page[slot]) displace(p, slot);
    weight_set(p, slot, WEIGHT_NONE);
    p->weights->slot[slot] = (struct weight){ 0 };
}

/* The slot's page is another one from now on. When the driver refuses, it is what it was. */
static bool exchange(struct pages *p, uint32_t slot, struct page *page, bool write) {
    struct page *old = p->space.page[slot];
    if (!page_unmap(p, slot, 1)) return false;
    if (map(p, slot, page, write)) {
        page->read_only = !write;
        use(p, page);
        set_page(p, slot, page);
        weight_unuse(p, old);
        return true;
    }
    for (unsigned i = 0; i < 3; i++)
        if (map(p, slot, old, !old->read_only)) return false;
    log_line("sharing weights: the driver does not map a page again that it has just unmapped; what reads it will fault", NULL);
    return false;
}

bool weight_replace(struct pages *p, uint32_t slot, struct page *page) {
    if (!exchange(p, slot, page, false)) return false;
    weight_set(p, slot, WEIGHT_BORROWED);
    return true;
}

/* --- reading and copying: in a stream of our own, done when it returns */
static bool wait_for(CUstream stream, CUresult answer) { return answer == CUDA_SUCCESS && driver.cuStreamSynchronize(stream) == CUDA_SUCCESS; }

static bool compare(CUstream stream, uint64_t a, uint64_t b) {
    for (uint64_t at = 0; at < PAGE_BYTES; at += PIECE) {
        if (!wait_for(stream, driver.cuMemcpyDtoHAsync_v2(piece[0], a + at, PIECE, stream))) return false;
        if (!wait_for(stream, driver.cuMemcpyDtoHAsync_v2(piece[1], b + at, PIECE, stream))) return false;
        if (memcmp(piece[0], piece[1], PIECE) != 0) return false;
    }
    return true;
}

bool weight_is_equal(struct pages *p, uint32_t slot, struct page *page, uint32_t at) {
    struct context *c = p->context;
    uint32_t look = at == NO_SLOT ? look_slot(p) : at;
    if (look == NO_SLOT || !context_enter(c)) return false;
    CUstream stream = fill_stream(c);
    bool mapped = stream && (at != NO_SLOT || map(p, look, page, false));
    bool equal = mapped && compare(stream, space_address(&p->space, slot), space_address(&p->space, look));
    if (mapped && at == NO_SLOT) page_unmap(p, look, 1);
    context_leave(c);
    return equal;
}

static bool copy_into(struct pages *p, struct page *page, uint32_t slot) {
    struct context *c = p->context;
    uint32_t look = look_slot(p);
    if (look == NO_SLOT || !context_enter(c)) return false;
    CUstream stream = fill_stream(c);
    bool mapped = stream && map(p, look, page, true);
    bool copied = mapped && wait_for(stream, driver.cuMemcpyDtoDAsync_v2(space_address(&p->space, look), space_address(&p->space, slot), PAGE_BYTES, stream));
    if (mapped) page_unmap(p, look, 1);
    context_leave(c);
    return copied;
}

bool weight_own_copy(struct pages *p, uint32_t slot) {
    struct page *old = p->space.page[slot];
    CUresult answer;
    if (old->users == 1 && !old->exported && !old->borrowed) { /* nobody else has it any more */
        if (!weight_open_access(p, slot, true)) return false;
        weight_set(p, slot, WEIGHT_OWN);
        return true;
    }
    struct page *page = create(p, &answer);
    if (!page) return false;
    if (!copy_into(p, page, slot) || !exchange(p, slot, page, true)) {
        forget(p, page);
        return false;
    }
    weight_set(p, slot, WEIGHT_OWN);
    counter_add(&p->context->counters->weights_copied, 1);
    return true;
}

/* --- opening */
/* Can a mapping be made that kernels only read? */
static bool reading_is_honoured(struct pages *p) {
    CUresult answer;
    unsigned long long flags = 0;
    uint32_t look = look_slot(p);
    struct page *page = look == NO_SLOT ? NULL : create(p, &answer);
    if (!page) return false;
    bool mapped = map(p, look, page, false);
    bool honoured = mapped && driver.cuMemGetAccess(&flags, &p->property.location, space_address(&p->space, look)) == CUDA_SUCCESS &&
                    flags == CU_MEM_ACCESS_FLAGS_PROT_READ;
    if (mapped) page_unmap(p, look, 1);
    forget(p, page);
    return honoured;
}

static const char *open_weights(struct pages *p) {
    struct weights *w = sys_map(NULL, sizeof *w, PROT_READ | PROT_WRITE);
    for (unsigned i = 0; i < 2 && w; i++)
        if (!piece[i]) piece[i] = sys_map(NULL, PIECE, PROT_READ | PROT_WRITE);
    if (!w || !piece[0] || !piece[1]) return "no memory";
    w->slot = sys_map(NULL, p->space.slots * sizeof *w->slot, PROT_READ | PROT_WRITE);
    w->hash = sys_map(NULL, p->space.slots * sizeof *w->hash, PROT_READ | PROT_WRITE);
    if (!w->slot || !w->hash) return "no memory";
    w->property = p->property, w->property.allocFlags.gpuDirectRDMACapable = 0, w->look = NO_SLOT;
    p->weights = w;
    if (!(w->property.requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)) return "the device does not share pages by descriptors";
    return reading_is_honoured(p) ? NULL : "the device does not have mappings that kernels only read";
}

bool weights_open(struct pages *p) {
    static bool said;
    lock_take(&weights_lock);
    if (!p->weights && !p->weights_declined) {
        const char *why = open_weights(p);
        if (why && !said) log_line(OPTION_PREFIX "SHARE_WEIGHTS: weights are not shared on ", p->context->counters->name, ": ", why, NULL);
        said |= why != NULL, p->weights_declined = why != NULL;
    }
    lock_release(&weights_lock);
    return !p->weights_declined;
}
