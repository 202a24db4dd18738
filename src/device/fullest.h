/* fullest.h: how full the devices are of which something is cached: what the cleaner senses of them. */
#ifndef COPPICE_DEVICE_FULLEST_H
#define COPPICE_DEVICE_FULLEST_H
#include <stdbool.h>
#include <stdint.h>

/* Use and capacity of the fullest: what the driver says is taken (`ask`: a CUDA call), or what this process has reserved.
 * False: nothing is cached anywhere. For a thread of ours. */
bool pool_fullest(bool ask, uint64_t *used, uint64_t *capacity);
#endif
