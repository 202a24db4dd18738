// env: COPPICE_INTERN=pages
// env: COPPICE_ZERO_RECLAIM=auto
// env: COPPICE_ZERO_RECLAIM_CPU=50
/* Equal pages are shared, and pages of zeros dropped, under the hands of threads that write, read, let the kernel write (read, recv, process_vm_writev,
 * io_uring into plain memory and into buffers whose pages it holds, reads past all caches), give back (madvise, free, realloc), move mappings and
 * fork; each keeps a copy of what its blocks must hold in memory of its own, and nothing is ever lost or foreign.
 * `shared_pages_race SECONDS`: for so long. */
#include "program.h"
#include "ring.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

enum { PAGE = 4096, PAGES = 1024, SIZE = PAGES * PAGE, BLOCKS = 5, THREADS = 4, PATTERNS = 3 };

static _Atomic unsigned long shared_seen, operations, ring_reads, held_reads, direct_reads;
static time_t end;

struct block {
    unsigned char *p, *must; /* must: what p holds; not of the heap */
};
struct worker {
    unsigned seed;
    int pair[2], file, direct; /* file: of SIZE bytes, each page its number's; direct: one on a disk, read past the cache; -1: none */
    struct ring ring;
    struct block block[BLOCKS];
};

static unsigned pick(struct worker *w, unsigned n) { return (unsigned)rand_r(&w->seed) % n; }

/* Pages of a pattern are equal in all blocks and processes that have it, and different from each other. */
static void refill(struct block *b, unsigned pattern) {
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t *word = (uint64_t *)(void *)(b->must + i * PAGE);
        for (unsigned j = 0; j < PAGE / 8; j++) word[j] = (pattern + 1) * 0x9E3779B97F4A7C15u * (i * 512 + j + 1);
    }
    memcpy(b->p, b->must, SIZE);
}

static void verify(struct block *b, const char *after) {
    if (memcmp(b->p, b->must, SIZE) == 0) return;
    size_t at = 0;
    while (b->p[at] == b->must[at]) at++;
    printf("after %s: byte %zu (page %zu) is %d, not %d\n", after, at, at / PAGE, b->p[at], b->must[at]);
    fflush(stdout);
    _exit(1);
}

/* --- what is done to a block; each changes both sides alike */

static void write_some(struct worker *w, struct block *b) {
    unsigned length = 1 + pick(w, 6000), at = pick(w, SIZE - length);
    memset(b->p + at, (int)length, length), memset(b->must + at, (int)length, length);
}

static void write_words(struct worker *w, struct block *b) {
    for (unsigned i = pick(w, 8); i < PAGES; i += 1 + pick(w, 64)) b->p[i * PAGE + i] ^= 0x55, b->must[i * PAGE + i] ^= 0x55;
}

static void let_recv_write(struct worker *w, struct block *b) {
    unsigned char bytes[5000];
    unsigned length = 1 + pick(w, sizeof bytes), at = pick(w, SIZE - length);
    memset(bytes, (int)at, length);
    CHECK(write(w->pair[0], bytes, length) == (ssize_t)length);
    for (unsigned done = 0; done < length;) {
        ssize_t n = recv(w->pair[1], b->p + at + done, length - done, 0);
        CHECK(n > 0);
        done += (unsigned)n;
    }
    memset(b->must + at, (int)at, length);
}

static void let_read_write(struct worker *w, struct block *b) {
    unsigned length = 1 + pick(w, 100000), at = pick(w, SIZE - length);
    int fd = open("/dev/zero", O_RDONLY);
    CHECK(read(fd, b->p + at, length) == (ssize_t)length);
    close(fd);
    memset(b->must + at, 0, length);
}

static void let_vm_write(struct worker *w, struct block *b) {
    unsigned char bytes[3000];
    unsigned at = pick(w, SIZE - sizeof bytes);
    memset(bytes, 77, sizeof bytes);
    struct iovec from = { bytes, sizeof bytes }, to = { b->p + at, sizeof bytes };
    if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) != (ssize_t)sizeof bytes) memset(b->p + at, 77, sizeof bytes);
    memset(b->must + at, 77, sizeof bytes);
}

static unsigned char *first_page(struct block *b) { return (unsigned char *)(((uintptr_t)b->p + PAGE - 1) & -(uintptr_t)PAGE); }

static void give_back(struct worker *w, struct block *b) {
    unsigned pages = 1 + pick(w, 200), page = pick(w, PAGES - 1 - pages);
    unsigned char *at = first_page(b) + page * PAGE;
    CHECK(madvise(at, pages * PAGE, MADV_DONTNEED) == 0);
    memset(b->must + (at - b->p), 0, pages * PAGE);
}

static void move_away_and_back(struct worker *w, struct block *b) {
    unsigned char *at = first_page(b) + pick(w, PAGES - 2) * PAGE;
    void *place = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    CHECK(mremap(place, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at);
}

/* --- the kernel reads by itself: what the file's pages hold, at any place */

static unsigned char file_byte(size_t at) { return (unsigned char)(at / PAGE * 7 + 1); }
static void expect_file(struct block *b, unsigned at, int got, size_t from) {
    for (int i = 0; i < got; i++) b->must[at + (unsigned)i] = file_byte(from + (size_t)i);
}
static int file_of(const char *name, int flags) {
    _Alignas(PAGE) unsigned char page[PAGE];
    int fd = name ? open(name, O_CREAT | O_RDWR | O_TRUNC | flags, 0600) : memfd_create("read from", MFD_CLOEXEC);
    if (name) unlink(name);
    for (unsigned i = 0; fd >= 0 && i < PAGES - 1; i++) {
        memset(page, file_byte(i * (size_t)PAGE), PAGE);
        if (pwrite(fd, page, PAGE, (off_t)i * PAGE) != PAGE) return close(fd), -1;
    }
    return fd;
}

/* Several reads, in each of which the block is left alone for a while: long enough to be looked at while a read is under way or its pages are held. */
static void read_by_ring(struct worker *w, struct block *b, unsigned at, unsigned length, bool held) {
    for (unsigned n = 0; n < 4; n++) {
        unsigned part = 1 + pick(w, length), from = pick(w, SIZE - PAGE - part), to = at + pick(w, length - part + 1);
        CHECK(ring_begin_read(&w->ring, w->file, b->p + to, part, from, held));
        int got = ring_wait(&w->ring);
        CHECK(got == (int)part);
        expect_file(b, to, got, from);
        verify(b, held ? "a read into held pages" : "a read by the ring");
        if (held) nanosleep(&(struct timespec){ .tv_nsec = pick(w, 300) * 1000000 }, NULL);
        atomic_fetch_add(held ? &held_reads : &ring_reads, 1);
    }
}
static void let_ring_write(struct worker *w, struct block *b) {
    unsigned length = 1 + pick(w, 200000);
    if (w->ring.fd >= 0) read_by_ring(w, b, pick(w, SIZE - length), length, false);
}
static void let_ring_hold(struct worker *w, struct block *b) {
    unsigned length = 1 + pick(w, 1 << 20), at = pick(w, SIZE - length);
    if (w->ring.fd < 0 || !ring_register(&w->ring, b->p + at, length)) return; /* RLIMIT_MEMLOCK */
    read_by_ring(w, b, at, length, true);
    CHECK(ring_register(&w->ring, NULL, 0));
}

/* The file ends in the middle of what is asked for, and is whole again afterwards. */
static void read_what_is_cut_off(struct worker *w, struct block *b) {
    unsigned length = 2 + pick(w, 100000), from = pick(w, SIZE - PAGE - length), left = pick(w, length), to = pick(w, SIZE - length);
    if (w->ring.fd < 0) return;
    CHECK(ftruncate(w->file, from + left) == 0 && ring_begin_read(&w->ring, w->file, b->p + to, length, from, false));
    int got = ring_wait(&w->ring);
    CHECK(got == (int)left);
    expect_file(b, to, got, from);
    close(w->file);
    CHECK((w->file = file_of(NULL, 0)) >= 0);
}

/* Whole pages, by the disk's own hand. */
static void let_disk_write(struct worker *w, struct block *b) {
    unsigned pages = 1 + pick(w, 100), from = pick(w, PAGES - 1 - pages), to = pick(w, PAGES - 1 - pages);
    unsigned char *at = first_page(b) + to * PAGE;
    if (w->direct < 0) return;
    ssize_t got = pread(w->direct, at, pages * PAGE, (off_t)from * PAGE);
    CHECK(got == (ssize_t)pages * PAGE);
    expect_file(b, (unsigned)(at - b->p), (int)got, (size_t)from * PAGE);
    atomic_fetch_add(&direct_reads, 1);
}

static void write_zeros(struct worker *w, struct block *b) {
    unsigned pages = 1 + pick(w, 300), page = pick(w, PAGES - pages);
    volatile unsigned char *p = b->p + page * PAGE; /* by hand: memset would be answered by giving back */
    for (unsigned i = 0; i < pages * PAGE; i++) p[i] = 0;
    memset(b->must + page * PAGE, 0, pages * PAGE);
}

static void shrink_and_grow(struct worker *w, struct block *b) {
    size_t kept = 1 + pick(w, SIZE - 1);
    CHECK((b->p = realloc(b->p, kept)) != NULL && memcmp(b->p, b->must, kept) == 0);
    CHECK((b->p = realloc(b->p, SIZE)) != NULL);
    memcpy(b->p + kept, b->must + kept, SIZE - kept);
}

static void take_another(struct worker *w, struct block *b) {
    void *before = b->p;
    b->p = malloc(SIZE);
    CHECK(b->p);
    free(before);
    refill(b, pick(w, PATTERNS));
}

static void take_cleared(struct worker *w, struct block *b) {
    free(b->p);
    b->p = calloc(1, SIZE);
    CHECK(b->p);
    memset(b->must, 0, SIZE);
    verify(b, "calloc");
    refill(b, pick(w, PATTERNS));
}

static void fork_and_write(struct worker *w, struct block *b) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        verify(b, "fork");
        write_some(w, b), write_words(w, b);
        verify(b, "fork and writes");
        _exit(0);
    }
    write_words(w, b);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static const struct { const char *name; void (*act)(struct worker *w, struct block *b); } acts[] = {
    { "writes", write_some }, { "words", write_words }, { "recv", let_recv_write }, { "read", let_read_write }, { "process_vm_writev", let_vm_write },
    { "madvise", give_back }, { "mremap", move_away_and_back }, { "free and malloc", take_another }, { "calloc", take_cleared }, { "fork", fork_and_write },
    { "a read by the ring", let_ring_write }, { "reads into held pages", let_ring_hold }, { "a read of a shorter file", read_what_is_cut_off },
    { "a direct read", let_disk_write }, { "zeros", write_zeros }, { "realloc", shrink_and_grow },
};

static void *work(void *argument) {
    struct worker *w = argument;
    char name[64];
    snprintf(name, sizeof name, "build/tests/direct-%d-%u", getpid(), w->seed);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, w->pair) == 0 && (w->file = file_of(NULL, 0)) >= 0);
    w->direct = file_of(name, O_DIRECT);
    ring_open(&w->ring);
    for (unsigned i = 0; i < BLOCKS; i++) {
        w->block[i].p = malloc(SIZE);
        w->block[i].must = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        refill(&w->block[i], i % PATTERNS);
    }
    while (time(NULL) < end) {
        struct block *b = &w->block[pick(w, BLOCKS)];
        nanosleep(&(struct timespec){ .tv_nsec = pick(w, 500) * 1000000 }, NULL); /* long enough to be found steady, now and then */
        for (unsigned n = pick(w, 4); n > 0; n--) {
            unsigned i = pick(w, sizeof acts / sizeof *acts);
            acts[i].act(w, b);
            verify(b, acts[i].name);
            atomic_fetch_add(&operations, 1);
        }
        if (pick(w, 3) == 0) refill(b, pick(w, PATTERNS));
    }
    for (unsigned i = 0; i < BLOCKS; i++) verify(&w->block[i], "all");
    return NULL;
}

static void count_shared(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) shared_seen += strstr(line, "coppice-shared") != NULL;
    if (maps) fclose(maps);
}

int main(int count, char **arguments) {
    static struct worker workers[THREADS];
    pthread_t threads[THREADS];
    end = time(NULL) + (count > 1 ? atoi(arguments[1]) : 20);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].seed = i + 1;
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    while (time(NULL) < end) sleep(1), count_shared();
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("%lu operations; mappings of shared pages seen: %lu; reads by io_uring %lu, into held pages %lu%s; past the cache %lu%s\n", (unsigned long)operations,
           (unsigned long)shared_seen, (unsigned long)ring_reads, (unsigned long)held_reads, workers[0].ring.fd < 0 ? " (skipped: the kernel has no io_uring for us)" : "",
           (unsigned long)direct_reads, workers[0].direct < 0 ? " (skipped: not on this file system)" : "");
    CHECK(workers[0].ring.fd < 0 || (ring_reads > 0 && held_reads > 0));
    if (!shared_seen && syscall(SYS_userfaultfd, O_CLOEXEC) < 0) SKIP("full userfaultfd is not permitted here");
    CHECK(shared_seen > 0);
    return 0;
}
