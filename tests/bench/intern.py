#!/usr/bin/env python3
"""The interner's figures (tests/bench/intern.c): what a call costs, and what the stream of parameter sets comes to. RUNS= sets how many
runs a median is of; runs of the rivals alternate."""
import json
import os
import statistics
import subprocess
import tempfile

PROGRAM = 'build/tests/bench/intern'
RUNS = int(os.environ.get('RUNS', 9))
PLAIN = 200  # bytes of a set as a plain struct
REQUESTS = 68195
BASE = {k: v for k, v in os.environ.items() if not k.startswith('COPPICE_')}
BASE['LD_PRELOAD'] = os.path.abspath('build/libcoppice.so')


def run(*words, **options):
    env = dict(BASE, **{f'COPPICE_{k}': v for k, v in options.items()})
    return subprocess.run([PROGRAM, *map(str, words)], env=env, check=True, capture_output=True, text=True).stdout.split()


def statistics_of(*words, **options):
    with tempfile.NamedTemporaryFile() as file:
        run(*words, STATS='exit', STATS_FORMAT='json', STATS_FILE=file.name, **options)
        with open(file.name) as written:  # it was replaced
            return json.load(written)['intern']


for threads, name in ((8, 'hit'), (1, 'hit.alone')):
    times = {'hit': [], 'copy': []}
    for _ in range(RUNS):
        for part in times:
            times[part].append([float(x) for x in run(part, threads)])
    for part, rival in (('hit', ''), ('copy', '@malloc_and_copy')):
        p50, p99, mean = ([t[i] for t in times[part]] for i in range(3))
        print(f'bench intern.{name}.p50{rival} {statistics.median(p50):.1f} ns')
        print(f'  {threads} threads; runs {min(p50):.1f} to {max(p50):.1f} ns; p99 {statistics.median(p99):.1f} ns')
        print(f'bench intern.{name}.mean{rival} {statistics.median(mean):.1f} ns\n  of 64 calls; runs {min(mean):.1f} to {max(mean):.1f} ns')
print(f'  goal: at most 60 ns\nbench intern.miss {statistics.median(float(run("miss")[0]) for _ in range(3)):.0f} ns')

whole = statistics_of('stream', REQUESTS)
print(f'bench intern.dedup_rate {whole["dedup_rate"]:.4f} ratio\n  goal: at least 0.90; {whole["entries"]} entries, all requests live')
small = statistics_of('stream', 64, INTERN_MAX_ENTRIES='256')
print(f'bench intern.dedup_rate.256 {small["dedup_rate"]:.4f} ratio\n  goal: at least 0.60; {small["evictions"]} evictions, 64 requests live')
print(f'bench intern.bytes_ratio {whole["held_bytes"] / (REQUESTS * PLAIN):.4f} ratio')
print(f'  goal: at most 0.10; {whole["held_bytes"]} bytes held for {REQUESTS} plain structs of {PLAIN} bytes')
for length, name in ((200, '200'), (0, 'encoded')):
    n = statistics_of('live', length)
    print(f'bench intern.cost.{name} {n["held_bytes"] / n["bytes_stored"]:.3f} ratio')
    print(f'  goal: at most 1.5; {n["entries"]} live sets of {n["bytes_stored"] / n["entries"]:.0f} bytes')
