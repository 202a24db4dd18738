"""measure.py: one run of one server in one mode, and what was measured of it.

Memory is the process tree's proportional share (Pss): when it is *ready* (loaded, nothing asked yet), its *mean* and *peak*
during the load, and *idle*, a while after it. *First* is the time to an answer's first word, of servers whose load is asked for in pieces
(ask_for_load): of the load's requests, its median and 99th percentile. CPU seconds are the tree's, over both passes: on a shared machine they say more
about cost than the clock does. *Beyond* is what the tree holds beyond what its programs have asked of their allocators (asked.c), their code and
mappings too: the median during the load, where it was wanted. What could not be read is None.
"""
import json
import shutil
import struct
import time
from statistics import fmean, median

from mainjob import client, sampler, trial
from mainjob.service import Service

READY_S, IDLE_S, QUIET_S, NEAR_S = 3, 20, 60, 1
MIB = 1 << 20


def _cpu(root):
    spent = [sampler.cpu_seconds(pid) for pid in sampler.tree(root)]
    return sum(s for s in spent if s is not None)


def _wait_until_quiet(server, root):
    """The first worker answers first: until the tree has all its processes and does nothing."""
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        before = _cpu(root)
        time.sleep(1.5)
        if _cpu(root) - before < 0.15 and len(sampler.tree(root)) >= server.workers:
            return


def _mean(samples, begin, end):
    values = [s["pss"] for s in samples if "pss" in s and begin <= s["t"] <= end]
    return fmean(values) / MIB if values else None


def _beyond(samples, folder, begin, end):
    """Each process's records end when it does, or when they are worth nothing any more."""
    records = [list(struct.iter_unpack("QQQ", file.read_bytes())) for file in folder.iterdir()]
    values = []
    for s in samples:
        if "pss" in s and begin <= s["t"] <= end:
            nearest = [min(of, key=lambda r: abs(r[0] / 1e9 - s["t"])) for of in records if of]
            values.append(s["pss"] - sum(asked + own for ns, asked, own in nearest if abs(ns / 1e9 - s["t"]) < NEAR_S))
    return median(values) / MIB if values and records else None


def _load(server, port, step):
    if hasattr(server, "send_load"):
        return server.send_load(port, step)
    more = getattr(server, "ask_for_load", {})
    return client.send(port, server.path, [{**server.body(a), **more} for a in server.load], server.in_flight, step)


def _one_by_one(server, port, step):
    return client.send(port, server.path, [server.body(a) for a in server.sequential], 1, step) if server.sequential else []


def _percentile(seconds, share):
    seconds = sorted(s for s in seconds if s is not None)
    return seconds[min(len(seconds) - 1, int(len(seconds) * share))] if seconds else None


def _count_what_is_asked(extra, library, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return {**extra, "ASKED": str(folder), "LD_PRELOAD": f"{library}:{extra.get('LD_PRELOAD', '')}"}


def run(server, mode, number, folder, step, asked=None):
    """The figures of one run, as a dictionary that JSON can hold; `asked`: the library that counts what is asked for."""
    extra = {**mode.settle(server.own_allocator), "COPPICE_STATS": ""}
    if asked:
        extra = _count_what_is_asked(extra, asked, folder / "asked")
    service = Service(server, f"{server.name}-{mode.name}-{number}", folder, extra=extra)
    try:
        _wait_until_quiet(server, service.pid)
        watch, began = trial.Watch(server, service), time.monotonic()
        time.sleep(READY_S)
        loading, cpu = time.monotonic(), _cpu(service.pid)
        loaded = _load(server, service.port, step)
        ended = time.monotonic()
        time.sleep(IDLE_S)
        idle = time.monotonic()
        alone = _one_by_one(server, service.port, step)
        cpu = _cpu(service.pid) - cpu
        samples = watch.stop()
    finally:
        status = service.stop()
    mean, peak = sampler.mean_and_peak(samples, "pss", loading, ended)
    return {"server": server.name, "mode": mode.name, "run": number, "status": status, "requests": len(loaded) + len(alone),
            "errors": [a.error for a in loaded + alone if a.error][:3], "answers": [a.text for a in alone],
            "ready": _mean(samples, began, loading), "mean": mean and mean / MIB, "peak": peak and peak / MIB,
            "idle": _mean(samples, idle - READY_S, idle), "cpu": cpu, "seconds": ended - loading,
            **({"beyond": _beyond(samples, folder / "asked", loading, ended)} if asked else {}),
            **{f"{name}{share}": _percentile(values, share / 100) for share in (50, 99)
               for name, values in (("p", [a.seconds for a in loaded]), ("first", [a.first for a in loaded]))}}


def save(row, file):
    with open(file, "a") as out:
        out.write(json.dumps(row) + "\n")


def read(file):
    return [json.loads(line) for line in open(file)]
