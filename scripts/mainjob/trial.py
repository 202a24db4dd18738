"""trial.py: one run of one server: start, the sequential pass, the load pass with the sampler on it, stop.

The *sequential* pass sends one request at a time: only there are answers comparable, because a server that batches
requests adds floating-point numbers in another order. Memory is measured over the load pass alone.
"""
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from . import client, figures, sampler, simctl
from .service import Service

PERIOD = 0.25                        # seconds between samples
SCRIPTS = Path(__file__).resolve().parents[1]


@dataclass
class Trial:
    """What was measured. None is 'not known'."""
    folder: Path
    sequential: list = field(default_factory=list)
    loaded: list = field(default_factory=list)
    seconds: Optional[float] = None
    cpu_seconds: Optional[float] = None
    host: tuple = (None, None)       # mean and peak, bytes
    device: tuple = (None, None)
    driver_calls: Optional[int] = None
    stats: Optional[dict] = None
    live: Optional[bool] = None      # statistics came on SIGUSR1 and the server went on
    status: Optional[int] = None

    @property
    def answers(self):
        return self.sequential + self.loaded

    @property
    def errors(self):
        return [a.error for a in self.answers if a.error]


class Watch:
    """The sampler's process, its samples in a file."""

    def __init__(self, server, service):
        env = dict(service.plain_environment, PYTHONPATH=str(SCRIPTS), PYTHONDONTWRITEBYTECODE="1")
        self.file = service.folder / "samples.jsonl"
        with open(self.file, "wb") as out, open(service.folder / "sampler.log", "wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "mainjob.sampler", str(service.pid), str(PERIOD),
                                             "device" if server.has_device else "host"], env=env, stdout=out, stderr=log)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        lines = self.file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]


def run(server, name, folder, step, library=None, with_load=True):
    """Drive the server once. `name` tells this run from others; `library` is Coppice's, or None for without."""
    for old in folder.glob("*.json*"):
        old.unlink()                 # statistics of an earlier job would be taken for this one's
    trial, run_name = Trial(folder), f"{server.name}-{name}-{os.getpid()}"
    service = Service(server, run_name, folder, library)
    simulated = _simulated(server, service)
    try:
        began, cpu = time.monotonic(), sampler.cpu_seconds(service.pid)
        trial.sequential = client.send(service.port, server.path, [server.body(a) for a in server.sequential], 1, step)
        if with_load:
            _load(server, service, trial, simulated, step)
        trial.seconds = time.monotonic() - began
        spent = sampler.cpu_seconds(service.pid)
        trial.cpu_seconds = spent - cpu if cpu is not None and spent is not None else None
        if simulated:
            trial.driver_calls = simulated.calls()       # before the end of the process gives everything back
        if library:
            trial.live = service.dump_live()
    finally:
        trial.status = service.stop()
    trial.stats = figures.read(folder, service.pid) if library else None
    if simulated:
        simulated.remove()
    elif server.has_device:
        trial.driver_calls = figures.total(trial.stats, "driver_allocs", "driver_frees")
    return trial


def _load(server, service, trial, simulated, step):
    if simulated:
        simulated.reset_peak()       # the peak of the load, like every other figure
    watch = Watch(server, service)
    begin = time.monotonic()
    trial.loaded = client.send(service.port, server.path, [server.body(a) for a in server.load], server.in_flight, step)
    end = time.monotonic()
    samples = watch.stop()
    trial.host = sampler.mean_and_peak(samples, "pss", begin, end)
    trial.device = sampler.mean_and_peak(samples, "device", begin, end)
    if simulated:
        trial.device = trial.device[0], simulated.peak()


def _simulated(server, service):
    name = service.plain_environment.get("SIM_DEVICE_NAME")
    return simctl.Simulated(name) if name and server.has_device else None
