/* share.c: the thread that looks, offers, publishes and merges; see share.h. All of it belongs to that thread, except share_start and
 * share_fork_child. Memory of the program is never read directly: a page that goes away meanwhile would be a signal. */
#include "intern/share.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "heap/reach.h"
#include "heap/shared.h"
#include "intern/broker.h"
#include "intern/client.h"
#include "intern/look.h"
#include "intern/notes.h"
#include "stats/counters.h"
#include "stats/service.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = REACH_PAGE, RUN_LEAST = 4, FEW_MAPPINGS = 4, SHORT_RUNS = 128, PUBLISH_MOST = SEALED_PAGES_MOST, BATCH = CHANNEL_COUNT_MOST };
enum { FIRST_MS = 800, HOT_MS = 2000, REST_MS = 60000, CALM_MS = 3000, ROUND_MS = 100, NEWS_MS = 500, KSM_SHARE = 4 /* a quarter of the pages */ };

static struct {
    struct page_ref page[BATCH];
    uint64_t hash[BATCH];
    uint32_t answer[BATCH];
    uint32_t count;
} offers;
static struct { uintptr_t at[PUBLISH_MOST]; struct page_ref page[PUBLISH_MOST]; } *wanted; /* pages to be published at the end of the round */
static uint32_t wanted_count;
static uint64_t started_ns;
static bool offer_all; /* something new was published: what is steady is offered again */
static uint32_t mappings_made, mappings_most;
static unsigned short_left; /* runs of less than RUN_LEAST pages that this round may still share */
/* How equal pages can be held once here. */
static enum share_backend { SHARE_NOTHING, SHARE_REACH, SHARE_KSM } backend;
static _Atomic bool running;

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
    const struct chunk *c = notes_chunk(p);
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
        if (!file || !sys_file_is_open(&file->file) || !reach_replace(r, i, n, file->file.fd, (off_t)channel_page(place[i]) * PAGE)) continue;
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
    if (!heap_shared_ready(first.segment) || !reach_out(&r, (void *)notes_address(first), count)) return;
    compare(&r, place, equal);
    unsigned replaced = replace_runs(&r, place, equal, least);
    for (unsigned i = 0; i < count; i++)
        if (!equal[i] || r.state[i] == REACH_SETTLED) notes_of(first)[i] = 0; /* another content by now, or soon */
    reach_back(&r);
    counter_add(&counters->intern.pages_shared, replaced);
}

/* --- offering */

static bool follows(struct page_ref a, struct page_ref b) {
    return a.segment == b.segment && b.page == a.page + 1 && b.page % REACH_PAGES != 0;
}

static void take_answer(uint32_t i) {
    struct page_ref p = offers.page[i];
    *notes_of(p) |= NOTE_OFFERED;
    notes_chunk(p)->equal += offers.answer[i] != CHANNEL_NONE;
    if (offers.answer[i] == CHANNEL_WANTED && backend == SHARE_REACH && wanted_count < PUBLISH_MOST) wanted->at[wanted_count] = notes_address(p), wanted->page[wanted_count++] = p;
}

/* Nobody heard them: they are looked at again. */
static void forget_offers(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) *notes_of(offers.page[i]) &= ~NOTE_KNOWN;
}

static void flush_offers(void) {
    uint32_t count = offers.count;
    offers.count = 0;
    if (count == 0) return;
    if (!client_offer(offers.hash, count, backend != SHARE_REACH, offers.answer)) return forget_offers(count);
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

static void offer(struct page_ref p) {
    if (offers.count == BATCH) flush_offers();
    offers.page[offers.count] = p;
    offers.hash[offers.count++] = *notes_of(p) & ~NOTE_KNOWN;
}

/* --- looking */

static void offer_steady(struct page_ref first) {
    for (struct page_ref p = first; p.page < first.page + REACH_PAGES; p.page++)
        if (note_is_steady(*notes_of(p))) offer(p);
}

static void offer_found(struct page_ref first, const struct look *l) {
    for (unsigned i = 0; i < l->count; i++) offer((struct page_ref){ first.segment, first.page + l->page[i] });
}

/* A chunk with many equal pages is the kernel's to merge: only those are paid for. */
static void advise(struct page_ref first) {
    struct chunk *c = notes_chunk(first);
    flush_offers();
    if (c->advised || c->equal < REACH_PAGES / KSM_SHARE) return;
    c->advised = sys_advise((void *)notes_address(first), REACH_CHUNK, MADV_MERGEABLE) == 0;
    if (c->advised) counter_add(&counters->intern.pages_merged_by_kernel, c->equal);
}

/* When it is looked at again. */
static uint32_t next_interval(const struct chunk *c, bool changed) {
    if (c->interval_ms == 0 || (changed && c->rests)) return FIRST_MS; /* new, or at rest until now */
    if (!changed) return c->interval_ms < REST_MS / 3 * 2 ? c->interval_ms / 2 * 3 : REST_MS;
    return c->interval_ms < HOT_MS / 2 ? c->interval_ms * 2 : HOT_MS;
}

/* For the kernel to merge, what is steady is counted at each look. */
static void visit(struct page_ref first) {
    struct chunk *c = notes_chunk(first);
    struct look found = { 0 };
    uint32_t now = now_ms();
    bool due = (int32_t)(now - c->due_ms) >= 0;
    if (due && look_at(first, c->interval_ms == REST_MS, &found)) {
        c->equal = 0;
        c->interval_ms = next_interval(c, found.changed > 0);
        c->rests = found.changed == 0;
        c->due_ms = now + c->interval_ms;
    }
    if (offer_all || (due && backend == SHARE_KSM)) offer_steady(first);
    else offer_found(first, &found);
    if (due && backend == SHARE_KSM) advise(first);
}

/* --- rounds */

/* A page that has changed since its hash was offered was not wanted: it is looked at again. Else it would be wanted for ever. */
static void forget_changed(const struct sealed *file, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *note = notes_of(wanted->page[i]);
        if (note_hash(file->hash[i]) != note_hash(*note)) *note = 0;
    }
}

static void publish(void) {
    struct sealed file;
    if (wanted_count == 0) return;
    uint32_t count = wanted_count;
    wanted_count = 0;
    if (!sealed_make(&file, wanted->at, count)) return;
    forget_changed(&file, count);
    if (client_publish(&file)) counter_add(&counters->intern.pages_published, count);
    sealed_close(&file);
}

static bool prepare(void) {
    if (!wanted) {
        wanted = sys_map(NULL, sizeof *wanted, PROT_READ | PROT_WRITE);
        started_ns = clock_ns();
        mappings_most = mappings_allowed();
        backend = share_backend();
    }
    return look_begin() && wanted;
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
        uintptr_t base, top;
        for (uint32_t n = 0; heap_segment(n, &base, &top); n++) {
            uintptr_t from = base & -(uintptr_t)REACH_CHUNK; /* windows as huge pages lie */
            if (!notes_ready(n, from, (top - from) / PAGE + REACH_PAGES)) continue;
            for (uintptr_t at = from < base ? from + REACH_CHUNK : from; at + REACH_CHUNK <= top; at += REACH_CHUNK)
                visit((struct page_ref){ n, (uint32_t)((at - from) / PAGE) });
        }
        flush_offers();
        publish();
        client_put_files();
    }
    look_end();
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
    look_end(); /* what a round of the parent had open */
    notes_drop();
    if (wanted) sys_unmap(wanted, sizeof *wanted);
    wanted = NULL, offers.count = wanted_count = 0;
    atomic_store(&running, false);
}
