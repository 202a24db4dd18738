#!/usr/bin/env python3
"""ablation.py [PART…]: what the tree of membranes, types and cleanup are worth. Parts: devices redis llama embed cuda; all of them by default.

  devices  the traces of workloads.py, stretched to five minutes, through the pool over a modelled driver (ablation_device.c): every
           combination of tree, types and cleanup
  redis    fill, delete half, refill larger: every combination
  llama, embed, cuda   the servers of scripts/evalhost and scripts/mainjob: one factor at a time around the default, since a run takes a minute

Every row is appended to build/ablation.jsonl; `ablation.py --table` prints what lies there. ROUNDS= runs of each, interleaved; medians."""
import json
import os
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/bench"), str(ROOT / "scripts")]
import workloads  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
RESULTS = ROOT / "build/ablation.jsonl"
TREES = {"no tree": {"DTESN": "0"}, "flat": {"DTESN_PATTERN": "flat"}, **{f"depth {d}": {"DTESN_DEPTH": str(d)} for d in (4, 8, 12)}}
TYPES = ("off", "rules", "learned")
CLEANUPS = ("off", "timed", "pressure")
DEFAULT = ("depth 8", "off", "pressure")
# what a person would write: by role; redis has one call of malloc for everything, so sizes alone can tell
RULES = {
    "redis": "*:host:<64=episodic; *:host:>=64:<1K=semantic; *:host:>=1K=procedural",
    "llama": "libggml*:host:>=1M=semantic; libllama*:host:>=1M=semantic; *xllamacpp*:host:<4K=episodic",
    "embed": "libonnxruntime*:host:>=256K=semantic; libonnxruntime*:host=episodic; *onnxruntime*:host:>=256K=semantic; *onnxruntime*:host=episodic",
    "cuda": "*ggml*:device:>=64M=semantic; *ggml*:device:<64M=procedural",
}


def cells(full):
    """Every combination, or the default and what differs from it in one factor."""
    return [(tree, types, cleanup) for tree in TREES for types in TYPES for cleanup in CLEANUPS
            if full or sum(a != b for a, b in zip((tree, types, cleanup), DEFAULT)) <= 1]


def options(load, cell):
    tree, types, cleanup = cell
    chosen = dict(TREES[tree])
    chosen |= {"TYPE_RULES": RULES.get(load, "")} if types == "rules" else {"TYPE_LEARN": "1"} if types == "learned" else {}
    chosen |= {"off": {"CLEANUP_INTERVAL": "0", "PRESSURE": "1"}, "timed": {"CLEANUP_INTERVAL": "5s", "PRESSURE": "1"}, "pressure": {}}[cleanup]
    return {f"COPPICE_{name}": value for name, value in chosen.items()}


def clean():
    return {k: v for k, v in os.environ.items() if not k.startswith("COPPICE_") and k != "LD_PRELOAD"}


# --- devices

EVENT = struct.Struct("<QQIHBB")
STRETCHED_S = 300
# the type of what a function of workloads.py allocates; everything else is episodic
ROLES = {"load": 3, "forward_": 2, "growing_cache": 2, "mixed_batch": 2, "tenants": 2, "training_step": 2, "checkpointed": 2, "varying_length": 2}


class SitedTape(workloads.Tape):
    """Notes which line of which function allocated."""

    def __init__(self):
        super().__init__()
        self.sites, self.site = {}, []

    def alloc(self, size):
        frame = sys._getframe(1)
        while frame.f_code.co_name.startswith("<"):
            frame = frame.f_back
        name = frame.f_code.co_name
        if name == "forward" and "self" not in frame.f_locals:
            name = "forward_"
        self.site.append((self.sites.setdefault((name, frame.f_lineno), len(self.sites)), ROLES.get(name, 1)))
        return super().alloc(size)


def trace(name):
    """Events as ablation_device reads them, and the most that is live."""
    tape = SitedTape()
    workloads.WORKLOADS[name](tape)
    stretch, sites, live, peak, sizes, out = STRETCHED_S * 1e9 / tape.time, iter(tape.site), 0, 0, {}, bytearray()
    for is_alloc, when, handle, size in tape.events:
        site, kind = next(sites) if is_alloc else (0, 0)
        out += EVENT.pack(int(when * stretch), size, handle, site, kind, is_alloc)
        live += size if is_alloc else -size
        peak = max(peak, live)
    return bytes(out), peak


def devices(save):
    names = list(workloads.WORKLOADS)[:6]
    for name in names:
        events, peak = trace(name)
        for number in range(ROUNDS):
            for cell in cells(True):
                command = [ROOT / "build/tests/bench/ablation_device", str(peak * 5 // 4), str(TYPES.index(cell[1])), str(CLEANUPS.index(cell[2]))]
                done = subprocess.run(command, env=clean() | options(name, cell), input=events, capture_output=True, check=True)
                top, end, live, allocs, failed, calls, ns, p99, waste = map(float, done.stdout.split())
                save(name, cell, number, {"peak": top / 2**20, "end": end / 2**20, "fragmentation": top / live, "p99": p99 / 1e6, "rate": allocs / ns * 1e9,
                                          "failed": failed, "calls": calls, "waste": waste})


# --- redis

class Redis:
    def __init__(self, cell):
        self.folder = tempfile.TemporaryDirectory(prefix="coppice-ablation-")
        path = f"{self.folder.name}/s"
        env = clean() | options("redis", cell) | {"LD_PRELOAD": str(ROOT / "build/libcoppice.so")}
        self.server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--enable-debug-command", "yes", "--dir", self.folder.name],
                                       env=env, stdout=subprocess.DEVNULL)
        for _ in range(200):
            if os.path.exists(path):
                break
            time.sleep(0.05)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file, self.times = self.socket.makefile("rb"), []

    def ask(self, *words):
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(w).encode() for w in words)))
        head = self.file.readline()
        if head[:1] == b"-":
            sys.exit(f"ablation.py: redis: {head.decode().strip()}")
        return self.file.read(int(head[1:]) + 2).decode() if head[:1] == b"$" else head

    def populate(self, count, prefix, size):
        """In slices, so that a latency is known."""
        for at in range(0, count, 2000):
            begin = time.monotonic()
            self.ask("EVAL", "local v = string.rep('x', ARGV[3]) for i=ARGV[1],ARGV[2]-1 do redis.call('SET', KEYS[1]..i, v) end return 1", 1,
                     prefix, at, at + 2000, size)
            self.times.append(time.monotonic() - begin)

    def memory(self):
        status = pathlib.Path(f"/proc/{self.server.pid}/status").read_text()
        number = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith(("VmRSS", "VmHWM"))}
        live = next(int(line.split(":")[1]) for line in self.ask("INFO", "memory").splitlines() if line.startswith("used_memory:"))
        return number["VmRSS"] / 1024, number["VmHWM"] / 1024, live / 2**20

    def end(self):
        self.server.kill()
        self.server.wait()
        self.folder.cleanup()


def redis(save):
    for number in range(ROUNDS):
        for cell in cells(True):
            server = Redis(cell)
            server.populate(200000, "a:", 200)
            for at in range(0, 200000, 20000):
                server.ask("EVAL", "for i=ARGV[1],ARGV[2]-1,2 do redis.call('DEL', 'a:'..i) end return 1", 0, at, at + 20000)
            server.populate(100000, "b:", 330)
            time.sleep(6)
            end, peak, live = server.memory()
            server.end()
            slow = sorted(server.times)
            save("redis", cell, number, {"peak": peak, "end": end, "fragmentation": end / live, "p99": slow[int(len(slow) * 0.99)] * 1e3, "rate": 300000 / sum(slow)})


# --- servers

def host_server(save, name, make):
    from evalhost import measure, modes
    server = make()
    for number in range(ROUNDS):
        for cell in cells(False):
            mode = modes.Mode("coppice", "coppice", options(name, cell))
            with tempfile.TemporaryDirectory(prefix="coppice-ablation-") as folder:
                row = measure.run(server, mode, number, pathlib.Path(folder) / "run", lambda: None)
            if row["errors"]:
                sys.exit(f"ablation.py: {name}, {cell}: {row['errors'][0]}")
            save(name, cell, number, {"peak": row["peak"], "end": row["idle"], "fragmentation": row["peak"] / (row["ready"] or row["idle"]), "p99": row["p99"] * 1e3,
                                      "rate": row["requests"] / row["seconds"], "cpu": row["cpu"]})


def llama(save):
    from evalhost import servers
    host_server(save, "llama", lambda: servers.KINDS["llama"](short=True))


def embed(save):
    from evalhost import servers
    host_server(save, "embed", lambda: servers.KINDS["embed1"](short=True))


def figures_of(trial, seconds):
    devices = trial.stats["device"]
    total = {k: sum(d[k] for d in devices) for k in ("peak_reserved_bytes", "peak_live_bytes", "reserved_bytes")}
    slow = sorted(a.seconds for a in trial.loaded)
    if trial.errors:
        sys.exit(f"ablation.py: cuda: {trial.errors[0]}")
    return {"peak": total["peak_reserved_bytes"] / 2**20, "end": total["reserved_bytes"] / 2**20, "host": trial.host[1] / 2**20,
            "fragmentation": total["peak_reserved_bytes"] / total["peak_live_bytes"], "p99": slow[int(len(slow) * 0.99)] * 1e3,
            "rate": len(trial.answers) / seconds, "calls": trial.driver_calls}


def cuda(save):
    from mainjob import trial
    from mainjob.servers import CudaServer
    server = CudaServer(short=True)
    for number in range(ROUNDS):
        for cell in cells(False):
            with tempfile.TemporaryDirectory(prefix="coppice-ablation-") as folder:
                os.environ.update(options("cuda", cell))
                begin = time.monotonic()
                result = trial.run(server, "with", pathlib.Path(folder) / "with", lambda: None, ROOT / "build/libcoppice.so", True)
                for key in options("cuda", cell):
                    del os.environ[key]
                save("cuda", cell, number, figures_of(result, time.monotonic() - begin))


PARTS = {"devices": devices, "redis": redis, "llama": llama, "embed": embed, "cuda": cuda}


# --- the table

def table():
    rows = [json.loads(line) for line in open(RESULTS)]
    for load in dict.fromkeys(r["load"] for r in rows):
        mine = {}
        for r in rows:
            if r["load"] == load:
                mine.setdefault(tuple(r["cell"]), []).append(r)
        # a replay does the same each time: the fastest was disturbed least
        best = {"p99": min, "rate": max} if load in workloads.WORKLOADS else {}
        middle = {c: {k: best.get(k, statistics.median)([r[k] for r in all_of]) for k in all_of[0] if k not in ("load", "cell", "run")} for c, all_of in mine.items()}
        base = middle.get(("flat", *DEFAULT[1:])) or next(iter(middle.values()))
        print(f"\n{load} ({len(next(iter(mine.values())))} runs)\n")
        print("| tree | types | cleanup | peak MiB | to flat | end MiB | fragmentation | p99 ms | throughput, to flat |\n|---|---|---|---|---|---|---|---|---|")
        for (tree, types, cleanup), m in middle.items():
            print(f"| {tree} | {types} | {cleanup} | {m['peak']:.1f} | {m['peak'] / base['peak']:.3f} | {m['end']:.1f} | {m['fragmentation']:.3f} | {m['p99']:.3g} | {m['rate'] / base['rate']:.3f} |")


def save(load, cell, number, figures):
    with open(RESULTS, "a") as out:
        out.write(json.dumps({"load": load, "cell": cell, "run": number, **figures}) + "\n")


if __name__ == "__main__":
    wanted = [a for a in sys.argv[1:] if a != "--table"] or ([] if "--table" in sys.argv else list(PARTS))
    for part in wanted:
        PARTS[part](save)
    table()
