/* weights.h: device weights held once (COPPICE_SHARE_WEIGHTS=1, DEVICE_BACKEND=page). The design, for docs/SHARING.md has what users see.
 *
 * A *weights block* is a live block of type semantic, no key/value cache, of at least 4 MiB. It is made of slots of the page
 * space (space.h) of its own, from the beginning of a slot on, so that two blocks with equal contents are equal slot by slot. It is
 * never cached: its next owner would write where only reading is allowed. Each slot is in a state:
 *
 *     BARE ──first upload, fill or launch──► OWN ──picture complete──► OFFERED ──somebody else has it too──► LENT
 *                                             │ ▲                        │ ▲                                  │
 *                                             │ └──────── written ───────┘ └───────── written: own copy ──────┤
 *                                             └──equal to somebody's page: that is mapped──► BORROWED ──written┘
 *
 *     BARE      no memory yet. All bare slots of the process get theirs before anything else than an upload or a fill is submitted,
 *               because whatever else it is may read them
 *     OWN       a page of ours, read-write
 *     OFFERED   the same, and its hash can be found, by us and by peers
 *     LENT      a page of ours that kernels may only read, because another slot or process has it mapped
 *     BORROWED  the page of another slot or process, mapped read-only
 *
 * Why pages are shared as they are uploaded, and not at their first use: an upload's source may be written by the device itself
 * before the copy runs (page-locked memory), so only what has arrived on the device can be compared. Memory is taken as
 * uploads reach it (a handful of pages ahead, while nothing is found) and a handful of pages is *settled* (asked about, compared, given back) before the next is uploaded, so the
 * device's peak is one copy and that handful; nothing of ours has to guess what a private table of the driver submits while weights
 * are loaded, since a bare slot never holds anything that was written.
 *
 * Settling: the hash is looked for among our own slots, then peers are asked (weights_peers, filled by src/intern), which send a
 * descriptor of the page's handle. Submissions are held (submit.h), what was submitted is waited for, both pages are read back
 * and compared byte by byte, and only then is the page mapped in place of ours. Nobody's hash is believed, and no peer. Of two
 * processes that settle the same page at the same time the older lends.
 * Every hooked call that writes (uploads, fills, copies between device addresses, stream memory operations) first gives the slots
 * that it writes a copy of their own. Kernels that write fault: for inference only. A block whose identity is shown, that
 * peers' devices may reach, or that a capture writes, is *excluded*: it has pages of its own from then on.
 *
 *     a weights block's bytes count as reserved from its allocation to its free:
 *     taken from the driver = reserved - weights_bare_bytes - weights_once_bytes
 *
 * Locks, in order: settling, submissions held, weights (states), pages. Peers are asked under the first alone. */
#ifndef COPPICE_DEVICE_WEIGHTS_H
#define COPPICE_DEVICE_WEIGHTS_H
#include "device/block.h"
#include "device/context.h"

/* The option is on and the driver can: written once, when the driver is opened. */
extern _Atomic bool weights_on;
void weights_start(void);

/* What other processes can do for us, and we for them. `find` fills fd[i] with a descriptor of a handle with hash[i], or -1. */
struct weights_peers {
    void (*start)(void);
    void (*find)(const uint64_t *hash, unsigned count, int *fd);
};
extern const struct weights_peers *weights_peers;
/* For the thread that answers peers: a number for a page with this hash, 0 none; a descriptor of that page, -1: not now. */
uint32_t weights_offered(uint64_t hash);
int weights_lend(uint32_t number, bool to_older);

/* --- blocks */
#define WEIGHTS_LEAST ((uint64_t)4 << 20)
/* Is what this thread is about to ask for a weights block? */
static inline bool weights_wanted(uint64_t size) {
    const struct kind kind = thread_device.kind;
    return unlikely(atomic_load_explicit(&weights_on, memory_order_relaxed)) && kind.type == COPPICE_SEMANTIC && !kind.kv && size >= WEIGHTS_LEAST;
}
/* A live block for `asked` bytes that has no memory yet; 0: as any other request. */
uint64_t weights_take(struct context *c, uint64_t asked);
/* It was freed, and its work is done. False: the driver refused. */
bool weights_give(struct block *b);
void weights_context_ended(struct context *c);
/* What was promised and is not taken yet: not free for anybody else of this process. In slots, of all devices: */
uint64_t weights_bare_on(CUdevice device);
extern _Atomic uint32_t weights_bare;
/* Before the driver is asked for `size` bytes: where both do not fit, what was promised first is taken first. */
void weights_keep_promises(uint64_t size) COLD;

/* --- around calls of the driver, where weights_on. Begin what you end; an answer other than success: the call must not be made. */
/* One that writes nothing that is known of: a launch, a copy to the host. */
CUresult weights_work_begins(void);
/* One that writes these bytes, and reads memory of the device (`reads`) or none. */
CUresult weights_write_begins(uint64_t address, uint64_t size, bool reads);
void weights_work_ends(void);
/* An upload: `bytes` is how much of it may be done at once, and is what the call must then copy. What was copied is summed when the call has
 * returned: by then it is mapped and often in the processor's cache, and a device may be copying it still. */
enum { WEIGHTS_UPLOAD_SLOTS = 34 };
struct weights_upload { struct pages *pages; const char *from; uint64_t address, bytes; };
CUresult weights_upload_begins(struct weights_upload *u, uint64_t address, const void *from, uint64_t bytes, bool from_anywhere);
void weights_upload_ends(const struct weights_upload *u, CUresult answer);

/* Somebody asks what lies there: it must be memory. */
void weights_asked_about(uint64_t address);
/* The identity of what lies there is shown, or will be written by ways that we do not see: it is nobody else's from now on. */
void weights_exclude(uint64_t address);
/* Has the block there, if it is one of weights, pages that are nobody else's, all of them? */
bool weights_are_own(uint64_t address);
void weights_fork_child(void);
#endif
