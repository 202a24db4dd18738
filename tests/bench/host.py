#!/usr/bin/env python3
"""The host's figures: malloc/free pairs under Coppice, glibc and a plain preloaded jemalloc. Runs are interleaved, so that a machine
that changes its pace changes it for all; the figure is the median of the runs, its spread the middle half. RUNS= sets how many."""
import glob
import os
import statistics
import subprocess

PROGRAM = 'build/tests/bench/host'
RUNS = int(os.environ.get('RUNS', 25))
OURS = ('coppice', 'classified', 'packed')
SIZES = {'16': 16, '256': 256, '8k': 8 << 10, '1m': 1 << 20}
GOALS = {'16': ('jemalloc', 1.3), '256': ('jemalloc', 1.3), '8k': ('jemalloc', 1.3), '1m': ('glibc', 2.0)}
LIBRARY = os.path.abspath('build/libcoppice.so')
ALLOCATORS = {'coppice': LIBRARY, 'classified': LIBRARY, 'packed': LIBRARY, 'glibc': None}
# every allocation of the benchmark has a type, by a rule of its library, and one in 64 is sampled
MORE = {'classified': {'COPPICE_TYPE_RULES': 'host:host=episodic', 'COPPICE_TYPE_LEARN': '1'}, 'packed': {'COPPICE_PACK': '1'}}
for found in sorted(glob.glob('/usr/lib/*/libjemalloc.so.2')):
    ALLOCATORS['jemalloc'] = found


def run(size, preload, more):
    env = {k: v for k, v in os.environ.items() if k != 'LD_PRELOAD' and not k.startswith('COPPICE_')} | more
    if preload:
        env['LD_PRELOAD'] = preload
    return float(subprocess.run([PROGRAM, str(size)], env=env, check=True, capture_output=True, text=True).stdout)


for name, size in SIZES.items():
    times = {allocator: [] for allocator in ALLOCATORS}
    for _ in range(RUNS):
        for allocator, preload in ALLOCATORS.items():
            times[allocator].append(run(size, preload, MORE.get(allocator, {})))
    median = {a: statistics.median(t) for a, t in times.items()}
    for allocator, t in times.items():
        low, _, high = statistics.quantiles(t, n=4)
        rival = '' if allocator in OURS else f'@{allocator}'
        kind = f'{allocator}.' if allocator in MORE else ''
        print(f'bench host.pair.{kind}{name}{rival} {median[allocator]:.2f} ns')
        print(f'  middle half {low:.2f} to {high:.2f} ns')
    rival, goal = GOALS[name]
    if rival in median:
        # paired runs: both met the same pace of the machine
        ratio = statistics.median(a / b for a, b in zip(times['coppice'], times[rival]))
        print(f'  {ratio:.2f} times {rival} (goal: at most {goal})')
    if 'jemalloc' in median:
        ratio = statistics.median(a / b for a, b in zip(times['classified'], times['jemalloc']))
        print(f'  classified {ratio:.2f} times jemalloc (goal: at most 2.0)')
    print(flush=True, end='')
