/* options.c: COPPICE_* variables into option_values; see options.h. No malloc, no locale. */
#include "base/options.h"
#include "base/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

const struct option_row option_rows[OPTION_COUNT] = {
#define OPTION(field, NAME, kind, standard, least, most, help) { NAME, (enum option_kind)((kind) & ~LIVE), standard, least, most, help, ((kind) & LIVE) != 0 },
#include "base/options.def"
#undef OPTION
};
union option_value option_values[OPTION_COUNT];

/* Variables of the scripts around the library; known so that they are not reported as mistakes. */
static const char *const tool_variables[] = { "CACHE" };

static bool parse_number(const char **at, double *value) {
    const char *s = *at;
    double whole = 0, scale = 1;
    bool any = false;
    for (; *s >= '0' && *s <= '9'; s++) whole = whole * 10 + (*s - '0'), any = true;
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++) scale /= 10, whole += (*s - '0') * scale, any = true;
    *at = s;
    *value = whole;
    return any;
}

bool parse_size(const char *text, uint64_t *bytes) {
    double value;
    if (!parse_number(&text, &value)) return false;
    static const char units[] = "KMGT";
    const char *unit = *text ? strchr(units, *text & ~0x20) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++) value *= 1024;
        text++;
        if ((*text & ~0x20) == 'I') text++;
        if ((*text & ~0x20) == 'B') text++;
    }
    if (*text || value > (double)SIZE_LIMIT) return false;
    *bytes = (uint64_t)value;
    return true;
}

bool parse_time(const char *text, uint64_t *nanoseconds) {
    static const struct { const char *unit; double scale; } units[] = { { "", 1e9 }, { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 } };
    double value;
    if (!parse_number(&text, &value)) return false;
    for (unsigned i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(text, units[i].unit) == 0 && value * units[i].scale < 9e18) {
            *nanoseconds = (uint64_t)(value * units[i].scale);
            return true;
        }
    return false;
}

/* A part of one, as thousandths: 0.85 or 85%. */
static bool parse_ratio(const char *text, uint64_t *thousandths) {
    double value;
    if (!parse_number(&text, &value)) return false;
    if (*text == '%') value /= 100, text++;
    if (*text || value > 1) return false;
    *thousandths = (uint64_t)(value * 1000 + 0.5);
    return true;
}

static bool parse_count(const char *text, uint64_t *count) {
    *count = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || *count > (SIZE_LIMIT - 9) / 10) return false;
        *count = *count * 10 + (uint64_t)(*text - '0');
    }
    return true;
}

/* The choices of a CHOICE row stand before the colon of its help. */
static bool parse_choice(const char *choices, const char *text, uint64_t *index) {
    size_t length = strlen(text);
    for (*index = 0;; (*index)++) {
        size_t n = strcspn(choices, "|:");
        if (n == length && strncmp(choices, text, n) == 0) return true;
        if (choices[n] != '|') return false;
        choices += n + 1;
    }
}

bool option_parse(const struct option_row *row, const char *text, union option_value *value) {
    static const char *const words[] = { "0", "1", "off", "on", "false", "true", "no", "yes" };
    switch (row->kind) {
    case LIVE: break;
    case TEXT: value->text = text; return true;
    case CHOICE: return parse_choice(row->help, text, &value->number);
    case BOOL:
        for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
            if (strcmp(text, words[i]) == 0) {
                value->number = i & 1;
                return true;
            }
        return false;
    case SIZE:
        if (strcmp(row->standard, "auto") == 0 && strcmp(text, "auto") == 0) {
            value->number = SIZE_AUTO;
            return true;
        }
        return parse_size(text, &value->number) && value->number >= row->least && value->number <= row->most;
    case COUNT: return parse_count(text, &value->number) && value->number >= row->least && value->number <= row->most;
    case RATIO: return parse_ratio(text, &value->number) && value->number >= row->least && value->number <= row->most;
    case TIME: return parse_time(text, &value->number) && value->number >= row->least && value->number <= row->most;
    }
    return false;
}

const char *option_accepts(const struct option_row *row, char *buffer, unsigned long capacity) {
    struct text t = text_in(buffer, capacity);
    switch (row->kind) {
    case LIVE: break;
    case TEXT: text_add(&t, "text"); break;
    case BOOL: text_add(&t, "0, 1, on or off"); break;
    case CHOICE:
        text_add(&t, "one of ");
        for (const char *s = row->help; *s && *s != ':'; s++) text_char(&t, *s);
        break;
    case SIZE:
        text_add(&t, "a size such as 512M or 4G");
        if (strcmp(row->standard, "auto") == 0) text_add(&t, ", or auto");
        break;
    case COUNT: text_add(&t, "a whole number from "), text_u64(&t, row->least), text_add(&t, " to "), text_u64(&t, row->most); break;
    case RATIO: text_add(&t, "a part of one such as 0.85 or 85%"); break;
    case TIME: text_add(&t, "a time such as 500ms, 30s, 2m or 1h"); break;
    }
    return buffer;
}

int option_find(const char *name, unsigned long length) {
    const size_t prefix = strlen(OPTION_PREFIX);
    if (length > prefix && strncmp(name, OPTION_PREFIX, prefix) == 0) name += prefix, length -= prefix;
    for (int id = 0; id < OPTION_COUNT; id++) {
        size_t i = 0;
        while (i < length && option_rows[id].name[i] && (name[i] == '-' ? '_' : name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i]) == option_rows[id].name[i]) i++;
        if (i == length && !option_rows[id].name[i]) return id;
    }
    return -1;
}

void option_set(int id, union option_value value) {
    __atomic_store_n(&option_values[id].number, value.number, __ATOMIC_RELAXED);
}

static void load_row(int id, const char *given, bool quiet) {
    const struct option_row *row = &option_rows[id];
    if (given && option_parse(row, given, &option_values[id])) return;
    if (row->standard) option_parse(row, row->standard, &option_values[id]);
    else option_values[id].text = NULL;
    if (!given || quiet) return;
    char accepts[160];
    log_line(OPTION_PREFIX, row->name, "=", given, " is not accepted: expected ", option_accepts(row, accepts, sizeof accepts),
             "; using ", row->standard ? row->standard : "nothing", NULL);
}

/* The row whose name is the variable `name=value` without the prefix; OPTION_COUNT: a script's; -1: none. */
static int row_of(const char *name, size_t length) {
    for (int i = 0; i < OPTION_COUNT; i++)
        if (strlen(option_rows[i].name) == length && strncmp(option_rows[i].name, name, length) == 0) return i;
    for (unsigned i = 0; i < sizeof tool_variables / sizeof *tool_variables; i++)
        if (strlen(tool_variables[i]) == length && strncmp(tool_variables[i], name, length) == 0) return OPTION_COUNT;
    return -1;
}

static const char *executable_name(char *buffer, size_t capacity) {
    int saved = errno;
    ssize_t n = readlink("/proc/self/exe", buffer, capacity - 1);
    errno = saved;
    if (n < 0) return "";
    buffer[n] = 0;
    const char *slash = strrchr(buffer, '/');
    return slash ? slash + 1 : buffer;
}

bool glob_matches(const char *glob, size_t length, const char *name) {
    if (length == 0) return *name == 0;
    if (*glob == '*') return glob_matches(glob + 1, length - 1, name) || (*name && glob_matches(glob, length, name + 1));
    return *name && (*glob == '?' || *glob == *name) && glob_matches(glob + 1, length - 1, name + 1);
}

bool glob_list_matches(const char *globs, const char *name) {
    for (;;) {
        size_t n = strcspn(globs, "|");
        if (n > 0 && glob_matches(globs, n, name)) return true;
        if (globs[n] == 0) return false;
        globs += n + 1;
    }
}

bool options_off(void) {
    static int off = -1; /* settled by the first call, which happens before threads */
    if (off < 0) {
        char path[512];
        const char *name = *option_text(only) || *option_text(skip) ? executable_name(path, sizeof path) : "";
        off = option_number(disable) || (*option_text(only) && !glob_list_matches(option_text(only), name)) ||
              glob_list_matches(option_text(skip), name);
    }
    return off;
}

/* Programs overwrite their environment (to change their title, as redis does): texts are kept apart. One that does not fit
 * stays where it is. */
static void keep_texts(void) {
    static char kept[16384];
    size_t used = 0;
    for (int id = 0; id < OPTION_COUNT; id++) {
        const char *text = option_rows[id].kind == TEXT ? option_values[id].text : NULL;
        size_t size = text && text != option_rows[id].standard ? strlen(text) + 1 : 0;
        if (size == 0 || size > sizeof kept - used) continue;
        option_values[id].text = memcpy(kept + used, text, size);
        used += size;
    }
}

void options_load(void) {
    const size_t prefix = strlen(OPTION_PREFIX);
    const char *given[OPTION_COUNT] = { 0 };
    const char *unknown[8];
    unsigned unknowns = 0;
    for (char **variable = getauxval(AT_SECURE) ? NULL : environ; variable && *variable; variable++) {
        if (strncmp(*variable, OPTION_PREFIX, prefix) != 0) continue;
        const char *name = *variable + prefix, *equals = strchr(name, '=');
        if (!equals) continue;
        int id = row_of(name, (size_t)(equals - name));
        if (id >= 0 && id < OPTION_COUNT) given[id] = equals + 1;
        else if (id < 0 && unknowns < sizeof unknown / sizeof *unknown) unknown[unknowns++] = *variable;
    }
    /* who takes part is settled first: a process that stands aside says nothing */
    for (int id = OPTION_disable; id <= OPTION_skip; id++) load_row(id, given[id], true);
    bool quiet = options_off();
    for (int id = 0; id < OPTION_COUNT; id++) load_row(id, given[id], quiet);
    keep_texts();
    for (unsigned i = 0; i < unknowns && !quiet; i++)
        log_line(unknown[i], " is not an option of this version; `coppice options` lists them", NULL);
}
