/* event.h: what the rest of the driver asks of events. */
#ifndef SIM_EVENT_H
#define SIM_EVENT_H
#include "stream.h"

CUevent event_make(CUcontext context, unsigned flags);
void events_drop_context(CUcontext context);
void event_record_on(CUevent event, CUstream stream, const struct record *also);
CUresult event_wait_in(CUstream stream, CUevent event);

/* Interprocess events (event_ipc.c): recordings are numbered in the set. */
CUresult event_shared_open(CUevent event, int index);        /* index -1: a new one */
void event_shared_close(CUevent event);
u64 event_shared_record(CUevent event);
u64 event_shared_latest(CUevent event);
void event_shared_complete(int index, u64 number);
bool event_shared_passed(CUevent event);
void event_shared_wait(int index, u64 number);
#endif
