/* intern_off: switched off, the answer is NULL and a release of nothing does nothing. */
// env: COPPICE_INTERN=off
#include "intern.h"

int main(void) {
    find_intern();
    CHECK(intern("x", 1, 0) == NULL);
    release(NULL), release("x");
    return 0;
}
