"""device.py: which CUDA device the second server runs on, and how many bytes of it are in use.

A *GPU* is there when the machine has /dev/nvidia0 and a libcuda.so.1 of its own; otherwise the *simulated* device of
build/sim stands in, chosen by LD_LIBRARY_PATH. Bytes in use are read through NVML on a GPU and from the device's own
record (simctl.py) where it is simulated, so that the figures with and without Coppice come from the same instrument,
which is not Coppice. A GPU counts no calls: that figure without Coppice is then absent.
"""
import ctypes
import os
import subprocess
from pathlib import Path

from . import cache, simctl

SIM = cache.REPO / "build" / "sim"


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def _known_libraries():
    """The names that the dynamic linker's cache knows."""
    done = subprocess.run(["/sbin/ldconfig", "-p"], text=True, capture_output=True)
    return done.stdout


def has_gpu():
    return Path("/dev/nvidia0").exists() and "libcuda.so.1 " in _known_libraries()


class Device:
    """Where the CUDA server runs: .simulated, .about (one line) and the environment that leads there."""

    def __init__(self):
        self.simulated = not has_gpu()
        self.about = ("no GPU here: the simulated device, whose kernels do not compute, so this server's text is meaningless"
                      if self.simulated else "on this machine's GPU")
        if self.simulated:
            folders = [str(SIM)]
        else:
            folders = [] if "libcublas.so.13 " in _known_libraries() else cache.cuda_runtime_folders()
        self.folders = folders

    def missing(self):
        """Why the device cannot be used, or None."""
        for name in ("libcuda.so.1", "libcudart.so.13", "libcublas.so.13", "libcoppice-simctl.so"):
            if self.simulated and not (SIM / name).exists():
                return f"no GPU, and the simulated device is not built ({SIM.relative_to(cache.REPO)}/{name}): run make"
        return None

    def environment(self, name):
        """`name` is fresh for each run: processes with the same one share a simulated device."""
        paths = self.folders + [p for p in os.environ.get("LD_LIBRARY_PATH", "").split(":") if p]
        env = {"LD_LIBRARY_PATH": ":".join(paths)} if paths else {}
        if self.simulated:
            env["SIM_DEVICE_NAME"] = name
        return env


def reader():
    """A function that gives the bytes in use on device 0, or None where that cannot be known."""
    name = os.environ.get("SIM_DEVICE_NAME")
    return simctl.Simulated(name).used if name else _nvml_reader()


def _nvml_reader():
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        handle = ctypes.c_void_p()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)):
            return lambda: None
    except (OSError, AttributeError):
        return lambda: None

    def used():
        memory = _Memory()
        return None if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) else memory.used
    return used
