/* event.h: points in the work of one context, as the fence waits for them.
 *
 * An *event* is a CUDA event of ours and the context that it belongs to. It is recorded, asked until it has passed, and
 * then a *spare* of its context, which the next recording takes: CUDA makes few of them. Lists are singly linked.
 * Everything here calls CUDA and is under the fence's lock; asking only while no stream captures (capture.h). */
#ifndef COPPICE_DEVICE_EVENT_H
#define COPPICE_DEVICE_EVENT_H
#include "device/context.h"

struct fence_event {
    CUevent handle;
    struct context *context;
    struct fence_event *next;
};
enum event_answer {
    EVENT_WAITING, /* its work goes on, or cannot be asked about just now */
    EVENT_PASSED,
    EVENT_LOST     /* the context is broken: nothing of it is reused, and nobody waits for it */
};

/* Covers all work of the context submitted so far. NULL: it could not be recorded. Needs cuCtxRecordEvent. */
struct fence_event *event_of_context(struct context *c);
/* The same for one stream; the legacy stream's covers every blocking stream of the context too. */
struct fence_event *event_of_stream(struct context *c, CUstream stream);
enum event_answer event_ask(struct fence_event *e);
/* Nobody needs it any more: a spare. */
void event_put(struct fence_event *e);
void event_put_all(struct fence_event *list);
/* Events of the context leave the list without a call of CUDA: they end with it. */
void event_forget(struct fence_event **list, const struct context *c);
void event_forget_spares(const struct context *c);
#endif
