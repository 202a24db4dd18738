/* ring.h: one request at a time through io_uring, by raw system calls: reads that the kernel does by itself, into plain memory and into registered
 * buffers, whose pages it holds on to. */
#ifndef RING_H
#define RING_H
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct ring {
    int fd; /* -1: there is none here */
    struct io_uring_params p;
    char *queue;
    struct io_uring_sqe *entries;
};

static inline _Atomic uint32_t *ring_word(struct ring *r, uint32_t offset) { return (_Atomic uint32_t *)(void *)(r->queue + offset); }

/* False: the kernel has none for us. */
static inline bool ring_open(struct ring *r) {
    memset(r, 0, sizeof *r);
    r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
    if (r->fd < 0 || !(r->p.features & IORING_FEAT_SINGLE_MMAP)) return r->fd = -1, false;
    size_t submissions = r->p.sq_off.array + r->p.sq_entries * 4, completions = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
    r->queue = mmap(NULL, submissions > completions ? submissions : completions, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
    r->entries = mmap(NULL, r->p.sq_entries * sizeof *r->entries, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
    return r->queue != MAP_FAILED && r->entries != MAP_FAILED;
}

/* Makes [at, at + length) buffer 0, whose pages are held from now on; NULL: lets it go. */
static inline bool ring_register(struct ring *r, void *at, size_t length) {
    struct iovec one = { at, length };
    return syscall(SYS_io_uring_register, r->fd, at ? IORING_REGISTER_BUFFERS : IORING_UNREGISTER_BUFFERS, at ? &one : NULL, at ? 1 : 0) == 0;
}

/* Puts a read into the queue; `fixed`: into buffer 0. It goes on by itself, on a thread of the kernel, until ring_wait. */
static inline bool ring_begin_read(struct ring *r, int fd, void *at, uint32_t length, uint64_t offset, bool fixed) {
    uint32_t tail = *ring_word(r, r->p.sq_off.tail), place = tail & *ring_word(r, r->p.sq_off.ring_mask);
    r->entries[place] = (struct io_uring_sqe){ .opcode = fixed ? IORING_OP_READ_FIXED : IORING_OP_READ, .flags = IOSQE_ASYNC, .fd = fd,
                                               .addr = (uintptr_t)at, .len = length, .off = offset };
    *(uint32_t *)(void *)(r->queue + r->p.sq_off.array + place * 4) = place;
    *ring_word(r, r->p.sq_off.tail) = tail + 1;
    return syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0) == 1;
}

/* What the read came to: bytes or a negative errno. */
static inline int ring_wait(struct ring *r) {
    _Atomic uint32_t *head = ring_word(r, r->p.cq_off.head), *tail = ring_word(r, r->p.cq_off.tail);
    while (*head == *tail) syscall(SYS_io_uring_enter, r->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    struct io_uring_cqe *done = (struct io_uring_cqe *)(void *)(r->queue + r->p.cq_off.cqes) + (*head & *ring_word(r, r->p.cq_off.ring_mask));
    int result = done->res;
    *head = *head + 1;
    return result;
}
#endif
