/* stream.c: streams, events and host functions. A cudaStream_t is a CUstream, a cudaEvent_t a CUevent. */
#include "runtime.h"
#include <stdlib.h>

API_CTX(cudaStreamCreate, (cudaStream_t *stream), (stream))
{
    NEED(stream);
    return rt(DRV(cuStreamCreate)(stream, CU_STREAM_DEFAULT));
}
API_CTX(cudaStreamCreateWithFlags, (cudaStream_t *stream, unsigned flags), (stream, flags))
{
    NEED(stream);
    return rt(DRV(cuStreamCreate)(stream, flags));
}
API_CTX(cudaStreamCreateWithPriority, (cudaStream_t *stream, unsigned flags, int priority), (stream, flags, priority))
{
    NEED(stream);
    return rt(DRV(cuStreamCreateWithPriority)(stream, flags, priority));
}
API_CTX(cudaStreamDestroy, (cudaStream_t stream), (stream)) { return rt(DRV(cuStreamDestroy)(stream)); }

STREAM_API(cudaStreamSynchronize, (cudaStream_t stream), (stream)) { return rt(DRV(cuStreamSynchronize)(stream)); }
STREAM_API(cudaStreamQuery, (cudaStream_t stream), (stream)) { return rt(DRV(cuStreamQuery)(stream)); }

/* --- calls whose stream is the first parameter: FIRST is STREAM_API with any parameter list that contains `stream` */
#define FIRST STREAM_API
FIRST(cudaStreamGetPriority, (cudaStream_t stream, int *priority), (stream, priority))
{
    NEED(priority);
    return rt(DRV(cuStreamGetPriority)(stream, priority));
}
FIRST(cudaStreamGetFlags, (cudaStream_t stream, unsigned *flags), (stream, flags))
{
    NEED(flags);
    return rt(DRV(cuStreamGetFlags)(stream, flags));
}
FIRST(cudaStreamGetId, (cudaStream_t stream, unsigned long long *id), (stream, id))
{
    NEED(id);
    return rt(DRV(cuStreamGetId)(stream, id));
}
FIRST(cudaStreamGetDevice, (cudaStream_t stream, int *device), (stream, device))
{
    NEED(device);
    return rt(DRV(cuStreamGetDevice)(stream, device));
}
FIRST(cudaStreamWaitEvent, (cudaStream_t stream, cudaEvent_t event, unsigned flags), (stream, event, flags))
{
    return rt(DRV(cuStreamWaitEvent)(stream, event, flags));
}
FIRST(cudaStreamAttachMemAsync, (cudaStream_t stream, void *pointer, size_t length, unsigned flags), (stream, pointer, length, flags))
{
    return rt(DRV(cuStreamAttachMemAsync)(stream, (CUdeviceptr)pointer, length, flags));
}
FIRST(cudaLaunchHostFunc, (cudaStream_t stream, cudaHostFn_t function, void *data), (stream, function, data))
{
    NEED(function);
    return rt(DRV(cuLaunchHostFunc)(stream, function, data));
}

/* A runtime callback gets a cudaError_t, a driver callback a CUresult: both ints, so the driver may call it directly. */
SAME_LAYOUT(cudaError_t, CUresult);
FIRST(cudaStreamAddCallback, (cudaStream_t stream, cudaStreamCallback_t callback, void *data, unsigned flags),
      (stream, callback, data, flags))
{
    NEED(callback && !flags);
    return rt(DRV(cuStreamAddCallback)(stream, (CUstreamCallback)(void *)callback, data, flags));
}

SAME_LAYOUT(cudaLaunchAttributeValue, CUlaunchAttributeValue);
FIRST(cudaStreamGetAttribute, (cudaStream_t stream, cudaLaunchAttributeID which, cudaLaunchAttributeValue *value),
      (stream, which, value))
{
    return rt(DRV(cuStreamGetAttribute)(stream, (CUstreamAttrID)which, (CUstreamAttrValue *)value));
}
FIRST(cudaStreamSetAttribute, (cudaStream_t stream, cudaLaunchAttributeID which, const cudaLaunchAttributeValue *value),
      (stream, which, value))
{
    return rt(DRV(cuStreamSetAttribute)(stream, (CUstreamAttrID)which, (const CUstreamAttrValue *)value));
}
API_CTX(cudaStreamCopyAttributes, (cudaStream_t to, cudaStream_t from), (to, from))
{
    return rt(DRV(cuStreamCopyAttributes)(to, from));
}
cudaError_t cudaStreamCopyAttributes_ptsz(cudaStream_t to, cudaStream_t from);
API_CTX(cudaStreamCopyAttributes_ptsz, (cudaStream_t to, cudaStream_t from), (to, from))
{
    return rt(DRV(cuStreamCopyAttributes)(to ? to : cudaStreamPerThread, from ? from : cudaStreamPerThread));
}

/* --- events */
API_CTX(cudaEventCreate, (cudaEvent_t *event), (event))
{
    NEED(event);
    return rt(DRV(cuEventCreate)(event, CU_EVENT_DEFAULT));
}
API_CTX(cudaEventCreateWithFlags, (cudaEvent_t *event, unsigned flags), (event, flags))
{
    NEED(event);
    return rt(DRV(cuEventCreate)(event, flags));
}
STREAM_API(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), (event, stream))
{
    return rt(DRV(cuEventRecord)(event, stream));
}
STREAM_API(cudaEventRecordWithFlags, (cudaEvent_t event, cudaStream_t stream, unsigned flags), (event, stream, flags))
{
    return rt(DRV(cuEventRecordWithFlags)(event, stream, flags));
}
API_CTX(cudaEventQuery, (cudaEvent_t event), (event)) { return rt(DRV(cuEventQuery)(event)); }
API_CTX(cudaEventSynchronize, (cudaEvent_t event), (event)) { return rt(DRV(cuEventSynchronize)(event)); }
API_CTX(cudaEventDestroy, (cudaEvent_t event), (event)) { return rt(DRV(cuEventDestroy)(event)); }
#if CUDART_VERSION < 13000
API_CTX(cudaEventElapsedTime_v2, (float *ms, cudaEvent_t start, cudaEvent_t end), (ms, start, end))
{
    NEED(ms);
    return rt(DRV(cuEventElapsedTime)(ms, start, end));
}
#undef cudaEventElapsedTime
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end);
#endif
API_CTX(cudaEventElapsedTime, (float *ms, cudaEvent_t start, cudaEvent_t end), (ms, start, end))
{
    NEED(ms);
    return rt(DRV(cuEventElapsedTime)(ms, start, end));
}
