/* trace_read.c: a trace file into events; every byte of it may be wrong. See replay.h and device/trace_format.h. */
#include "device/trace_format.h"
#include "replay/replay.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRONG(t, ...) (snprintf((t)->wrong, sizeof (t)->wrong, __VA_ARGS__), false)

static const uint8_t fields_of[TRACE_KIND_COUNT] = {
#define X(name, number, fields, meaning) [number] = fields,
    TRACE_KINDS(X)
#undef X
};

/* What is left of a block. A number that does not end sets `broken` and leaves nothing. */
struct bytes {
    const unsigned char *at, *end;
    bool broken;
};

static uint64_t number(struct bytes *b) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && b->at < b->end; shift += 7) {
        unsigned char byte = *b->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return value;
    }
    b->broken = true, b->at = b->end;
    return 0;
}

static uint64_t signed_number(struct bytes *b) {
    uint64_t value = number(b);
    return value >> 1 ^ -(value & 1);
}

static bool add(struct trace *t, const struct event *e) {
    if (t->count == t->room) {
        size_t room = t->room ? t->room * 2 : 4096;
        struct event *more = room < UINT32_MAX ? realloc(t->event, room * sizeof *more) : NULL;
        if (!more) return WRONG(t, "too long for this machine's memory");
        t->event = more, t->room = room;
    }
    t->event[t->count] = *e;
    t->event[t->count].order = (uint32_t)t->count;
    t->count++;
    return true;
}

static bool read_records(struct trace *t, struct bytes *b, uint64_t time, size_t offset) {
    const unsigned char *start = b->at;
    struct event now = { 0 };
    uint64_t address = 0;
    while (b->at < b->end) {
        size_t at = offset + (size_t)(b->at - start);
        unsigned kind = *b->at & 15, flags = *b->at >> 4;
        if (kind == 0 || kind >= TRACE_KIND_COUNT) return WRONG(t, "a record of unknown kind %u at byte %zu", kind, at);
        b->at++;
        time += signed_number(b);
        if (fields_of[kind] & TRACE_ADDRESS) address += signed_number(b);
        uint64_t size = fields_of[kind] & TRACE_SIZE ? number(b) : 0, extra = fields_of[kind] & TRACE_EXTRA ? number(b) : 0;
        if (b->broken) return WRONG(t, "a number that does not end in the record at byte %zu", at);
        if (kind == TRACE_CONTEXT) now.context = (uint8_t)extra, now.device = (uint8_t)(extra >> 8);
        now.kind = (uint8_t)kind, now.flags = (uint8_t)flags, now.time = (int64_t)time, now.size = size;
        now.address = fields_of[kind] & TRACE_ADDRESS ? address : 0;
        if (kind != TRACE_THREAD && !add(t, &now)) return false;
    }
    return true;
}

static bool read_blocks(struct trace *t, const unsigned char *data, size_t length) {
    struct trace_block block;
    for (size_t at = TRACE_BLOCK; at + sizeof block <= length; at += TRACE_BLOCK) {
        memcpy(&block, data + at, sizeof block);
        uint32_t used = atomic_load_explicit(&block.used, memory_order_relaxed);
        if (block.magic == 0 && used == 0) continue; /* taken, and the process ended before it was written to */
        bool block_like = block.magic == TRACE_BLOCK_MAGIC && used >= sizeof block && used <= TRACE_BLOCK;
        if (!block_like) return WRONG(t, "no block at byte %zu", at);
        if (at + used > length) return WRONG(t, "cut off: the block at byte %zu is longer than the file", at);
        struct bytes records = { data + at + sizeof block, data + at + used, false };
        if (!read_records(t, &records, block.base_ns, at + sizeof block)) return false;
    }
    return true;
}

static bool read_head(struct trace *t, const unsigned char *data, size_t length) {
    struct trace_head head;
    if (length >= 2 && data[0] == 0x80 && data[1] < 6)
        return WRONG(t, "not a trace but a pickle; a PyTorch snapshot is read with --from-snapshot");
    if (length < sizeof head || memcmp(data, TRACE_MAGIC, 8) != 0) return WRONG(t, "not a trace of Coppice");
    memcpy(&head, data, sizeof head);
    if (head.version != TRACE_VERSION || head.block_bytes != TRACE_BLOCK)
        return WRONG(t, "a trace of version %u with blocks of %u bytes; this program reads version %u with %u", head.version,
                     head.block_bytes, (unsigned)TRACE_VERSION, (unsigned)TRACE_BLOCK);
    t->dropped = atomic_load_explicit(&head.dropped, memory_order_relaxed);
    memcpy(t->command, head.command, sizeof head.command);
    return true;
}

static int by_time(const void *a, const void *b) {
    const struct event *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* A copy and not a mapping: the file may be cut while it is read. */
static bool copy_file(struct trace *t, int fd, unsigned char **data, size_t *length) {
    struct stat s;
    if (fstat(fd, &s) != 0) return WRONG(t, "%s", strerror(errno));
    if (!S_ISREG(s.st_mode)) return WRONG(t, "not a regular file");
    size_t all = (size_t)s.st_size;
    if (!(*data = malloc(all + 1))) return WRONG(t, "too long for this machine's memory");
    for (ssize_t n = 1; *length < all && n != 0; *length += n > 0 ? (size_t)n : 0) {
        n = read(fd, *data + *length, all - *length);
        if (n < 0 && errno != EINTR) return WRONG(t, "%s", strerror(errno));
    }
    return true;
}

bool trace_read(const char *path, struct trace *t) {
    *t = (struct trace){ 0 };
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return WRONG(t, "%s", strerror(errno));
    size_t length = 0;
    unsigned char *data = NULL;
    bool good = copy_file(t, fd, &data, &length) && read_head(t, data, length) && read_blocks(t, data, length);
    close(fd);
    free(data);
    if (good && t->count) qsort(t->event, t->count, sizeof *t->event, by_time);
    return good;
}
