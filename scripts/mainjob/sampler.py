"""sampler.py: how much memory a server holds, looked at from outside while it works.

Run as a program of its own (python3 -m mainjob.sampler PID PERIOD host|device), so that it does not compete with the client for
Python's lock. One JSON line a sample: t (monotonic seconds), pss (bytes: the kernel's proportional share, summed over the
process tree from smaps_rollup; the simulated device keeps its memory in shared mappings of the server, so there, and only
there, shared memory is left out: it stands for the device's) and, if asked, device (bytes in use on the CUDA device). What could not be read is absent.
"""
import json
import os
import sys
import time

from . import device

TREE_PERIOD = 1.0                    # seconds between looks for new processes


def tree(root):
    """The process and all its descendants."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue                 # it ended meanwhile
        children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(pid):
    """User and system time of the process so far, or None: on a shared machine it says more of cost than the clock does."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


def _pss_of(pid, without_shared):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in file if line.startswith("Pss")}
    return (kilobytes["Pss"] - (kilobytes["Pss_Shmem"] if without_shared else 0)) * 1024


def pss(pids, without_shared):
    """Bytes, or None when no process could be read."""
    total = None
    for pid in pids:
        try:
            total = (total or 0) + _pss_of(pid, without_shared)
        except (OSError, KeyError):
            continue                 # it ended meanwhile
    return total


def watch(root, period, with_device, out):
    """Sample until the process is gone or the reader of `out` is."""
    read_device = device.reader() if with_device else (lambda: None)
    simulated = with_device and "SIM_DEVICE_NAME" in os.environ
    pids, looked = [root], 0.0
    while os.path.exists(f"/proc/{root}/stat"):
        began = time.monotonic()
        if began - looked > TREE_PERIOD:
            pids, looked = tree(root), began
        sample = {"t": began, "pss": pss(pids, simulated), "device": read_device()}
        out.write(json.dumps({key: value for key, value in sample.items() if value is not None}) + "\n")
        out.flush()
        spent = time.monotonic() - began
        time.sleep(max(period - spent, 4 * spent))       # at most a fifth of a core


def mean_and_peak(samples, name, begin, end):
    """Over the samples taken between two times; (None, None) when there is none."""
    values = [s[name] for s in samples if name in s and begin <= s["t"] <= end]
    return (sum(values) / len(values), max(values)) if values else (None, None)


if __name__ == "__main__":
    try:
        watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "device", sys.stdout)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
