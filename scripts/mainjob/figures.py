"""figures.py: reads Coppice's own JSON statistics of one run. A figure that is not there is None, never zero."""
import json


def read(folder, pid):
    """The statistics that the server's process left, or None."""
    try:
        return json.loads((folder / f"{pid}.json").read_text())
    except (OSError, ValueError):
        return None


def _devices(stats):
    return [d for d in (stats or {}).get("device", []) if isinstance(d, dict)]


def total(stats, *names):
    """The named device counters, summed over names and devices; None unless each is there."""
    values = [d.get(name) for d in _devices(stats) for name in names]
    return sum(values) if values and all(isinstance(v, (int, float)) for v in values) else None


def hit_rate(stats):
    """Device allocations served without a driver call, as a share of all; None when there were none."""
    hits, misses = total(stats, "hits"), total(stats, "misses")
    return hits / (hits + misses) if hits is not None and misses is not None and hits + misses else None


def host_kv(stats):
    """The most that key/value cache in host memory came to; None where there was none."""
    return ((stats or {}).get("host") or {}).get("kv_peak_live_bytes")


def host_allocs(stats):
    value = ((stats or {}).get("host") or {}).get("allocs")
    return value if isinstance(value, int) else None
