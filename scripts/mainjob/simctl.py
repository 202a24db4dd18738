"""simctl.py: the simulated device's own record of a run: exact peak bytes and calls, whatever Coppice says."""


def read(environment):
    """{'peak': bytes, 'calls': allocations and frees}, or None where the device is not simulated."""
    return None
