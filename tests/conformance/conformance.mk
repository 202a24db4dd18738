# conformance.mk: the conformance suite: one program a subject, each holding many behaviours, each behaviour a process.
B ?= build
CONFORM_DIR := tests/conformance
CONFORM_OBJ := $(B)/obj/conformance
CONFORM_PROGRAMS := $(filter-out conform,$(basename $(notdir $(wildcard $(CONFORM_DIR)/*.c))))
CONFORM_BIN := $(CONFORM_PROGRAMS:%=$(B)/tests/conformance/%)
CONFORM_FLAGS := $(CFLAGS_BASE) -std=gnu11 -O1 -g -Wall -Wextra -Wno-missing-prototypes -Wno-deprecated-declarations -pthread \
    -I$(CONFORM_DIR) -Itests/sim/driver $(CUDA_INC)

.PHONY: conformance conformance-preload conformance-programs conformance-mutations
conformance-programs: $(CONFORM_BIN)
unit: conformance-programs
conformance: sim-driver $(CONFORM_BIN) ## run the conformance suite on the GPU, or on the simulated device
	$(Q)$(CONFORM_DIR)/run $(B)
conformance-preload: sim-driver $(B)/libcoppice.so $(CONFORM_BIN) ## the suite under the library: nothing may change
	$(Q)$(CONFORM_DIR)/run $(B) --preload $(B)/libcoppice.so
conformance-mutations: sim-driver $(CONFORM_BIN) ## the suite must notice every mistake planted in the simulated device
	$(Q)$(CONFORM_DIR)/mutations $(B)

$(CONFORM_OBJ)/shim.c: $(CONFORM_DIR)/gen_shim.py tests/sim/driver/gen_driver.py tests/sim/driver/headers.c
	@mkdir -p $(@D)
	$(Q)$(CC) -E -P $(CUDA_INC) tests/sim/driver/headers.c -o $(CONFORM_OBJ)/headers.i
	$(Q)python3 $(CONFORM_DIR)/gen_shim.py $(CONFORM_OBJ)/headers.i $@
$(CONFORM_OBJ)/shim.o: $(CONFORM_OBJ)/shim.c
	$(Q)$(CC) $(CONFORM_FLAGS) -c $< -o $@
$(CONFORM_OBJ)/conform.o: $(CONFORM_DIR)/conform.c $(CONFORM_DIR)/conform.h tests/sim/driver/simctl.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(CONFORM_FLAGS) -c $< -o $@
$(B)/tests/conformance/%: $(CONFORM_DIR)/%.c $(CONFORM_DIR)/conform.h $(CONFORM_OBJ)/conform.o $(CONFORM_OBJ)/shim.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(CONFORM_FLAGS) $< $(CONFORM_OBJ)/conform.o $(CONFORM_OBJ)/shim.o -o $@ -ldl -pthread
