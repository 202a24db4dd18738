/* look.c: see look.h. */
#include "intern/look.h"
#include "base/scratch.h"
#include "base/sys.h"
#include "stats/counters.h"
#include <fcntl.h>
#include <unistd.h>

enum { PAGE = REACH_PAGE, STRIDE = 11 /* odd: all pages of a group have their turn as its probe */, VAIN_MOST = 2 };

static struct scratch content; /* of up to a group */
static struct sys_file pagemap = { .fd = -1 };

/* What a look at one chunk works on. */
struct view {
    struct page_ref first;
    uintptr_t at;
    uint64_t *note;
    uint64_t entry[REACH_PAGES]; /* of the page map */
    unsigned read;
    struct look *found;
};

/* Bit 63: present, bit 61: of a file, and so no candidate. */
static bool is_present(const struct view *v, unsigned i) { return v->entry[i] >> 63 & 1; }
static bool is_candidate(const struct view *v, unsigned i) { return is_present(v, i) && !(v->entry[i] >> 61 & 1); }
static bool is_unknown(const struct view *v, unsigned i) { return is_candidate(v, i) && !note_is_known(v->note[i]); }

/* Reads pages [i, end), at most a group; how many came whole. */
static unsigned read_pages(struct view *v, unsigned i, unsigned end) {
    unsigned got = (unsigned)(scratch_read(&content, v->at + (uintptr_t)i * PAGE, (size_t)(end - i) * PAGE) / PAGE);
    for (unsigned j = i + got; j < end; j++) v->note[j] = 0; /* gone */
    v->read += got;
    return got;
}

/* Page i reads like this. Returns whether that is news. */
static bool take(struct view *v, unsigned i, const unsigned char *page) {
    uint64_t hash = notes_hash(page);
    if (hash == note_hash(v->note[i])) return false;
    return v->note[i] = hash, true;
}

static void know(struct view *v, unsigned i, bool again) {
    v->note[i] |= NOTE_KNOWN;
    if (note_is_steady(v->note[i]) && (again || !(v->note[i] & NOTE_OFFERED))) v->found->page[v->found->count++] = (uint16_t)i;
}

/* Whatever is wanted of the group from i on, in as few calls as may be. What was not known is known then; what was and has changed is not. */
static void read_group(struct view *v, unsigned i, bool all) {
    bool (*wanted)(const struct view *, unsigned) = all ? is_candidate : is_unknown;
    for (unsigned end = i + NOTES_GROUP, next; i < end; i = next) {
        bool reads = wanted(v, i);
        for (next = i + 1; next < end && wanted(v, next) == reads;) next++;
        for (unsigned got = reads ? read_pages(v, i, next) : 0, j = 0; j < got; j++) {
            bool changed = take(v, i + j, content.bytes + (size_t)j * PAGE);
            if (changed && all) v->found->changed++;
            else know(v, i + j, all);
        }
    }
}

/* The first page of the group from i on, counted from `start`, that is `wanted`; NOTES_GROUP: there is none. */
static unsigned find_from(const struct view *v, unsigned i, unsigned start, bool (*wanted)(const struct view *, unsigned)) {
    for (unsigned n = 0; n < NOTES_GROUP; n++)
        if (wanted(v, i + (start + n) % NOTES_GROUP)) return (start + n) % NOTES_GROUP;
    return NOTES_GROUP;
}

/* The probe of a group with unknown pages was read. One that keeps changing does not keep its neighbours: another has its turn. */
static void look_at_unknown(struct view *v, unsigned i, unsigned page, bool changed) {
    struct group *g = &notes_chunk(v->first)->group[i / NOTES_GROUP];
    bool seen = g->seen && g->probe == page;
    g->probe = (uint8_t)(changed && seen ? (page + STRIDE) % NOTES_GROUP : page);
    g->seen = !(changed && seen);
    g->still = changed || !seen ? !changed : g->still + 1;
    if (g->still < 1 << g->vain) return;
    g->still = 0;
    read_group(v, i, false);
}

static void was_in_vain(struct group *g) {
    g->still = 0;
    if (g->vain < VAIN_MOST) g->vain++;
}

/* The probe of a known group has changed. */
static void forget(struct view *v, unsigned i, unsigned page) {
    struct group *g = &notes_chunk(v->first)->group[i / NOTES_GROUP];
    for (unsigned j = i; j < i + NOTES_GROUP; j++) v->note[j] &= ~NOTE_KNOWN;
    g->probe = (uint8_t)page, g->seen = 1;
    was_in_vain(g);
}

/* Pages that have gone, or are a file's now. */
static void forget_what_is_not_there(struct view *v, unsigned i) {
    bool gone = false;
    for (unsigned j = i; j < i + NOTES_GROUP; j++) {
        if (is_candidate(v, j)) continue;
        gone |= note_is_known(v->note[j]) && !is_present(v, j);
        v->note[j] = 0;
    }
    struct group *g = &notes_chunk(v->first)->group[i / NOTES_GROUP];
    if (gone) g->seen = 0, was_in_vain(g);
}

static void look_at_group(struct view *v, unsigned i) {
    const struct chunk *c = notes_chunk(v->first);
    unsigned page = find_from(v, i, c->group[i / NOTES_GROUP].probe, is_unknown);
    bool known = page == NOTES_GROUP;
    if (known) page = find_from(v, i, c->looks * STRIDE % NOTES_GROUP, is_candidate);
    if (page == NOTES_GROUP || read_pages(v, i + page, i + page + 1) == 0) return;
    bool changed = take(v, i + page, content.bytes);
    v->found->changed += changed;
    if (!known) look_at_unknown(v, i, page, changed);
    else if (changed) forget(v, i, page);
}

bool look_at(struct page_ref first, bool all, struct look *l) {
    struct view v = { .first = first, .at = notes_address(first), .note = notes_of(first), .found = l };
    l->changed = l->count = 0;
    if (pread(pagemap.fd, v.entry, sizeof v.entry, (off_t)(v.at / PAGE * sizeof *v.entry)) != sizeof v.entry) return false;
    for (unsigned i = 0; i < REACH_PAGES; i += NOTES_GROUP) forget_what_is_not_there(&v, i), all ? read_group(&v, i, true) : look_at_group(&v, i);
    notes_chunk(first)->looks++;
    counter_add(&counters->intern.pages_looked_at, v.read);
    return true;
}

bool look_begin(void) {
    pagemap = sys_file_of(sys_open("/proc/self/pagemap", O_RDONLY, 0));
    return pagemap.fd >= 0 && scratch_open(&content, NOTES_GROUP * PAGE);
}

void look_end(void) {
    scratch_close(&content);
    sys_file_close(&pagemap);
}
