"""zeros.py: a PyTorch program whose cache is filled with zeros by a kernel, and its memory while it idles. Run it with a Python that has
torch: `LD_PRELOAD=build/libcoppice.so [COPPICE_ZERO_RECLAIM=off] python3 tests/bench/zeros.py [SECONDS]`."""
import sys
import threading
import time

import torch


def pss():
    with open('/proc/self/smaps_rollup') as lines:
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith('Pss:'))


cache = [torch.empty(2, 16, 2048, 12, 64).fill_(0) for _ in range(4)]  # 192 MiB each
for part in cache:
    part[:, :, :100].normal_()
sums = [float(part.double().sum()) for part in cache]
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()  # a server has threads
before, cpu = pss(), time.process_time()
time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
print(f'bench zeros.filled {before} MiB\nbench zeros.idle {pss()} MiB\nbench zeros.cpu {time.process_time() - cpu:.2f} s')
assert sums == [float(part.double().sum()) for part in cache]
