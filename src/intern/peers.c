/* peers.c: the socket, and the thread that answers there; see peers.h. */
#include "intern/peers.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"
#include "device/export.h"
#include "device/pool.h"
#include "device/weights.h"
#include "intern/channel.h"
#include "stats/alive.h"
#include "stats/service.h"
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS = 64, HASHES_MOST = 64, COMPLAINTS = 16, SWEEP_PATIENCE_MS = 100 };

char peers_name[PEERS_NAME];
static struct sys_file listener = { .fd = -1 };
static struct lock starting = LOCK_INIT(RANK_START);
static bool started;

void peers_complain(const char *what, const char *and_then) {
    static _Atomic unsigned complaints;
    if (complaints++ < COMPLAINTS) log_line("sharing device memory: a peer ", what, and_then, NULL);
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
    static bool refused; /* once: whoever keeps a handle for too long means no harm */
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
    } else if (asked.head.kind == CHANNEL_PAGE) {
        answer.head.count = 1, answer.answer[0] = 0;
        if (pool_chore_begins()) {
            answer.fd = export_page(asked.hash, asked.head.flags, &answer.answer[0]);
            pool_chore_ends();
        }
        if (answer.fd < 0 && !refused) peers_complain("asked for memory that it was not shown, or that was freed", "; it was given none");
        refused |= answer.fd < 0;
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
    if (why) peers_complain(why, "; it is cut off");
    return got == 1 && !why;
}

static int welcome(void) {
    int fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && channel_peer_is_own(fd)) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static void *work(void *unused) {
    struct pollfd wait[PEERS + 1];
    struct sys_file peer[PEERS + 1] = { listener };
    for (unsigned i = 1; i <= PEERS; i++) peer[i].fd = -1;
    for (unsigned turn = 0;;) {
        for (unsigned i = 0; i <= PEERS; i++) wait[i] = (struct pollfd){ .fd = peer[i].fd, .events = POLLIN };
        if (poll(wait, PEERS + 1, -1) < 0 && errno != EINTR) return NULL;
        for (unsigned i = 1; i <= PEERS; i++)
            if (peer[i].fd >= 0 && wait[i].revents && !(sys_file_is_open(&peer[i]) && serve(peer[i].fd))) sys_file_close(&peer[i]);
        if (wait[0].revents & (POLLNVAL | POLLERR) || !sys_file_is_open(&listener)) return NULL;
        int fd = wait[0].revents & POLLIN ? welcome() : -1;
        if (fd < 0) continue;
        unsigned at = 1;
        while (at <= PEERS && peer[at].fd >= 0) at++;
        if (at > PEERS) at = 1 + turn++ % PEERS, sys_file_close(&peer[at]); /* who only sits there makes room */
        peer[at] = sys_file_of(fd);
    }
}

/* --- the socket */
void peers_name_of(uint64_t pid, uint64_t start, char name[PEERS_NAME]) {
    struct text t = text_in(name, PEERS_NAME);
    text_add(&t, PEERS_PREFIX), text_u64(&t, pid), text_char(&t, '-'), text_u64(&t, start);
}

int peers_connect(const char *name, int patience_ms) {
    char path[PEERS_PATH];
    if (!channel_path_of(name, path, sizeof path)) return -1;
    int peer = channel_connect(path, patience_ms);
    if (peer < 0 && errno == ECONNREFUSED) unlink(path); /* of a process that has ended */
    return peer;
}

/* What processes that were killed have left goes. */
static void sweep(void) {
    char path[PEERS_PATH], *rest;
    DIR *folder = channel_path_of("", path, sizeof path) ? opendir(path) : NULL;
    for (struct dirent *e; folder && (e = readdir(folder));) {
        if (strncmp(e->d_name, PEERS_PREFIX, sizeof PEERS_PREFIX - 1) != 0 || strlen(e->d_name) >= PEERS_NAME) continue;
        uint64_t pid = strtoull(e->d_name + sizeof PEERS_PREFIX - 1, &rest, 10);
        if (*rest != '-' || process_is_alive(pid, strtoull(rest + 1, NULL, 10))) continue;
        int peer = peers_connect(e->d_name, SWEEP_PATIENCE_MS); /* it may live in another pid namespace */
        if (peer >= 0) close(peer);
    }
    if (folder) closedir(folder);
}

static void remove_socket(void) {
    char path[PEERS_PATH];
    if (peers_name[0] && channel_path_of(peers_name, path, sizeof path)) unlink(path);
}

static bool open_socket(void) {
    char path[PEERS_PATH];
    sweep();
    peers_name_of((uint64_t)getpid(), sys_start_ticks(0), peers_name); /* a fork's child may have no counters of its own yet */
    if (channel_path_of(peers_name, path, sizeof path)) listener = sys_file_of(channel_listen(path, PEERS));
    if (listener.fd < 0 || !service_thread(work, "coppice-peers")) return false;
    atexit(remove_socket);
    return true;
}

bool peers_listen(void) {
    int saved = errno;
    lock_take(&starting);
    if (!started && !open_socket()) log_line("sharing device memory: no socket or no thread can be had; nobody can ask this process for pages", NULL);
    started = true;
    bool listens = sys_file_is_open(&listener);
    lock_release(&starting);
    errno = saved;
    return listens;
}

void peers_install(void) { weights_peers = &peers_weights, export_peers = &peers_pages; }

void peers_fork_child(void) {
    sys_file_close(&listener);
    peers_name[0] = 0;
    lock_reset(&starting);
    started = false;
}
