/* channel.c: frames and descriptors over a socket; see channel.h. */
#include "intern/channel.h"
#include "base/text.h"
#include "stats/folder.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

size_t channel_length(const struct channel_head *head) {
    size_t count = head->count, most = CHANNEL_COUNT_MOST;
    if (head->magic != CHANNEL_MAGIC) return 0;
    switch (head->kind) {
    case CHANNEL_OFFER: return count > 0 && count <= most ? sizeof *head + count * sizeof(uint64_t) : 0;
    case CHANNEL_ANSWER: return count <= most ? sizeof *head + count * sizeof(uint32_t) : 0;
    case CHANNEL_PAGE: return count == 2 ? sizeof *head + 2 * sizeof(uint64_t) : 0;
    case CHANNEL_PUBLISH:
    case CHANNEL_FETCH: return sizeof *head;
    default: return 0;
    }
}

int channel_send(int socket, const struct channel_frame *frame) {
    char room[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec part = { (void *)frame, channel_length(&frame->head) };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (frame->fd >= 0) {
        message.msg_control = room, message.msg_controllen = sizeof room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &frame->fd, sizeof(int));
    }
    int saved = errno;
    ssize_t n;
    do n = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    int error = n < 0 ? -errno : n == (ssize_t)part.iov_len ? 0 : -EPROTO;
    errno = saved;
    return error;
}

/* The descriptors that came along: the first is the frame's, others are closed. */
static int take_descriptors(struct msghdr *message) {
    int first = -1, fd;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof fd) <= c->cmsg_len; i++) {
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (first < 0) first = fd;
            else close(fd);
        }
    }
    return first;
}

int channel_receive(int socket, struct channel_frame *frame) {
    char room[CMSG_SPACE(4 * sizeof(int))];
    struct iovec part = { frame, offsetof(struct channel_frame, fd) };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room };
    int saved = errno;
    ssize_t n;
    do n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    int error = errno;
    errno = saved;
    frame->fd = -1;
    if (n <= 0) return n == 0 ? 0 : error == EAGAIN ? -EAGAIN : 0;
    frame->fd = take_descriptors(&message);
    if (n >= (ssize_t)sizeof frame->head && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && (size_t)n == channel_length(&frame->head)) return 1;
    if (frame->fd >= 0) close(frame->fd);
    frame->fd = -1;
    return -EPROTO;
}

bool channel_peer_is_own(int socket) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

bool channel_path(char *path, size_t capacity) { return channel_path_of("share", path, capacity); }

bool channel_path_of(const char *name, char *path, size_t capacity) {
    char folder[FOLDER_PATH];
    for (unsigned place = 0; place < FOLDER_PLACES; place++) {
        if (!folder_path(place, geteuid(), folder)) continue;
        int fd = folder_open(folder, geteuid(), true);
        if (fd < 0) continue;
        close(fd);
        struct text t = text_in(path, capacity);
        text_add(&t, folder), text_char(&t, '/'), text_add(&t, name);
        return !t.full;
    }
    return false;
}

enum { ABOVE = 512 /* descriptors: out of the way of programs that count on low numbers */ };

static int open_socket(int flags) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0), high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, ABOVE);
    if (high >= 0) close(fd), fd = high;
    return fd;
}

static bool address_of(const char *path, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address->sun_path) return false;
    strcpy(address->sun_path, path);
    return true;
}

int channel_listen(const char *path, int backlog) {
    struct sockaddr_un address;
    if (!address_of(path, &address)) return -1;
    int fd = open_socket(SOCK_NONBLOCK);
    unlink(path);
    if (fd >= 0 && fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, backlog) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

int channel_connect(const char *path, int patience_ms) {
    struct sockaddr_un address;
    struct timeval patience = { .tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000 };
    int fd = address_of(path, &address) ? open_socket(0) : -1;
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && channel_peer_is_own(fd)) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}
