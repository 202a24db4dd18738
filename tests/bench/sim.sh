#!/bin/bash
# sim.sh: what a call of the simulated device costs with its cost model off, so that tests are quick.
cd "$(dirname "$0")/../.." || exit 1
exec make -s sim-bench
