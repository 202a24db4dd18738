/* picture.h: which bytes of a page were uploaded, and a hash of them, as the uploads go by. Pure arithmetic: no CUDA call, no lock.
 *
 * Uploads come in pieces of any size and order (tensor by tensor), so a hash over the page's bytes in order will not do.
 * The *sum* of a page is linear: each byte counts by its position alone, so pieces are summed apart and added up, and two pages
 * with equal bytes at equal positions have equal sums however they were cut. Only one *row* of 512 bytes in 256 counts, 16 of a page,
 * so that an upload does not take longer for it. It is good enough to say whom to compare with; nobody believes it.
 * A *run* is a stretch of uploaded bytes, and *padding* between tensors belongs to it. A page is complete when nothing larger than a
 * *gap* is left out. Uploading a byte again begins the picture anew. */
#ifndef COPPICE_DEVICE_PICTURE_H
#define COPPICE_DEVICE_PICTURE_H
#include <stdbool.h>
#include <stdint.h>

enum { PICTURE_RUNS = 8, PICTURE_PADDING = 512, PICTURE_GAP = 4096, PICTURE_BYTES = 2 << 20, PICTURE_ROW = 512, PICTURE_EVERY = 256 };

struct picture {
    uint64_t sum;
    uint32_t runs; /* in order; PICTURE_RUNS + 1: too many, it is given up until it begins anew */
    struct { uint32_t from, to; } run[PICTURE_RUNS];
};

/* What `length` bytes at position `at` of a page count. */
uint64_t picture_sum(uint32_t at, const void *bytes, uint32_t length);
/* They were uploaded. */
void picture_add(struct picture *p, uint32_t at, uint32_t length, uint64_t sum);
/* They were written by other means: what is known of them is not true any more. */
void picture_spoil(struct picture *p, uint32_t at, uint32_t length);
/* Were the first `bytes` bytes of the page uploaded? */
bool picture_is_complete(const struct picture *p, uint32_t bytes);
#endif
