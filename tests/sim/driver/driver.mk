# driver.mk: the simulated CUDA driver, build/sim/libcuda.so.1, and build/sim/libcoppice-simctl.so (rules included by the top Makefile).
# What surrounds our functions (all exports, the table of versions, the names) is generated from the CUDA headers.
B ?= build
SIM_DRIVER_DIR := tests/sim/driver
SIM_DRIVER_OBJ := $(B)/obj/sim/driver
SIM_DRIVER_SRC := $(filter-out $(SIM_DRIVER_DIR)/simctl.c $(SIM_DRIVER_DIR)/headers.c $(SIM_DRIVER_DIR)/bench.c $(SIM_DRIVER_DIR)/version.c,$(wildcard $(SIM_DRIVER_DIR)/*.c))
SIM_DRIVER_OBJECTS := $(SIM_DRIVER_SRC:$(SIM_DRIVER_DIR)/%.c=$(SIM_DRIVER_OBJ)/%.o) $(SIM_DRIVER_OBJ)/exports.o
SIM_DRIVER_GEN := $(SIM_DRIVER_OBJ)/gen/stamp
SIM_DRIVER_FLAGS := $(CFLAGS_BASE) -std=gnu11 -O2 -g -MMD -MP -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-deprecated-declarations -Wno-missing-prototypes -fno-strict-aliasing -pthread \
    -I$(SIM_DRIVER_DIR) -I$(SIM_DRIVER_OBJ)/gen $(CUDA_INC)

.PHONY: sim-driver
sim-driver: $(B)/sim/libcuda.so.1 $(B)/sim/12.0/libcuda.so.1 $(B)/sim/libcoppice-simctl.so

$(SIM_DRIVER_OBJ)/gen/headers.i: $(SIM_DRIVER_DIR)/headers.c
	@mkdir -p $(@D)
	$(Q)$(CC) -E -P $(CUDA_INC) $< -o $@

$(SIM_DRIVER_GEN): $(SIM_DRIVER_DIR)/gen_driver.py $(SIM_DRIVER_OBJ)/gen/headers.i $(SIM_DRIVER_SRC)
	$(Q)python3 $(SIM_DRIVER_DIR)/gen_driver.py $(SIM_DRIVER_OBJ)/gen $(SIM_DRIVER_OBJ)/gen/headers.i $(SIM_DRIVER_SRC)
	@touch $@

$(SIM_DRIVER_OBJ)/%.o: $(SIM_DRIVER_DIR)/%.c | $(SIM_DRIVER_GEN)
	$(Q)$(CC) $(SIM_DRIVER_FLAGS) -c $< -o $@

$(SIM_DRIVER_OBJ)/gen/exports.c: $(SIM_DRIVER_GEN) ;
$(SIM_DRIVER_OBJ)/exports.o: $(SIM_DRIVER_OBJ)/gen/exports.c
	$(Q)$(CC) $(SIM_DRIVER_FLAGS) -c $(SIM_DRIVER_OBJ)/gen/exports.c -o $@

# an older driver has the same objects, another version and fewer exports
$(SIM_DRIVER_OBJ)/version-13000.o $(SIM_DRIVER_OBJ)/version-12000.o: $(SIM_DRIVER_OBJ)/version-%.o: $(SIM_DRIVER_DIR)/version.c | $(SIM_DRIVER_GEN)
	$(Q)$(CC) $(SIM_DRIVER_FLAGS) -DVERSION=$* -c $< -o $@
SIM_DRIVER_LINK = $(Q)mkdir -p $(@D) && $(CC) -shared -pthread -Wl,-soname,libcuda.so.1 -Wl,-Bsymbolic -Wl,-z,defs -Wl,-z,now \
    -Wl,--version-script=$(SIM_DRIVER_OBJ)/gen/$1 $^ -o $@.tmp && mv $@.tmp $@
$(B)/sim/libcuda.so.1: $(SIM_DRIVER_OBJECTS) $(SIM_DRIVER_OBJ)/version-13000.o
	$(call SIM_DRIVER_LINK,libcuda.map)
$(B)/sim/12.0/libcuda.so.1: $(SIM_DRIVER_OBJECTS) $(SIM_DRIVER_OBJ)/version-12000.o
	$(call SIM_DRIVER_LINK,libcuda-12000.map)

$(B)/sim/libcoppice-simctl.so: $(SIM_DRIVER_OBJ)/simctl.o $(SIM_DRIVER_OBJ)/set.o
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -pthread -Wl,-soname,libcoppice-simctl.so -Wl,-z,defs $^ -ldl -o $@.tmp && mv $@.tmp $@

$(B)/sim/bench: $(SIM_DRIVER_DIR)/bench.c $(B)/sim/libcuda.so.1
	$(Q)$(CC) -std=gnu11 -O2 -g -Wall -Wextra $(CUDA_INC) $< -o $@ $(B)/sim/libcuda.so.1

.PHONY: sim-bench sim-driver-coverage
sim-bench: $(B)/sim/bench ## what a simulated call costs
	$(Q)SIM_DEVICE_NAME=bench-$$$$ LD_LIBRARY_PATH=$(B)/sim $(B)/sim/bench
sim-driver-coverage: $(SIM_DRIVER_GEN) ## functions of cuda.h: implemented or declined
	$(Q)cat $(SIM_DRIVER_OBJ)/gen/coverage.txt

-include $(wildcard $(SIM_DRIVER_OBJ)/*.d)
-include tests/conformance/conformance.mk
