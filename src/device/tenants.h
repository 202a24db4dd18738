/* tenants.h: other processes of ours on the same device.
 *
 * A *co-tenant* is a process of the same user that runs Coppice, lives, and says in its counters file that it has something
 * cached on the device of the same UUID (ordinals differ between processes). When this process is out of memory it asks
 * all of them at once to give that back (stats/ask.h; their service threads do it) and waits until each has answered, for
 * at most TENANT_WAIT. One that has not answered by then, stopped or hung, is *quiet*: it is left alone for a minute.
 * What is in their files is believed as far as the decision to ask, no further. */
#ifndef COPPICE_DEVICE_TENANTS_H
#define COPPICE_DEVICE_TENANTS_H
#include "device/context.h"

/* Returns the bytes that co-tenants of the context's device say they gave back. Sleeps. */
uint64_t tenants_give_back(struct context *c);
void tenants_fork_child(void);
#endif
