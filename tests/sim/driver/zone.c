/* zone.c: reservations of addresses in the window's free zone: one sorted array, first fit. */
#define _GNU_SOURCE
#include "vmm.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct reservation { CUdeviceptr base; size_t size; } *taken;
static size_t count, room;

static size_t after(CUdeviceptr p) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (taken[mid].base <= p) low = mid + 1; else high = mid;
    }
    return low;
}

static CUdeviceptr zone_end(void) { return window.base + window.size; }

static bool fits(CUdeviceptr base, size_t size) {
    if (base < window.zone || base + size > zone_end() || base + size < base) return false;
    size_t i = after(base);
    if (i > 0 && taken[i - 1].base + taken[i - 1].size > base) return false;
    return i == count || taken[i].base >= base + size;
}

static CUdeviceptr first_fit(size_t size, size_t alignment) {
    CUdeviceptr at = ALIGN_UP(window.zone, alignment);
    for (size_t i = 0; i <= count; i++) {
        CUdeviceptr limit = i < count ? taken[i].base : zone_end();
        if (limit > at && limit - at >= size) return at;
        if (i < count) at = ALIGN_UP(taken[i].base + taken[i].size, alignment);
    }
    return 0;
}

CUdeviceptr zone_take(CUdeviceptr wanted, size_t size, size_t alignment) {
    CUdeviceptr at = wanted && wanted % PAGE == 0 && fits(wanted, size) ? wanted : first_fit(size, MAX(alignment, PAGE));
    if (!at) return 0;
    if (count == room) taken = realloc(taken, sizeof *taken * (room = room ? room * 2 : 64));
    size_t i = after(at);
    memmove(taken + i + 1, taken + i, sizeof *taken * (count - i));
    taken[i] = (struct reservation){ at, size };
    count++;
    return at;
}

bool zone_give(CUdeviceptr base, size_t size) {
    size_t i = after(base);
    if (i == 0 || taken[i - 1].base != base || taken[i - 1].size != size) return false;
    memmove(taken + i - 1, taken + i, sizeof *taken * (count - i));
    count--;
    return true;
}

bool zone_of(CUdeviceptr p, CUdeviceptr *base, size_t *size) {
    size_t i = after(p);
    if (i == 0 || p - taken[i - 1].base >= taken[i - 1].size) return false;
    *base = taken[i - 1].base;
    *size = taken[i - 1].size;
    return true;
}

bool zone_covers(CUdeviceptr base, size_t size) {
    CUdeviceptr at;
    size_t n;
    return zone_of(base, &at, &n) && base + size <= at + n;
}

bool alias_map(CUdeviceptr at, size_t size, int fd, u64 offset) {
    void *p = mmap(alias(at), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset);
    if (p == MAP_FAILED) return false;
    madvise(p, size, MADV_DONTFORK);
    madvise(p, size, MADV_DONTDUMP);
    return true;
}

void alias_unmap(CUdeviceptr at, size_t size) {
    mmap(alias(at), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

/* An exported descriptor is a new open file description of the arena's file. Its position is the offset of the memory, and it
 * holds a lock on that byte, which lasts as long as any duplicate of it anywhere, in flight through a socket too. */
int arena_reopen(int fd, u64 offset, bool locked) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_RDWR | O_CLOEXEC);
    if (own < 0) return -1;
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = 1 };
    if (lseek(own, (off_t)offset, SEEK_SET) < 0 || (locked && fcntl(own, F_OFD_SETLK, &lock) != 0)) {
        close(own);
        return -1;
    }
    return own;
}

bool export_open_somewhere(int fd, u64 offset) {
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = 1 };
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}
