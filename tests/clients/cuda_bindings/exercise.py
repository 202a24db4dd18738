"""exercise.py: memory, streams, events and captures through cuda-bindings' driver module; a line of JSON a scenario."""
import os, sys
sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")]
from cuda.bindings import driver
import simulated


def ok(answer):
    """The values of a successful call."""
    status, *values = answer
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(status.name)
    return values[0] if len(values) == 1 else values


ok(driver.cuInit(0))
device = ok(driver.cuDeviceGet(0))
context = ok(driver.cuDevicePrimaryCtxRetain(device))
ok(driver.cuCtxSetCurrent(context))


def memory_comes_and_goes():
    for size in (1, 4096, 3 << 20, 40 << 20) * 25:
        ok(driver.cuMemFree(ok(driver.cuMemAlloc(size))))
    twice = ok(driver.cuMemAlloc(4096))
    ok(driver.cuMemFree(twice))
    return {"zero": driver.cuMemAlloc(0)[0].name, "twice": driver.cuMemFree(twice)[0].name,
            "too much": driver.cuMemAlloc(1 << 50)[0].name}


def copies_arrive():
    sent, back = bytearray(range(256)) * 4096, bytearray(256 * 4096)
    block = ok(driver.cuMemAlloc(len(sent)))
    ok(driver.cuMemcpyHtoD(block, bytes(sent), len(sent)))
    ok(driver.cuMemcpyDtoH(back, block, len(back)))
    ok(driver.cuMemsetD8(block, 7, len(sent)))
    filled = bytearray(len(sent))
    ok(driver.cuMemcpyDtoH(filled, block, len(filled)))
    ok(driver.cuMemFree(block))
    return {"equal": sent == back, "filled": set(filled) == {7}}


def freed_memory_waits_for_its_streams():
    streams = [ok(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING)) for _ in range(4)]
    wrong = 0
    for turn in range(60):
        block, back = ok(driver.cuMemAlloc(1 << 20)), bytearray(1 << 20)
        ok(driver.cuMemsetD8Async(block, turn, 1 << 20, streams[turn % 4]))
        ok(driver.cuMemcpyDtoHAsync(back, block, 1 << 20, streams[turn % 4]))
        ok(driver.cuStreamSynchronize(streams[turn % 4]))
        wrong += set(back) != {turn}
        ok(driver.cuMemsetD8Async(block, 255, 1 << 20, streams[(turn + 1) % 4]))
        ok(driver.cuMemFree(block))
    ok(driver.cuCtxSynchronize())
    return {"wrong": wrong}


def captures_replay():
    stream = ok(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
    block, back = ok(driver.cuMemAlloc(4096)), bytearray(4096)
    ok(driver.cuStreamBeginCapture(stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
    ok(driver.cuMemsetD8Async(block, 9, 4096, stream))
    refused = driver.cuMemAlloc(4096)[0].name
    ended = driver.cuStreamEndCapture(stream)[0].name
    ok(driver.cuStreamBeginCapture(stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
    ok(driver.cuMemsetD8Async(block, 9, 4096, stream))
    graph = ok(driver.cuStreamEndCapture(stream))
    ok(driver.cuGraphLaunch(ok(driver.cuGraphInstantiate(graph, 0)), stream))
    ok(driver.cuMemcpyDtoHAsync(back, block, 4096, stream))
    ok(driver.cuStreamSynchronize(stream))
    return {"allocation in a capture": refused, "ended": ended, "replayed": set(back) == {9}}


def memory_info_adds_up():
    before = ok(driver.cuMemGetInfo())
    block = ok(driver.cuMemAlloc(256 << 20))
    during = ok(driver.cuMemGetInfo())
    ok(driver.cuMemFree(block))
    after = ok(driver.cuMemGetInfo())
    return {"took": before[0] - during[0] >= 256 << 20, "gave back": after[0] >= before[0], "total": after[1] == before[1]}


if __name__ == "__main__":
    sys.exit(simulated.scenarios((memory_comes_and_goes, copies_arrive, freed_memory_waits_for_its_streams, captures_replay,
                                  memory_info_adds_up), sys.argv[1:]))
