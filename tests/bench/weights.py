#!/usr/bin/env python3
"""weights.py: what COPPICE_SHARE_WEIGHTS=1 adds to the time to load a model. node-llama-cpp's CUDA backend (weights_load.mjs) loads 530 MB
of random weights into the simulated device, with pages on the device:

    apart      nothing is shared; another server has a different model of the same size on the same device
    again      the same once more: so much do two servers of one kind differ
    alone      sharing is on, and nobody else is there
    different  sharing is on, for the other server with the different model too: nothing is found
    same       sharing is on, and the other server has the same model: all of it is compared and held once

A server of each kind lives all the time, on a device of its own, and they take turns: one load of each a round, in random order,
ROUNDS rounds. A model is dropped after it was loaded, and Coppice keeps nothing of it (COPPICE_POOL_MAX=2M), so that every
load finds a device as the first did. Given are the median and half of what lies between the quartiles, the best, and the median
of the differences within a round; and the time that the library says it took for hashing, asking and comparing.

The device's calls cost what is published for real ones (SIM_COST=on). Its copies cost what a memcpy costs here, and the first touch of
its memory on top of it, so an upload is slower than a real one. `chrt -r 1` in front of it keeps other work of the machine out.
KINDS= chooses kinds. SKIP where node-llama-cpp can't be had."""
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from mainjob import cache, device, simctl  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", 4))
LAYERS, FEED = 16, 6144
PAGES = {"COPPICE_DEVICE_BACKEND": "page", "COPPICE_POOL_MAX": "2M"}
SHARING = {**PAGES, "COPPICE_SHARE_WEIGHTS": "1"}
# settings, and the neighbour's model
KINDS = {"apart": (PAGES, 2), "again": (PAGES, 2), "alone": (SHARING, None), "different": (SHARING, 2), "same": (SHARING, 1)}


def cpu_of(pid):
    """CPU seconds of a process, by its clock (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


class Loader:
    def __init__(self, run, model, settings, folder):
        self.folder = folder
        env = {k: v for k, v in os.environ.items() if not k.startswith("COPPICE_")}
        env |= {**device.Device().environment(run), "SIM_COST": "on", "MODEL": str(model), "PACKAGES": str(cache.node_llama())}
        env |= {"LD_PRELOAD": str(ROOT / "build/libcoppice.so"), "COPPICE_STATS": "exit", "COPPICE_STATS_FORMAT": "json",
                "COPPICE_STATS_FILE": f"{folder}/%p.json", "COPPICE_STATE_DIR": folder, **settings}
        self.process = subprocess.Popen([cache.node(), ROOT / "tests/bench/weights_load.mjs"], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def says(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"weights.py: the server ended with status {self.process.wait()}")
        return line

    def load(self):
        return json.loads(self.says())

    drop = says

    def stop(self):
        """The statistics that it leaves."""
        self.process.stdin.close()
        self.process.wait()
        return json.loads(Path(f"{self.folder}/{self.process.pid}.json").read_text())["device"][0]


class Kind:
    """A server, and its neighbour if it has one, on a device and with a state folder of their own."""

    def __init__(self, name, models, folder):
        settings, neighbour = KINDS[name]
        self.run, self.loads = f"weights-{os.getpid()}-{name}", []
        os.mkdir(f"{folder}/{name}")
        self.other = Loader(self.run, models[neighbour], settings, f"{folder}/{name}") if neighbour else None
        if self.other:
            self.other.load()
        self.server = Loader(self.run, models[1], settings, f"{folder}/{name}")

    def measure(self):
        before = cpu_of(self.other.process.pid) if self.other else 0
        load = self.server.load()
        load["other"] = cpu_of(self.other.process.pid) - before if self.other else 0
        self.loads.append(load)
        self.server.drop()

    def stop(self):
        self.left = self.server.stop()
        if self.other:
            self.other.stop()
        simctl.Simulated(self.run).remove()

    def values(self, name):
        return [load[name] for load in self.loads]


def middle(values):
    quarter = statistics.quantiles(values, n=4)
    return f"{statistics.median(values):.3f} ±{(quarter[2] - quarter[0]) / 2:.3f}"


def compared(kind, base, what):
    """The median of the differences within a round, in parts of the base's median."""
    return statistics.median(a - b for a, b in zip(kind.values(what), base.values(what))) / statistics.median(base.values(what))


def main():
    names = os.environ.get("KINDS", " ".join(KINDS)).split()
    try:
        if not device.Device().simulated:
            raise cache.Missing("needs the simulated device")
        models = {seed: cache.random_model(LAYERS, FEED, seed) for seed in (1, 2)}
        cache.node(), cache.node_llama()
    except cache.Missing as why:
        print(f"SKIP weights: {' '.join(str(why).split())}")
        return
    with tempfile.TemporaryDirectory() as folder:
        kinds = {name: Kind(name, models, folder) for name in names}
        for _ in range(ROUNDS):
            for kind in random.sample(list(kinds.values()), len(kinds)):
                kind.measure()
        for kind in kinds.values():
            kind.stop()
    base = kinds[names[0]]
    for name, kind in kinds.items():
        print(f"bench weights.load.{name} {statistics.median(kind.values('wall')):.3f} s")
        print(f"bench weights.took.{name} {kind.left['weights_ns'] / 1e6 / ROUNDS:.1f} ms")
        print(f"  wall {middle(kind.values('wall'))} s, best {min(kind.values('wall')):.3f}, {compared(kind, base, 'wall'):+.1%}; "
              f"CPU {middle(kind.values('cpu'))} s, best {min(kind.values('cpu')):.3f}, {compared(kind, base, 'cpu'):+.1%}; "
              f"the neighbour's {statistics.median(kind.values('other')) * 1e3:.1f} ms; "
              f"{kind.left['weights_equal'] / ROUNDS:.0f} of {kind.left['weights_offered'] / ROUNDS:.0f} pages equal")


main()
