# nvml.mk: libnvidia-ml.so.1, complete by nvml.h. Included by runtime.mk.
NV := tests/sim/nvml
NV_OBJ := $(B)/obj/sim/nvml
NV_OBJS := $(patsubst $(NV)/%.c,$(NV_OBJ)/%.o,$(wildcard $(NV)/*.c))
SIM_NVML := $(B)/sim/libnvidia-ml.so.1
$(NV_OBJ)/%.o: $(NV)/%.c | build/deps/config.mk
	$(Q)mkdir -p $(@D) && $(CC) $(RT_CFLAGS) $(CUDA_INC) -c $< -o $@
$(NV_OBJ)/declined.c: $(NV_OBJS) $(NV)/gen_nvml.py
	$(Q)CC="$(CC)" $(NV)/gen_nvml.py "$(CUDA_INC)" $(NV_OBJS) > $@
$(NV_OBJ)/declined.o: $(NV_OBJ)/declined.c
	$(Q)$(CC) $(RT_CFLAGS) -c $< -o $@
$(NV_OBJ)/export.map: $(NV)/nvml.mk
	$(Q)mkdir -p $(@D) && printf '{ global: nvml*; local: nvml_decline; *; };\n' > $@
$(SIM_NVML): $(NV_OBJS) $(NV_OBJ)/declined.o $(NV_OBJ)/export.map
	$(Q)mkdir -p $(@D) && $(CC) -o $@ $(filter %.o,$^) $(OPT) $(EXTRA) $(SIM_LINK) -Wl,-soname,libnvidia-ml.so.1 -Wl,--version-script=$(NV_OBJ)/export.map
