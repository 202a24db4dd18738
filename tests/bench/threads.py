#!/usr/bin/env python3
"""malloc among threads: the larson-like and xmalloc-like loads of threads.c under Coppice (by itself, never and always packing), a plain preloaded
jemalloc and glibc, in millions of operations a second. Runs are interleaved and compared in pairs. RUNS= sets how many, SECONDS= how long each."""
import glob
import os
import statistics
import subprocess

PROGRAM = 'build/tests/bench/threads'
RUNS, SECONDS, THREADS = int(os.environ.get('RUNS', 9)), os.environ.get('SECONDS', '0.8'), '4'
LIBRARY = os.path.abspath('build/libcoppice.so')
ALLOCATORS = {'coppice': LIBRARY, 'unpacked': LIBRARY, 'packed': LIBRARY, 'glibc': None}
MORE = {'unpacked': {'COPPICE_PACK': '0'}, 'packed': {'COPPICE_PACK': '1'}}
for found in sorted(glob.glob('/usr/lib/*/libjemalloc.so.2')):
    ALLOCATORS['jemalloc'] = found


def run(load, preload, more):
    env = {k: v for k, v in os.environ.items() if k != 'LD_PRELOAD' and not k.startswith('COPPICE_')} | more
    if preload:
        env['LD_PRELOAD'] = preload
    return float(subprocess.run([PROGRAM, load, THREADS, SECONDS], env=env, check=True, capture_output=True, text=True).stdout)


for load in ('larson', 'xmalloc'):
    rates = {allocator: [] for allocator in ALLOCATORS}
    for _ in range(RUNS):
        for allocator, preload in ALLOCATORS.items():
            rates[allocator].append(run(load, preload, MORE.get(allocator, {})))
    for allocator, r in rates.items():
        low, middle, high = statistics.quantiles(r, n=4)
        rival = '' if ALLOCATORS[allocator] == LIBRARY else f'@{allocator}'
        kind = f'.{allocator}' if allocator in MORE else ''
        print(f'bench host.{load}{kind}{rival} {middle:.2f} Mops/s')
        print(f'  middle half {low:.2f} to {high:.2f}')
    if 'jemalloc' in rates:
        ratio = statistics.median(b / a for a, b in zip(rates['coppice'], rates['jemalloc']))
        print(f'  {ratio:.2f} times the time of jemalloc (goal: at most 1.05)')
    print(flush=True, end='')
