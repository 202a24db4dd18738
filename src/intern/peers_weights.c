/* peers_weights.c: asking other processes who has pages of weights; see peers.h. It belongs to the thread that settles, one at a time
 * (weights_settling). */
#include "intern/peers.h"
#include "base/clock.h"
#include "base/text.h"
#include "device/weights.h"
#include "intern/channel.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { HASHES_MOST = 64, PATIENCE_MS = 1000, SILENT = 32 };
#define SILENT_NS 30000000000u

static struct { char name[PEERS_NAME]; uint64_t until; } silent[SILENT]; /* whom not to ask */
static unsigned next_silent;
static void complain(const char *what) { peers_complain(what, "; it is cut off"); }

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
    char path[PEERS_PATH];
    int saved = errno;
    DIR *folder = count <= HASHES_MOST && channel_path_of("", path, sizeof path) ? opendir(path) : NULL;
    for (struct dirent *e; folder && (e = readdir(folder));) {
        if (strncmp(e->d_name, PEERS_PREFIX, sizeof PEERS_PREFIX - 1) != 0 || strlen(e->d_name) >= PEERS_NAME || strcmp(e->d_name, peers_name) == 0) continue;
        int peer = is_silent(e->d_name) ? -1 : peers_connect(e->d_name, PATIENCE_MS);
        if (peer < 0) continue;
        ask_one(peer, e->d_name, hash, count, fd);
        close(peer);
    }
    if (folder) closedir(folder);
    errno = saved;
}

/* Without a socket pages are shared within the process, and with those who answer. */
static void start(void) { peers_listen(); }

const struct weights_peers peers_weights = { start, find };
