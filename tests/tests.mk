# the programs of tests/programs that are written in C or C++; NAME.lib.c becomes a library NAME.lib.so beside them
PROGRAMS := $(patsubst tests/programs/%.c,$(B)/tests/programs/%,$(filter-out %.lib.c,$(wildcard tests/programs/*.c))) \
  $(patsubst tests/programs/%.cc,$(B)/tests/programs/%,$(filter-out %.lib.cc,$(wildcard tests/programs/*.cc)))
PROGRAM_LIBS := $(patsubst tests/programs/%,$(B)/tests/programs/%.so,$(basename $(wildcard tests/programs/*.lib.c tests/programs/*.lib.cc)))
PROGRAM_FLAGS := -O1 -g -Wall -Wextra -Wno-unused-parameter -Wno-deprecated-declarations -D_GNU_SOURCE -fno-builtin -rdynamic
$(B)/tests/programs/%: tests/programs/%.c $(wildcard tests/programs/*.h)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 $(PROGRAM_FLAGS) $(WERROR) $< -o $@ -ldl -lpthread
$(B)/tests/programs/%: tests/programs/%.cc $(wildcard tests/programs/*.h)
	$(Q)mkdir -p $(@D) && $(CXX) -std=c++17 $(PROGRAM_FLAGS) $(WERROR) $< -o $@ -ldl -lpthread
$(B)/tests/programs/%.lib.so: tests/programs/%.lib.c
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 $(PROGRAM_FLAGS) $(WERROR) -shared -fPIC $< -o $@
$(B)/tests/programs/%.lib.so: tests/programs/%.lib.cc
	$(Q)mkdir -p $(@D) && $(CXX) -std=c++17 $(PROGRAM_FLAGS) $(WERROR) -shared -fPIC $< -o $@
$(B)/tests/programs/deepbind_finder.lib.so: PROGRAM_FLAGS += -Wl,-rpath,'$$ORIGIN' -fno-optimize-sibling-calls
unit: $(PROGRAMS) $(PROGRAM_LIBS)
