/* A library that loads another which lies beside it. */
#include <dlfcn.h>
void *find(int mode) { return dlopen("deepbind.lib.so", mode); }
