/* share.c: the thread that looks, offers, publishes and merges; see share.h. All of it belongs to that thread, except share_start and
 * share_fork_child. Memory of the program is read through /proc/self/mem, never directly: a page that goes away meanwhile is an error
 * there and no signal. */
#include "intern/share.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "heap/reach.h"
#include "heap/shared.h"
#include "intern/broker.h"
#include "intern/channel.h"
#include "intern/client.h"
#include "stats/counters.h"
#include "stats/service.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SEGMENTS = 8, PAGE = REACH_PAGE, RUN_LEAST = 4, FEW_MAPPINGS = 4, SHORT_RUNS = 128, PUBLISH_MOST = SEALED_PAGES_MOST, BATCH = CHANNEL_COUNT_MOST };
enum { FIRST_MS = 200, HOT_MS = 2000, REST_MS = 60000, CALM_MS = 3000, ROUND_MS = 100, NEWS_MS = 500, KSM_SHARE = 4 /* a quarter of the pages */, PROBE = 32 };
#define STEADY ((uint64_t)1)
#define OFFERED ((uint64_t)2)

/* What is known of a page: the hash at the last look without its lowest bits, and flags in their place; 0: nothing. Once steady and
 * offered it is not read again until it is compared, or the chunk's turn to be read as a whole comes: reading is what costs, and a hash
 * is no promise anyway. But each look reads a few of those that are known, always others: where one of them has changed, so may have
 * its neighbours (weights are read into memory that was filled with random numbers before), and the whole chunk is read at once. */
struct chunk {
    uint32_t due_ms, interval_ms;
    uint16_t equal; /* pages that somebody else has too, of the last offers: for KSM */
    bool advised;
    bool rests; /* nothing had changed at the last look */
    uint8_t probe; /* which of each PROBE pages is read although it is known */
};
static struct segment {
    uintptr_t base;
    size_t pages;
    uint64_t *note;      /* a page */
    struct chunk *chunk;
} segments[SEGMENTS];

struct page_ref { uint32_t segment; uint32_t page; };
static struct {
    struct page_ref page[BATCH];
    uint64_t hash[BATCH];
    uint32_t answer[BATCH];
    uint32_t count;
} offers;
static struct { uintptr_t at[PUBLISH_MOST]; struct page_ref page[PUBLISH_MOST]; } *wanted; /* pages to be published at the end of the round */
static uint32_t wanted_count;
static unsigned char *buffer; /* a chunk */
static int memory_fd, pagemap_fd;
static uint64_t zero_hash, started_ns;
static bool offer_all; /* something new was published: what is steady is offered again */
static uint32_t mappings_made, mappings_most;
static unsigned short_left; /* runs of less than RUN_LEAST pages that this round may still share */
/* How equal pages can be held once here. */
static enum share_backend { SHARE_NOTHING, SHARE_REACH, SHARE_KSM } backend;
static _Atomic bool running;

static uintptr_t address_of(struct page_ref p) { return segments[p.segment].base + (uintptr_t)p.page * PAGE; }
static uint32_t now_ms(void) { return (uint32_t)((clock_ns() - started_ns) / 1000000); }

/* --- what the system permits */

static bool kernel_merges(void) {
    char run[16];
    return sys_read_file("/sys/kernel/mm/ksm/run", run, sizeof run) > 0 && run[0] == '1';
}

static enum share_backend share_backend(void) {
    uint64_t by = option_number(share_backend);
    return by != SHARE_BY_KERNEL && reach_possible() ? SHARE_REACH : by != SHARE_BY_OWN && kernel_merges() ? SHARE_KSM : SHARE_NOTHING;
}

/* A third of what the kernel lets a process have. */
static uint32_t mappings_allowed(void) {
    char text[32];
    return (uint32_t)((sys_read_file("/proc/sys/vm/max_map_count", text, sizeof text) > 0 ? strtoul(text, NULL, 10) : 65530) / 3);
}

/* --- merging */

/* Pages [0, count) at `at` are consecutive, and so may be their places. Those equal to their file's, out of reach: 1 in `equal`. */
static void compare(const struct reach *r, const uint32_t *place, unsigned char *equal) {
    for (unsigned i = 0; i < r->pages; i++) {
        const struct sealed *file = client_file(channel_file(place[i]));
        equal[i] = r->state[i] == REACH_OUT && file && channel_page(place[i]) < file->pages &&
                   memcmp(r->look + (size_t)i * PAGE, file->content + (size_t)channel_page(place[i]) * PAGE, PAGE) == 0;
    }
}

/* Each run costs a mapping and a few waits for whoever else changes mappings. For a page or two that is paid where nothing has changed
 * for seconds, as long as there are few mappings, and a few times a round. */
static unsigned run_least(struct page_ref p) {
    const struct chunk *c = &segments[p.segment].chunk[p.page / REACH_PAGES];
    return c->rests && c->interval_ms >= CALM_MS && mappings_made < mappings_most / FEW_MAPPINGS && short_left > 0 ? 1 : RUN_LEAST;
}

/* How many pages from i on are equal and follow each other in one file, so that one mapping does for them. */
static unsigned run_at(const struct reach *r, const uint32_t *place, const unsigned char *equal, unsigned i) {
    unsigned n = 0;
    while (i + n < r->pages && equal[i + n] && place[i + n] == place[i] + n) n++;
    return n;
}

static unsigned replace_runs(struct reach *r, const uint32_t *place, const unsigned char *equal, unsigned least) {
    unsigned replaced = 0;
    for (unsigned i = 0, n; i < r->pages; i += n ? n : 1) {
        n = run_at(r, place, equal, i);
        const struct sealed *file = n >= least && mappings_made + 2 <= mappings_most ? client_file(channel_file(place[i])) : NULL;
        if (!file || !sealed_is_there(file) || !reach_replace(r, i, n, file->fd, (off_t)channel_page(place[i]) * PAGE)) continue;
        heap_shared_mark(r->at + (uintptr_t)i * PAGE, n);
        mappings_made += 2, replaced += n;
    }
    return replaced;
}

/* `count` consecutive pages of one chunk, each of which has a place. */
static void merge(struct page_ref first, const uint32_t *place, unsigned count, unsigned least) {
    static struct reach r;
    unsigned char equal[REACH_PAGES];
    for (unsigned i = 0; i < count; i++) client_fetch(channel_file(place[i])); /* before anything is out of reach */
    if (!heap_shared_ready(first.segment) || !reach_out(&r, (void *)address_of(first), count)) return;
    compare(&r, place, equal);
    unsigned replaced = replace_runs(&r, place, equal, least);
    for (unsigned i = 0; i < count; i++)
        if (!equal[i] || r.state[i] == REACH_SETTLED) segments[first.segment].note[first.page + i] = 0; /* another content by now, or soon */
    reach_back(&r);
    counter_add(&counters->intern.pages_shared, replaced);
}

/* --- offering */

static bool follows(struct page_ref a, struct page_ref b) {
    return a.segment == b.segment && b.page == a.page + 1 && b.page % REACH_PAGES != 0;
}

static void take_answer(uint32_t i) {
    struct page_ref p = offers.page[i];
    segments[p.segment].note[p.page] |= OFFERED;
    segments[p.segment].chunk[p.page / REACH_PAGES].equal += offers.answer[i] != CHANNEL_NONE;
    if (offers.answer[i] == CHANNEL_WANTED && backend == SHARE_REACH && wanted_count < PUBLISH_MOST) wanted->at[wanted_count] = address_of(p), wanted->page[wanted_count++] = p;
}

static void flush_offers(void) {
    uint32_t count = offers.count;
    offers.count = 0;
    if (count == 0 || !client_offer(offers.hash, count, backend != SHARE_REACH, offers.answer)) return;
    for (uint32_t i = 0, n; i < count; i += n) {
        take_answer(i);
        for (n = 1; i + n < count && follows(offers.page[i + n - 1], offers.page[i + n]) && offers.answer[i] > CHANNEL_WANTED && offers.answer[i + n] > CHANNEL_WANTED; n++)
            take_answer(i + n);
        unsigned least = run_least(offers.page[i]);
        if (backend != SHARE_REACH || offers.answer[i] <= CHANNEL_WANTED || n < least) continue;
        short_left -= n < RUN_LEAST;
        merge(offers.page[i], offers.answer + i, n, least);
    }
}

static void offer(struct page_ref p, uint64_t note) {
    if (offers.count == BATCH) flush_offers();
    offers.page[offers.count] = p;
    offers.hash[offers.count++] = (note & ~CHANNEL_FLAGS) | (note & OFFERED ? CHANNEL_AGAIN : 0);
}

/* --- looking */

/* An entry of the page map: bit 63 present, bit 61 of a file. */
static bool is_candidate(uint64_t entry) { return entry >> 63 & 1 && !(entry >> 61 & 1); }

/* Reads pages [i, end) of a chunk; how many came whole. */
static unsigned read_pages(uintptr_t at, unsigned i, unsigned end) {
    ssize_t n = pread(memory_fd, buffer + (size_t)i * PAGE, (size_t)(end - i) * PAGE, (off_t)(at + (uintptr_t)i * PAGE));
    return n > 0 ? (unsigned)(n / PAGE) : 0;
}

static bool is_known(uint64_t note) { return (note & (STEADY | OFFERED)) == (STEADY | OFFERED); }

/* Does a look read this page? All of them, or what is not known and the probes among the rest. */
static bool is_read(uint32_t segment, uint32_t page, uint64_t entry, bool all) {
    const struct segment *s = &segments[segment];
    return is_candidate(entry) && (all || !is_known(s->note[page]) || page % PROBE == s->chunk[page / REACH_PAGES].probe);
}

/* A page was read: is it as it was? Returns whether it has changed. */
static bool note_page(struct page_ref p, const unsigned char *bytes) {
    uint64_t *note = &segments[p.segment].note[p.page], hash = sealed_hash(bytes) & ~CHANNEL_FLAGS;
    if (hash == zero_hash || hash == 0) return *note = 0, false; /* zeros are cheaper given back: heap/reach.h */
    if ((*note & ~CHANNEL_FLAGS) != hash) return *note = hash, true;
    *note |= STEADY;
    offer(p, *note);
    return false;
}

/* A page that was not read: unless it is known, nothing is. For the kernel to merge, known ones are counted at each look. */
static void forget_or_offer(struct page_ref p, uint64_t entry, bool failed) {
    uint64_t *note = &segments[p.segment].note[p.page];
    if (failed || !is_candidate(entry)) *note = 0;
    else if (offer_all || backend == SHARE_KSM) offer(p, *note);
}

/* Pages that have changed since the last look; those that are known are left out unless `all`. */
struct changes { unsigned pages, known; };
static struct changes look_at(uint32_t segment, uint32_t first, bool all) {
    struct segment *s = &segments[segment];
    uint64_t entry[REACH_PAGES];
    uintptr_t at = s->base + (uintptr_t)first * PAGE;
    struct changes changed = { 0 };
    unsigned looked = 0;
    if (pread(pagemap_fd, entry, sizeof entry, (off_t)(at / PAGE * sizeof *entry)) != sizeof entry) return changed;
    for (unsigned i = 0, end; i < REACH_PAGES; i = end) {
        bool reads = is_read(segment, first + i, entry[i], all);
        for (end = i + 1; end < REACH_PAGES && is_read(segment, first + end, entry[end], all) == reads;) end++;
        unsigned got = reads ? read_pages(at, i, end) : 0;
        for (unsigned j = i; j < i + got; j++) {
            bool known = is_known(s->note[first + j]);
            if (!note_page((struct page_ref){ segment, first + j }, buffer + (size_t)j * PAGE)) continue;
            changed.pages++, changed.known += known;
        }
        for (unsigned j = i + got; j < end; j++) forget_or_offer((struct page_ref){ segment, first + j }, entry[j], reads);
        looked += got;
    }
    counter_add(&counters->intern.pages_looked_at, looked);
    return changed;
}

/* The same, and if it turns out that what was known has changed, of the whole chunk. Other probes the next time. */
static unsigned look_closer(uint32_t segment, uint32_t first, struct chunk *c) {
    bool all = c->interval_ms == REST_MS;
    struct changes changed = look_at(segment, first, all);
    if (changed.known > 0 && !all) changed.pages += look_at(segment, first, true).pages;
    c->probe = (uint8_t)((c->probe + 11) % PROBE); /* 11 and 32: all of them in turn */
    return changed.pages;
}

static void offer_steady(uint32_t segment, uint32_t first) {
    for (uint32_t i = first; i < first + REACH_PAGES; i++)
        if (segments[segment].note[i] & STEADY) offer((struct page_ref){ segment, i }, segments[segment].note[i]);
}

/* A chunk with many equal pages is the kernel's to merge: only those are paid for. */
static void advise(uint32_t segment, uint32_t first, struct chunk *c) {
    flush_offers();
    if (c->advised || c->equal < REACH_PAGES / KSM_SHARE) return;
    c->advised = sys_advise((void *)(segments[segment].base + (uintptr_t)first * PAGE), REACH_CHUNK, MADV_MERGEABLE) == 0;
    if (c->advised) counter_add(&counters->intern.pages_merged_by_kernel, c->equal);
}

static void visit(uint32_t segment, uint32_t first) {
    struct chunk *c = &segments[segment].chunk[first / REACH_PAGES];
    uint32_t now = now_ms();
    if ((int32_t)(now - c->due_ms) < 0) {
        if (offer_all) offer_steady(segment, first);
        return;
    }
    c->equal = 0;
    unsigned changed = look_closer(segment, first, c);
    if (changed == 0) c->interval_ms = c->interval_ms < REST_MS / 2 ? c->interval_ms * 2 + FIRST_MS : REST_MS;
    else if (c->interval_ms == 0 || c->rests) c->interval_ms = FIRST_MS; /* new, or at rest until now */
    else c->interval_ms = c->interval_ms < HOT_MS / 2 ? c->interval_ms * 2 : HOT_MS;
    c->rests = changed == 0;
    c->due_ms = now + c->interval_ms;
    if (backend == SHARE_KSM) advise(segment, first, c);
}

/* --- rounds */

static bool segment_ready(uint32_t n, uintptr_t base, size_t pages) {
    struct segment *s = &segments[n];
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

/* A page that has changed since its hash was offered was not wanted: it is looked at again. Else it would be wanted for ever. */
static void forget_changed(const struct sealed *file, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *note = &segments[wanted->page[i].segment].note[wanted->page[i].page];
        if ((file->hash[i] ^ *note) & ~CHANNEL_FLAGS) *note = 0;
    }
}

static void publish(void) {
    struct sealed file;
    if (wanted_count == 0) return;
    uint32_t count = wanted_count;
    wanted_count = 0;
    if (!sealed_make(&file, memory_fd, wanted->at, count)) return;
    forget_changed(&file, count);
    if (client_publish(&file)) counter_add(&counters->intern.pages_published, count);
    sealed_close(&file);
}

static bool prepare(void) {
    static const unsigned char zeros[PAGE];
    if (!buffer) {
        buffer = sys_map(NULL, REACH_CHUNK, PROT_READ | PROT_WRITE);
        wanted = sys_map(NULL, sizeof *wanted, PROT_READ | PROT_WRITE);
        zero_hash = sealed_hash(zeros) & ~CHANNEL_FLAGS;
        started_ns = clock_ns();
        mappings_most = mappings_allowed();
        backend = share_backend();
    }
    memory_fd = sys_open("/proc/self/mem", O_RDONLY, 0), pagemap_fd = sys_open("/proc/self/pagemap", O_RDONLY, 0);
    return buffer && wanted && memory_fd >= 0 && pagemap_fd >= 0;
}

/* Has anybody published since what is steady was offered last? Asked once in NEWS_MS. */
static void ask_for_news(void) {
    static uint32_t asked_ms, known;
    offer_all = false;
    if (now_ms() - asked_ms < NEWS_MS && asked_ms) return;
    asked_ms = now_ms() + 1;
    uint32_t published = client_published();
    offer_all = published != known || short_left == 0;
    short_left = SHORT_RUNS;
    known = published;
}

/* Over all chunks that are due. */
static void round_over_all(void) {
    struct timespec t;
    if (prepare() && client_ready()) {
        ask_for_news();
        for (uint32_t n = 0; n < SEGMENTS; n++) {
            uintptr_t base, top;
            if (!heap_segment(n, &base, &top)) break;
            uintptr_t from = base & -(uintptr_t)REACH_CHUNK; /* windows as huge pages lie */
            if (!segment_ready(n, from, (top - from) / PAGE + REACH_PAGES)) continue;
            for (uintptr_t at = from < base ? from + REACH_CHUNK : from; at + REACH_CHUNK <= top; at += REACH_CHUNK)
                visit(n, (uint32_t)((at - from) / PAGE));
        }
        flush_offers();
        publish();
        client_put_files();
    }
    if (memory_fd >= 0) close(memory_fd);
    if (pagemap_fd >= 0) close(pagemap_fd);
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0) counter_set(&counters->intern.share_cpu_ns, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec);
}

static void *work(void *unused) {
    for (;;) {
        round_over_all();
        nanosleep(&(struct timespec){ .tv_nsec = ROUND_MS * 1000000 }, NULL);
    }
    return NULL;
}

void share_start(void) {
    int saved = errno;
    if (atomic_exchange(&running, true)) return;
    if (share_backend() == SHARE_NOTHING)
        log_line("COPPICE_INTERN=pages: equal pages cannot be shared here: full userfaultfd is not permitted and the kernel does not merge pages; docs/SHARING.md says what helps", NULL);
    else if (!service_thread(work, "coppice-share")) atomic_store(&running, false);
    errno = saved;
}

void share_fork_child(void) {
    if (!atomic_load(&running)) return;
    broker_fork_child();
    client_fork_child();
    for (uint32_t n = 0; n < SEGMENTS; n++) {
        struct segment *s = &segments[n];
        if (s->note) sys_unmap(s->note, s->pages * sizeof *s->note);
        if (s->chunk) sys_unmap(s->chunk, (s->pages / REACH_PAGES + 1) * sizeof *s->chunk);
        *s = (struct segment){ 0 };
    }
    if (buffer) sys_unmap(buffer, REACH_CHUNK), sys_unmap(wanted, sizeof *wanted);
    buffer = NULL, offers.count = wanted_count = 0;
    atomic_store(&running, false);
}
