"""table.py: what the runs say: for each server a row a mode, medians with the spread of its runs, and beside each memory figure
how far it lies below glibc's in the same series. Answers are compared with the first glibc run's.
"""
from statistics import median

BASE = "glibc"
MEMORY = ("ready", "mean", "peak", "idle", "beyond")
REST = {"cpu": "CPU s", "seconds": "load s", "p50": "p50 s", "p99": "p99 s", "first50": "first p50 s", "first99": "first p99 s"}


def _values(rows, name):
    return [row[name] for row in rows if row.get(name) is not None]


def _memory(rows, base, name):
    values, others = _values(rows, name), _values(base, name)
    if not values:
        return "-"
    spread = f" ±{(max(values) - min(values)) / 2:.0f}" if len(values) > 1 else ""
    below = f" ({median(values) / median(others) - 1:+.0%})" if others and rows is not base else ""
    return f"{median(values):.0f}{spread}{below}"


def _plain(rows, name):
    values = _values(rows, name)
    return f"{median(values):.2f}" if values else "-"


def _equal(rows, base):
    wanted = base[0]["answers"] if base else []
    if not wanted:
        return "-"
    return f"{min(sum(a == b and a is not None for a, b in zip(row['answers'], wanted)) for row in rows)} of {len(wanted)}"


def text(rows):
    """Markdown, one table a server."""
    out = []
    for server in dict.fromkeys(row["server"] for row in rows):
        of_server = [row for row in rows if row["server"] == server]
        base = [row for row in of_server if row["mode"] == BASE]
        out += [f"### {server}", "", "| mode | runs | " + " | ".join(f"{name}, MiB" for name in MEMORY) +
                " | " + " | ".join(REST.values()) + " | answers equal | errors |", "|---|---|" + "---|" * (len(MEMORY) + len(REST) + 2)]
        for mode in dict.fromkeys(row["mode"] for row in of_server):
            own = base if mode == BASE else [row for row in of_server if row["mode"] == mode]
            cells = [_memory(own, base, name) for name in MEMORY] + [_plain(own, name) for name in REST]
            out.append(f"| {mode} | {len(own)} | " + " | ".join(cells) + f" | {_equal(own, base)} | {sum(len(row['errors']) for row in own)} |")
        out.append("")
    return "\n".join(out)
