# the tests of the device pool: one program a promise, built here, run by tests/run with the library preloaded
DEVICE_TESTS := $(patsubst tests/device/%.c,$(B)/tests/device/%,$(wildcard tests/device/*.c))
$(B)/tests/device/%: tests/device/%.c $(wildcard tests/device/*.h) | build/deps/config.mk
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 -O1 -g -Wall -Wextra $(WERROR) $(CUDA_INC) $< -o $@ -rdynamic -ldl -lpthread
unit: $(DEVICE_TESTS)
