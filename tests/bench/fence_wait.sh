#!/bin/bash
# fence_wait.sh: COPPICE_FENCE_WAIT at four values, on threads that each free a block as soon as its last kernel is submitted, on
# the simulated device with its cost model on: `wait.<threads>.<ns of a kernel>.<FENCE_WAIT>.step`, `.hits` and `.peak`.
# Three interleaved runs; median and spread.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=$(mktemp) n=0
trap 'rm -f "$out"' EXIT
for _ in 1 2 3; do
  for kernel in 20000 200000; do for threads in 1 4; do for wait in 0 1ms 20ms 1s; do
    timeout 60 env LD_LIBRARY_PATH="$PWD/build/sim" SIM_COST=on SIM_CAPACITY=4G SIM_KERNEL_NS=$kernel SIM_DEVICE_NAME="wait-$$-$((n++))" \
      COPPICE_FENCE_WAIT=$wait COPPICE_STATS= LD_PRELOAD="$PWD/build/libcoppice.so" build/tests/bench/fence_wait $threads "$threads.$kernel.$wait" >>"$out" || exit 1
  done; done; done
done
rm -f /dev/shm/simulated-gpu-*-wait-$$-*
awk '{ v[$2] = v[$2] " " $3; unit[$2] = $4; if (!($2 in seen)) order[++k] = $2; seen[$2] = 1 }
     END { for (i = 1; i <= k; i++) { m = split(v[order[i]], x, " ");
           for (a = 1; a <= m; a++) for (b = a + 1; b <= m; b++) if (x[b] + 0 < x[a] + 0) { t = x[a]; x[a] = x[b]; x[b] = t }
           printf "bench %s %s %s (%s to %s)\n", order[i], x[int((m + 1) / 2)], unit[order[i]], x[1], x[m] } }' "$out"
