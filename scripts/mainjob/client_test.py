"""client_test.py: the short form of a main-job server as a test: a handful of requests without and with Coppice.

One line: `ok name`, `FAIL name: why` or `SKIP name: reason`, and the exit status 0, 1 or 77. The server must do the same
in both runs, and the statistics must show that Coppice took part.
"""
from . import cache, figures, trial, verdict
from .service import DidNotStart

OK, FAIL, SKIP = 0, 1, 77
LIBRARY = cache.REPO / "build" / "libcoppice.so"


def took_part(server, stats):
    """Lines that say what the statistics lack."""
    if stats is None:
        return ["no statistics were left"]
    found = []
    if not figures.host_allocs(stats):
        found.append("the statistics count no host allocation")
    if server.has_device and not figures.total(stats, "hits"):
        found.append("no device allocation was a hit")
    return found + kv_faults(server, coppice_asks(server), stats)


def coppice_asks(server):
    return server.sequential + server.load


def kv_faults(server, asks, stats):
    """Lines that say where the key/value cache's own figures differ from what the model's shape says of these requests."""
    if stats is None:
        return []
    if not server.has_device:
        return host_kv_faults(server.kv_bytes(), figures.host_kv(stats))
    wanted = [server.kv_bytes(ask) for ask in asks]
    got = sum(s["bytes"] for s in stats.get("sites", []) if s.get("kv"))
    calls, peak = figures.total(stats, "kv_allocs"), figures.total(stats, "kv_peak_live_bytes")
    found = [] if got == sum(wanted) else [f"key/value cache of {got} bytes in all, where the model's shape says {sum(wanted)}"]
    if calls != len(wanted):
        found.append(f"{calls} allocations of key/value cache for {len(wanted)} contexts")
    if peak is None or not max(wanted) <= peak <= server.in_flight * max(wanted):
        found.append(f"a peak of {peak} bytes of key/value cache")
    return found


def host_kv_faults(wanted, got):
    """The same where the cache is host memory, and lives as long as the server. ggml's own tables of it count too: less than a hundredth."""
    if wanted is None or (got is not None and wanted <= got <= wanted * 1.01):
        return []
    return [f"a peak of {got} bytes of key/value cache, where the model's shape says {wanted}"]


def compare(server):
    """Faults of one comparison. The control runs only when answers differ: does the server repeat itself at all?"""
    folder = cache.REPO / "build" / "tests" / server.name
    plain = trial.run(server, "without", folder / "without", lambda: None)
    coppice = trial.run(server, "with", folder / "with", lambda: None, LIBRARY)
    control, text = None, server.text_means_something
    if text and verdict.first_difference(plain, coppice):
        control = trial.run(server, "control", folder / "control", lambda: None, with_load=False)
    broken = [f"{len(plain.errors)} errors without Coppice; the first: {plain.errors[0]}"] if plain.errors else []
    return broken + verdict.faults(plain, control, coppice, text) + took_part(server, coppice.stats)


def main(kind):
    """Run the test for one kind of server and print its line."""
    name = kind.name
    if not LIBRARY.is_file():
        print(f"FAIL {name}: {LIBRARY.relative_to(cache.REPO)} is not built")
        return FAIL
    try:
        server = kind(short=True)
    except cache.Missing as why:
        print(f"SKIP {name}: {' '.join(str(why).split())}")
        return SKIP
    try:
        faults = compare(server)
    except DidNotStart as why:
        faults = [str(why)]
    print(f"FAIL {name}: {'; '.join(faults)}" if faults else f"ok {name}")
    return FAIL if faults else OK
