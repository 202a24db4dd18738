/* ptx.c: reads from PTX text what a simulated device needs to know: entry names, the sizes of their parameters, and variables.
 * The grammar is that of NVIDIA's public PTX ISA document; instructions are skipped. */
#include "module.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool looks_like_ptx(const void *image) {
    const char *p = image;
    for (int i = 0; i < 4096 && p[i]; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c >= 127 || (c < 32 && !isspace(c))) return false;
        if (strncmp(p + i, ".version", 8) == 0) return true;
    }
    return false;
}

static const char *skip(const char *p) {
    for (;;) {
        while (isspace((unsigned char)*p)) p++;
        if (p[0] == '/' && p[1] == '/') while (*p && *p != '\n') p++;
        else if (p[0] == '/' && p[1] == '*') {
            const char *end = strstr(p + 2, "*/");
            p = end ? end + 2 : p + strlen(p);
        } else return p;
    }
}

static size_t word_length(const char *p) {
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '_' || p[n] == '$' || p[n] == '%' || p[n] == '.') n++;
    return n;
}

static bool word_is(const char *p, size_t n, const char *text) { return strlen(text) == n && strncmp(p, text, n) == 0; }

/* .u64 -> 8; 0 when it is not a type */
static size_t type_size(const char *p, size_t n) {
    if (n < 3 || p[0] != '.' || !strchr("busf", p[1]) || !isdigit((unsigned char)p[2])) return 0;
    return (size_t)atoi(p + 2) / 8;
}

/* One declaration up to , ) ; or =: type, alignment, name, dimensions. Returns where it stopped. */
static const char *declaration(const char *p, size_t *size, size_t *align, const char **name, size_t *name_length) {
    *size = *align = 0;
    *name = NULL;
    *name_length = 0;
    size_t count = 1;
    for (p = skip(p); *p && !strchr(",);={", *p); p = skip(p)) {
        size_t n = word_length(p);
        if (n == 0) {
            if (*p == '[') count *= (size_t)strtoul(p + 1, NULL, 0);
            p++;
            continue;
        }
        if (word_is(p, n, ".align")) {
            p = skip(p + n);
            *align = (size_t)atoi(p);
            n = word_length(p);
        } else if (type_size(p, n)) *size = type_size(p, n);
        else if (*p != '.' && !isdigit((unsigned char)*p)) *name = p, *name_length = n;
        p += n;
    }
    if (!*align) *align = *size;
    *size *= count;
    return p;
}

static const char *read_entry(struct CUmod_st *m, const char *p) {
    p = skip(p);
    size_t n = word_length(p);
    struct CUfunc_st *f = function_add(m, p, n);
    f->param_count = 0;
    p = skip(p + n);
    if (*p != '(') return p;
    size_t offset = 0;
    for (p = skip(p + 1); *p && *p != ')'; p = skip(*p == ',' ? p + 1 : p)) {
        size_t size, align, name_length;
        const char *name, *before = p;
        p = declaration(p, &size, &align, &name, &name_length);
        if (p == before) break;
        if (!size || f->param_count == MAX_PARAMS) continue;
        offset = align ? ALIGN_UP(offset, align) : offset;
        f->offset[f->param_count] = (unsigned short)offset;
        f->size[f->param_count++] = (unsigned short)size;
        offset += size;
    }
    return p;
}

static const char *read_variable(struct CUmod_st *m, const char *p) {
    size_t size, align, name_length;
    const char *name;
    p = declaration(p, &size, &align, &name, &name_length);
    if (!name || !size) return p;
    struct variable *v = calloc(1, sizeof *v);
    v->name = strndup(name, name_length);
    v->size = size;
    v->next = m->variables;
    m->variables = v;
    return p;
}

void ptx_read(struct CUmod_st *m, const char *p) {
    int depth = 0;
    m->known = true;
    while (*(p = skip(p))) {
        size_t n = word_length(p);
        if (n == 0) {
            depth += *p == '{';
            depth -= *p == '}';
            p++;
        } else if (depth == 0 && word_is(p, n, ".entry")) p = read_entry(m, p + n);
        else if (depth == 0 && (word_is(p, n, ".global") || word_is(p, n, ".const"))) p = read_variable(m, p + n);
        else p += n;
    }
}
