/* deep_binding.c: a library loaded with RTLD_DEEPBIND looks names up in its own dependencies first, so its `free` is libc's
 * and not ours. What libc itself hands it (strdup, getline, asprintf, …) is ours all the same, because libc's own calls of
 * malloc come to us: the library's first free of such a string would end the process.
 *
 * So before the first such load, the entries of the malloc family in libc's table of symbols (`.dynsym`, in this process's
 * private copy of its page) get our functions' addresses. The loader adds an entry's value to libc's load address; the
 * difference to ours wraps around as it should. What was bound before stays bound to libc; its pointers are foreign and go
 * back to libc (libc_malloc.c). */
#include "deep_binding.h"
#include "hook.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

/* A symbol table with its GNU hash: what the loader itself searches. */
struct symbols {
    ElfW(Addr) load_address;
    ElfW(Sym) *symbol;
    const char *names;
    const uint32_t *hash; /* buckets, first hashed symbol, words of the filter, shift; then filter, buckets, chains */
};

static uint32_t gnu_hash(const char *name) {
    uint32_t hash = 5381;
    for (; *name; name++) hash = hash * 33 + (unsigned char)*name;
    return hash;
}

static bool read_table(const struct link_map *object, struct symbols *table) {
    *table = (struct symbols){ .load_address = object->l_addr };
    for (const ElfW(Dyn) *entry = object->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB) table->symbol = (ElfW(Sym) *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_STRTAB) table->names = (const char *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_GNU_HASH) table->hash = (const uint32_t *)entry->d_un.d_ptr;
    }
    return table->symbol && table->names && table->hash;
}

/* A page of the object's first read-only segment; where tables share a segment with code, they stay as they are. */
static bool lies_in_plain_data(const struct link_map *object, const ElfW(Ehdr) *header, const void *at) {
    const ElfW(Phdr) *segment = (const ElfW(Phdr) *)((const char *)header + header->e_phoff);
    const ElfW(Addr) offset = (ElfW(Addr))at - object->l_addr;
    for (int i = 0; i < header->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD && offset - segment[i].p_vaddr < segment[i].p_filesz) return segment[i].p_flags == PF_R;
    return false;
}

static void redirect(ElfW(Sym) *symbol, ElfW(Addr) value) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *start = (char *)((uintptr_t)&symbol->st_value & -page);
    if (mprotect(start, page, PROT_READ | PROT_WRITE) != 0) return;
    __atomic_store_n(&symbol->st_value, value, __ATOMIC_RELEASE); /* one aligned word: who looks it up meanwhile gets either */
    mprotect(start, page, PROT_READ);
}

/* Every version of `name` whose function is `theirs`. */
static void redirect_name(const struct symbols *table, const char *name, void *theirs, void *ours) {
    const uint32_t *hash = table->hash, wanted = gnu_hash(name), buckets = hash[0], first = hash[1];
    const uint32_t *bucket = hash + 4 + hash[2] * (sizeof(ElfW(Addr)) / sizeof(uint32_t)), *chain = bucket + buckets;
    for (uint32_t i = bucket[wanted % buckets]; i >= first; i++) {
        ElfW(Sym) *symbol = &table->symbol[i];
        bool same = (chain[i - first] | 1) == (wanted | 1) && strcmp(table->names + symbol->st_name, name) == 0;
        if (same && table->load_address + symbol->st_value == (ElfW(Addr))theirs) redirect(symbol, (ElfW(Addr))ours - table->load_address);
        if (chain[i - first] & 1) return;
    }
}

static void redirect_family(const struct symbols *libc) {
    const struct { const char *name; void *theirs, *ours; } family[] = {
#define MEMBER(name) { #name, (void *)next.name, (void *)name }
        MEMBER(malloc), MEMBER(calloc), MEMBER(realloc), MEMBER(free), MEMBER(memalign), MEMBER(posix_memalign), MEMBER(aligned_alloc),
        MEMBER(valloc), MEMBER(pvalloc), MEMBER(reallocarray), MEMBER(malloc_usable_size), MEMBER(malloc_trim),
#undef MEMBER
    };
    for (unsigned i = 0; i < sizeof family / sizeof *family; i++)
        if (family[i].theirs) redirect_name(libc, family[i].name, family[i].theirs, family[i].ours);
}

void deep_binding_prepare(void) {
    static _Atomic bool done;
    Dl_info info;
    struct link_map *object;
    struct symbols libc;
    if (hook_turn() != SERVE || atomic_exchange(&done, true)) return;
    const int saved = errno;
    next_resolve(); /* what is behind us cannot be looked up afterwards */
    /* `free` is what every program gets: another's, where the program has an allocator of its own */
    bool between = (void *)free == (void *)own_free && dladdr1((void *)next.free, &info, (void **)&object, RTLD_DL_LINKMAP) != 0;
    if (between && read_table(object, &libc) && lies_in_plain_data(object, info.dli_fbase, libc.symbol)) redirect_family(&libc);
    errno = saved;
}
