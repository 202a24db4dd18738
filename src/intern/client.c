/* client.c: see client.h. The program may close descriptors that it does not know and open its own under their numbers, so before each
 * question the socket is looked at. Files are kept open and mapped only for the length of a round. */
#include "intern/client.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "intern/broker.h"
#include "intern/channel.h"
#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { FILES = 1024 };
#define TRY_AGAIN_NS 3000000000u

static struct sys_file channel = { .fd = -1 };
static uint64_t try_after;
static bool complained;
static uint32_t published;
static struct sealed file[FILES];
static bool has_file[FILES];
static struct channel_frame question, reply;

/* `why` NULL: the broker has ended, which is nobody's fault. */
static void hang_up(const char *why) {
    if (why && !complained) log_line("sharing equal pages: the broker sent ", why, "; trying again later", NULL);
    if (why) complained = true;
    sys_file_close(&channel);
    try_after = clock_ns() + (why ? 10 * (uint64_t)TRY_AGAIN_NS : 0);
}

bool client_ready(void) {
    char path[sizeof(struct sockaddr_un)];
    if (sys_file_is_open(&channel)) return true;
    channel.fd = -1;
    if (clock_ns() < try_after || !channel_path(path, sizeof path)) return false;
    channel = sys_file_of(channel_connect(path, CHANNEL_PATIENCE_MS));
    if (channel.fd < 0 && broker_start(path)) channel = sys_file_of(channel_connect(path, CHANNEL_PATIENCE_MS));
    if (channel.fd < 0) try_after = clock_ns() + TRY_AGAIN_NS / 10; /* somebody may be about to become the broker */
    return channel.fd >= 0;
}

/* A question, and its answer in `reply`. */
static bool ask(enum channel_kind kind, uint32_t count, uint32_t flags, int fd) {
    if (!client_ready()) return false;
    question.head = (struct channel_head){ CHANNEL_MAGIC, kind, count, flags };
    question.fd = fd;
    if (channel_send(channel.fd, &question) != 0) return hang_up(NULL), false;
    int got = channel_receive(channel.fd, &reply);
    if (got == 1 && reply.head.kind == CHANNEL_ANSWER) return published = reply.head.flags, true;
    if (got == 1 && reply.fd >= 0) close(reply.fd);
    hang_up(got == 0 ? NULL : got == -EAGAIN ? "no answer in time" : "a frame of a wrong form");
    return false;
}

bool client_offer(const uint64_t *hash, uint32_t count, bool only_count, uint32_t *answer) {
    memset(answer, 0, count * sizeof *answer);
    if (count == 0 || count > CHANNEL_COUNT_MOST) return false;
    memcpy(question.hash, hash, count * sizeof *hash);
    if (!ask(CHANNEL_OFFER, count, only_count ? CHANNEL_ONLY_COUNT : 0, -1)) return false;
    if (reply.fd >= 0) close(reply.fd);
    if (reply.head.count != count) return hang_up("answers to other questions"), false;
    memcpy(answer, reply.answer, count * sizeof *answer);
    return true;
}

uint32_t client_publish(const struct sealed *sealed) {
    if (!ask(CHANNEL_PUBLISH, 0, 0, sealed->file.fd)) return 0;
    if (reply.fd >= 0) close(reply.fd);
    return reply.head.count == 1 ? reply.answer[0] : 0;
}

void client_fetch(uint32_t n) {
    const char *why;
    if (n == 0 || n >= FILES || has_file[n] || !ask(CHANNEL_FETCH, n, 0, -1) || reply.fd < 0) return;
    has_file[n] = sealed_open(&file[n], reply.fd, &why);
    if (!has_file[n]) hang_up(why);
}

const struct sealed *client_file(uint32_t n) { return n < FILES && has_file[n] ? &file[n] : NULL; }

uint32_t client_published(void) {
    if (!ask(CHANNEL_FETCH, 0, 0, -1)) published = 0;
    else if (reply.fd >= 0) close(reply.fd);
    return published;
}

void client_put_files(void) {
    for (uint32_t n = 1; n < FILES; n++)
        if (has_file[n]) sealed_close(&file[n]), has_file[n] = false;
}

void client_fork_child(void) {
    sys_file_close(&channel);
    client_put_files();
    try_after = 0;
}
