#!/usr/bin/env python3
"""coppice_trace.py: traces of device memory: read, write, and made from a PyTorch memory snapshot.

    coppice_trace.py snapshot SNAPSHOT.pickle OUT [--device N]   a trace from torch.cuda.memory._dump_snapshot() or _snapshot()
    coppice_trace.py print FILE                                  a trace as text, one event a line
    coppice_trace.py demand FILE                                 live bytes over time: seconds and bytes at every new value

docs/TRACE.md describes the format; src/device/trace_format.h is the same for C. A snapshot is a pickle, which can run
any code when it is loaded the usual way: here nothing but plain data is accepted and everything else is an error.
Errors are one line and status 1, misuse is status 2."""

import argparse
import collections
import heapq
import io
import pickle
import struct
import sys

MAGIC, BLOCK_MAGIC, VERSION, BLOCK = b"COPTRACE", 0x314B4C42, 1, 65536
HEAD = struct.Struct("<8sII3Q2QQ256s")
BLOCK_HEAD = struct.Struct("<IIQII")
RECORD_MOST = 64
ADDRESS, SIZE, EXTRA = 1, 2, 4
# name: number, fields; as in trace_format.h
KINDS = {
    "ALLOC": (1, ADDRESS | SIZE),
    "FREE": (2, ADDRESS),
    "FAIL": (3, SIZE | EXTRA),
    "RELEASE": (4, ADDRESS | SIZE),
    "SYNC": (5, 0),
    "WAIT": (6, SIZE | EXTRA),
    "THREAD": (7, EXTRA),
    "CONTEXT": (8, SIZE | EXTRA),
    "OTHER": (9, ADDRESS | SIZE | EXTRA),
}
OTHERS = (
    "STREAM_ALLOC",
    "STREAM_FREE",
    "MANAGED",
    "HOST_ALLOC",
    "HOST_FREE",
    "PAGES_CREATE",
    "PAGES_RELEASE",
    "PAGES_MAP",
    "PAGES_UNMAP",
)
RUNTIME, MISS, DRIVER, REFUSED, FOREIGN = 1, 2, 2, 4, 8
Event = collections.namedtuple("Event", "time kind flags address size extra thread context device", defaults=(0,) * 9)
Event.__doc__ = (
    "time: ns since the trace began; kind: a name of KINDS or OTHERS; context: its index; device: its ordinal"
)


class Bad(Exception):
    """What is wrong with a file, in a line."""


# --- reading


def _varint(data, at, end):
    value = shift = 0
    while True:
        if at >= end or shift > 63:
            raise Bad(f"a number that does not end at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
        shift += 7


def _signed(value):
    return value >> 1 ^ -(value & 1)


def _block(data, start):
    """(stripe, events) of the block that starts there."""
    magic, stripe, time, used, _ = BLOCK_HEAD.unpack_from(data, start)
    if magic == 0 and used == 0:
        return 0, []  # taken, and the process ended before it was written to
    if magic != BLOCK_MAGIC or not BLOCK_HEAD.size <= used <= BLOCK:
        raise Bad(f"no block at byte {start}")
    at, end = start + BLOCK_HEAD.size, start + used
    if end > len(data):
        raise Bad(f"cut off: the block at byte {start} is longer than the file")
    address = thread = context = device = 0
    names = {number: (name, fields) for name, (number, fields) in KINDS.items()}
    events = []
    while at < end:
        head = data[at]
        name, fields = names.get(head & 15, (None, 0))
        if name is None or (name == "OTHER" and head >> 4 >= len(OTHERS)):
            raise Bad(f"a record of unknown kind {head & 15} at byte {at}")
        delta, at = _varint(data, at + 1, end)
        time += _signed(delta)
        size = extra = 0
        if fields & ADDRESS:
            delta, at = _varint(data, at, end)
            address = address + _signed(delta) & (1 << 64) - 1
        if fields & SIZE:
            size, at = _varint(data, at, end)
        if fields & EXTRA:
            extra, at = _varint(data, at, end)
        if name == "THREAD":
            thread = extra
        else:
            if name == "CONTEXT":
                context, device = extra & 255, extra >> 8
            flags = 0 if name == "OTHER" else head >> 4
            name = OTHERS[head >> 4] if name == "OTHER" else name
            events.append(
                Event(time, name, flags, address if fields & ADDRESS else 0, size, extra, thread, context, device)
            )
    return stripe, events


def read(path):
    """Every event of a trace in the order of time. Raises Bad."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < HEAD.size or data[:8] != MAGIC:
        raise Bad("not a trace of Coppice")
    version, block = struct.unpack_from("<II", data, 8)
    if version != VERSION or block != BLOCK:
        raise Bad(
            f"a trace of version {version} with blocks of {block} bytes; this program reads version {VERSION} with {BLOCK}"
        )
    stripes = {}
    for start in range(BLOCK, len(data) - BLOCK_HEAD.size + 1, BLOCK):
        stripe, events = _block(data, start)
        stripes.setdefault(stripe, []).extend(events)
    # threads of one stripe may be a little out of order
    return list(heapq.merge(*(sorted(s, key=lambda e: e.time) for s in stripes.values()), key=lambda e: e.time))


def dropped(path):
    with open(path, "rb") as file:
        return HEAD.unpack(file.read(HEAD.size))[8]


# --- writing


def _put(out, value):
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _zigzag(delta):
    delta = delta + (1 << 63) & (1 << 64) - 1
    delta -= 1 << 63
    return (delta << 1 ^ delta >> 63) & (1 << 64) - 1


class Writer:
    """Writes a trace, one event after another. `capacity` is what the device of context 0 is said to have."""

    def __init__(self, path, command="", capacity=80 << 30, device=0):
        self.file = open(path, "wb")
        self.capacity, self.device, self.time, self.address = capacity, device, 0, 0
        self.block = None
        head = HEAD.pack(MAGIC, VERSION, BLOCK, 0, 0, 0, 0, 0, 0, command.encode()[:255])
        self.file.write(head.ljust(BLOCK, b"\0"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def event(self, kind, time, address=0, size=0, extra=0, flags=0):
        if self.block is None or len(self.block) > BLOCK - BLOCK_HEAD.size - 3 * RECORD_MOST:
            self._flush()
            self.base, self.block, self.time, self.address = time, bytearray(), time, 0
            self._record("THREAD", time, extra=1)
            self._record("CONTEXT", time, size=self.capacity, extra=self.device << 8)
        self._record(kind, time, address, size, extra, flags)

    def alloc(self, time, address, size):
        self.event("ALLOC", time, address, size, flags=MISS)

    def free(self, time, address):
        self.event("FREE", time, address)

    def _record(self, kind, time, address=0, size=0, extra=0, flags=0):
        number, fields = KINDS["OTHER"] if kind in OTHERS else KINDS[kind]
        flags = OTHERS.index(kind) if kind in OTHERS else flags
        self.block.append(number | flags << 4)
        _put(self.block, _zigzag(time - self.time))
        if fields & ADDRESS:
            _put(self.block, _zigzag(address - self.address))
            self.address = address
        if fields & SIZE:
            _put(self.block, size)
        if fields & EXTRA:
            _put(self.block, extra)
        self.time = time

    def _flush(self):
        if self.block is not None:
            head = BLOCK_HEAD.pack(BLOCK_MAGIC, 0, self.base, BLOCK_HEAD.size + len(self.block), 0)
            self.file.write((head + self.block).ljust(BLOCK, b"\0"))

    def close(self):
        self._flush()
        self.file.close()


# --- PyTorch's snapshots


class _Plain(pickle.Unpickler):
    """A pickle of plain data: numbers, texts, lists, tuples, dictionaries. Whatever would call something is refused."""

    def find_class(self, module, name):
        raise Bad(f"the pickle asks for {module}.{name}; a memory snapshot is plain data")

    def persistent_load(self, pid):
        raise Bad("the pickle refers to objects outside of it; a memory snapshot is plain data")


def load_snapshot(data):
    """The snapshot in those bytes, a dictionary. Raises Bad, whatever the bytes are."""
    try:
        snapshot = _Plain(io.BytesIO(data)).load()
    except Bad:
        raise
    except Exception as why:  # a pickle can break in any way
        raise Bad(f"not a pickle: {str(why) or type(why).__name__}") from None
    if isinstance(snapshot, list):  # _snapshot() before device_traces: the segments alone
        snapshot = {"segments": snapshot}
    if not isinstance(snapshot, dict) or not isinstance(snapshot.get("device_traces", []), list):
        raise Bad("a pickle, but not of a memory snapshot")
    return snapshot


def _number(entry, name, default=None):
    value = entry.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise Bad(f"an entry of the snapshot has no usable {name}")
    return value


def _device_trace(snapshot, device):
    traces = snapshot.get("device_traces", [])
    if device is None:
        device = max(range(len(traces)), key=lambda i: len(traces[i]) if isinstance(traces[i], list) else 0, default=0)
    trace = traces[device] if 0 <= device < len(traces) else []
    if not isinstance(trace, list) or not trace:
        raise Bad(
            "the snapshot has no history; call torch.cuda.memory._record_memory_history() before what is to be traced"
        )
    if not all(isinstance(entry, dict) for entry in trace):
        raise Bad("an entry of the snapshot is not a dictionary")
    return device, trace


def snapshot_events(snapshot, device=None):
    """(device, what was live before, [(kind, time in ns, address, size)]) of a snapshot's history: alloc, free, oom.

    A history may begin in the middle: what is freed in it without having been allocated in it was live before. Memory
    that another stream still used is free when that has finished (free_completed)."""
    device, trace = _device_trace(snapshot, device)
    before, live, events, last = {}, set(), [], 0
    for entry in trace:
        action, size = entry.get("action"), _number(entry, "size", 0)
        address = _number(entry, "addr", 0)
        last = max(last, _number(entry, "time_us", 0) * 1000)
        if action == "alloc":
            live.add(address)
            events.append(("ALLOC", last, address, size))
        elif action == "free_completed":
            if address not in live:
                before[address] = size
            live.discard(address)
            events.append(("FREE", last, address, size))
        elif action == "oom":
            events.append(("FAIL", last, 0, size))
    return device, before, events


def convert(snapshot, path, device=None):
    """Writes the trace of a snapshot; the number of its events."""
    device, before, events = snapshot_events(snapshot, device)
    start = events[0][1] if events else 0
    with Writer(path, "a PyTorch memory snapshot", device=device) as out:
        for address, size in before.items():
            out.alloc(0, address, size)
        for kind, time, address, size in events:
            out.event(
                kind,
                time - start,
                address,
                size,
                extra=2 if kind == "FAIL" else 0,
                flags=MISS if kind == "ALLOC" else 0,
            )
    return len(before) + len(events)


# --- the program


def _print(args):
    for e in read(args.file):
        print(
            f"{e.time / 1e9:.9f} thread {e.thread} context {e.context} {e.kind} flags {e.flags} address {e.address:#x} size {e.size} extra {e.extra}"
        )


def demand(events):
    """[(seconds, live bytes)]: every change of what the program has."""
    live, sizes, out = 0, {}, []
    for e in events:
        if e.kind == "ALLOC":
            live += e.size - sizes.pop((e.context, e.address), 0)
            sizes[e.context, e.address] = e.size
        elif e.kind == "FREE" and not e.flags & REFUSED:
            live -= sizes.pop((e.context, e.address), 0)
        else:
            continue
        out.append((e.time / 1e9, live))
    return out


def _demand(args):
    for seconds, live in demand(read(args.file)):
        print(f"{seconds:.6f} {live}")


def _snapshot(args):
    with open(args.snapshot, "rb") as file:
        data = file.read()
    print(f"{convert(load_snapshot(data), args.out, args.device)} events")


def main(words=None):
    parser = argparse.ArgumentParser(prog="coppice_trace.py", description="Traces of device memory: docs/TRACE.md.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser(
        "snapshot", help="a trace from a PyTorch memory snapshot, which is read as plain data and never run"
    )
    (
        one.add_argument("snapshot"),
        one.add_argument("out"),
        one.add_argument("--device", type=int, help="whose history; the longest by default"),
    )
    one.set_defaults(run=_snapshot)
    for name, run, text in (("print", _print, "a trace as text"), ("demand", _demand, "live bytes over time")):
        one = commands.add_parser(name, help=text)
        one.add_argument("file")
        one.set_defaults(run=run)
    args = parser.parse_args(words)
    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
    except (Bad, OSError) as why:
        name = getattr(args, "file", None) or args.snapshot
        print(f"coppice_trace.py: {name}: {getattr(why, 'strerror', None) or why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
