/* notes.c: see notes.h. */
#include "intern/notes.h"
#include "base/sys.h"
#include "intern/sealed.h"
#include <sys/mman.h>

enum { SEGMENTS = 8 };
/* One segment of the heap, from the first address that a chunk can begin at. */
static struct segment {
    uintptr_t base;
    size_t pages;
    uint64_t *note;
    struct chunk *chunk;
} segments[SEGMENTS];

bool notes_ready(uint32_t segment, uintptr_t base, size_t pages) {
    if (segment >= SEGMENTS) return false;
    struct segment *s = &segments[segment];
    if (s->base == base && pages <= s->pages) return true;
    if (s->note) return false; /* it has grown beyond what was reserved: not looked at any more */
    size_t most = (size_t)1 << 26;
    while (most < pages) most *= 2;
    s->note = sys_map(NULL, most * sizeof *s->note, PROT_READ | PROT_WRITE);
    s->chunk = sys_map(NULL, (most / REACH_PAGES + 1) * sizeof *s->chunk, PROT_READ | PROT_WRITE);
    if (!s->note || !s->chunk) return false;
    s->base = base, s->pages = most;
    return true;
}

uint64_t *notes_of(struct page_ref p) { return &segments[p.segment].note[p.page]; }
struct chunk *notes_chunk(struct page_ref p) { return &segments[p.segment].chunk[p.page / REACH_PAGES]; }
uintptr_t notes_address(struct page_ref p) { return segments[p.segment].base + (uintptr_t)p.page * REACH_PAGE; }

uint64_t notes_hash(const void *content) {
    static const unsigned char zeros[REACH_PAGE];
    static uint64_t of_zeros;
    if (of_zeros == 0) of_zeros = note_hash(sealed_hash(zeros));
    uint64_t hash = note_hash(sealed_hash(content));
    return hash == of_zeros || hash == 0 ? NOTE_ZEROS : hash;
}

void notes_drop(void) {
    for (uint32_t n = 0; n < SEGMENTS; n++) {
        struct segment *s = &segments[n];
        if (s->note) sys_unmap(s->note, s->pages * sizeof *s->note);
        if (s->chunk) sys_unmap(s->chunk, (s->pages / REACH_PAGES + 1) * sizeof *s->chunk);
        *s = (struct segment){ 0 };
    }
}
