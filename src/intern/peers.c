/* peers.c: see peers.h. Asking belongs to the thread that settles, one at a time (weights_settling); answering to the thread here. */
#include "intern/peers.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "device/pool.h"
#include "device/weights.h"
#include "intern/channel.h"
#include "stats/counters.h"
#include "stats/service.h"
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS = 16, PATH = 108, HASHES_MOST = 64, COMPLAINTS = 16, PATIENCE_MS = 1000, SILENT = 32 };
#define SILENT_NS 30000000000u
static const char prefix[] = "weights-";

static char name[64]; /* of our socket */
static int listener = -1;
static uint64_t cookie;
static _Atomic bool started;
static _Atomic unsigned complaints;
static struct { char name[64]; uint64_t until; } silent[SILENT]; /* whom not to ask */
static unsigned next_silent;

static void complain(const char *what) {
    if (complaints++ < COMPLAINTS) log_line("sharing weights: a peer ", what, "; it is cut off", NULL);
}

/* --- answering */
static struct channel_frame asked, answer;

static bool peer_is_older(int fd) {
    struct ucred peer = { 0 };
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid < getpid();
}

/* NULL: answered, or what is wrong with the question. */
static const char *answer_to(int fd) {
    answer.head = (struct channel_head){ .magic = CHANNEL_MAGIC, .kind = CHANNEL_ANSWER };
    answer.fd = -1;
    if (asked.head.kind == CHANNEL_OFFER) {
        if (asked.head.count > HASHES_MOST) return "asked for too much at once";
        answer.head.count = asked.head.count;
        for (uint32_t i = 0; i < asked.head.count; i++) answer.answer[i] = weights_offered(asked.hash[i]);
    } else if (asked.head.kind == CHANNEL_FETCH) {
        if (pool_chore_begins()) {
            answer.fd = weights_lend(asked.head.count, peer_is_older(fd));
            pool_chore_ends();
        }
    } else {
        return "sent an answer to no question";
    }
    int sent = channel_send(fd, &answer);
    if (answer.fd >= 0) close(answer.fd);
    return sent == 0 ? NULL : "asks and takes no answers";
}

/* False: it has gone, or was cut off. */
static bool serve(int fd) {
    const char *why = NULL;
    int got = channel_receive(fd, &asked);
    if (got == -EAGAIN) return true;
    if (got == 1) why = answer_to(fd);
    else if (got != 0) why = "sent a frame of a wrong form";
    if (asked.fd >= 0) close(asked.fd);
    if (why) complain(why);
    return got == 1 && !why;
}

static int welcome(void) {
    int fd = channel_cookie(listener) == cookie ? accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
    if (fd >= 0 && channel_peer_is_own(fd)) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static void *work(void *unused) {
    struct pollfd wait[PEERS + 1];
    for (unsigned i = 0; i <= PEERS; i++) wait[i] = (struct pollfd){ .fd = i ? -1 : listener, .events = POLLIN };
    for (unsigned turn = 0;;) {
        if (poll(wait, PEERS + 1, -1) < 0 && errno != EINTR) return NULL;
        for (unsigned i = 1; i <= PEERS; i++)
            if (wait[i].fd >= 0 && wait[i].revents && !serve(wait[i].fd)) close(wait[i].fd), wait[i].fd = -1;
        if (wait[0].revents & (POLLNVAL | POLLERR) || channel_cookie(listener) != cookie) return NULL;
        int fd = wait[0].revents & POLLIN ? welcome() : -1;
        if (fd < 0) continue;
        unsigned at = 1;
        while (at <= PEERS && wait[at].fd >= 0) at++;
        if (at > PEERS) at = 1 + turn++ % PEERS, close(wait[at].fd); /* who only sits there makes room */
        wait[at] = (struct pollfd){ .fd = fd, .events = POLLIN };
    }
}

static void start(void) {
    char path[PATH];
    if (atomic_exchange(&started, true)) return;
    int saved = errno;
    struct text t = text_in(name, sizeof name);
    text_add(&t, prefix), text_u64(&t, counter_get(&counters->pid)), text_char(&t, '-'), text_u64(&t, counter_get(&counters->start_ticks));
    if (channel_path_of(name, path, sizeof path)) listener = channel_listen(path, PEERS);
    cookie = listener < 0 ? 0 : channel_cookie(listener);
    if (listener < 0 || !service_thread(work, "coppice-weights"))
        log_line("sharing weights: no socket or no thread can be had; pages are shared within the process only, or with those who answer", NULL);
    errno = saved;
}

/* --- asking */
static struct channel_frame question, reply;

static bool is_silent(const char *peer) {
    for (unsigned i = 0; i < SILENT; i++)
        if (silent[i].until > clock_ns() && strcmp(silent[i].name, peer) == 0) return true;
    return false;
}

static void ask_no_more(const char *peer) {
    struct text t = text_in(silent[next_silent % SILENT].name, sizeof silent[0].name);
    text_add(&t, peer);
    silent[next_silent++ % SILENT].until = clock_ns() + SILENT_NS;
}

/* A question, and its answer in `reply`. */
static bool ask(int fd, const char *peer, enum channel_kind kind, uint32_t count) {
    question.head = (struct channel_head){ .magic = CHANNEL_MAGIC, .kind = kind, .count = count };
    question.fd = -1;
    int got = channel_send(fd, &question) == 0 ? channel_receive(fd, &reply) : 0;
    if (got == 1 && reply.head.kind == CHANNEL_ANSWER) return true;
    if (got == 1 && reply.fd >= 0) close(reply.fd);
    if (got != 0) complain(got == -EAGAIN ? "is silent" : "sent a frame of a wrong form");
    ask_no_more(peer);
    return false;
}

/* Hashes that are 0, or have their descriptor, are not asked for. */
static void ask_one(int peer, const char *peer_name, const uint64_t *hash, unsigned count, int *fd) {
    uint32_t number[HASHES_MOST], wanted = 0, of[HASHES_MOST];
    for (unsigned i = 0; i < count; i++)
        if (hash[i] && fd[i] < 0) question.hash[wanted] = hash[i], of[wanted++] = i;
    if (wanted == 0 || !ask(peer, peer_name, CHANNEL_OFFER, wanted)) return;
    if (reply.fd >= 0) close(reply.fd);
    if (reply.head.count != wanted) {
        complain("answered other questions");
        ask_no_more(peer_name);
        return;
    }
    memcpy(number, reply.answer, wanted * sizeof number[0]);
    for (uint32_t i = 0; i < wanted; i++)
        if (number[i]) {
            if (!ask(peer, peer_name, CHANNEL_FETCH, number[i])) return;
            fd[of[i]] = reply.fd;
        }
}

static void find(const uint64_t *hash, unsigned count, int *fd) {
    char path[PATH + 64];
    int saved = errno;
    DIR *folder = count <= HASHES_MOST && channel_path_of("", path, sizeof path) ? opendir(path) : NULL;
    for (struct dirent *e; folder && (e = readdir(folder));) {
        if (strncmp(e->d_name, prefix, sizeof prefix - 1) != 0 || strlen(e->d_name) >= sizeof name || strcmp(e->d_name, name) == 0 || is_silent(e->d_name)) continue;
        if (!channel_path_of(e->d_name, path, sizeof path)) continue;
        int peer = channel_connect(path, PATIENCE_MS);
        if (peer < 0 && errno == ECONNREFUSED) unlink(path); /* of a process that has ended */
        if (peer < 0) continue;
        ask_one(peer, e->d_name, hash, count, fd);
        close(peer);
    }
    if (folder) closedir(folder);
    errno = saved;
}

void peers_install(void) {
    static const struct weights_peers peers = { start, find };
    weights_peers = &peers;
}

void peers_fork_child(void) {
    if (listener >= 0 && channel_cookie(listener) == cookie) close(listener);
    listener = -1, name[0] = 0;
    atomic_store(&started, false);
}
