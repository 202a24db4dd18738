#!/usr/bin/env python3
"""replay.py [TRACE…]: peak reserved over peak live memory, and driver calls, for traces of transformers: the pool's backends beside
PyTorch's policy (pytorch_policy.py). The traces are made here (workloads.py) or named: files of COPPICE_TRACE, or the names of workloads.

Traces that tests/clients/pytorch_trace has recorded from PyTorch itself are replayed too, if they are there.

The pool is driven on the simulated device by coppice-replay, on the GPU where SIM is empty. Nothing is timed but by
coppice-replay itself, so machines differ only in what they were asked for. Driver calls: those that allocate, map and free memory."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests/bench")]
import coppice_trace  # noqa: E402
import pytorch_policy  # noqa: E402
import workloads  # noqa: E402

CAPACITY = 80 << 30


def has_backend(name):
    page = subprocess.run([ROOT / "build/coppice", "options"], capture_output=True, text=True, check=True).stdout
    return name == "block" or "DEVICE_BACKEND" in page


def write(name, path):
    with coppice_trace.Writer(path, f"workload {name}", CAPACITY) as out:
        for is_alloc, time, handle, size in workloads.play(name):
            if is_alloc:
                out.alloc(time, handle << 9, size)
            else:
                out.free(time, handle << 9)


def replay(path, backend, *options):
    sim = os.environ.get("SIM", str(ROOT / "build/sim"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("COPPICE_")}
    env |= {
        "SIM_CAPACITY": str(CAPACITY),
        "SIM_DEVICE_NAME": f"replay-{os.getpid()}",
        "COPPICE_DEVICE_BACKEND": backend,
    }
    driver = ["--driver", f"{sim}/libcuda.so.1"] if sim else []
    done = subprocess.run(
        [ROOT / "build/coppice-replay", "--json", "--backend", backend, *driver, *options, path], env=env, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"replay.py: {done.stderr.strip()}")
    return json.loads(done.stdout)


def rival(path):
    events = [
        (e.kind == "ALLOC", (e.context, e.address), e.size)
        for e in coppice_trace.read(path)
        if e.kind == "ALLOC" or (e.kind == "FREE" and not e.flags & (coppice_trace.REFUSED | coppice_trace.FOREIGN))
    ]
    return pytorch_policy.run(events, CAPACITY)


def show(name, path, backends):
    torch = rival(path)
    rivals = {
        "ratio": f"{torch.peak_reserved / torch.peak_live:.4f}",
        "driver_calls": str(torch.driver_allocs + torch.driver_frees),
    }
    ratios = {}
    for backend in backends:
        ours = replay(path, backend)
        if ours["failed"] or ours["peak_live_bytes"] != torch.peak_live:
            sys.exit(f"replay.py: {name}: the replay differs from the trace: {ours}")
        calls = ours.get("memory_calls") or ours["driver_allocs"] + ours["driver_frees"]
        requests = ours["allocs"]
        print(
            f"bench {backend}.ratio.{name} {ours['ratio']:.4f} x ({ours['peak_reserved_bytes'] >> 20} of {ours['peak_live_bytes'] >> 20} MiB)"
        )
        print(f"bench {backend}.ratio.{name}@pytorch {rivals['ratio']} x")
        print(
            f"bench {backend}.driver_calls.{name} {calls} calls ({requests} requests, hit rate {ours['hit_rate']:.4f})"
        )
        print(f"bench {backend}.driver_calls.{name}@pytorch {rivals['driver_calls']} calls", flush=True)
        ratios[backend] = ours["ratio"]
    return ratios, torch.peak_reserved / torch.peak_live


def main(names):
    backends = [b for b in ("block", "page") if has_backend(b)]
    ratios = {b: [] for b in (*backends, "pytorch")}
    with tempfile.TemporaryDirectory(prefix="coppice-replay-") as folder:
        recorded = sorted((ROOT / "build/tests/pytorch_trace").glob("*.trace"))
        if not names and not recorded:
            print("# no trace of PyTorch itself: tests/run clients/pytorch_trace records them")
        for name in names or [*workloads.WORKLOADS, *map(str, recorded)]:
            path = pathlib.Path(name)
            if name in workloads.WORKLOADS | workloads.OTHERS:
                path = pathlib.Path(folder) / f"{name}.trace"
                write(name, path)
            ours, torch = show(path.stem.replace("-", "_"), path, backends)
            for backend, ratio in (ours | {"pytorch": torch}).items():
                ratios[backend].append(ratio)
            if path.parent == pathlib.Path(folder):
                path.unlink()
    for backend, all_of in ratios.items():
        print(f"# {backend}: mean {sum(all_of) / len(all_of):.4f}, highest {max(all_of):.4f} of {len(all_of)} traces")
    for left in pathlib.Path("/dev/shm").glob(f"simulated-gpu-*-replay-{os.getpid()}*"):
        left.unlink(missing_ok=True)


main(sys.argv[1:])
