# cublas.mk: libcublas and libcublasLt, .12 and .13: the same objects under two names. Included by runtime.mk.
CB := tests/sim/cublas
CB_OBJ := $(B)/obj/sim/cublas
SIM_CUBLAS := $(foreach v,12 13,$(B)/sim/libcublas.so.$(v) $(B)/sim/libcublasLt.so.$(v))

define CUBLAS_RULES
$(CB_OBJ)/$(1)/%.o: $(CB)/%.c
	$(Q)mkdir -p $$(@D) && $(CC) $$(RT_CFLAGS) -Wno-unused-parameter $$(CUDA_INC) -DBLAS_VERSION=$(1)0000 -c $$< -o $$@
$(CB_OBJ)/$(1)/%.map: $(CB)/cublas.mk
	$(Q)mkdir -p $$(@D) && printf '$$*.so.$(1) { global: cublas*; local: *; };\n' > $$@
$(B)/sim/libcublas.so.$(1): $(CB_OBJ)/$(1)/cublas.o $(CB_OBJ)/$(1)/work.o $(CB_OBJ)/$(1)/libcublas.map
$(B)/sim/libcublasLt.so.$(1): $(CB_OBJ)/$(1)/cublaslt.o $(CB_OBJ)/$(1)/work.o $(CB_OBJ)/$(1)/libcublasLt.map
$(B)/sim/libcublas.so.$(1) $(B)/sim/libcublasLt.so.$(1):
	$(Q)mkdir -p $$(@D) && $(CC) -o $$@ $$(filter %.o,$$^) $$(OPT) $$(EXTRA) $$(SIM_LINK) -Wl,-soname,$$(@F) -Wl,--version-script=$$(filter %.map,$$^)
endef
$(eval $(call CUBLAS_RULES,12))
$(eval $(call CUBLAS_RULES,13))
