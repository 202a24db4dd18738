/* export.h: blocks made of pages that other processes are shown by legacy IPC handles (DEVICE_BACKEND=page).
 *
 * The driver makes no such handle of memory that is mapped, so we do. An *export* is a live block that was shown. Its *token* is 128
 * random bits. The *handle*, in the place of the driver's own, names the process, the token, and where the block lies in its pages.
 * An importer that runs Coppice (import.h) asks this process for the pages, one descriptor each (the export_peers, filled by src/intern); to
 * any other one the handle is none. It is good for as long as the block lives. The block is tainted: its bytes never serve
 * again, and the driver keeps the memory for whoever still has it mapped, so neither process's end hurts the other. As with
 * the driver's own handles whole pages are shown, with what else lies in them.
 *
 *     lead + size <= slots * 2 MiB, the sum of the pages that the block touches; lead is less than the first of them
 *
 * What cannot be shown so (PAGE_IPC=0, no socket, a device without descriptors, weights that others have too) is not: then the
 * program is answered not supported, and gets whole driver allocations of that size (source.h). */
#ifndef COPPICE_DEVICE_EXPORT_H
#define COPPICE_DEVICE_EXPORT_H
#include "device/block.h"
#include "device/context.h"
#include <string.h>

#define EXPORT_MAGIC 0x93c1505043504943u /* no driver's handle begins so but by chance, once in 2^64 */
struct export_handle {
    uint64_t magic;
    uint32_t pid, pages;       /* whose, and how many pages */
    uint64_t start;            /* start time of the process, in ticks */
    uint64_t token[2];
    uint64_t lead, size;       /* where the block begins in the first page; what the program asked for */
    uint32_t slots, unused;
};
_Static_assert(sizeof(struct export_handle) == CU_IPC_HANDLE_SIZE, "a handle of ours takes the place of the driver's");
static inline struct export_handle export_read(const CUipcMemHandle *bytes) {
    struct export_handle h;
    memcpy(&h, bytes, sizeof h);
    return h;
}

/* What src/intern does for us. `listen`: may others ask this process from now on? `fetch` calls `each` with a descriptor of every page
 * in turn, and the slots that it is said to have, until that returns what is wrong; NULL: all are there. export_gone: nobody answers,
 * or the block is no more; else what the other side did that it must not. */
struct export_peers {
    bool (*listen)(void);
    const char *(*fetch)(const struct export_handle *h, const char *(*each)(int fd, uint32_t slots, void *with), void *with);
};
extern const struct export_peers *export_peers;
extern const char export_gone[];

/* Can memory of this context be shown at all, as far as is known without trying? */
bool exports_possible(const struct context *c);
/* A handle for a live block made of pages; the same one each time. False: it cannot be shown. */
bool export_show(struct block *b, CUipcMemHandle *handle);
/* A tainted block was freed; its memory has not been given back yet. */
void export_ended(uint64_t address);
void exports_context_ended(const struct context *c);
/* For the thread that answers: a descriptor of a page of the block and its slots; -1: there is none, or not now. */
int export_page(const uint64_t token[2], uint32_t index, uint32_t *slots);
void exports_fork_child(void);
#endif
