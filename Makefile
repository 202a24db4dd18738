# Coppice: `make` builds build/libcoppice.so, build/coppice and the simulated CUDA device; `make help` lists the targets.
# scripts/setup runs by itself the first time and writes build/deps/config.mk.
B := build
CC := gcc
CXX := g++
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
WERROR := $(if $(CI),-Werror)
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter $(WERROR)
OPT := -O2 -g
CFLAGS_BASE = -std=gnu11 $(OPT) -fPIC -fvisibility=hidden -fno-semantic-interposition -MMD -MP $(WARN) $(EXTRA)
CPPFLAGS_LIB = -Iinclude -I. -Isrc -I$(B)/gen -D_GNU_SOURCE $(CUDA_INC)

ifeq ($(filter help clean,$(MAKECMDGOALS)),)
include build/deps/config.mk
endif
build/deps/config.mk: scripts/setup
	$(Q)scripts/setup build && touch $@

.DEFAULT_GOAL := all
all: $(B)/libcoppice.so $(B)/coppice $(B)/coppice-replay sim ## build everything

# --- the preloaded object: base, stats, heap, device and the hooks, with jemalloc linked in under private names
LIB_SRC := $(wildcard src/base/*.c src/stats/*.c src/sites/*.c src/dtesn/*.c src/heap/*.c src/device/*.c src/intern/*.c src/pressure/*.c preload/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(B)/obj/%.o)
LIB_TLS := -ftls-model=initial-exec
# the driver's hooks, generated from NVIDIA's header and the classes in cuda_calls.def
GEN := $(B)/gen
$(GEN)/cuda_hooks.inc: scripts/gen-cuda-hooks preload/cuda_calls.def | build/deps/config.mk
	$(Q)mkdir -p $(@D) && printf '#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n' | $(CC) -E -P $(CUDA_INC) - > $(GEN)/cuda.i && \
	  scripts/gen-cuda-hooks preload/cuda_calls.def $(GEN)/cuda.i $@
$(addprefix $(B)/obj/preload/cuda_,driver.o memory.o context.o): $(GEN)/cuda_hooks.inc
$(B)/obj/src/%.o: src/%.c | build/deps/config.mk
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS_BASE) $(LIB_TLS) $(CPPFLAGS_LIB) -c $< -o $@
$(B)/obj/preload/%.o: preload/%.c | build/deps/config.mk
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS_BASE) $(LIB_TLS) -fno-builtin $(CPPFLAGS_LIB) -c $< -o $@
# dlsym must reach the real one by a tail call in every build: it looks at its return address
$(B)/obj/preload/symbol_lookup.o: CFLAGS_BASE += -O2 -fno-sanitize=all
$(B)/obj/jemalloc.a: scripts/jemalloc-archive src/heap/jemalloc.syms | build/deps/config.mk
	$(Q)mkdir -p $(@D) && scripts/jemalloc-archive $(JEMALLOC_PIC) src/heap/jemalloc.syms $@
$(B)/libcoppice.so: $(LIB_OBJ) $(B)/obj/jemalloc.a preload/export.map
	$(Q)$(CC) -shared $(OPT) $(EXTRA) -o $@ $(LIB_OBJ) $(B)/obj/jemalloc.a -Wl,--version-script=preload/export.map \
	  -Wl,-soname,libcoppice.so -Wl,-z,defs -Wl,-z,now -Wl,-z,relro -Wl,--as-needed -Wl,--gc-sections -lm -ldl -lpthread

# --- the coppice program: reads counters; of the library it links base and stats only
CLI_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard src/cli/*.c src/tool/*.c src/base/*.c src/stats/*.c))
$(B)/coppice: $(CLI_OBJ)
	$(Q)$(CC) $(OPT) $(EXTRA) -o $@ $(CLI_OBJ)

# --- coppice-replay: drives the device pool with a trace; links the library without its hooks
REPLAY_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard src/replay/*.c src/tool/*.c)) $(filter-out $(B)/obj/preload/%,$(LIB_OBJ)) $(B)/obj/jemalloc.a
$(B)/coppice-replay: $(REPLAY_OBJ)
	$(Q)$(CC) $(OPT) $(EXTRA) -o $@ $(REPLAY_OBJ) -Wl,--gc-sections -lm -ldl -lpthread

# --- the simulated CUDA device
-include tests/sim/driver/driver.mk tests/sim/runtime/runtime.mk
sim: $(if $(wildcard tests/sim/driver/driver.mk),sim-driver) $(if $(wildcard tests/sim/runtime/runtime.mk),sim-runtime) ## build the simulated CUDA device

# --- unit tests (Check), one program a file of tests/unit; each links the whole library's objects except the hooks
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/*_test.c))
UNIT_OBJ := $(filter-out $(B)/obj/preload/%,$(LIB_OBJ)) $(B)/obj/jemalloc.a
$(B)/tests/unit/%: tests/unit/%.c $(UNIT_OBJ)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 -O1 -g -MMD -MP $(WARN) $(EXTRA) $(CPPFLAGS_LIB) $< -o $@ $(UNIT_OBJ) \
	  $$(pkg-config --cflags --libs check) -rdynamic -lm -ldl -lpthread
unit: $(UNIT) ## build the unit tests

# counts what a program asks of any allocator: eval-host's --asked
$(B)/asked.so: scripts/evalhost/asked.c | build/deps/config.mk
	$(Q)$(CC) -std=gnu11 -O2 -g -fPIC -fno-builtin -D_GNU_SOURCE -Wall -Wextra -Wshadow $(WERROR) -shared $< -o $@ -ldl -lpthread
unit: $(B)/asked.so

-include tests/tests.mk tests/device/device.mk tests/bench/bench.mk

run: all ## the main job: two real servers, without and with Coppice
	$(Q)scripts/mainjob/run
# the pure parts of the device layer under the sanitizers: tests/run has them as asan/NAME and tsan/NAME
SANITIZED := shard block demand pool
SANITIZED_TESTS = $(SANITIZED:%=$(B)/tests/unit/%_test)
sanitized: $(SANITIZED_TESTS)
asan tsan:
	$(Q)$(MAKE) B=build/$@ EXTRA='$(EXTRA_$@)' sanitized
EXTRA_asan := -fsanitize=address,undefined -fno-sanitize-recover=all
EXTRA_tsan := -fsanitize=thread -Wno-tsan
sanitize: asan tsan ## the pure parts under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	$(Q)tests/run 'asan/*' 'tsan/*'
test: all unit debug asan tsan ## all tests
	$(Q)tests/run
soak: all unit debug ## each CUDA call of ours failing in turn, then ten minutes of random load, a seed after another
	$(Q)tests/soak
debug: ## the library with its invariants checked, in build/debug
	$(Q)$(MAKE) B=build/debug EXTRA=-DCOPPICE_DEBUG build/debug/libcoppice.so
clients: all ## the large real programs: PyTorch, ONNX Runtime (several GB are fetched once)
	$(Q)tests/run 'clients/*'
eval-host: all $(B)/asked.so ## host memory of real servers by allocator, interleaved (hours; scripts/evalhost/run has a choice)
	$(Q)scripts/evalhost/run
mutants: all unit ## plant mistakes in the pool and see the tests find each
	$(Q)tests/mutants/run
ablation: all $(B)/tests/bench/ablation_device ## what membranes, types and cleanup are worth, on device traces, redis and servers (hours)
	$(Q)tests/bench/ablation.py
docs/OPTIONS.md: $(B)/coppice
	$(Q)$(B)/coppice options --markdown > $@
PREFIX ?= /usr/local
install: $(B)/libcoppice.so $(B)/coppice $(B)/coppice-replay ## install the library, the programs, the header and the Python modules under PREFIX
	install -D -m 755 $(B)/libcoppice.so "$(DESTDIR)$(PREFIX)/lib/coppice/libcoppice.so"
	install -D -m 755 $(B)/coppice "$(DESTDIR)$(PREFIX)/bin/coppice"
	install -D -m 755 $(B)/coppice-replay "$(DESTDIR)$(PREFIX)/bin/coppice-replay"
	install -D -m 644 python/coppice_trace.py "$(DESTDIR)$(PREFIX)/share/coppice/coppice_trace.py"
	install -D -m 644 include/coppice/coppice.h "$(DESTDIR)$(PREFIX)/include/coppice/coppice.h"
	install -D -m 644 python/coppice.py "$(DESTDIR)$(PREFIX)/share/coppice/coppice.py"
	install -D -m 644 python/coppice_params.py "$(DESTDIR)$(PREFIX)/share/coppice/coppice_params.py"
	install -D -m 644 python/autostart/sitecustomize.py "$(DESTDIR)$(PREFIX)/share/coppice/autostart/sitecustomize.py"
clean: ## remove what was built (downloads stay)
	$(Q)find $(B) -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} + 2>/dev/null || true
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
.PHONY: ablation eval-host soak debug clients mutants all sim unit run test bench install clean help
-include $(shell find $(B)/obj $(B)/tests -name '*.d' 2>/dev/null)
