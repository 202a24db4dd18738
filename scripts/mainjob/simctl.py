"""simctl.py: the simulated device's own record, read from outside while it works: exact, and not Coppice's word.

Speaks to build/sim/libcoppice-simctl.so (tests/sim/driver/simctl.h says what its numbers mean). A device set is known by
the name that the server's environment gave it in SIM_DEVICE_NAME.
"""
import ctypes

from . import cache

LIBRARY = cache.REPO / "build" / "sim" / "libcoppice-simctl.so"


class _Device(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("capacity", "live", "reserved", "peak_live", "peak_reserved", "allocs", "frees")]


class Simulated:
    """Device 0 of the set `name`. Figures are None while nobody has used the device."""

    def __init__(self, name):
        self.name, self.library = name.encode(), ctypes.CDLL(str(LIBRARY))
        for function, arguments in (("simctl_device", [ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Device)]),
                                    ("simctl_reset_peaks", [ctypes.c_char_p]), ("simctl_remove", [ctypes.c_char_p])):
            getattr(self.library, function).argtypes = arguments
            getattr(self.library, function).restype = ctypes.c_bool

    def _read(self):
        device = _Device()
        return device if self.library.simctl_device(self.name, 0, 0, ctypes.byref(device)) else None

    def used(self):
        device = self._read()
        return device.reserved if device else None

    def peak(self):
        device = self._read()
        return device.peak_reserved if device else None

    def calls(self):
        """Allocations and frees that reached the driver, all processes together."""
        device = self._read()
        return device.allocs + device.frees if device else None

    def reset_peak(self):
        self.library.simctl_reset_peaks(self.name)

    def remove(self):
        """Forget the set; nothing happens while somebody uses it."""
        self.library.simctl_remove(self.name)
