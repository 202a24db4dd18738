/* static_tls: libraries with static TLS can still be loaded: ours takes none of the surplus. */
#include "program.h"
#include <dlfcn.h>

int main(void) {
    void *library = dlopen("build/tests/programs/static_tls.lib.so", RTLD_NOW);
    if (!library) puts(dlerror());
    CHECK(library && ((int (*)(int))dlsym(library, "use_block"))(5) == 1);
    return 0;
}
