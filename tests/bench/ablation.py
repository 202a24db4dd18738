#!/usr/bin/env python3
"""ablation.py [WORKLOAD…]: what the tree of membranes is worth: without it, flat (one membrane a type), and with 4, 8 and 12 levels.

Devices: the traces of workloads.py through coppice-replay on the simulated device. Host: redis is filled, loses half of its
keys and is filled with larger values. One table each; every figure is of this run, settings interleaved, the median of rounds."""
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests/bench")]
import coppice_trace  # noqa: E402
import workloads  # noqa: E402

CAPACITY = 80 << 30
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SETTINGS = {"off": {"DTESN": "0"}, "flat": {"DTESN_PATTERN": "flat"}, **{f"depth {d}": {"DTESN_DEPTH": str(d)} for d in (4, 8, 12)}}


def environment(setting, **more):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COPPICE_") and k != "LD_PRELOAD"}
    return clean | {f"COPPICE_{k}": v for k, v in SETTINGS[setting].items()} | more


def write(name, path):
    with coppice_trace.Writer(path, f"workload {name}", CAPACITY) as out:
        for is_alloc, when, handle, size in workloads.play(name):
            out.alloc(when, handle << 9, size) if is_alloc else out.free(when, handle << 9)


def replay(path, setting):
    env = environment(setting, SIM_CAPACITY=str(CAPACITY), SIM_DEVICE_NAME=f"ablation-{os.getpid()}")
    start = time.monotonic()
    done = subprocess.run([ROOT / "build/coppice-replay", "--json", "--driver", ROOT / "build/sim/libcuda.so.1", path], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"ablation.py: {done.stderr.strip()}")
    return json.loads(done.stdout) | {"seconds": time.monotonic() - start}


def devices(names):
    print("| trace | setting | peak / live | hit rate | driver calls | time, to off |\n|---|---|---|---|---|---|")
    for name in names:
        with tempfile.TemporaryDirectory(prefix="coppice-ablation-") as folder:
            path = pathlib.Path(folder) / "trace"
            write(name, path)
            runs = {s: [] for s in SETTINGS}
            for _ in range(ROUNDS):
                for setting in SETTINGS:
                    runs[setting].append(replay(path, setting))
        base = statistics.median(r["seconds"] for r in runs["off"])
        for setting, all_of in runs.items():
            one, took = all_of[0], statistics.median(r["seconds"] for r in all_of)
            print(f"| {name} | {setting} | {one['ratio']:.4f} | {one['hit_rate']:.4f} | {one['driver_allocs'] + one['driver_frees']} | {took / base:.3f} |", flush=True)


class Redis:
    def __init__(self, setting):
        self.folder = tempfile.TemporaryDirectory(prefix="coppice-ablation-")
        path = f"{self.folder.name}/s"
        env = environment(setting, LD_PRELOAD=str(ROOT / "build/libcoppice.so"))
        self.server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--enable-debug-command", "yes", "--dir", self.folder.name],
                                       env=env, stdout=subprocess.DEVNULL)
        for _ in range(100):
            if os.path.exists(path):
                break
            time.sleep(0.05)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(w).encode() for w in words)))
        head = self.file.readline()
        if head[:1] == b"-":
            sys.exit(f"ablation.py: redis: {head.decode().strip()}")
        return self.file.read(int(head[1:]) + 2).decode() if head[:1] == b"$" else head

    def memory(self):
        status = pathlib.Path(f"/proc/{self.server.pid}/status").read_text()
        number = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith(("VmRSS", "VmHWM"))}
        live = next(int(line.split(":")[1]) for line in self.ask("INFO", "memory").splitlines() if line.startswith("used_memory:"))
        return number["VmRSS"] / 1024, number["VmHWM"] / 1024, live / 2**20

    def end(self):
        self.server.kill()
        self.server.wait()
        self.folder.cleanup()


def churn(setting):
    redis, start = Redis(setting), time.monotonic()
    redis.ask("DEBUG", "POPULATE", 400000, "a", 200)
    redis.ask("EVAL", "for i=0,399999,2 do redis.call('DEL', 'a:'..i) end return 'done'", 0)
    redis.ask("DEBUG", "POPULATE", 200000, "b", 330)
    took = time.monotonic() - start
    time.sleep(3)
    end, peak, live = redis.memory()
    redis.end()
    return {"peak": peak, "end": end, "fragmentation": end / live, "seconds": took}


def host():
    if not shutil.which("redis-server"):
        print("redis-server is not here: the host's table is left out")
        return
    runs = {s: [] for s in SETTINGS}
    for _ in range(ROUNDS):
        for setting in SETTINGS:
            runs[setting].append(churn(setting))
    middle = {s: {k: statistics.median(r[k] for r in all_of) for k in all_of[0]} for s, all_of in runs.items()}
    print("| redis churn | peak MiB | end MiB | resident / live | time, to off |\n|---|---|---|---|---|")
    for s, m in middle.items():
        print(f"| {s} | {m['peak']:.1f} | {m['end']:.1f} | {m['fragmentation']:.3f} | {m['seconds'] / middle['off']['seconds']:.3f} |")


host()
devices(sys.argv[1:] or list(workloads.WORKLOADS)[:6])
