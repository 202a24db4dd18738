/* device.c: the driver's functions that own memory, answered from the pool where that is right; see device.h. */
#include "device/device.h"
#include "base/options.h"
#include "device/budget.h"
#include "device/page.h"
#include "device/source.h"
#include "device/trace.h"
#include "device/weights.h"

/* Pitches that the driver has chosen, by width and element size: what a cached pitched block is found by. */
enum { PITCHES = 64 };
static struct pitch { _Atomic uint64_t key, pitch; } pitches[PITCHES];

static struct pitch *pitch_entry(size_t width, unsigned element) {
    return &pitches[(width * 0x9e3779b97f4a7c15ull + element) >> 58];
}
static uint64_t pitch_key(CUdevice device, size_t width, unsigned element) {
    return ((uint64_t)width << 16) ^ ((uint64_t)device << 8) ^ element;
}

/* One allocation by the driver, again after each link of the chain that made room. */
static CUresult ask_driver(struct context *c, CUdeviceptr *address, size_t size) {
    struct room room = { 0 };
    CUresult answer;
    if (!room_is_left(size)) return CUDA_ERROR_OUT_OF_MEMORY;
    do answer = driver.cuMemAlloc_v2(address, size);
    while (room_made_for(&room, answer, size));
    if (unlikely(room.links > 0)) room_settled(&room, answer);
    if (unlikely(answer != CUDA_SUCCESS)) context_faulted(answer);
    return answer;
}

CUresult device_alloc(CUdeviceptr *address, size_t size) {
    bool tried = thread_device.tried;
    thread_device.tried = false;
    struct context *c = context_current();
    if (!c || !address || size == 0) return driver.cuMemAlloc_v2(address, size);
    bool weights = weights_wanted(size);
    uint64_t cached = !tried && !weights && pool_is_open(c) ? pool_take(c, size, LAYER_DRIVER) : 0;
    if (cached) {
        *address = cached;
        return CUDA_SUCCESS;
    }
    if (!budget_admit(c, size)) return CUDA_ERROR_OUT_OF_MEMORY;
    bool open = pool_is_open(c) && room_could_be(c, size);
    uint64_t stitched = open && weights ? weights_take(c, size) : 0;
    if (open && !stitched) stitched = source_take(c, size);
    if (stitched) {
        *address = stitched;
        budget_dismiss();
        return CUDA_SUCCESS;
    }
    uint64_t whole = open ? pool_make_room(c, size) : size;
    if (unlikely(option_number(dtesn_hard))) whole = size; /* what was admitted, to the byte */
    CUresult answer = ask_driver(c, address, whole);
    if (answer == CUDA_ERROR_OUT_OF_MEMORY && whole != size) answer = ask_driver(c, address, whole = size);
    if (answer == CUDA_SUCCESS) pool_adopt(c, *address, whole, size);
    else if (trace_wanted()) trace_event(TRACE_FAIL, .context = c->index, .size = size, .extra = answer);
    budget_dismiss();
    return answer;
}

CUresult device_alloc_pitch(CUdeviceptr *address, size_t *pitch, size_t width, size_t height, unsigned element) {
    struct context *c = context_current();
    if (!c || !address || !pitch || width == 0 || height == 0) return driver.cuMemAllocPitch_v2(address, pitch, width, height, element);
    struct pitch *known = pitch_entry(width, element);
    uint64_t key = pitch_key(c->ordinal, width, element), learned = atomic_load(&known->pitch);
    if (learned && atomic_load(&known->key) == key && pool_is_open(c)) {
        uint64_t cached = pool_take(c, learned * height, LAYER_DRIVER);
        if (cached) {
            *address = cached, *pitch = learned;
            return CUDA_SUCCESS;
        }
    }
    if (!budget_admit(c, (uint64_t)width * height)) return CUDA_ERROR_OUT_OF_MEMORY;
    if (pool_is_open(c) && room_could_be(c, (uint64_t)width * height)) pool_make_room(c, (uint64_t)width * height);
    struct room room = { 0 };
    CUresult answer;
    if (!room_is_left((uint64_t)width * height)) return CUDA_ERROR_OUT_OF_MEMORY;
    do answer = driver.cuMemAllocPitch_v2(address, pitch, width, height, element);
    while (room_made_for(&room, answer, (uint64_t)width * height));
    if (unlikely(room.links > 0)) room_settled(&room, answer);
    if (answer == CUDA_SUCCESS) pool_adopt(c, *address, *pitch * height, *pitch * height);
    budget_dismiss();
    if (answer != CUDA_SUCCESS) return answer;
    atomic_store(&known->pitch, 0); /* never a pitch beside another's key */
    atomic_store(&known->key, key);
    atomic_store(&known->pitch, *pitch);
    return answer;
}

static COLD void note_free(struct context *c, uint64_t address, uint64_t before, CUresult answer, bool ours) {
    unsigned flags = TRACE_DRIVER | (ours ? 0 : TRACE_FOREIGN) | (answer == CUDA_SUCCESS ? 0 : TRACE_REFUSED);
    trace_event(TRACE_FREE, flags, c->index, .time = before, .address = address);
}

/* A live block goes back by one of the driver's functions; anything else is the driver's alone to judge. */
static CUresult free_through(CUdeviceptr address, CUresult (*call)(CUdeviceptr, CUstream), CUstream stream) {
    uint64_t before = trace_wanted() ? clock_ns() : 0;
    struct block *b = block_find(address);
    if (b && source_frees(b)) {
        struct context *c = b->context;
        CUresult answer = source_free(b);
        if (before) note_free(c, address, before, answer, true);
        return answer;
    }
    b = pool_disown(address);
    struct context *owner = b ? b->context : context_known();
    CUresult answer = call ? call(address, stream) : driver.cuMemFree_v2(address);
    if (!b) {
        if (owner && address) counter_add(&owner->counters->foreign_frees, 1);
    } else if (answer == CUDA_SUCCESS) {
        pool_disown_done(b);
    } else {
        context_faulted(answer);
        pool_disown_failed(b);
    }
    if (before && owner && address) note_free(owner, address, before, answer, b != NULL);
    return answer;
}

CUresult device_free(CUdeviceptr address) {
    switch (pool_give(address, LAYER_DRIVER)) {
    case POOL_KEPT: return CUDA_SUCCESS;
    case POOL_TWICE: return CUDA_ERROR_INVALID_VALUE;
    case POOL_FOREIGN: break;
    }
    return free_through(address, NULL, NULL);
}

CUresult device_free_by(CUdeviceptr address, CUresult (*call)(CUdeviceptr, CUstream), CUstream stream) {
    struct block *b = block_find(address);
    if (b && atomic_load(&b->state) == BLOCK_CACHED) return CUDA_ERROR_INVALID_VALUE;
    if (b && pages_hold(b->context->pages, address)) return device_free(address); /* no pool of the driver's knows it */
    if (b) return free_through(address, call, stream);
    uint64_t before = trace_wanted() ? clock_ns() : 0;
    CUresult answer = call(address, stream);
    if (unlikely(before) && answer == CUDA_SUCCESS)
        trace_event(TRACE_OTHER, OTHER_STREAM_FREE, .time = before, .address = address, .extra = (uint64_t)(uintptr_t)stream);
    return answer;
}

/* What a program may count on getting: a request of all of it needs whole pages, and gets no free memory beside a live block. */
static uint64_t cached_whole(CUdevice device) {
    uint64_t bytes = context_cached_on(device), stranded = 0;
    for (unsigned i = 0; i < CONTEXTS && contexts[i]; i++)
        if (contexts[i]->ordinal == device && contexts[i]->pages) stranded += pages_stranded(contexts[i]->pages);
    return bytes > stranded ? bytes - stranded : 0;
}

CUresult device_memory_info(size_t *available, size_t *total) {
    size_t all = 0, left = 0;
    CUresult answer = driver.cuMemGetInfo_v2(&left, &all);
    if (answer != CUDA_SUCCESS) return answer;
    struct context *c = context_current();
    uint64_t honest = left + (c ? cached_whole(c->ordinal) : 0), bare = c ? weights_bare_on(c->ordinal) : 0;
    honest = honest > bare ? honest - bare : 0; /* promised, and not taken yet */
    uint64_t reserve = option_number(device_reserve);
    honest = honest < all ? honest : all;
    if (available) *available = honest > reserve ? honest - reserve : 0;
    if (total) *total = all;
    return CUDA_SUCCESS;
}

CUresult device_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
    CUdeviceptr start = 0;
    size_t length = 0;
    weights_asked_about(address);
    CUresult answer = driver.cuMemGetAddressRange_v2(&start, &length, address);
    if (answer != CUDA_SUCCESS) return answer;
    struct imported other;
    if (import_find(address, &other)) {
        if (base) *base = other.address;
        if (size) *size = other.size;
        return CUDA_SUCCESS;
    }
    uint64_t paged = source_base(address);
    if (paged) start = paged;
    struct block *b = block_find(start);
    struct pinned_facts pinned;
    if (!b && !paged && pinned_find(start, &pinned)) {
        length = pinned.asked;
        if (pinned.cached) return CUDA_ERROR_NOT_FOUND;
    }
    bool gone = b ? atomic_load(&b->state) == BLOCK_CACHED || address - start >= b->size : source_owns(address);
    if (gone) return CUDA_ERROR_NOT_FOUND; /* the program has freed it */
    if (base) *base = start;
    if (size) *size = b ? b->asked : length;
    return CUDA_SUCCESS;
}

static void correct_range(size_t *size, CUdeviceptr address) {
    CUdeviceptr base = source_base(address);
    struct pinned_facts pinned;
    if (pinned_find(address, &pinned)) {
        *size = pinned.asked;
        return;
    }
    if (!base && (!driver.cuMemGetAddressRange_v2 || driver.cuMemGetAddressRange_v2(&base, NULL, address) != CUDA_SUCCESS)) return;
    uint64_t asked = pool_asked(base);
    if (asked) *size = asked;
}

/* Another process's block is what its owner asked for, in the context that opened it. */
static bool correct_imported(CUpointer_attribute attribute, void *value, CUdeviceptr address) {
    struct imported other;
    if (!import_find(address, &other)) return false;
    if (attribute == CU_POINTER_ATTRIBUTE_RANGE_START_ADDR) *(CUdeviceptr *)value = other.address;
    if (attribute == CU_POINTER_ATTRIBUTE_RANGE_SIZE) *(size_t *)value = other.size;
    if (attribute == CU_POINTER_ATTRIBUTE_CONTEXT) *(CUcontext *)value = other.context->handle;
    return true;
}

void device_correct_attribute(CUpointer_attribute attribute, void *value, CUdeviceptr address) {
    if (correct_imported(attribute, value, address)) return;
    if (attribute == CU_POINTER_ATTRIBUTE_RANGE_SIZE) correct_range(value, address);
    bool ours = attribute == CU_POINTER_ATTRIBUTE_RANGE_START_ADDR || attribute == CU_POINTER_ATTRIBUTE_CONTEXT ||
                attribute == CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE;
    uint64_t base = ours ? source_base(address) : 0;
    struct block *b = base ? block_find(base) : NULL;
    if (!b) return;
    if (attribute == CU_POINTER_ATTRIBUTE_RANGE_START_ADDR) *(CUdeviceptr *)value = base;
    else if (attribute == CU_POINTER_ATTRIBUTE_CONTEXT) *(CUcontext *)value = b->context->handle;
    else if (exports_possible(b->context)) *(unsigned char *)value = 1; /* a boolean, of a width that nobody says */
}

bool device_is_of_pages(CUdeviceptr address) { return source_owns(address); }

CUresult device_show(CUipcMemHandle *handle, CUdeviceptr address) {
    struct context *c = context_current();
    uint64_t base = source_base(address), asked = pool_asked(base);
    if (!handle || !asked) return CUDA_ERROR_INVALID_VALUE;
    if (!c) return CUDA_ERROR_INVALID_CONTEXT;
    if (export_show(block_find(base), handle)) return CUDA_SUCCESS;
    source_make_whole(asked);
    counter_add(&c->counters->exports_refused, 1);
    return CUDA_ERROR_NOT_SUPPORTED;
}

/* By our own table: the driver need not be asked, and cannot fail. */
struct inside { CUdeviceptr address, base; };
static void look_inside(struct block *b, void *with) {
    struct inside *in = with;
    if (in->address - b->address < b->size) in->base = b->address;
}

void device_exported(CUdeviceptr address) {
    weights_exclude(address);
    if (!block_find(address) && pinned_taint(address)) return;
    struct inside in = { address, address };
    if (!block_find(address)) block_each(look_inside, &in);
    pool_taint(in.base);
}

void device_context_ended(struct context *c, bool ended) {
    if (!c) return;
    if (ended) imports_context_ended(c), exports_context_ended(c), pinned_context_ended(c), weights_context_ended(c), pool_drop_context(c), context_ended(c);
    else context_reopen(c);
}

void device_primary_closing(CUdevice device) {
    for (struct context *c = NULL; (c = context_next_primary(device, c));) context_close(c->handle);
}

void device_primary_ended(CUdevice device, bool ended) {
    for (struct context *c = NULL; (c = context_next_primary(device, c));) device_context_ended(c, ended);
}

/* When the driver does not say: not any more. Then blocks leave the books that may live on, and nothing dead is handed out. */
bool device_primary_is_active(CUdevice device) {
    unsigned flags;
    int active = 0;
    if (!driver.cuDevicePrimaryCtxGetState) return false;
    if (driver.cuDevicePrimaryCtxGetState(device, &flags, &active) == CUDA_SUCCESS) return active;
    return driver.cuDevicePrimaryCtxGetState(device, &flags, &active) == CUDA_SUCCESS && active;
}

void device_note_synchronize(CUresult answer) {
    struct context *c = context_known();
    context_faulted(answer);
    if (trace_wanted() && c && answer == CUDA_SUCCESS) trace_event(TRACE_SYNC, .context = c->index);
}

void device_peer_enabled(struct context *peer) {
    struct context *c = context_current();
    if (c && peer) source_admit(peer, c->ordinal), imports_admit(peer, c->ordinal);
}

void device_note_other(enum trace_other kind, uint64_t address, uint64_t size, uint64_t extra) {
    struct context *c = context_known();
    if (trace_wanted()) trace_event(TRACE_OTHER, kind, c ? c->index : UINT32_MAX, .address = address, .size = size, .extra = extra);
}

void device_fork_child(void) { imports_fork_child(), exports_fork_child(), weights_fork_child(), pool_fork_child(), pinned_fork_child(), room_fork_child(); }
