/* params.h: a set of sampling parameters between its users and its encoding.
 *
 * A *set* holds for each field of COPPICE_PARAMS its *items*: none where the field has its default, one for a single value,
 * as many as there are in a list. It is *canonical* at every moment: what equals a default is taken out when it is set, lists
 * that are sets are kept sorted and without doubles. So equal settings are equal sets, and encoding is writing them down. */
#ifndef COPPICE_INTERN_PARAMS_H
#define COPPICE_INTERN_PARAMS_H
#include "coppice/coppice.h"
#include <stdbool.h>

/* Which members count depends on the kind: REAL real; INT, FLAG, IDS id; BIAS id and real; STRINGS bytes; PAIRS name and bytes. */
struct params_item {
    int64_t id;
    double real;
    char *name, *bytes; /* one allocation, begins at `name`; NUL-ended both */
    size_t name_length, length;
};
struct params_list {
    struct params_item *item;
    uint32_t count, room;
};
struct coppice_params {
    struct params_list field[COPPICE_PARAM_END]; /* by number; 0 is none */
};

enum { PARAMS_NONE, PARAMS_EMPTY, PARAMS_VALUE }; /* what a field's default is */
struct params_row {
    const char *name;
    enum coppice_param_kind kind;
    int has_default;
    double standard;
};
extern const struct params_row params_rows[COPPICE_PARAM_END];

/* Removes all items. */
void params_clear(struct coppice_params *p);
#endif
