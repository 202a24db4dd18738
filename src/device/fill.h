/* fill.h: bytes that we write into cached memory: zeros before a block is handed out (ZERO=1), a pattern when it is freed
 * (POISON=1).
 * A *fill* runs in a stream of our own, one a context, which neither waits for the program's streams nor lets them wait,
 * and it is over when the call returns: whoever uses the block next, in whatever stream, finds it done. It disturbs no
 * capture. Only for memory whose epoch has passed, or work of the program may still write over it. Threads: any. */
#ifndef COPPICE_DEVICE_FILL_H
#define COPPICE_DEVICE_FILL_H
#include "device/context.h"

/* Every floating-point format reads it as NaN, integers as -1, and no pointer of it is valid. */
enum { POISON_BYTE = 0xff };
#define POISON_WAIT_NS 10000000000u /* work that lasts longer keeps its block from being filled, not the free from returning */

/* False when the driver cannot: then the bytes are what they were, or part of them. */
bool fill_bytes(struct context *c, uint64_t address, unsigned char value, uint64_t size);
/* The stream; NULL: there is none. The context is current. */
CUstream fill_stream(struct context *c);
/* The context is gone, and its stream with it. */
void fill_forget(struct context *c);
void fill_fork_child(void);
#endif
