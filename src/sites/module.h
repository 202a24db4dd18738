/* module.h: which library and function an address of code lies in.
 * Asked once for each new address, never on a hot path: it walks the list of loaded objects, and for a function the symbols
 * of one. It takes no lock but the dynamic linker's own for that list (dl_iterate_phdr), which is never held while a
 * program's code runs: dladdr would take the one that dlopen holds while constructors run, and a thread that a constructor
 * waits for may be the one that asks us. Allocates nothing. */
#ifndef COPPICE_SITES_MODULE_H
#define COPPICE_SITES_MODULE_H
#include <stdbool.h>
#include <stdint.h>

enum { LIBRARY_NAME = 72 };
struct code_place {
    char library[LIBRARY_NAME];   /* file name without its folder; the executable's for the program itself */
    char function[160]; /* the exported function around the address, "" where none is known or it was not asked for */
    uint64_t offset;    /* of the address in the library's image */
};
/* Is it true of the file name of any object that was loaded since this was asked last? */
bool any_new_library(bool (*is)(const char *library));
/* False: no loaded object holds the address. */
bool place_find(const void *address, bool with_function, struct code_place *place);
/* Nobody may ask the kernel for the program's name after this: once, by one thread. */
void module_remember_program(void);
#endif
