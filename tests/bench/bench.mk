# the benchmarks: `make bench`; programs are tests/bench/*.c
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/*.c))
$(B)/tests/bench/%: tests/bench/%.c | build/deps/config.mk
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 -O2 -g -Wall -Wextra $(WERROR) -D_GNU_SOURCE $(CUDA_INC) $< -o $@ -ldl -lpthread
# these link what they measure
$(B)/tests/bench/predictor $(B)/tests/bench/ablation_device: $(B)/tests/bench/%: tests/bench/%.c $(UNIT_OBJ)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 -O2 -g -MMD -MP -Wall -Wextra $(WERROR) $(CPPFLAGS_LIB) $< -o $@ $(UNIT_OBJ) -lm -ldl -lpthread
unit: $(B)/tests/bench/predictor $(B)/tests/bench/ablation_device
bench: all $(BENCH_PROGRAMS) ## malloc and device allocation beside their rivals
	$(Q)tests/bench/run
