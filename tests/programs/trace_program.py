"""trace_program.py WORDS…: a program that uses device memory as its words say, for the tests of traces.
alloc=SIZE, free (the newest), many=COUNT (pairs), limit=BYTES (of any file), sync, others (memory that is passed through), fork (a child allocates), exec=WORDS (becomes itself with those), say=TEXT, wait (for a line), die."""
import ctypes
import os
import resource
import signal
import struct
import sys

cuda = ctypes.CDLL("libcuda.so.1")
held, context, pointer = [], ctypes.c_void_p(), ctypes.c_uint64()


def ok(answer):
    assert answer == 0, f"CUDA error {answer}"


def alloc(size):
    ok(cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size)))
    held.append(pointer.value)


def free():
    ok(cuda.cuMemFree_v2(ctypes.c_uint64(held.pop())))


def others():
    """Stream-ordered and managed memory, and physical memory mapped and unmapped."""
    size, handle, u64 = 2 << 20, ctypes.c_uint64(), ctypes.c_uint64
    ok(cuda.cuMemAllocAsync(ctypes.byref(pointer), ctypes.c_size_t(4096), None))
    ok(cuda.cuMemFreeAsync(pointer, None))
    ok(cuda.cuMemAllocManaged(ctypes.byref(pointer), ctypes.c_size_t(5000), 1))
    ok(cuda.cuMemFree_v2(pointer))
    ok(cuda.cuMemHostAlloc(ctypes.byref(pointer), ctypes.c_size_t(6000), 0))
    ok(cuda.cuMemFreeHost(ctypes.c_void_p(pointer.value)))
    pinned_on_device_0 = struct.pack("IIIIQQ", 1, 0, 1, 0, 0, 0)
    ok(cuda.cuMemCreate(ctypes.byref(handle), ctypes.c_size_t(size), pinned_on_device_0, u64(0)))
    ok(cuda.cuMemAddressReserve(ctypes.byref(pointer), ctypes.c_size_t(size), ctypes.c_size_t(0), u64(0), u64(0)))
    ok(cuda.cuMemMap(pointer, ctypes.c_size_t(size), ctypes.c_size_t(0), handle, u64(0)))
    ok(cuda.cuMemUnmap(pointer, ctypes.c_size_t(size)))
    ok(cuda.cuMemRelease(handle))


def fork():
    child = os.fork()
    if child == 0:
        cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(999))
        os._exit(0)
    os.waitpid(child, 0)


ok(cuda.cuInit(0))
ok(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
ok(cuda.cuCtxSetCurrent(context))
for word in sys.argv[1:]:
    name, _, value = word.partition("=")
    if name == "alloc":
        alloc(int(value))
    elif name == "free":
        free()
    elif name == "many":
        for i in range(int(value)):
            alloc(1000 + i % 7 * 10000), free()
    elif name == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), int(value)))
    elif name == "others":
        others()
    elif name == "sync":
        ok(cuda.cuCtxSynchronize())
    elif name == "fork":
        fork()
    elif name == "exec":
        os.execv(sys.executable, [sys.executable, "-B", __file__, *value.split(",")])
    elif name == "say":
        print(value, flush=True)
    elif name == "wait":
        sys.stdin.readline()
    elif name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        sys.exit(f"what is {word}?")
