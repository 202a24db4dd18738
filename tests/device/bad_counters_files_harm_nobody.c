// env: COPPICE_PRESSURE=1
// env: SIM_CAPACITY=1G
// env: COPPICE_POOL_MAX=1G
// env: COPPICE_TENANT_WAIT=100ms
/* Whatever lies in the folder of counters files, a process that is out of memory and looks there for co-tenants is told the
 * driver's own answer in the end: files that are empty, short, of another layout, full of noise, no files at all, and one
 * that looks like a living process with much in its cache but changes, shrinks and grows while it is asked. */
#include "cuda_test.h"
#include <fcntl.h>
#include <sys/stat.h>
enum { MB = 1 << 20 };
static char folder[256], path[512], *copy;
static size_t length;
static const char *in_folder(const char *name) {
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}
static void put(const char *name, const void *bytes, size_t size) {
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}
/* This process's own counters, as a file. */
static void read_own(void) {
    char command[600];
    snprintf(command, sizeof command, "cat %s/%d-*", folder, (int)getpid());
    copy = malloc(64 << 20);
    FILE *f = popen(command, "r");
    length = fread(copy, 1, 64 << 20, f);
    CHECK(pclose(f) == 0 && length > 100000, "no counters file");
}
static _Atomic bool over;
static void *spoil(void *name) {
    unsigned random = 1;
    int fd = open(in_folder(name), O_WRONLY);
    while (!atomic_load(&over)) {
        random = random * 1103515245 + 12345;
        if (random >> 28 == 0 && ftruncate(fd, random >> 8 & 0xfffff)) {}
        if (pwrite(fd, copy, length, 0) < 0 || pwrite(fd, &random, 4, 24 + (random >> 12) % 100000) < 0) break;
    }
    close(fd);
    return NULL;
}
int main(void) {
    start();
    need_simulator();
    snprintf(folder, sizeof folder, "%s/bad-%d", getenv("COPPICE_STATE_DIR"), (int)getpid());
    if (!getenv("BAD_FOLDER")) { /* a folder of our own: the files would disturb other tests */
        CHECK(mkdir(folder, 0700) == 0 && setenv("COPPICE_STATE_DIR", folder, 1) == 0 && setenv("BAD_FOLDER", "1", 1) == 0);
        execl("/proc/self/exe", "bad_counters_files_harm_nobody", NULL);
    }
    snprintf(folder, sizeof folder, "%s/coppice-%u", getenv("COPPICE_STATE_DIR"), geteuid());
    give(take(300 * MB));
    read_own();
    char *noise = malloc(length);
    for (size_t i = 0; i < length; i++) noise[i] = (char)(i * 2654435761u >> 13);
    put("1-1", "", 0), put("2-2", copy, 1000), put("3-3", noise, length), put("99999999999999999999999-1", noise, 10);
    put("4-4", copy, length - 1), put("notes", "hello", 5);
    CHECK(mkdir(in_folder("5-5"), 0700) == 0 && mkfifo(in_folder("6-6"), 0600) == 0 && symlink("/etc/passwd", in_folder("7-7")) == 0);
    put("8-8", copy, length); /* says that this very process has 300 MiB in its cache */
    put("9-9", copy, length);
    pthread_t thread;
    pthread_create(&thread, NULL, spoil, "9-9");
    CUdeviceptr p = 0, live = take(700 * MB);
    for (int i = 0; i < 20; i++) {
        EXPECT(CUDA_ERROR_OUT_OF_MEMORY, p_cuMemAlloc_v2(&p, 900 * MB));
        CHECK(p == 0);
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    CHECK(stat_number("tenants_silent") >= 1 && stat_number("tenants_silent") <= 3, "%g were silent", stat_number("tenants_silent"));
    CHECK(stat_number("tenant_bytes") == 0, "what is in a bad file was believed");
    give(live);
    return 0;
}
