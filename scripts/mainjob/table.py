"""table.py: the one table at the end. Every cell is measured; '-' stands for what is not known or has no meaning."""
from . import figures, verdict

MIB = 1 << 20


def _megabytes(value):
    return "-" if value is None else f"{value / MIB:,.1f} MiB"


def _count(value):
    return "-" if value is None else f"{value:,}"


def _equal(server, plain, other):
    if other is None or not server.text_means_something:
        return "-"
    return f"{verdict.equal_answers(plain, other)} of {len(plain.sequential)}"


def rows(server, plain, control, coppice):
    """(name, without, with) for one server. 'Answers equal' without is the control: plain against plain."""
    def pair(name, read):
        return name, read(plain), read(coppice)
    rate = figures.hit_rate(coppice.stats)
    yield pair("requests", lambda t: _count(len(t.answers)))
    yield pair("errors", lambda t: _count(len(t.errors)))
    yield "answers equal", _equal(server, plain, control), _equal(server, plain, coppice)
    yield pair("seconds", lambda t: "-" if t.seconds is None else f"{t.seconds:.1f}")
    yield pair("CPU seconds", lambda t: "-" if t.cpu_seconds is None else f"{t.cpu_seconds:.1f}")
    yield pair("host mean (Pss)", lambda t: _megabytes(t.host[0]))
    yield pair("host peak (Pss)", lambda t: _megabytes(t.host[1]))
    yield pair("device mean", lambda t: _megabytes(t.device[0]))
    yield pair("device peak", lambda t: _megabytes(t.device[1]))
    yield pair("driver calls", lambda t: _count(t.driver_calls))
    yield "key/value cache", "-", _megabytes(figures.total(coppice.stats, "kv_peak_live_bytes") or figures.host_kv(coppice.stats))
    yield "hit rate", "-", "-" if rate is None else f"{rate:.1%}"


def text(results):
    """The table of [(server, plain, control, coppice)], one pair of columns a server."""
    columns = [list(rows(*result)) for result in results]
    width, cell = 16, 14
    titles = "".join(f"  {result[0].title:<{2 * cell + 1}}" for result in results)
    heads = "".join(f"  {'without':>{cell}} {'with':>{cell}}" for _ in results)
    lines = [f"{'':{width}}{titles}".rstrip(), f"{'':{width}}{heads}"]
    for group in zip(*columns):
        cells = "".join(f"  {without:>{cell}} {within:>{cell}}" for _, without, within in group)
        lines.append(f"{group[0][0]:<{width}}{cells}")
    return "\n".join(lines)
