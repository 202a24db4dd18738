/* peers_pages.c: asking another process for the pages of a block that it has shown by a handle; see peers.h. One thread at a time (the lock of
 * device/import.c). A connection that breaks is made again: the other side has few places, and who sits there longest makes room. */
#include "intern/peers.h"
#include "device/export.h"
#include "intern/channel.h"
#include <errno.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, BREAKS_MOST = 8 };
static struct channel_frame question, reply;
static const char lost[] = "has hung up";

/* NULL: reply.fd is a descriptor of the page. */
static const char *ask(int peer, const struct export_handle *h, uint32_t index) {
    question.head = (struct channel_head){ .magic = CHANNEL_MAGIC, .kind = CHANNEL_PAGE, .count = 2, .flags = index };
    question.hash[0] = h->token[0], question.hash[1] = h->token[1], question.fd = -1;
    int got = channel_send(peer, &question) == 0 ? channel_receive(peer, &reply) : 0;
    if (got == 1 && reply.head.kind == CHANNEL_ANSWER && reply.head.count == 1) return reply.fd >= 0 ? NULL : export_gone;
    if (got == 1 && reply.fd >= 0) close(reply.fd);
    return got == 0 ? lost : got == -EAGAIN ? "is silent" : "sent a frame of a wrong form";
}

static const char *fetch_all(int *peer, const char *name, const struct export_handle *h, const char *(*each)(int fd, uint32_t slots, void *with), void *with) {
    unsigned breaks = 0;
    for (uint32_t index = 0; index < h->pages;) {
        if (*peer < 0 && (*peer = peers_connect(name, PATIENCE_MS)) < 0) return export_gone;
        const char *wrong = ask(*peer, h, index);
        if (wrong == lost && breaks++ < BREAKS_MOST) {
            close(*peer), *peer = -1;
            continue;
        }
        if (wrong) return wrong == lost ? export_gone : wrong;
        wrong = each(reply.fd, reply.answer[0], with);
        close(reply.fd);
        if (wrong) return wrong;
        index++;
    }
    return NULL;
}

static const char *fetch(const struct export_handle *h, const char *(*each)(int fd, uint32_t slots, void *with), void *with) {
    char name[PEERS_NAME];
    int saved = errno, peer = -1;
    peers_name_of(h->pid, h->start, name);
    const char *wrong = fetch_all(&peer, name, h, each, with);
    if (peer >= 0) close(peer);
    errno = saved;
    return wrong;
}

const struct export_peers peers_pages = { peers_listen, fetch };
