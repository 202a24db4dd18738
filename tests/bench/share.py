#!/usr/bin/env python3
"""What it takes to hold equal pages once (docs/SHARING.md): four workers load the same 200 MiB (share.c). Medians over the workers and RUNS= runs.
Where full userfaultfd is not permitted nothing is measured, and a line says so."""
import os
import statistics
import subprocess
import tempfile

RUNS, WORKERS, MIB, SECONDS = int(os.environ.get('RUNS', 3)), 4, 200, 10
ENV = {k: v for k, v in os.environ.items() if not k.startswith('COPPICE_')}
ENV |= {'LD_PRELOAD': os.path.abspath('build/libcoppice.so'), 'COPPICE_INTERN': 'pages', 'COPPICE_SHARE_BACKEND': 'own'}


def run(path):
    """[(seconds until held once, processor seconds)] of the workers"""
    command = ['build/tests/bench/share', path, str(MIB), str(SECONDS)]
    workers = [subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    said = [w.communicate() for w in workers]
    if any('cannot be shared' in errors for _, errors in said):
        return None
    return [tuple(map(float, out.split())) for out, _ in said]


with tempfile.NamedTemporaryFile() as file:
    for _ in range(MIB):
        file.write(os.urandom(1 << 20))
    file.flush()
    seen = [run(file.name) for _ in range(RUNS)]
if None in seen:
    print('share: skipped: full userfaultfd is not permitted here')
else:
    times, costs = zip(*[w for workers in seen for w in workers])
    costs = [c / (MIB * 1048576 / 1e9) for c in costs]
    print(f'bench share.until_held_once {statistics.median(times):.1f} s\n  of {WORKERS} workers, {MIB} MiB each; {min(times):.1f} to {max(times):.1f}; goal: at most 10 s')
    print(f'bench share.cpu_per_gb {statistics.median(costs):.2f} s\n  {min(costs):.2f} to {max(costs):.2f}; goal: at most 5 s')
