/* look.c: see look.h. */
#include "intern/look.h"
#include "base/scratch.h"
#include "base/sys.h"
#include "stats/counters.h"
#include <fcntl.h>
#include <unistd.h>

enum { PAGE = REACH_PAGE, STRIDE = 11 /* odd: all pages of a group have their turn as its probe */ };

static struct scratch content; /* of up to a group */
static int pagemap = -1;

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
static bool is_candidate(const struct view *v, unsigned i) { return v->entry[i] >> 63 & 1 && !(v->entry[i] >> 61 & 1); }
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
    for (unsigned end = i + LOOK_GROUP, next; i < end; i = next) {
        bool reads = wanted(v, i);
        for (next = i + 1; next < end && wanted(v, next) == reads;) next++;
        for (unsigned got = reads ? read_pages(v, i, next) : 0, j = 0; j < got; j++) {
            bool changed = take(v, i + j, content.bytes + (size_t)j * PAGE);
            if (changed && all) v->found->changed++;
            else know(v, i + j, all);
        }
    }
}

/* The page of the group from i on that is read first: one that is unknown if there is any, the same at two looks in a row; else any, another
 * at each. LOOK_GROUP: there is no candidate. */
static unsigned probe_of(const struct view *v, unsigned i) {
    unsigned looks = notes_chunk(v->first)->looks, any = LOOK_GROUP;
    for (unsigned n = 0; n < LOOK_GROUP; n++) {
        unsigned page = (looks / 2 * STRIDE + n) % LOOK_GROUP;
        if (is_unknown(v, i + page)) return page;
        unsigned other = (looks * STRIDE + n) % LOOK_GROUP;
        if (any == LOOK_GROUP && is_candidate(v, i + other)) any = other;
    }
    return any;
}

static void look_at_group(struct view *v, unsigned i) {
    unsigned probe = probe_of(v, i);
    if (probe == LOOK_GROUP) return;
    bool known = note_is_known(v->note[i + probe]);
    if (read_pages(v, i + probe, i + probe + 1) == 0) return;
    bool changed = take(v, i + probe, content.bytes);
    v->found->changed += changed;
    if (known && changed)
        for (unsigned j = i; j < i + LOOK_GROUP; j++) v->note[j] &= ~NOTE_KNOWN;
    else if (!known && !changed) read_group(v, i, false);
}

bool look_at(struct page_ref first, bool all, struct look *l) {
    struct view v = { .first = first, .at = notes_address(first), .note = notes_of(first), .found = l };
    l->changed = l->count = 0;
    if (pread(pagemap, v.entry, sizeof v.entry, (off_t)(v.at / PAGE * sizeof *v.entry)) != sizeof v.entry) return false;
    for (unsigned i = 0; i < REACH_PAGES; i++)
        if (!is_candidate(&v, i)) v.note[i] = 0;
    for (unsigned i = 0; i < REACH_PAGES; i += LOOK_GROUP) all ? read_group(&v, i, true) : look_at_group(&v, i);
    notes_chunk(first)->looks++;
    counter_add(&counters->intern.pages_looked_at, v.read);
    return true;
}

bool look_begin(void) {
    pagemap = sys_open("/proc/self/pagemap", O_RDONLY, 0);
    return pagemap >= 0 && scratch_open(&content, LOOK_GROUP * PAGE);
}

void look_end(void) {
    scratch_close(&content);
    if (pagemap >= 0) close(pagemap);
    pagemap = -1;
}
