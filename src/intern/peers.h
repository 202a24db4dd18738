/* peers.h: what processes of one user ask each other about device memory: equal weights (COPPICE_SHARE_WEIGHTS, the nouns are in
 * device/weights.h), and blocks that were shown by legacy IPC handles (device/export.h).
 *
 * There is no broker: descriptors of device pages are many and cannot be kept open, so who has a page hands out a descriptor when
 * he is asked. Each process that has something to answer has a socket `peer-<pid>-<start time>` in the folder of the counters files, and a
 * thread that answers there, with the frames of channel.h:
 *   OFFER hashes       ->  ANSWER for each: 0, or the number of a page of weights that has it
 *   FETCH number       ->  ANSWER with a descriptor of the page's handle, or without: not now
 *   PAGE token, which  ->  ANSWER how many slots that page of the block has, with a descriptor of its handle, or without: there is none
 * Who asks connects for one batch (peers_weights.c) or one block (peers_pages.c) and hangs up. No frame is believed: sizes and the peer's uid
 * are checked, what came along is checked by the driver, equality of weights is settled by comparing bytes, and a token is 128 random
 * bits. Who breaks the rules is cut off with one line; who is silent about weights is not asked again for a while. */
#ifndef COPPICE_INTERN_PEERS_H
#define COPPICE_INTERN_PEERS_H
#include <stdbool.h>
#include <stdint.h>

/* Device memory may be shared with other processes from now on. Starts nothing before there is any. */
void peers_install(void);
void peers_fork_child(void);

/* --- for peers_weights.c and peers_pages.c */
#define PEERS_PREFIX "peer-"
enum { PEERS_NAME = 64, PEERS_PATH = 108 + PEERS_NAME };
/* May others ask this process from now on? Starts the thread. */
bool peers_listen(void);
extern char peers_name[PEERS_NAME]; /* of our socket; "" when there is none */
/* The name of a process's socket. */
void peers_name_of(uint64_t pid, uint64_t start, char name[PEERS_NAME]);
/* Connected to the socket of that name, or -1: nobody is there; what a dead process left goes. */
int peers_connect(const char *name, int patience_ms);
/* One line about a peer, at most so many a process. */
void peers_complain(const char *what, const char *and_then);

extern const struct weights_peers peers_weights;
extern const struct export_peers peers_pages;
#endif
