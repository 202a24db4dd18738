/* channel.h: what processes of one user say to each other about equal pages, and about pages of device memory (peers.h).
 *
 * A *broker* is a thread in one of the processes: whoever first binds the socket `share` in the folder of the counters files. Every process, the
 * broker's own too, is a *client*. A client asks, the broker answers, one *frame* each, one at a time:
 *   OFFER hashes of pages that have stayed as they are  ->  ANSWER for each: NONE, WANTED (somebody else has it: publish it, please), or
 *                                                           where it lies: file << 16 | page
 *   PUBLISH a sealed file                               ->  ANSWER its number
 *   FETCH a file's number                               ->  ANSWER with the file
 * No frame is believed: sizes are checked, the peer's uid is checked, files are checked (intern/sealed.h), and equality is settled by comparing
 * bytes. Who breaks the rules is cut off, with one line. The socket has mode 0600 in a folder of mode 0700. */
#ifndef COPPICE_INTERN_CHANNEL_H
#define COPPICE_INTERN_CHANNEL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANNEL_MAGIC 0x31535043u /* "CPS1" */
enum channel_kind { CHANNEL_OFFER = 1, CHANNEL_PUBLISH, CHANNEL_FETCH, CHANNEL_ANSWER, CHANNEL_PAGE /* peers.h */ };
enum { CHANNEL_NONE = 0, CHANNEL_WANTED = 1, CHANNEL_COUNT_MOST = 4096, CHANNEL_PATIENCE_MS = 2000 };
/* flags of an OFFER */
enum { CHANNEL_ONLY_COUNT = 1 /* no WANTED is to be answered: this client cannot publish */ };
/* The lowest bits of a hash are flags. AGAIN: this very page was offered before */
#define CHANNEL_FLAGS ((uint64_t)3)
#define CHANNEL_AGAIN ((uint64_t)1)
/* an answer's place */
static inline uint32_t channel_place(uint32_t file, uint32_t page) { return file << 16 | page; }
static inline uint32_t channel_file(uint32_t place) { return place >> 16; }
static inline uint32_t channel_page(uint32_t place) { return place & 0xFFFF; }

struct channel_head {
    uint32_t magic, kind, count, flags; /* count: of hashes or answers; in FETCH the file. flags of an ANSWER: files
                                            * published so far; of PAGE: which one */
};
struct channel_frame {
    struct channel_head head;
    union {
        uint64_t hash[CHANNEL_COUNT_MOST];
        uint32_t answer[CHANNEL_COUNT_MOST];
    };
    int fd; /* that came with it or goes with it; -1 none */
};

/* How long a frame with this head is; 0: there is no such frame. */
size_t channel_length(const struct channel_head *head);
/* Sends a frame, and the descriptor if there is one; 0 or a negative errno. Never blocks for longer than the socket's patience. */
int channel_send(int socket, const struct channel_frame *frame);
/* Receives one. 1: a frame; 0: the other side is gone; -EAGAIN nothing yet; -EPROTO: no frame as they must be. */
int channel_receive(int socket, struct channel_frame *frame);
/* Is the other side a process of the same user? */
bool channel_peer_is_own(int socket);
/* The path of the broker's socket, or of another one in the same folder, "" being the folder; false: there is no folder. */
bool channel_path(char *path, size_t capacity);
bool channel_path_of(const char *name, char *path, size_t capacity);
/* A socket that listens there, mode 0600, in place of whatever lay there; -1: it cannot be. Its accept does not block. */
int channel_listen(const char *path, int backlog);
/* One that is connected to a process of the same user, its number out of the way of programs; sending and receiving wait for at most
 * `patience_ms`. -1, and errno as of connect: nobody is there. */
int channel_connect(const char *path, int patience_ms);
#endif
