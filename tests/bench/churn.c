/* churn.c: what a key-value store's churn leaves of a heap, and what *meshing* could save of it.
 *
 * The program makes the allocations of the redis server of `make eval-host` (fill, delete a random half, refill with larger values, three
 * times; sizes from data/azure_slice.csv), without the server. At each turning point it says what is live, what the process
 * holds, and in how many pages live objects lie. Two pages can be *meshed*, that is share one page of memory, when no live object of the one
 * lies at the offset of a live object of the other. Pairs are sought as Powers et al. (PLDI 2019) do: each page of one half of a
 * shuffled list is compared with 64 of the other half. Two lists are kept: pages of one class of sizes with each other (what an allocator could
 * do that keeps one class a page), and any pages with each other (no allocator's books could say more).
 * Run it under any allocator: LD_PRELOAD=… build/tests/bench/churn [KEYS]. Lines: moment, MiB live, held, of pages with something live,
 * and held after meshing by either list. */
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, GRAIN = 16, WORDS = PAGE / GRAIN / 64, PARTS = 4, TRIES = 64, MIXED = -1, SIZES = 512 };
struct key { void *part[PARTS]; }; /* entry of the table, name, header, value */
struct page { uint64_t used[WORDS]; int64_t kind; };

static struct key *keys;
static size_t count, most;
static uint64_t *live; /* addresses of live blocks, sorted */
static struct page *pages;
static uint32_t *list;
static unsigned size_of[SIZES], sizes;
static uint64_t seed = 88172645463325252ull;

static uint64_t any(uint64_t below) { return (seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17) % below; }

static void *mapped(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED) perror("churn"), exit(2);
    return p;
}

static long held_kib(void) {
    char line[256];
    long pss = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "Pss: %ld", &pss);
    if (f) fclose(f);
    return pss;
}

static void read_sizes(void) {
    char line[256];
    FILE *f = fopen("data/azure_slice.csv", "r");
    if (!f || !fgets(line, sizeof line, f)) fputs("churn: data/azure_slice.csv is not here\n", stderr), exit(2);
    while (sizes < SIZES && fgets(line, sizeof line, f)) {
        unsigned context;
        if (sscanf(strchr(line, ',') + 1, "%u", &context) == 1) size_of[sizes++] = context / 8 < 16 ? 16 : context / 8;
    }
    fclose(f);
}

/* As redis keeps a string: a short value lies in its header. */
static void set(double larger) {
    size_t size = (size_t)(size_of[any(sizes)] * larger), head = size < 256 ? 4 : size < 65536 ? 6 : 10;
    struct key *k = &keys[count++];
    *k = (struct key){ { malloc(24), malloc(12), malloc(size <= 44 ? 16 + head + size : 16), size <= 44 ? NULL : malloc(head + size) } };
    for (int i = 0; i < PARTS; i++)
        if (k->part[i]) memset(k->part[i], 0x5a, malloc_usable_size(k->part[i]));
}

static void delete_half(void) {
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = any(i + 1);
        struct key k = keys[i];
        keys[i] = keys[j], keys[j] = k;
    }
    for (size_t half = count / 2; count > half; count--)
        for (int i = 0; i < PARTS; i++) free(keys[count - 1].part[i]);
}

/* --- the estimate */

/* Byte by byte, since qsort would take memory from the heap that is looked at. */
static void sort_numbers(uint64_t *of, size_t n) {
    uint64_t *other = mapped((n + 1) * sizeof *of), *from = of, *to = other;
    for (unsigned shift = 0; shift < 48; shift += 8) {
        size_t at[257] = { 0 };
        for (size_t i = 0; i < n; i++) at[(from[i] >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++) at[i + 1] += at[i];
        for (size_t i = 0; i < n; i++) to[at[from[i] >> shift & 255]++] = from[i];
        uint64_t *swap = from;
        from = to, to = swap;
    } /* an even number of passes: the last one wrote to `of` */
    munmap(other, (n + 1) * sizeof *of);
}

static size_t sort_live(size_t *bytes) {
    size_t n = 0;
    *bytes = 0;
    for (size_t i = 0; i < count; i++)
        for (int j = 0; j < PARTS; j++)
            if (keys[i].part[j]) live[n++] = (uintptr_t)keys[i].part[j], *bytes += malloc_usable_size(keys[i].part[j]);
    sort_numbers(live, n);
    return n;
}

static void mark(struct page *p, unsigned first, unsigned end, int64_t kind) {
    for (unsigned g = first; g < end; g++) p->used[g / 64] |= (uint64_t)1 << (g % 64);
    if (p->kind == 0) p->kind = kind;
    else if (p->kind != kind) p->kind = MIXED;
}

/* Pages with something live, in the order of their addresses. */
static size_t fill_pages(size_t blocks) {
    size_t n = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < blocks; i++) {
        uint64_t at = live[i], size = malloc_usable_size((void *)live[i]);
        for (uint64_t end = at + size; at < end;) {
            uint64_t page = at / PAGE, stop = (page + 1) * PAGE < end ? (page + 1) * PAGE : end;
            if (n == 0 || page != last) pages[n++] = (struct page){ 0 }, last = page;
            mark(&pages[n - 1], at % PAGE / GRAIN, (stop - 1) % PAGE / GRAIN + 1, (int64_t)size);
            at = stop;
        }
    }
    return n;
}

static bool disjoint(const struct page *a, const struct page *b) {
    for (int i = 0; i < WORDS; i++)
        if (a->used[i] & b->used[i]) return false;
    return true;
}

/* Pairs among list[0..n); pages that have found one are not asked again. */
static size_t pairs_of(uint32_t *of, size_t n) {
    size_t half = n / 2, pairs = 0;
    bool *gone = mapped(n + 1);
    for (size_t i = n; i > 1; i--) {
        size_t j = any(i);
        uint32_t x = of[i - 1];
        of[i - 1] = of[j], of[j] = x;
    }
    for (size_t t = 0; t < TRIES && t < half; t++)
        for (size_t i = 0; i < half; i++) {
            size_t j = half + (i + t) % half;
            if (!gone[i] && !gone[j] && disjoint(&pages[of[i]], &pages[of[j]])) gone[i] = gone[j] = true, pairs++;
        }
    munmap(gone, n + 1);
    return pairs;
}

static int by_kind(const void *a, const void *b) {
    int64_t x = pages[*(const uint32_t *)a].kind, y = pages[*(const uint32_t *)b].kind;
    return (x > y) - (x < y);
}

static size_t pairs_by_class(size_t n) {
    size_t pairs = 0, end;
    for (size_t i = 0; i < n; i++) list[i] = (uint32_t)i;
    qsort(list, n, sizeof *list, by_kind);
    for (size_t i = 0; i < n; i = end) {
        for (end = i; end < n && pages[list[end]].kind == pages[list[i]].kind;) end++;
        if (pages[list[i]].kind != MIXED && pages[list[i]].kind < PAGE) pairs += pairs_of(list + i, end - i);
    }
    return pairs;
}

static void tell(const char *moment, long baseline) {
    size_t bytes, n = fill_pages(sort_live(&bytes));
    double held = (double)(held_kib() - baseline) / 1024, page = (double)PAGE / (1 << 20);
    size_t by_class = pairs_by_class(n), anyhow = pairs_of(list, n);
    printf("%-10s live %6.1f  held %6.1f  pages %6.1f  meshed by class %6.1f  of any class %6.1f\n", moment, (double)bytes / (1 << 20), held,
           (double)n * page, held - (double)by_class * page, held - (double)anyhow * page);
    fflush(stdout);
}

int main(int argc, char **argv) {
    size_t first = argc > 1 ? (size_t)atol(argv[1]) : 1200000;
    const double larger[] = { 1, 2.5, 6 };
    read_sizes();
    most = first * 2;
    keys = mapped(most * sizeof *keys), live = mapped(most * PARTS * sizeof *live);
    pages = mapped(first * sizeof *pages), list = mapped(first * sizeof *list);
    long baseline = held_kib();
    for (int round = 0; round < 3; round++) {
        for (size_t i = (size_t)((double)first / larger[round]); i > 0; i--) set(larger[round]);
        tell("filled", baseline);
        delete_half();
        nanosleep(&(struct timespec){ .tv_sec = 3 }, NULL);
        free(malloc(1 << 20)); /* an allocator that decays does it when it is called */
        tell("deleted", baseline);
    }
    return 0;
}
