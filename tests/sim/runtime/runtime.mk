# runtime.mk: the simulated CUDA runtime, cuBLAS and NVML. Variables: B, CC, CFLAGS_BASE, CUDA_INC, CUDA12_INC.
# One source, two runtimes: .13 with the 13.x headers and .12 with the 12.x ones (whose wheel lacks crt/, taken from 13.x).
RT := tests/sim/runtime
RT_SRC := $(wildcard $(RT)/*.c)
RT_OBJ := $(B)/obj/sim/runtime
RT_INC_13 = $(CUDA_INC)
RT_INC_12 = $(CUDA12_INC) $(CUDA_INC)
# exported by the version script, not by annotations: the headers declare everything
RT_CFLAGS = $(CFLAGS_BASE) -fvisibility=default -Wno-missing-prototypes -Wno-deprecated-declarations -D_GNU_SOURCE -I$(RT)
# Bsymbolic: a library never reaches its own functions through a preload. The rest: complete, read-only after loading.
SIM_LINK := -shared -Wl,-Bsymbolic -Wl,-z,defs -Wl,-z,now -Wl,-z,relro -Wl,--as-needed -ldl -lpthread
RT_PY := $(RT)/gen_runtime.py

define RUNTIME_RULES
RT_OBJS_$(1) := $$(patsubst $(RT)/%.c,$(RT_OBJ)/$(1)/%.o,$$(RT_SRC))
$(RT_OBJ)/$(1)/error_names.def: $(RT_PY) | build/deps/config.mk
	$(Q)mkdir -p $$(@D) && $(RT_PY) errors "$$(RT_INC_$(1))" > $$@
$(RT_OBJ)/$(1)/%.o: $(RT)/%.c $(RT_OBJ)/$(1)/error_names.def
	$(Q)$(CC) $$(RT_CFLAGS) -I$(RT_OBJ)/$(1) $$(RT_INC_$(1)) -c $$< -o $$@
$(RT_OBJ)/$(1)/declined.c: $$(RT_OBJS_$(1)) $(RT_PY)
	$(Q)CC="$(CC)" $(RT_PY) declines "$$(RT_INC_$(1))" $$(RT_OBJS_$(1)) > $$@
$(RT_OBJ)/$(1)/declined.o: $(RT_OBJ)/$(1)/declined.c
	$(Q)$(CC) $$(RT_CFLAGS) -c $$< -o $$@
$(RT_OBJ)/$(1)/export.map: $(RT)/runtime.mk
	$(Q)mkdir -p $$(@D) && printf 'libcudart.so.$(1) { global: cuda*; __cuda*; local: *; };\n' > $$@
$(B)/sim/libcudart.so.$(1): $$(RT_OBJS_$(1)) $(RT_OBJ)/$(1)/declined.o $(RT_OBJ)/$(1)/export.map
	$(Q)mkdir -p $$(@D) && $(CC) -o $$@ $$(filter %.o,$$^) $$(OPT) $$(EXTRA) $$(SIM_LINK) -Wl,-soname,libcudart.so.$(1) \
	  -Wl,--version-script=$(RT_OBJ)/$(1)/export.map
$(B)/sim/coverage-cudart-$(1).txt: $(B)/sim/libcudart.so.$(1)
	$(Q)CC="$(CC)" $(RT_PY) coverage "$$(RT_INC_$(1))" $$(RT_OBJS_$(1)) > $$@
endef
$(eval $(call RUNTIME_RULES,13))
$(eval $(call RUNTIME_RULES,12))

-include tests/sim/cublas/cublas.mk tests/sim/nvml/nvml.mk
.PHONY: sim-runtime sim-coverage
sim-runtime: $(B)/sim/libcudart.so.13 $(B)/sim/libcudart.so.12 $(SIM_CUBLAS) $(SIM_NVML)
sim-coverage: $(B)/sim/coverage-cudart-13.txt $(B)/sim/coverage-cudart-12.txt ## which runtime functions are simulated
	@head -qn1 $^

# --- its tests: one source, each version's headers and library
define RUNTIME_TEST_RULES
$(B)/tests/sim/runtime_test_$(1): $(RT)/test/runtime_test.c $(B)/sim/libcudart.so.$(1)
	$(Q)mkdir -p $$(@D) && $(CC) $$(RT_CFLAGS) $$(RT_INC_$(1)) $$< -o $$@ $(B)/sim/libcudart.so.$(1) -Wl,-rpath,'$$$$ORIGIN/../../sim' -ldl -lpthread
endef
$(eval $(call RUNTIME_TEST_RULES,12))
$(eval $(call RUNTIME_TEST_RULES,13))
RT_TESTS := $(B)/tests/sim/runtime_test_12 $(B)/tests/sim/runtime_test_13
unit: $(RT_TESTS)
.PHONY: sim-runtime-test
sim-runtime-test: sim $(RT_TESTS) ## the simulated runtime's own tests
	$(Q)for t in $(RT_TESTS); do echo "== $$t"; LD_LIBRARY_PATH=$(B)/sim SIM_DEVICE_NAME=runtime-test-$$$$ $$t || exit 1; done
