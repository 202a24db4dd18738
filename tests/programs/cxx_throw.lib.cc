// A library that throws and allocates; loaded at run time.
#include <new>
#include <stdexcept>
#include <string>
#include <vector>
extern "C" void throws(int depth) {
    std::string kept(100, 'x');
    if (depth == 0) throw std::runtime_error("thrown by a library: " + kept);
    throws(depth - 1);
}
extern "C" char *allocates(size_t n) { return new char[n]; }
