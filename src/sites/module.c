/* module.c: see module.h. */
#include "sites/module.h"
#include "base/hints.h"
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

struct search { uintptr_t address; bool with_function, found; struct code_place *place; };

static void copy_name(char *to, size_t capacity, const char *from) {
    size_t n = strlen(from);
    if (n >= capacity) n = capacity - 1;
    memcpy(to, from, n);
    to[n] = 0;
}

static void name_file(char name[LIBRARY_NAME], const char *path) {
    const char *slash = strrchr(path, '/');
    copy_name(name, LIBRARY_NAME, slash ? slash + 1 : path);
}

static void name_program(char name[LIBRARY_NAME]) {
    char own[512];
    int saved = errno;
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    errno = saved;
    own[n > 0 ? n : 0] = 0;
    name_file(name, own);
}

static char program[LIBRARY_NAME];
static _Atomic bool remembered;
void module_remember_program(void) {
    if (atomic_load(&remembered)) return;
    name_program(program);
    atomic_store(&remembered, true);
}

static void name_library(char name[LIBRARY_NAME], const char *path) {
    if (*path) name_file(name, path);
    else if (atomic_load(&remembered)) memcpy(name, program, LIBRARY_NAME);
    else name_program(name);
}

/* --- the symbols of one object */

struct symbols { const ElfW(Sym) *symbol; const char *name; const uint32_t *hash, *gnu_hash; };

/* The dynamic linker adds the base to these addresses in place, except in objects that it cannot write. */
static const void *at(const struct dl_phdr_info *info, ElfW(Addr) address) {
    return (const void *)(address < info->dlpi_addr ? info->dlpi_addr + address : address);
}

static struct symbols symbols_of(const struct dl_phdr_info *info) {
    struct symbols s = { 0 };
    const ElfW(Dyn) *d = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) d = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    for (; d && d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB) s.symbol = at(info, d->d_un.d_ptr);
        else if (d->d_tag == DT_STRTAB) s.name = at(info, d->d_un.d_ptr);
        else if (d->d_tag == DT_HASH) s.hash = at(info, d->d_un.d_ptr);
        else if (d->d_tag == DT_GNU_HASH) s.gnu_hash = at(info, d->d_un.d_ptr);
    }
    return s;
}

/* How many symbols there are: the old hash table says so; of the new one the longest chain of the last bucket ends there. */
static uint32_t count_of(const struct symbols *s) {
    if (s->hash) return s->hash[1];
    if (!s->gnu_hash) return 0;
    uint32_t buckets = s->gnu_hash[0], first = s->gnu_hash[1], words = s->gnu_hash[2], last = 0;
    const uint32_t *bucket = (const uint32_t *)((const ElfW(Addr) *)(s->gnu_hash + 4) + words);
    for (uint32_t i = 0; i < buckets; i++)
        if (bucket[i] > last) last = bucket[i];
    if (last < first) return first;
    for (const uint32_t *chain = bucket + buckets - first; !(chain[last] & 1);) last++;
    return last + 1;
}

static void name_function(const struct dl_phdr_info *info, uintptr_t address, struct code_place *place) {
    struct symbols s = symbols_of(info);
    uint32_t count = s.symbol && s.name ? count_of(&s) : 0;
    for (uint32_t i = 0; i < count; i++) {
        const ElfW(Sym) *symbol = &s.symbol[i];
        uintptr_t start = info->dlpi_addr + symbol->st_value;
        if (symbol->st_shndx == SHN_UNDEF || (symbol->st_info & 15) != STT_FUNC || address < start || address - start >= symbol->st_size) continue;
        copy_name(place->function, sizeof place->function, s.name + symbol->st_name);
        return;
    }
}

static bool holds(const struct dl_phdr_info *info, uintptr_t address) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && address - (info->dlpi_addr + p->p_vaddr) < p->p_memsz) return true;
    }
    return false;
}

static int look(struct dl_phdr_info *info, size_t size, void *with) {
    struct search *s = with;
    if (!holds(info, s->address)) return 0;
    name_library(s->place->library, info->dlpi_name);
    s->place->offset = s->address - info->dlpi_addr;
    if (s->with_function) name_function(info, s->address, s->place);
    return s->found = true;
}

/* Objects stand in the order of their loading, until one goes; written under the linker's lock for its list. */
static struct { unsigned objects; unsigned long long gone; } seen;
struct look { bool (*is)(const char *library); unsigned objects; };
static int look_at_new(struct dl_phdr_info *info, size_t size, void *with) {
    struct look *l = with;
    char name[LIBRARY_NAME];
    if (info->dlpi_subs != seen.gone) seen.gone = info->dlpi_subs, seen.objects = 0;
    if (l->objects++ < seen.objects) return 0;
    seen.objects = l->objects;
    name_library(name, info->dlpi_name);
    return l->is(name);
}
COLD bool any_new_library(bool (*is)(const char *library)) {
    struct look l = { .is = is };
    return dl_iterate_phdr(look_at_new, &l) != 0;
}

/* A return address is that of the next instruction, which may be the next function's. */
COLD bool place_find(const void *address, bool with_function, struct code_place *place) {
    struct search s = { .address = (uintptr_t)address - 1, .with_function = with_function, .place = place };
    *place = (struct code_place){ 0 };
    dl_iterate_phdr(look, &s);
    if (s.found) place->offset++;
    return s.found;
}
