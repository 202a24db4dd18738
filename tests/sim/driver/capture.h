/* capture.h: stream capture.
 * capture   a graph being made from the calls on a set of streams: the origin, where it began and must end, and those that
 *           joined it through events. Active, or invalidated (by a call that is not allowed), until it is ended.
 * tails     of a capturing stream: the nodes that its next node will depend on
 * "Potentially unsafe" calls are checked on the way in (entry.c asks capture_check_unsafe): by the rules of
 * cuThreadExchangeStreamCaptureMode they fail and invalidate the captures that forbid them. */
#ifndef SIM_CAPTURE_H
#define SIM_CAPTURE_H
#include "work.h"

struct capture_tail { size_t count, room; CUgraphNode node[]; };

extern _Atomic int captures_active;
static inline bool captures_any(void) { return atomic_load_explicit(&captures_active, memory_order_relaxed) != 0; }

CUresult capture_check_unsafe(int call);
CUresult capture_refuse(CUstream stream);                    /* querying or waiting for a capturing stream */
CUresult capture_refuse_legacy(CUstream stream);             /* a synchronous call on the legacy stream during a capture */
CUresult capture_refuse_context(CUcontext context);
bool capture_is_active(CUstream stream);
CUresult capture_work(CUstream stream, struct work *work, bool *captured);
CUresult capture_host(CUstream stream, const CUDA_HOST_NODE_PARAMS *params, bool *captured);
CUresult capture_event_record(CUstream stream, CUevent event, unsigned flags, bool *captured);
CUresult capture_event_wait(CUstream stream, CUevent event, unsigned flags, bool *captured);
CUresult capture_event_refuse(CUevent event);
void capture_event_forget(CUevent event);
CUresult capture_allocation(CUstream stream, struct device *device, size_t size, CUdeviceptr *out, bool *captured);
CUresult capture_free(CUstream stream, CUdeviceptr pointer, bool *captured);
void capture_stream_destroyed(CUstream stream);
#endif
