/* options.h: the configuration of one process, read once from COPPICE_* variables and, except for those that are LIVE, never again. An
 * *option* is a row of options.def. A wrong value gets one line that names the variable, the value and what is accepted; the default is
 * used (nothing is lost, nothing exits). Any thread may read at any time; after options_load the service thread alone writes. */
#ifndef COPPICE_BASE_OPTIONS_H
#define COPPICE_BASE_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTION_PREFIX "COPPICE_"
#define SIZE_LIMIT ((uint64_t)1 << 60)
#define SIZE_AUTO UINT64_MAX

enum option_kind { SIZE, COUNT, TIME, RATIO, BOOL, CHOICE, TEXT, LIVE = 16 /* besides: may change while the process runs */ };
enum stats_format { STATS_TEXT, STATS_JSON };
enum pack_choice { PACK_AUTO, PACK_NEVER, PACK_ALWAYS };
enum thp_choice { THP_AUTO, THP_NEVER, THP_ALWAYS };
enum zero_reclaim_choice { ZERO_RECLAIM_AUTO, ZERO_RECLAIM_OFF };
enum predictor_choice { PREDICTOR_WINDOW, PREDICTOR_AR, PREDICTOR_TIMER };
enum device_backend { BACKEND_BLOCK, BACKEND_PAGE };
enum intern_choice { INTERN_OFF, INTERN_API, INTERN_OBSERVE, INTERN_PAGES };
enum share_choice { SHARE_BY_ANY, SHARE_BY_OWN, SHARE_BY_KERNEL };

/* Values by kind: numbers in `number`, TEXT in `text` (points into the environment; NULL when unset and the default is NULL). */
union option_value {
    uint64_t number;
    const char *text;
};
struct option_row {
    const char *name; /* without the prefix */
    enum option_kind kind;
    const char *standard; /* the default, as text; NULL: unset differs from empty */
    uint64_t least, most;
    const char *help;
    bool live; /* `coppice set` may change it */
};

enum option_id {
#define OPTION(field, ...) OPTION_##field,
#include "base/options.def"
#undef OPTION
    OPTION_COUNT
};
extern const struct option_row option_rows[OPTION_COUNT];
extern union option_value option_values[OPTION_COUNT];

/* option_number(pool_max), option_text(stats_file) */
#define option_number(field) (__atomic_load_n(&option_values[OPTION_##field].number, __ATOMIC_RELAXED))
#define option_text(field) (option_values[OPTION_##field].text)

/* Reads the environment. Logs a line for each value that is not accepted and each COPPICE_ name that is not an option,
 * unless the process is switched off. Call once, before any thread reads. */
void options_load(void);
/* Is this process switched off or standing aside (DISABLE, ONLY, SKIP)? Valid after options_load. */
bool options_off(void);
/* Parses `text` as a value of the row; false when it is not accepted. */
bool option_parse(const struct option_row *row, const char *text, union option_value *value);
/* The row that somebody means by POOL_MAX, pool-max or COPPICE_POOL_MAX; -1: none. */
int option_find(const char *name, unsigned long length);
/* A new value for a LIVE row; the caller has parsed it. */
void option_set(int id, union option_value value);
/* "a size such as 512M or auto", for messages and documents; `buffer` of at least 160 bytes. */
const char *option_accepts(const struct option_row *row, char *buffer, unsigned long capacity);
/* Parses a size ("64M", "4096"); false when it is not one. */
bool parse_size(const char *text, uint64_t *bytes);
/* Parses a time ("30s", "500ms", "2"); false when it is not one. */
bool parse_time(const char *text, uint64_t *nanoseconds);
/* Does `name` match the glob of that length (`*` and `?`)? */
bool glob_matches(const char *glob, size_t length, const char *name);
/* Does `name` match one of the globs `a|b|c` (`*` and `?`)? */
bool glob_list_matches(const char *globs, const char *name);
#endif
