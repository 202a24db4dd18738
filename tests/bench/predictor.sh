#!/bin/bash
# predictor.sh: waste and misses of each policy of COPPICE_PREDICTOR on two recorded loads. A replay in the trace's own
# time: the same figures on every machine, but for predictor.step.
cd "$(dirname "$0")/../.." && exec build/tests/bench/predictor data/demand.csv
