/* cuda_hook.h: what the driver's hooks have in common: the real function behind each, and whether we are *in force*: there is a
 * driver, we are switched on, and this is no fork's child. Where we are not, a hook passes through and does nothing else. */
#ifndef COPPICE_PRELOAD_CUDA_HOOK_H
#define COPPICE_PRELOAD_CUDA_HOOK_H
#include "device/device.h"

enum hook_id {
#define ACTED_HOOK(name) HOOK_##name,
#define PASS_HOOK(kind, name, params, args, bytes, stream, trace, weights) HOOK_##name,
#define KNOWN_NAME(name)
#include "cuda_hooks.inc"
    HOOK_COUNT
};
#undef ACTED_HOOK
#undef PASS_HOOK
#undef KNOWN_NAME

extern void *_Atomic cuda_real[HOOK_COUNT] __attribute__((visibility("hidden"))); /* what comes after us, another preload's hook perhaps */
extern _Atomic bool cuda_in_force __attribute__((visibility("hidden")));
void *cuda_find_real(enum hook_id id) COLD;

#define REAL(name) ({ \
    void *real_ = atomic_load_explicit(&cuda_real[HOOK_##name], memory_order_relaxed); \
    (__typeof__(&name))(likely(real_ != NULL) ? real_ : cuda_find_real(HOOK_##name)); })
#define IN_FORCE() likely(atomic_load_explicit(&cuda_in_force, memory_order_relaxed))
/* Memory that the pool does not own, for the trace. */
#define OTHER(kind, address, size, extra) device_note_other(OTHER_##kind, (uint64_t)(address), (uint64_t)(size), (uint64_t)(extra))
#endif
