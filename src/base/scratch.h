/* scratch.h: reading the program's memory that may go away meanwhile.
 *
 * A plain read would be a signal then. Here the kernel copies from it, by a write to a *scratch*, a small memfd that is mapped too: what is
 * gone ends the write, and nothing else happens. That is half of what /proc/self/mem costs, which copies each page twice. process_vm_readv
 * would not do: it pins pages, and what is pinned may be shared with nobody: each read would part pages that the kernel has merged, or
 * that a fork's two halves still share. */
#ifndef COPPICE_BASE_SCRATCH_H
#define COPPICE_BASE_SCRATCH_H
#include "base/sys.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scratch {
    struct sys_file file;
    size_t length;
    const unsigned char *bytes; /* what was read last */
};
/* Room for reads of up to `length` bytes. False: the system has none. Open it for as long as it is used only: programs close
 * descriptors that they do not know, and nothing is read then. */
bool scratch_open(struct scratch *s, size_t length);
/* Reads [at, at + length) into `bytes`; how much came before something that is not there. */
size_t scratch_read(struct scratch *s, uintptr_t at, size_t length);
/* One that is not open may be closed too, if it is all zeros. */
void scratch_close(struct scratch *s);
#endif
