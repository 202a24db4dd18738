/* Large clears of the heap's memory by memset, bzero and calloc read as zero to the last byte, leave the bytes around alone and
 * cost no pages; they write where pages may not be taken away: locked, shared or mapped-over memory, and memory that
 * the kernel holds by its pages (here io_uring's stand-in: a registered buffer shows as VmPin where the machine allows it).
 * A caller that fills at once what it cleared goes back to clearing by writing. A signal handler may clear while it interrupts a clear. */
#include "memory.h"
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
static void die(const char *what, long number) {
    printf("%s (%ld)\n", what, number);
    exit(1);
}
static void expect(const unsigned char *p, int value, size_t length, const char *what) {
    for (size_t i = 0; i < length; i++)
        if (p[i] != value) die(what, (long)i);
}
/* through a pointer, so that the compiler calls what the program's libraries would call */
static void *(*volatile fill)(void *, int, size_t) = memset;
static void (*volatile zero)(void *, size_t) = bzero;

static void edges_and_pages(void) {
    enum { SIZE = 16 * MIB };
    unsigned char *p = malloc(SIZE);
    for (size_t at = 1; at < 10000; at += 1733) {
        fill(p, 0x5a, SIZE);
        long before = taken().resident;
        if (at & 2) fill(p + at, 0, SIZE - 2 * at);
        else zero(p + at, SIZE - 2 * at);
        if (!getenv("CLEARS_BY_WRITING") && before - taken().resident < 15 * MIB) die("a clear kept its pages", before - taken().resident);
        expect(p, 0x5a, at, "bytes before the clear");
        expect(p + at, 0, SIZE - 2 * at, "cleared bytes");
        expect(p + SIZE - at, 0x5a, at, "bytes after the clear");
    }
    free(p);
}

static void locked(void) {
    unsigned char *p = malloc(4 * MIB);
    if (mlock(p, 3 * MIB) == 0) {
        fill(p, 1, 4 * MIB);
        fill(p, 0, 4 * MIB);
        expect(p, 0, 4 * MIB, "locked memory");
        munlock(p, 3 * MIB);
    }
    free(p);
}

/* A file mapped into the middle of a block: giving its pages back would bring the file's bytes up again. */
static void mapped_over(void) {
    unsigned char *p = malloc(8 * MIB), *page = (unsigned char *)(((uintptr_t)p + 4 * MIB) & -(uintptr_t)4096);
    FILE *file = tmpfile();
    for (int i = 0; file && i < 65536; i++) fputc(7, file);
    fflush(file);
    for (int shared = 0; file && shared < 2; shared++) {
        if (mmap(page, 65536, PROT_READ | PROT_WRITE, MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE), fileno(file), 0) == MAP_FAILED) die("mmap", 0);
        if (page[5] != 7) die("the file is not there", page[5]);
        fill(p, 0, 8 * MIB);
        expect(p, 0, 8 * MIB, shared ? "a shared file" : "a private file");
        unsigned char byte = 1;
        if (pread(fileno(file), &byte, 1, 5) != 1 || byte != (shared ? 0 : 7)) die("the file's own byte", byte);
    }
    if (mmap(page, 65536, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) die("mmap", 1);
    free(p);
}

static void dense_callers_write(void) {
    unsigned char *p = malloc(4 * MIB);
    for (int i = 0; i < 40; i++) {
        fill(p, 0, 4 * MIB);
        for (size_t at = 0; at < 4 * MIB; at += 64) p[at] = 1;
        usleep(3000);
    }
    long lazy = 0;
    for (int i = 0; i < 40; i++) {
        long before = taken().resident;
        fill(p, 0, 4 * MIB);
        lazy += before - taken().resident > 2 * MIB;
        for (size_t at = 0; at < 4 * MIB; at += 64) p[at] = 1;
        usleep(3000);
    }
    if (lazy > 8) die("a caller that fills at once still pays for faults", lazy);
    free(p);
}

static unsigned char *handlers_own;
static volatile int handled;
static void clear_in_handler(int signal) {
    handlers_own[MIB] = 1;
    fill(handlers_own, 0, 4 * MIB);
    handled += 1 + handlers_own[MIB];
}
static void in_a_handler(void) {
    unsigned char *p = malloc(4 * MIB);
    handlers_own = malloc(4 * MIB);
    signal(SIGALRM, clear_in_handler);
    setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 500 }, { 0, 500 } }, NULL);
    for (int i = 0; i < 3000; i++) p[i] = 1, fill(p, 0, 4 * MIB), expect(p, 0, 4096, "what was cleared under a handler");
    setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
    if (handled < 10) die("no signal came", handled);
    free(p), free(handlers_own);
}

int main(void) {
    in_a_handler();
    edges_and_pages();
    locked();
    mapped_over();
    dense_callers_write();
    unsigned char *p = calloc(32, MIB);
    expect(p, 0, 32 * MIB, "calloc");
    fill(p, 3, 32 * MIB);
    free(p);
    p = calloc(32, MIB);
    expect(p, 0, 32 * MIB, "calloc of used memory");
    free(p);
    return 0;
}
