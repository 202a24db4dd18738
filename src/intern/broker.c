/* broker.c: see broker.h. Everything but the start belongs to the broker's thread. A client that is slow to take its answers or sends
 * what it may not is cut off. No malloc: the index is a mapping that grows by doubling. */
#include "intern/broker.h"
#include "base/log.h"
#include "base/sys.h"
#include "intern/channel.h"
#include "intern/sealed.h"
#include "stats/service.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 256, FILES = 1024, INDEX_LEAST = 1 << 14, INDEX_MOST = 1 << 26, COMPLAINTS = 16 };

struct client {
    struct sys_file socket;
    uint32_t serial;  /* serial % CLIENTS is its place */
    uint64_t uses[FILES / 64];
};
struct seen {
    uint64_t hash;    /* without flags; 0: a free entry */
    uint32_t place;   /* channel.h's answers: NONE, WANTED, or where it lies */
    uint32_t client;  /* serial of who offered it last, or is to publish it */
};

static struct {
    struct sys_file listener, guard; /* guard: the lock file, held by the broker */
    uint32_t serial;
    struct client client[CLIENTS];
    struct sealed file[FILES]; /* [1..] */
    struct seen *seen;
    uint32_t room, used;
    uint32_t published;    /* files, since the start: told with every answer */
    unsigned complaints;
} broker = { .listener = { .fd = -1 }, .guard = { .fd = -1 } };
static struct channel_frame asked, answer;

/* --- the index */

static struct seen *find(uint64_t hash) {
    uint32_t i = (uint32_t)(hash >> 20) & (broker.room - 1);
    while (broker.seen[i].hash && broker.seen[i].hash != hash) i = (i + 1) & (broker.room - 1);
    return &broker.seen[i];
}

static bool grow(void) {
    struct seen *old = broker.seen;
    uint32_t had = broker.room, room = had ? had * 2 : INDEX_LEAST;
    if (room > INDEX_MOST) return false;
    struct seen *new = sys_map(NULL, room * sizeof *new, PROT_READ | PROT_WRITE);
    if (!new) return false;
    broker.seen = new, broker.room = room;
    for (uint32_t i = 0; i < had; i++)
        if (old[i].hash) *find(old[i].hash) = old[i];
    if (old) sys_unmap(old, had * sizeof *old);
    return true;
}

/* The entry of a hash, made if there is none; NULL: the index is full. */
static struct seen *entry_of(uint64_t hash) {
    if (hash == 0) return NULL;
    if (broker.used + 1 > broker.room / 4 * 3 && !grow() && broker.used + 1 >= broker.room) return NULL;
    struct seen *s = find(hash);
    if (!s->hash) *s = (struct seen){ .hash = hash }, broker.used++;
    return s;
}

/* --- clients and files */

static bool is_connected(uint32_t serial) { return broker.client[serial % CLIENTS].socket.fd >= 0 && broker.client[serial % CLIENTS].serial == serial; }

static void forget_file(uint32_t n) {
    sealed_close(&broker.file[n]);
    broker.file[n].pages = 0;
    for (uint32_t i = 0; i < broker.room; i++)
        if (channel_file(broker.seen[i].place) == n) broker.seen[i].place = CHANNEL_NONE, broker.seen[i].client = 0;
}

static void cut_off(struct client *c, const char *why) {
    if (why && broker.complaints++ < COMPLAINTS) log_line("sharing equal pages: a peer sent ", why, "; it is cut off", NULL);
    sys_file_close(&c->socket);
    for (uint32_t n = 1; n < FILES; n++) {
        if (!(c->uses[n / 64] >> n % 64 & 1)) continue;
        bool used = false;
        for (struct client *o = broker.client; o < broker.client + CLIENTS; o++) used = used || (o->socket.fd >= 0 && o->uses[n / 64] >> n % 64 & 1);
        if (!used && broker.file[n].pages) forget_file(n);
    }
}

static void welcome(void) {
    int fd = accept4(broker.listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    struct client *c = broker.client + 1;
    while (c < broker.client + CLIENTS && c->socket.fd >= 0) c++;
    if (c == broker.client + CLIENTS || !channel_peer_is_own(fd)) {
        close(fd);
        return;
    }
    broker.serial += CLIENTS;
    *c = (struct client){ .socket = sys_file_of(fd), .serial = broker.serial + (uint32_t)(c - broker.client) };
}

/* --- what is asked */

static uint32_t answer_offer(struct client *c, uint64_t offered) {
    struct seen *s = entry_of(offered & ~CHANNEL_FLAGS);
    if (!s) return CHANNEL_NONE;
    if (s->place > CHANNEL_WANTED) return s->place;
    if (!is_connected(s->client)) {
        s->client = c->serial, s->place = CHANNEL_NONE;
        return CHANNEL_NONE;
    }
    if (s->client == c->serial && offered & CHANNEL_AGAIN) return s->place;
    bool publishes = !(asked.head.flags & CHANNEL_ONLY_COUNT);
    if (s->place == CHANNEL_WANTED && s->client != c->serial && publishes) return CHANNEL_NONE; /* that one is about to */
    s->client = c->serial, s->place = publishes ? CHANNEL_WANTED : CHANNEL_NONE;
    return CHANNEL_WANTED;
}

static void take_offer(struct client *c) {
    answer.head.count = asked.head.count;
    for (uint32_t i = 0; i < asked.head.count; i++) answer.answer[i] = answer_offer(c, asked.hash[i]);
}

/* Returns what is wrong with the file, NULL: nothing. */
static const char *take_file(struct client *c) {
    const char *why = "no file";
    uint32_t n = 1;
    while (n < FILES && broker.file[n].pages) n++;
    answer.head.count = 1, answer.answer[0] = 0;
    if (asked.fd < 0) return why;
    if (n == FILES) return NULL; /* answered 0: no room */
    int fd = asked.fd;
    asked.fd = -1;
    if (!sealed_open(&broker.file[n], fd, &why)) return why;
    const struct sealed *file = &broker.file[n];
    for (uint32_t i = 0; i < file->pages; i++) {
        struct seen *s = entry_of(file->hash[i] & ~CHANNEL_FLAGS);
        if (s && s->place <= CHANNEL_WANTED) s->place = channel_place(n, i);
    }
    c->uses[n / 64] |= (uint64_t)1 << n % 64;
    answer.answer[0] = n, broker.published++;
    return NULL;
}

static void give_file(struct client *c) {
    uint32_t n = asked.head.count;
    answer.head.count = 0;
    if (n == 0 || n >= FILES || !broker.file[n].pages || !sys_file_is_open(&broker.file[n].file)) return;
    answer.fd = broker.file[n].file.fd;
    c->uses[n / 64] |= (uint64_t)1 << n % 64;
}

static void serve(struct client *c) {
    const char *why = NULL;
    int got = sys_file_is_open(&c->socket) ? channel_receive(c->socket.fd, &asked) : 0;
    if (got == -EAGAIN) return;
    if (got != 1) {
        cut_off(c, got == 0 ? NULL : "a frame of a wrong form");
        return;
    }
    answer.head = (struct channel_head){ .magic = CHANNEL_MAGIC, .kind = CHANNEL_ANSWER };
    answer.fd = -1;
    switch (asked.head.kind) {
    case CHANNEL_OFFER: take_offer(c); break;
    case CHANNEL_PUBLISH: why = take_file(c); break;
    case CHANNEL_FETCH: give_file(c); break;
    default: why = "an answer to no question"; break;
    }
    if (asked.fd >= 0) close(asked.fd);
    answer.head.flags = broker.published;
    if (!why && channel_send(c->socket.fd, &answer) != 0) why = "questions and takes no answers";
    if (why) cut_off(c, why);
}

static void *work(void *unused) {
    struct pollfd wait[CLIENTS];
    for (;;) {
        wait[0] = (struct pollfd){ .fd = broker.listener.fd, .events = POLLIN };
        for (unsigned i = 1; i < CLIENTS; i++) wait[i] = (struct pollfd){ .fd = broker.client[i].socket.fd, .events = POLLIN };
        if (poll(wait, CLIENTS, -1) < 0 && errno != EINTR) return NULL;
        for (unsigned i = 1; i < CLIENTS; i++)
            if (wait[i].fd >= 0 && wait[i].revents) serve(&broker.client[i]);
        if (!sys_file_is_open(&broker.listener)) return NULL; /* nor is another's number looked at */
        if (wait[0].revents & POLLIN) welcome();
    }
}

/* --- start */

/* The guard is a lock on a file beside the socket, so that of several who find no broker one becomes it. */
static struct sys_file take_guard(const char *path) {
    char name[sizeof(struct sockaddr_un)];
    struct text t = text_in(name, sizeof name);
    text_add(&t, path), text_add(&t, ".lock");
    int fd = t.full ? -1 : sys_open(name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    struct sys_file guard = sys_file_of(fd);
    if (guard.fd >= 0 && flock(guard.fd, LOCK_EX | LOCK_NB) != 0) sys_file_close(&guard);
    return guard;
}

static void end(void) {
    sys_file_close(&broker.listener);
    sys_file_close(&broker.guard);
}

bool broker_start(const char *path) {
    if (broker.listener.fd >= 0) return false;
    broker.guard = take_guard(path);
    if (broker.guard.fd < 0) return false;
    for (unsigned i = 0; i < CLIENTS; i++) broker.client[i].socket.fd = -1;
    for (unsigned i = 0; i < FILES; i++) broker.file[i].file.fd = -1;
    broker.published = broker.complaints = 0;
    broker.listener = sys_file_of(channel_listen(path, CLIENTS));
    if (broker.listener.fd >= 0 && grow() && service_thread(work, "coppice-broker")) return true;
    end();
    return false;
}

void broker_fork_child(void) {
    if (broker.listener.fd < 0) return;
    end();
    for (unsigned i = 1; i < CLIENTS; i++) sys_file_close(&broker.client[i].socket);
    for (unsigned i = 1; i < FILES; i++) sealed_close(&broker.file[i]);
    if (broker.seen) sys_unmap(broker.seen, broker.room * sizeof *broker.seen);
    broker.seen = NULL, broker.room = broker.used = 0;
}
