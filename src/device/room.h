/* room.h: what happens when a device is full, before the program hears of it.
 *
 * *Room* is made by a chain of links, the cheapest first: the context's own cache, the caches of the device's other
 * contexts, pinned host memory, the driver's stream-ordered pools and graph memory, what other processes
 * of ours have cached on the device (tenants.h). After each link that gave something back the request is made again; when
 * the chain has ended the program gets the driver's own answer.
 * A *reserve* (DEVICE_RESERVE) is what this process leaves free on each device: a request that would leave less is
 * answered as the full device would answer, after the same chain. It is looked at before each allocation by the driver,
 * not under a lock: two processes, or threads, that ask at one moment may both be answered yes. */
#ifndef COPPICE_DEVICE_ROOM_H
#define COPPICE_DEVICE_ROOM_H
#include "device/context.h"

/* How far a request has come along the chain. Begin with { 0 }. */
struct room { unsigned links; };

/* Was it out of memory, and did a link give something back since? Then ask again: for (…; room_made(&room, answer);). */
bool room_made(struct room *r, CUresult answer);
/* The same for a request of `size` bytes, which is not worth a chain when the device could never hold it. */
bool room_made_for(struct room *r, CUresult answer, uint64_t size);
/* The chain was begun and the request has its final answer: counts what it was good for. */
void room_settled(const struct room *r, CUresult answer) __attribute__((cold));
/* Could the device ever hold `size` bytes beside the reserve? If not the request fails at once, and nothing is given back. */
bool room_could_be(const struct context *c, uint64_t size);
/* Does a new allocation of `size` bytes in the current context leave the reserve free? Makes room for it first. */
bool room_is_left(uint64_t size);
/* What the pools and graphs of the context's device hold unused goes back to the driver. Returns the bytes. */
uint64_t room_trim_pools(struct context *c);
/* Pools that the program made: trimmed at the end of the chain. `room_forget_pool` returns once no trim uses it. */
void room_remember_pool(CUmemoryPool pool);
void room_forget_pool(CUmemoryPool pool);
void room_fork_child(void);
#endif
