# the benchmarks: `make bench`; programs are tests/bench/*.c
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/*.c))
$(B)/tests/bench/%: tests/bench/%.c | build/deps/config.mk
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 -O2 -g -Wall -Wextra $(WERROR) -D_GNU_SOURCE $(CUDA_INC) $< -o $@ -ldl -lpthread
bench: all $(BENCH_PROGRAMS) ## malloc and device allocation beside their rivals
	$(Q)tests/bench/run
