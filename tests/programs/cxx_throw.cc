// cxx_throw: exceptions cross a library loaded at run time; operator new fails as libstdc++'s does; every form of new and delete works.
#include "program.h"
#include <cstdint>
#include <dlfcn.h>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

static int handler_calls;
static volatile size_t huge = SIZE_MAX / 4;
static void handler() {
    if (++handler_calls == 3) std::set_new_handler(nullptr);
}

template <class F> static bool throws_bad_alloc(F f) {
    try {
        f();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

struct alignas(256) Aligned {
    char bytes[300];
};

int main() {
    void *library = dlopen("build/tests/programs/cxx_throw.lib.so", RTLD_NOW | RTLD_LOCAL);
    CHECK(library);
    auto throws = reinterpret_cast<void (*)(int)>(dlsym(library, "throws"));
    auto allocates = reinterpret_cast<char *(*)(size_t)>(dlsym(library, "allocates"));
    int caught = 0;
    for (int i = 0; i < 1000; i++) try {
            throws(i % 20);
        } catch (const std::runtime_error &e) {
            caught += std::string(e.what()).size() == 121;
        }
    CHECK(caught == 1000);
    delete[] allocates(1000);

    CHECK(throws_bad_alloc([] { ::operator delete(::operator new(huge)); }));
    CHECK(throws_bad_alloc([] { ::operator delete[](::operator new[](huge)); }));
    CHECK(throws_bad_alloc([] { ::operator delete(::operator new(huge, std::align_val_t(256)), std::align_val_t(256)); }));
    CHECK(throws_bad_alloc([&] { allocates(huge); }));
    CHECK(::operator new(huge, std::nothrow) == nullptr && ::operator new[](huge, std::nothrow) == nullptr);
    CHECK(::operator new(huge, std::align_val_t(64), std::nothrow) == nullptr);
    std::set_new_handler(handler);
    CHECK(throws_bad_alloc([] { ::operator delete(::operator new(huge)); }));
    CHECK(handler_calls == 3);

    for (int i = 0; i < 100; i++) {
        auto *a = new Aligned;
        auto *b = new Aligned[3];
        CHECK(reinterpret_cast<uintptr_t>(a) % 256 == 0 && reinterpret_cast<uintptr_t>(b) % 256 == 0);
        delete a;
        delete[] b;
        ::operator delete(::operator new(i, std::nothrow), std::nothrow);
        ::operator delete(::operator new(i * 1000), size_t(i * 1000));
        ::operator delete[](::operator new[](i, std::align_val_t(32)), size_t(i), std::align_val_t(32));
        std::vector<std::string> words(i, std::string(i, 'w'));
    }
    return 0;
}
