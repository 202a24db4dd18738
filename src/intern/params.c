/* params.c: sets of sampling parameters: setting and asking; see params.h. The encoding is params_codec.c. */
#include "intern/params.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_NONE PARAMS_NONE, 0
#define DEFAULT_EMPTY PARAMS_EMPTY, 0
#define DEFAULT_0 PARAMS_VALUE, 0
#define DEFAULT_1 PARAMS_VALUE, 1
const struct params_row params_rows[COPPICE_PARAM_END] = {
#define X(number, NAME, name, kind, standard) [number] = { name, COPPICE_##kind, DEFAULT_##standard },
    COPPICE_PARAMS(X)
#undef X
};

/* --- fields */

static bool is_field(int field) { return field > 0 && field < COPPICE_PARAM_END && params_rows[field].name; }
static bool is_of(int field, enum coppice_param_kind kind) { return is_field(field) && params_rows[field].kind == kind; }

int coppice_params_field(const char *name) {
    for (int field = 1; field < COPPICE_PARAM_END; field++)
        if (is_field(field) && strcmp(params_rows[field].name, name) == 0) return field;
    return 0;
}

const char *coppice_params_name(int field) { return is_field(field) ? params_rows[field].name : NULL; }
int coppice_params_kind(int field) { return is_field(field) ? (int)params_rows[field].kind : -1; }

/* --- sets */

coppice_params *coppice_params_new(void) { return calloc(1, sizeof(struct coppice_params)); }

static void clear(struct params_list *list) {
    for (uint32_t i = 0; i < list->count; i++) free(list->item[i].name);
    list->count = 0;
}

void params_clear(struct coppice_params *p) {
    for (int field = 0; field < COPPICE_PARAM_END; field++) clear(&p->field[field]);
}

void coppice_params_free(coppice_params *p) {
    if (!p) return;
    params_clear(p);
    for (int field = 0; field < COPPICE_PARAM_END; field++) free(p->field[field].item);
    free(p);
}

static int grow(struct params_list *list) {
    if (list->count < list->room) return 0;
    uint32_t room = list->room ? list->room * 2 : 1;
    if (room > 1u << 24) return -ENOMEM;
    struct params_item *item = realloc(list->item, room * sizeof *item);
    if (!item) return -ENOMEM;
    list->item = item, list->room = room;
    return 0;
}

/* Puts an item at a place; the list takes over its memory, also when there is no room. */
static int insert(struct params_list *list, uint32_t at, const struct params_item *item) {
    if (grow(list) != 0) {
        free(item->name);
        return -ENOMEM;
    }
    memmove(&list->item[at + 1], &list->item[at], (list->count - at) * sizeof *item);
    list->item[at] = *item;
    list->count++;
    return 0;
}

/* The order of a list that is a set: by id, or by the bytes of the name. */
static int compare(enum coppice_param_kind kind, const struct params_item *a, const struct params_item *b) {
    if (kind != COPPICE_PAIRS) return (a->id > b->id) - (a->id < b->id);
    size_t shorter = a->name_length < b->name_length ? a->name_length : b->name_length;
    int order = memcmp(a->name, b->name, shorter);
    return order ? order : (a->name_length > b->name_length) - (a->name_length < b->name_length);
}

/* Puts an item at its place in a sorted list, over an equal one if there is one. */
static int insert_sorted(struct params_list *list, enum coppice_param_kind kind, const struct params_item *item) {
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (compare(kind, &list->item[middle], item) < 0) low = middle + 1;
        else high = middle;
    }
    if (low == list->count || compare(kind, &list->item[low], item) != 0) return insert(list, low, item);
    free(list->item[low].name);
    list->item[low] = *item;
    return 0;
}

static bool is_default(int field, const struct params_item *item) {
    const struct params_row *row = &params_rows[field];
    return row->has_default == PARAMS_VALUE && (row->kind == COPPICE_REAL ? item->real : (double)item->id) == row->standard;
}

/* A single value: in the place of what was there, or nothing for the default. */
static int set(struct coppice_params *p, int field, const struct params_item *item) {
    struct params_list *list = &p->field[field];
    clear(list);
    return is_default(field, item) ? 0 : insert(list, 0, item);
}

/* --- setting */

static double without_sign_of_zero(double value) { return value == 0 ? 0 : value; }

int coppice_params_set_real(coppice_params *p, int field, double value) {
    if (!is_of(field, COPPICE_REAL) || isnan(value)) return -EINVAL;
    return set(p, field, &(struct params_item){ .real = without_sign_of_zero(value) });
}

int coppice_params_set_int(coppice_params *p, int field, int64_t value) {
    bool flag = is_of(field, COPPICE_FLAG);
    if (!(is_of(field, COPPICE_INT) || (flag && (value == 0 || value == 1)))) return -EINVAL;
    return set(p, field, &(struct params_item){ .id = value });
}

int coppice_params_add_id(coppice_params *p, int field, int64_t id) {
    if (!is_of(field, COPPICE_IDS) || id < 0) return -EINVAL;
    return insert_sorted(&p->field[field], COPPICE_IDS, &(struct params_item){ .id = id });
}

int coppice_params_add_bias(coppice_params *p, int field, int64_t id, double value) {
    if (!is_of(field, COPPICE_BIAS) || id < 0 || isnan(value)) return -EINVAL;
    return insert_sorted(&p->field[field], COPPICE_BIAS, &(struct params_item){ .id = id, .real = without_sign_of_zero(value) });
}

/* Copies of both; false: no memory. */
static bool copy_texts(struct params_item *item, const char *name, size_t name_length, const char *bytes, size_t length) {
    if (name_length > SIZE_MAX / 4 || length > SIZE_MAX / 4) return false;
    char *room = malloc(name_length + length + 2);
    if (!room) return false;
    *item = (struct params_item){ .name = room, .bytes = room + name_length + 1, .name_length = name_length, .length = length };
    if (name_length) memcpy(item->name, name, name_length);
    if (length) memcpy(item->bytes, bytes, length);
    item->name[name_length] = item->bytes[length] = 0;
    return true;
}

int coppice_params_add_string(coppice_params *p, int field, const char *bytes, size_t length) {
    struct params_item item;
    if (!is_of(field, COPPICE_STRINGS)) return -EINVAL;
    if (!copy_texts(&item, "", 0, bytes, length)) return -ENOMEM;
    return insert(&p->field[field], p->field[field].count, &item);
}

int coppice_params_add_pair(coppice_params *p, int field, const char *name, size_t name_length, const char *bytes, size_t length) {
    struct params_item item;
    if (!is_of(field, COPPICE_PAIRS)) return -EINVAL;
    if (!copy_texts(&item, name, name_length, bytes, length)) return -ENOMEM;
    return insert_sorted(&p->field[field], COPPICE_PAIRS, &item);
}

/* --- asking */

size_t coppice_params_count(const coppice_params *p, int field) { return is_field(field) ? p->field[field].count : 0; }

static const struct params_item *item_of(const coppice_params *p, int field, unsigned kinds, size_t item) {
    return is_field(field) && kinds >> params_rows[field].kind & 1 && item < p->field[field].count ? &p->field[field].item[item] : NULL;
}

int coppice_params_real(const coppice_params *p, int field, size_t at, int64_t *id, double *value) {
    const struct params_item *item = item_of(p, field, 1 << COPPICE_REAL | 1 << COPPICE_BIAS, at);
    if (!item) return -EINVAL;
    if (id) *id = item->id;
    *value = item->real;
    return 0;
}

int coppice_params_int(const coppice_params *p, int field, size_t at, int64_t *value) {
    const struct params_item *item = item_of(p, field, 1 << COPPICE_INT | 1 << COPPICE_FLAG | 1 << COPPICE_IDS, at);
    if (!item) return -EINVAL;
    *value = item->id;
    return 0;
}

int coppice_params_bytes(const coppice_params *p, int field, size_t at, const char **name, size_t *name_length, const char **bytes, size_t *length) {
    const struct params_item *item = item_of(p, field, 1 << COPPICE_STRINGS | 1 << COPPICE_PAIRS, at);
    if (!item) return -EINVAL;
    if (name) *name = item->name, *name_length = item->name_length;
    *bytes = item->bytes, *length = item->length;
    return 0;
}
