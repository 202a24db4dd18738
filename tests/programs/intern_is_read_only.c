/* intern_is_read_only: a write to interned memory is SIGSEGV at once, at any byte of any size, also when the kernel is to write;
 * reading goes on and the content stays. */
#include "intern.h"
#include <fcntl.h>
#include <sys/mman.h>

static char bytes[20000];

static void write_dies(const char *interned, size_t at) {
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        ((volatile char *)interned)[at] ^= 1;
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int main(void) {
    find_intern();
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    const size_t lengths[] = { 1, 16, 200, 4088, 4089, 20000 };
    for (unsigned i = 0; i < 6; i++) {
        const char *p = intern(bytes, lengths[i], i);
        CHECK(p && memcmp(p, bytes, lengths[i]) == 0);
        write_dies(p, 0), write_dies(p, lengths[i] - 1), write_dies(p, lengths[i] / 2);
        int zero = open("/dev/zero", O_RDONLY);
        CHECK(read(zero, (void *)p, 1) == -1 && errno == EFAULT);
        close(zero);
        CHECK(memcmp(p, bytes, lengths[i]) == 0 && intern(bytes, lengths[i], i) == p);
    }
    /* neighbours of a new one are not left open */
    const char *first = intern("first", 5, 9);
    for (int i = 0; i < 100; i++) CHECK(intern(&i, sizeof i, 9));
    write_dies(first, 0), write_dies(first, 4);
    write_dies(first, 1 << 20); /* nor is what was never used */
    return 0;
}
