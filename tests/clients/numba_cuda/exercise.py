"""exercise.py: device arrays, streams, events and pinned memory through numba-cuda; a line of JSON a scenario. No kernels:
simulated ones do not compute, and compiling them needs libraries that are not here."""
import os, sys
sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")]
import numpy as np
from numba import cuda
import simulated


def arrays_come_back():
    sizes, equal = (10, 1000, 1 << 20, 3 << 20), 0
    for turn in range(10):
        for size in sizes:
            there = np.arange(size, dtype=np.float32) + turn
            equal += bool((cuda.to_device(there).copy_to_host() == there).all())
    return {"equal": equal, "of": 10 * len(sizes)}


def streams_keep_their_order():
    stream, there = cuda.stream(), np.full(1 << 20, 3, np.int32)
    with stream.auto_synchronize():
        array = cuda.to_device(there, stream=stream)
        back = array.copy_to_host(stream=stream)
    return {"equal": bool((back == there).all())}


def events_and_pinned_memory():
    pinned = cuda.pinned_array(1 << 18, np.float64)
    pinned[:] = 5
    start, end = cuda.event(), cuda.event()
    start.record()
    back = cuda.to_device(pinned).copy_to_host()
    end.record()
    end.synchronize()
    return {"sum": float(back.sum()), "time": cuda.event_elapsed_time(start, end) >= 0}


def memory_info_adds_up():
    info = cuda.current_context().get_memory_info()
    array = cuda.device_array(64 << 20, np.uint8)
    during = cuda.current_context().get_memory_info()
    del array
    return {"took": info.free - during.free >= 64 << 20, "total": info.total == during.total}


def too_much_is_refused():
    try:
        cuda.device_array(1 << 46, np.uint8)
    except Exception as error:
        return {"refused": type(error).__name__}
    return {"refused": None}


if __name__ == "__main__":
    sys.exit(simulated.scenarios((arrays_come_back, streams_keep_their_order, events_and_pinned_memory, memory_info_adds_up,
                                  too_much_is_refused), sys.argv[1:]))
