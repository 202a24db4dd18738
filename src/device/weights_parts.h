/* weights_parts.h: what weights.c (blocks), weights_calls.c (what happens around calls), weights_page.c (pages: taken, compared,
 * replaced) and weights_settle.c (who has the same) share. The nouns are in weights.h. All under the weights lock unless said otherwise. */
#ifndef COPPICE_DEVICE_WEIGHTS_PARTS_H
#define COPPICE_DEVICE_WEIGHTS_PARTS_H
#include "device/page.h"
#include "device/picture.h"
#include "device/weights.h"

enum weight_state { WEIGHT_NONE, WEIGHT_BARE, WEIGHT_OWN, WEIGHT_OFFERED, WEIGHT_LENT, WEIGHT_BORROWED };
static inline bool weight_is_read_only(uint8_t state) { return state >= WEIGHT_LENT; }

/* One slot. `state` is also read without the lock, by calls that only want to know whether there is anything to do. */
struct weight {
    _Atomic uint8_t state;
    bool settled;  /* looked for since its picture became complete */
    bool asking;   /* peers are being asked about it */
    bool leaving;  /* a capture writes it: an own copy is due when no stream captures any more */
    uint16_t block;
    struct picture picture;
};

struct weights_block {
    struct pages *pages; /* NULL: free entry */
    uint64_t address, asked;
    uint32_t first, count;
    uint32_t batch;   /* so many are waited for, and taken ahead where it is more than the least */
    uint32_t waiting; /* complete pages that are not settled */
    uint32_t unfinished; /* pages whose picture is not complete */
    bool excluded;
};
enum { WEIGHTS_BLOCKS = 1024,
       WEIGHTS_BATCH = 4,      /* pages settled at once, and held back for */
       WEIGHTS_BATCH_MOST = 32 /* while nothing is found it takes fewer questions: twice as many each time */ };

/* Of one context; made with the first block. */
struct weights {
    struct weight *slot;  /* by slot of the page space */
    uint64_t *hash;       /* of OFFERED, LENT and BORROWED ones, else 0 */
    uint32_t look;        /* a slot where pages are mapped to be looked at */
    CUmemAllocationProp property; /* of its pages: never usable for GPUDirect RDMA */
    bool declined;
};

extern struct lock weights_lock, weights_settling;
extern struct weights_block weights_block[WEIGHTS_BLOCKS];
extern _Atomic uint32_t weights_blocks; /* entries ever used */
extern _Atomic uint32_t weights_unsettled, weights_leaving; /* slots */

/* The context's pages and the slot where `address` lies, if it lies in a weights block. No lock. */
struct weight *weight_at(uint64_t address, struct pages **pages, uint32_t *slot);
void weight_set(struct pages *p, uint32_t slot, enum weight_state to);
uint64_t weights_hash(const struct pages *p, uint64_t sum);
/* Memory for the bare ones of slots [first, end); for these, and for some that the next upload will reach; of all blocks, without the lock. */
CUresult weights_back_slots(struct pages *p, uint32_t first, uint32_t end);
CUresult weights_back_ahead(struct pages *p, uint32_t first, uint32_t end);
CUresult weights_back_all(void) COLD;

/* --- weights_page.c. Pages have users (slots) and are released with the last. */
bool weights_open(struct pages *p);
/* Memory for `count` bare slots. Where the driver refuses, those before have theirs. */
CUresult weight_back(struct pages *p, uint32_t first, uint32_t count);
void weight_drop(struct pages *p, uint32_t slot);
struct page *weight_import(struct pages *p, int fd);
int weight_export(struct page *page);
void weight_unuse(struct pages *p, struct page *page);
bool weight_open_access(struct pages *p, uint32_t slot, bool write);
/* Submissions are held. Are the slot's bytes those of `page`, which lies in slot `at`, or nowhere (NO_SLOT)? */
bool weight_is_equal(struct pages *p, uint32_t slot, struct page *page, uint32_t at);
bool weight_replace(struct pages *p, uint32_t slot, struct page *page);
/* The slot's bytes, in a page of its own, read-write. */
bool weight_own_copy(struct pages *p, uint32_t slot);

/* --- weights_settle.c; nothing is held. */
void weights_settle(struct weights_block *b);
#endif
