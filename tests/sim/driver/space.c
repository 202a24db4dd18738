/* space.c: the window, its alias, the table of pages, and the report when the host touches device memory. Nouns in space.h. */
#define _GNU_SOURCE
#include "space.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct window window;
pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t *table;                 /* one word a page: 0, a block, or a slab with bit 0 set */
static struct block *spare;

struct block *block_new(void) {
    struct block *b = spare;
    if (b) spare = b->next;
    else {
        size_t n = 256;
        struct block *more = malloc(sizeof *more * n);
        for (size_t i = 1; i < n; i++) {
            more[i].next = spare;
            spare = &more[i];
        }
        b = more;
    }
    memset(b, 0, sizeof *b);
    return b;
}

void block_recycle(struct block *b) {
    b->base = 0;
    b->next = spare;
    spare = b;
}

static inline size_t page_of(CUdeviceptr p) { return (p - window.base) / PAGE; }

void space_set_page(CUdeviceptr p, uintptr_t entry) { table[page_of(p)] = entry; }

uintptr_t space_page(CUdeviceptr p) { return table[page_of(p)]; }

void space_publish(struct block *b) {
    for (CUdeviceptr p = b->base; p < b->base + b->span; p += PAGE) table[page_of(p)] = (uintptr_t)b;
}

void space_unpublish(struct block *b) {
    for (CUdeviceptr p = b->base; p < b->base + b->span; p += PAGE) table[page_of(p)] = 0;
}

struct block *space_find(CUdeviceptr p) {
    if (!in_window(p)) return NULL;
    uintptr_t entry = table[page_of(p)];
    if (entry & 1) return slab_find(entry, p);
    struct block *b = (struct block *)entry;
    return b && p < b->base + b->extent ? b : NULL;
}

void *space_touch(CUdeviceptr pointer, size_t size, bool write) {
    pthread_mutex_lock(&memory_lock);
    CUdeviceptr p = pointer, end = pointer + size;
    bool fine = end >= pointer;
    while (fine && p < end) {
        struct block *b = space_find(p);
        fine = b && (b->kind != BLOCK_MAPPING || (write ? b->writable : b->readable) || mutated(MUTATION_access_before_set));
        if (!fine) break;
        if (write) b->dirty = true;
        p = b->base + b->extent;
    }
    pthread_mutex_unlock(&memory_lock);
    return fine ? alias(pointer) : NULL;
}

/* ---- a host touch of device memory */
static struct sigaction previous_segv, previous_bus;

static void append(char *line, size_t *n, const char *text) {
    while (*text && *n < 400) line[(*n)++] = *text++;
}

static void append_hex(char *line, size_t *n, u64 v) {
    char digits[20];
    int i = 20;
    do digits[--i] = "0123456789abcdef"[v & 15]; while (v >>= 4);
    append(line, n, "0x");
    while (i < 20 && *n < 400) line[(*n)++] = digits[i++];
}

static void describe_touch(u64 address) {
    char line[512];
    size_t n = 0;
    append(line, &n, "simulated GPU: the host touched device memory at ");
    append_hex(line, &n, address);
    bool locked = pthread_mutex_trylock(&memory_lock) == 0;
    struct block *b = space_find(address);
    if (b) {
        append(line, &n, ", ");
        append_hex(line, &n, address - b->base);
        append(line, &n, " bytes into the allocation ");
        append_hex(line, &n, b->base);
        append(line, &n, " of size ");
        append_hex(line, &n, b->size);
    } else append(line, &n, ", which belongs to no live allocation");
    if (locked) pthread_mutex_unlock(&memory_lock);
    line[n++] = '\n';
    if (write(2, line, n) < 0) return;
}

/* After the report the program's own handler decides; without one the default action follows from returning. */
static void on_fault(int signal, siginfo_t *info, void *context) {
    int saved = errno;
    if (in_window((u64)(uintptr_t)info->si_addr)) describe_touch((u64)(uintptr_t)info->si_addr);
    errno = saved;
    struct sigaction *previous = signal == SIGSEGV ? &previous_segv : &previous_bus;
    if (previous->sa_flags & SA_SIGINFO && previous->sa_sigaction) {
        previous->sa_sigaction(signal, info, context);
    } else if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) {
        previous->sa_handler(signal);
    } else {
        struct sigaction d = { .sa_handler = SIG_DFL };
        sigaction(signal, &d, NULL);
        if (info->si_code <= 0) raise(signal);       /* sent by kill: it would not happen again by itself */
    }
}

static void install_fault_report(void) {
    struct sigaction a = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    sigaction(SIGSEGV, &a, &previous_segv);
    sigaction(SIGBUS, &a, &previous_bus);
}

/* ---- initialisation */
static void *reserve(size_t size, int protection) {
    char *p = mmap(NULL, size + PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    char *aligned = (char *)ALIGN_UP((uintptr_t)p, PAGE);
    if (aligned > p) munmap(p, (size_t)(aligned - p));
    if (aligned < p + PAGE) munmap(aligned + size, (size_t)(p + PAGE - aligned));
    madvise(aligned, size, MADV_DONTDUMP);
    return aligned;
}

static CUresult arena_map(struct device *d, CUdeviceptr base, size_t size) {
    struct stat st;
    int fd = memfd_create("simulated-gpu-memory", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || fstat(fd, &st) != 0) return CUDA_ERROR_OPERATING_SYSTEM;
    void *at = mmap(alias(base), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED) return CUDA_ERROR_OPERATING_SYSTEM;
    madvise(at, size, MADV_DONTFORK);
    madvise(at, size, MADV_DONTDUMP);
    if (mutated(MUTATION_host_readable))
        mmap((void *)(uintptr_t)base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
    return arena_init(d, base, size, fd, (u64)st.st_ino);
}

/* An arena is a few times the capacity, so that fragmentation of the window never looks like a full device. */
CUresult space_init(void) {
    size_t arena = 0;
    for (int d = 0; d < device_count; d++) arena = MAX(arena, (size_t)sim_set_capacity(d));
    arena = ALIGN_UP(MIN(arena * 4, (size_t)1 << 39) + 64 * PAGE, PAGE);
    size_t arenas = arena * (size_t)device_count;
    void *low = NULL, *high = NULL;
    for (size_t zone = (size_t)4 << 40; zone >= (size_t)16 << 30; zone /= 2) {
        window.size = arenas + zone;
        low = reserve(window.size, PROT_NONE);
        high = low ? reserve(window.size, PROT_NONE) : NULL;
        if (high) break;
        if (low) munmap(low, window.size);
        low = NULL;
    }
    if (!low) return CUDA_ERROR_OPERATING_SYSTEM;
    window.base = (CUdeviceptr)(uintptr_t)low;
    window.delta = (char *)high - (char *)low;
    window.zone = window.base + arenas;
    table = mmap(NULL, window.size / PAGE * sizeof *table, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED) return CUDA_ERROR_OPERATING_SYSTEM;
    for (int d = 0; d < device_count; d++) TRY(arena_map(&devices[d], window.base + arena * (size_t)d, arena));
    install_fault_report();
    return CUDA_SUCCESS;
}
