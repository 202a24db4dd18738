"""exercise.py: what a serving process does with PyTorch's memory, one scenario a function; a line of JSON for each.

Only facts that must be the same with and without a memory layer are printed: statuses, counts, bytes that PyTorch itself
accounts for, and data that was moved by copies. Numbers that a kernel computed are not: simulated kernels do not compute.
Usage: exercise.py [SCENARIO...]; all of them by default."""
import gc, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import simulated
import torch
import torch.multiprocessing as mp

MB = 1 << 20
CACHING = os.environ.get("PYTORCH_NO_CUDA_MEMORY_CACHING") != "1"
NATIVE = CACHING and "cudaMallocAsync" not in os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "")


def pattern(n, seed):
    return (torch.arange(n, dtype=torch.int64) * 2654435761 + seed).to(torch.int32)


def upload(host, stream=None, out=None):
    device = out if out is not None else torch.empty(host.numel(), dtype=host.dtype, device="cuda")
    with torch.cuda.stream(stream or torch.cuda.current_stream()):
        device.copy_(host, non_blocking=True)
    return device


def same(device, host):
    return bool(torch.equal(device.cpu(), host))


def settle():
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()


def device_facts():
    p = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info()
    return {"count": torch.cuda.device_count(), "name": p.name, "capability": [p.major, p.minor],
            "total": p.total_memory == total, "free within total": 0 < free <= total}


def streams():
    """Blocks used on several streams, handed over with record_stream and freed early; the copies must all arrive."""
    pool, good = [torch.cuda.Stream() for _ in range(4)], 0
    for round_ in range(40):
        stream = pool[round_ % 4]
        host = pattern(1 << 16, round_).pin_memory()
        source = upload(host, stream)
        target = torch.empty_like(source)
        other = pool[(round_ + 1) % 4]
        other.wait_stream(stream)
        with torch.cuda.stream(other):
            target.copy_(source)
            source.record_stream(other)
            del source                       # freed while the copy may still be running
            back = torch.empty(host.numel(), dtype=host.dtype).pin_memory()
            back.copy_(target, non_blocking=True)
        other.synchronize()
        good += bool(torch.equal(back, host))
    return {"copies that arrived": good}


def events():
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    data = upload(pattern(1 << 20, 1))
    end.record()
    end.synchronize()
    side = torch.cuda.Stream()
    side.wait_event(end)
    with torch.cuda.stream(side):
        copy = torch.empty_like(data).copy_(data)
    side.synchronize()
    return {"elapsed is a time": start.elapsed_time(end) >= 0, "query": end.query(), "after wait": same(copy, pattern(1 << 20, 1))}


def pinned():
    host = torch.empty(1 << 20, dtype=torch.int32, pin_memory=True)
    host.copy_(pattern(1 << 20, 7))
    device = upload(host)
    back = torch.empty_like(host).pin_memory()
    back.copy_(device, non_blocking=True)
    torch.cuda.synchronize()
    return {"pinned": host.is_pinned() and back.is_pinned(), "pageable is not": not torch.empty(8).is_pinned(), "data": bool(torch.equal(back, host))}


def graphs():
    """Copies inside a graph run again at each replay, with what is in the source then."""
    n = 1 << 18
    source, target = upload(pattern(n, 0)), torch.empty(n, dtype=torch.int32, device="cuda")
    target.copy_(source)
    torch.cuda.synchronize()
    graph, good = torch.cuda.CUDAGraph(), 0
    middle = torch.empty_like(source)
    with torch.cuda.graph(graph):
        if CACHING:                          # memory of the graph's own; without caching that would be a cudaMalloc
            middle = torch.empty_like(source)
        middle.copy_(source)
        target.copy_(middle)
    for seed in range(1, 9):
        upload(pattern(n, seed), out=source)
        graph.replay()
        good += same(target, pattern(n, seed))
    graph.reset()
    return {"replays that copied": good}


def child(tensor, answers, done):
    received = tensor.cpu()
    tensor.copy_(received + 1)
    torch.cuda.synchronize()
    answers.put(int(received.sum()))
    del tensor
    done.wait()


def ipc():
    """A tensor of this process, read and written by another one. PyTorch can share what its own native allocator made."""
    if not NATIVE:
        return {"shared": False}
    context = mp.get_context("spawn")
    answers, done = context.SimpleQueue(), context.Event()
    host = pattern(1 << 16, 3) % 1000
    shared = upload(host)
    torch.cuda.synchronize()
    other = context.Process(target=child, args=(shared, answers, done))
    other.start()
    got = answers.get()
    after = shared.cpu()
    done.set()
    other.join()
    del shared
    torch.cuda.ipc_collect()
    return {"child read": got == int(host.sum()), "parent saw the write": bool(torch.equal(after, host + 1)), "child exit": other.exitcode}


def out_of_memory():
    settle()
    total = torch.cuda.get_device_properties(0).total_memory
    held, refused = [], 0
    try:
        while len(held) < 64:
            held.append(torch.empty(total // 8, dtype=torch.uint8, device="cuda"))
    except (torch.OutOfMemoryError, torch.AcceleratorError) as error:  # the second without caching
        refused += "out of memory" in str(error)
    count = len(held)
    small = upload(pattern(1024, 5)) if count < 8 else None
    held.clear()
    settle()
    again = torch.empty(total // 2, dtype=torch.uint8, device="cuda")
    return {"refused": refused, "eighths held": count, "small still works": small is None or same(small, pattern(1024, 5)),
            "half fits afterwards": again.numel() == total // 2}


def memory_stats():
    settle()
    before = torch.cuda.memory_allocated()
    blocks = [torch.empty(3 * MB, dtype=torch.uint8, device="cuda") for _ in range(8)]
    during = torch.cuda.memory_allocated() - before
    del blocks
    facts = {"after": torch.cuda.memory_allocated() == before}
    if CACHING:
        facts["allocated"] = during
        facts["peak is at least that"] = torch.cuda.max_memory_allocated() >= during
    if NATIVE:
        stats = torch.cuda.memory_stats()
        facts["active now"] = stats["active_bytes.all.current"] == before
        facts["reserved covers it"] = torch.cuda.memory_reserved() >= during
        settle()
        facts["given back"] = torch.cuda.memory_reserved() < during
    return facts


def mem_get_info():
    settle()
    free, total = torch.cuda.mem_get_info()
    block = torch.empty(256 * MB, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    during, _ = torch.cuda.mem_get_info()
    del block
    settle()
    after, _ = torch.cuda.mem_get_info()
    return {"total": total, "fell by a block": 256 * MB <= free - during < 512 * MB, "rose again": after >= free - 64 * MB}


def training_step():
    """Forward, backward and an optimiser step of a small model: every library call must succeed."""
    model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.LayerNorm(512), torch.nn.Linear(512, 10)).cuda()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(5):
        loss = torch.nn.functional.cross_entropy(model(torch.zeros(64, 256, device="cuda")), torch.zeros(64, dtype=torch.long, device="cuda"))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.cuda.synchronize()
    return {"gradients": sum(p.grad is not None for p in model.parameters()), "states": len(optimiser.state)}


def decode_loop():
    """A growing key-value cache: every step makes tensors of a size never seen before and drops the old ones."""
    heads, width, steps = 8, 64, 200
    keys = torch.empty(1, heads, 1, width, device="cuda", dtype=torch.float16)
    values = torch.empty_like(keys)
    query = torch.empty(1, heads, 1, width, device="cuda", dtype=torch.float16)
    weight = torch.empty(heads * width, heads * width, device="cuda", dtype=torch.float16)
    for _ in range(steps):
        new = (query.reshape(1, -1) @ weight).reshape(1, heads, 1, width)
        keys, values = torch.cat([keys, new], 2), torch.cat([values, new], 2)
        scores = torch.softmax(query @ keys.transpose(-1, -2), -1)
        query = scores @ values
    torch.cuda.synchronize()
    return {"length": keys.shape[2], "query": list(query.shape)}


def static_cache():
    """A key-value cache on the host, made at once as static caches are; weights beside it are none."""
    weights, cache = torch.empty(8 << 20), torch.zeros(2, 8, 1 << 20)
    cache[0, 3, 5:9] = weights[0] = 1
    return {"sum": float(cache.sum())}


SCENARIOS = [device_facts, streams, events, pinned, graphs, ipc, out_of_memory, memory_stats, mem_get_info, training_step, decode_loop, static_cache]


if __name__ == "__main__":
    sys.exit(simulated.scenarios(SCENARIOS, sys.argv[1:]))
