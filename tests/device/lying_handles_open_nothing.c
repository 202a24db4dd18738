// backend: page
// env: COPPICE_DEVICE_BACKEND=page
/* A process that made a handle and lies when it is asked for the pages, in each way there is: garbage, silence, no descriptor, one of a
 * file, pages of another size than the handle or than the memory. Each costs at most a line and an error, nothing is left mapped, and
 * who is honest is served after it. Who asks an exporter for what it was not shown gets nothing, and is cut off when it breaks the rules. */
#include "ipc_test.h"
#include "frames.h"
#include <sys/mman.h>
#include <sys/un.h>
enum { SLOTS = 3 };
#define MAGIC 0x93c1505043504943u
struct made_handle { uint64_t magic; uint32_t pid, pages; uint64_t start, token[2], lead, size; uint32_t slots, unused; }; /* src/device/export.h */

static const char *path_of(unsigned pid, uint64_t start) {
    static char path[108];
    snprintf(path, sizeof path, "%.70s/coppice-%d/peer-%u-%lu", getenv("COPPICE_STATE_DIR"), (int)getuid(), pid, (unsigned long)start);
    return path;
}
static int unix_socket(const char *path, bool listens) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    if (listens) unlink(path);
    bool done = listens ? bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0 : connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    CHECK(done, "no socket %s", path);
    return fd;
}
/* --- who was asked */
enum lie { HONEST, GARBAGE, HANGS_UP, NO_DESCRIPTOR, A_FILE, NO_SLOTS, TOO_MANY_SLOTS, TOO_FEW_PAGES, LARGER_THAN_IT_IS, OTHER_FRAME, SILENCE, LIES };
static const CUresult answers[] = { [HONEST] = CUDA_SUCCESS, [HANGS_UP] = CUDA_ERROR_INVALID_HANDLE, [NO_DESCRIPTOR] = CUDA_ERROR_INVALID_HANDLE, [LIES] = 0 };

static void reply(int fd, enum lie lie, int page, int file) {
    struct { struct channel_head head; uint32_t slots; } answer = { { CHANNEL_MAGIC, CHANNEL_ANSWER, 1, 0 }, SLOTS };
    if (lie == GARBAGE) send_frame(fd, "garbage", 7, page);
    if (lie == HANGS_UP) shutdown(fd, SHUT_RDWR);
    if (lie == GARBAGE || lie == HANGS_UP || lie == SILENCE) return;
    if (lie == NO_SLOTS) answer.slots = 0;
    if (lie == TOO_MANY_SLOTS) answer.slots = UINT32_MAX;
    if (lie == TOO_FEW_PAGES) answer.slots = 1;
    if (lie == OTHER_FRAME) answer.head.count = 0;
    send_frame(fd, &answer, sizeof answer.head + answer.head.count * 4, lie == NO_DESCRIPTOR ? -1 : lie == A_FILE ? file : page);
}
static int be_a_liar(enum lie lie) {
    struct { struct channel_head head; uint64_t token[2]; } asked;
    start();
    int page = shareable_memory(lie == LARGER_THAN_IT_IS || lie == TOO_FEW_PAGES ? 2 << 20 : (2 << 20) * SLOTS), file = memfd_create("lie", 0);
    int listener = unix_socket(path_of(1, 1), true);
    CHECK(ftruncate(file, (2 << 20) * SLOTS) == 0 && write(4, "", 1) == 1);
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
        while (recv(fd, &asked, sizeof asked, 0) > 0) reply(fd, lie, page, file);
    return 0;
}
static void ask_a_liar(char *self, enum lie lie) {
    char number[8], ready;
    int from[2];
    CHECK(pipe2(from, O_CLOEXEC) == 0);
    snprintf(number, sizeof number, "%d", lie);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(from[1], 4);
        setenv("COPPICE_DISABLE", "1", 1);
        execl(self, self, "liar", number, NULL);
        _exit(127);
    }
    CHECK(read(from[0], &ready, 1) == 1);
    close(from[0]), close(from[1]);
    struct made_handle h = { .magic = MAGIC, .pid = 1, .pages = 1, .start = 1, .token = { lie, 1 }, .lead = 512, .size = 5 << 20, .slots = SLOTS };
    CUipcMemHandle handle;
    CUdeviceptr p = 0;
    memcpy(&handle, &h, sizeof handle);
    CUresult expected = lie > NO_DESCRIPTOR || lie == GARBAGE ? CUDA_ERROR_MAP_FAILED : answers[lie], got = p_cuIpcOpenMemHandle_v2(&p, handle, LAZY);
    CHECK(got == expected, "lie %d was answered %d", (int)lie, (int)got);
    if (got == CUDA_SUCCESS) {
        OK(p_cuMemsetD8_v2(p, 1, h.size));
        OK(p_cuIpcCloseMemHandle(p));
    }
    kill(pid, SIGKILL), waitpid(pid, NULL, 0);
    nothing_is_left_of_others();
}

/* --- one that asks for what it was not shown */
static void be_a_nuisance(CUdeviceptr shown) {
    CUipcMemHandle handle = handle_of(shown);
    struct made_handle h;
    memcpy(&h, &handle, sizeof h);
    CHECK(h.magic == MAGIC);
    struct { struct channel_head head; uint64_t token[3]; } ask = { { CHANNEL_MAGIC, CHANNEL_PAGE, 2, 0 }, { 0 } };
    struct { struct channel_head head; uint32_t slots; } got;
    char byte;
    int fd = unix_socket(path_of(h.pid, h.start), false);
    for (unsigned i = 0; i < 200; i++) {
        char room[CMSG_SPACE(sizeof(int))];
        struct iovec part = { &got, sizeof got };
        struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
        ask.token[0] = i < 64 ? h.token[0] ^ (uint64_t)1 << i : i < 128 ? h.token[0] : i * 0x9e3779b97f4a7c15u;
        ask.token[1] = i < 64 ? h.token[1] : i < 128 ? h.token[1] ^ (uint64_t)1 << (i - 64) : 0;
        if (i >= 196) ask.token[0] = h.token[0], ask.token[1] = h.token[1], ask.head.flags = i == 196 ? h.pages : i == 197 ? UINT32_MAX : i * 7777777;
        send_frame(fd, &ask, sizeof ask.head + 16, -1);
        CHECK(recvmsg(fd, &message, 0) == sizeof got && got.slots == 0 && message.msg_controllen == 0, "question %u was answered", i);
    }
    ask.head.count = 3; /* no such frame */
    send_frame(fd, &ask, sizeof ask, 0);
    CHECK(recv(fd, &byte, 1, 0) == 0, "who broke the rules was not cut off");
    close(fd);
}

/* What it says is counted: a line for each lie but those that a process that is gone might tell, and one for each kind of nuisance. */
static int listen_to(char *self) {
    FILE *file = tmpfile();
    unsigned lies = 0, nuisances = 0;
    pid_t pid = fork();
    if (pid == 0) dup2(fileno(file), 2), execl(self, self, "now", NULL), _exit(127);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    rewind(file);
    for (char line[500]; fgets(line, sizeof line, file);)
        if (strstr(line, "the process that made a handle")) lies++;
        else if (strstr(line, ": a peer ")) nuisances++;
        else FAIL("it said %s", line);
    if (status) return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    CHECK(lies == LIES - 3 && nuisances == 2, "%u and %u lines", lies, nuisances);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 2) return be_a_liar((enum lie)atoi(argv[2]));
    if (argc > 1 && strcmp(argv[1], "now") != 0) return be_another(atoi(argv[1]));
    if (argc == 1) return listen_to(argv[0]);
    start();
    need_simulator();
    for (enum lie lie = HONEST; lie < LIES; lie++) ask_a_liar(argv[0], lie);
    CUdeviceptr p = take_filled(4 << 20, 6);
    be_a_nuisance(p);
    struct other o = begin(argv[0], NULL);
    CUdeviceptr q = TOLD(&o, OPEN, handle_of(p)).at;
    TOLD_OK(&o, HOLDS, .at = q, .size = 4 << 20, .value = 6);
    end(&o);
    give(p);
    return 0;
}
