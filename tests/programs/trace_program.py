"""trace_program.py WORDS…: a program that uses device memory as its words say, for the tests of traces.
alloc=SIZE, free (the newest), many=COUNT (pairs), limit=BYTES (of any file), sync, fork (a child allocates), exec=WORDS (becomes itself with those), say=TEXT, wait (for a line), die."""
import ctypes
import os
import resource
import signal
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
