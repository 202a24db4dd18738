/* control.c: what this process does when another asks (stats/control.h): gives memory back, takes an option over. */
#include "device/give_back.h"
#include "heap/heap.h"
#include "preload/process.h"
#include "stats/control.h"

static void trim(const struct control_request *request, struct control_answer *answer, bool device_too) {
    bool everything = !(request->device[0] | request->device[1]);
    if (device_too) {
        struct given_back given = device_give_back(everything ? NULL : request->device);
        answer->device_bytes = given.device, answer->pool_bytes = given.pools, answer->pinned_bytes = given.pinned;
    }
    if (!everything) return;
    size_t before = heap_returned_bytes();
    heap_trim();
    answer->host_bytes = heap_returned_bytes() - before;
}

static void option_changed(int id) {
    if (id == OPTION_pool_max) device_limits_changed();
}

void control_start(void) { control_acts_are((struct control_acts){ trim, option_changed }); }
