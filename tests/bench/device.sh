#!/bin/bash
# device.sh: a cached device allocation beside the driver's own, on the simulated device with its cost model on (or the
# GPU's driver where SIM is empty). Three interleaved runs; the median of each figure is printed, its spread after it. Then eight threads
# beside one.
set -u
cd "$(dirname "$0")/../.." || exit 1
sim=${SIM-$PWD/build/sim} runs=3 out=$(mktemp)
trap 'rm -f "$out" "$out.trace"' EXIT
run() { # RIVAL KIND [ENV…]
  local rival=$1 kind=$2; shift 2
  timeout 60 env LD_LIBRARY_PATH="$sim${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" SIM_COST=on SIM_DEVICE_NAME="bench-$$-$((n++))" "$@" build/tests/bench/device "$kind" "$rival" >>"$out"
}
n=0
for _ in $(seq $runs); do
  for kind in idle busy; do
    run "" $kind COPPICE_STATS= COPPICE_POOL_MAX=4G LD_PRELOAD="$PWD/build/libcoppice.so" || exit 1
    run "@driver" $kind || exit 1
    run "@traced" $kind COPPICE_STATS= COPPICE_POOL_MAX=4G COPPICE_TRACE="$out.trace" LD_PRELOAD="$PWD/build/libcoppice.so" || exit 1
  done
done
timeout 60 env LD_LIBRARY_PATH="$sim${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" SIM_DEVICE_NAME="bench-$$-$n" COPPICE_STATS= \
  LD_PRELOAD="$PWD/build/libcoppice.so" build/tests/bench/device_threads || exit 1
rm -f /dev/shm/simulated-gpu-*-bench-$$-*
awk '$1 == "bench" { v[$2] = v[$2] " " $3; unit[$2] = $4; if (!($2 in seen)) order[++k] = $2; seen[$2] = 1 }
     END { for (i = 1; i <= k; i++) { m = split(v[order[i]], x, " ");
           for (a = 1; a <= m; a++) for (b = a + 1; b <= m; b++) if (x[b] + 0 < x[a] + 0) { t = x[a]; x[a] = x[b]; x[b] = t }
           printf "bench %s %s %s (%s to %s in %d runs)\n", order[i], x[int((m + 1) / 2)], unit[order[i]], x[1], x[m], m } }' "$out"
