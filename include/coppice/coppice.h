/* coppice.h: what a program may ask of Coppice itself. Nothing here is needed to profit from it: libcoppice.so is
 * preloaded into programs that know nothing of it. A program that wants to know finds these by dlsym(RTLD_DEFAULT, …). */
#ifndef COPPICE_H
#define COPPICE_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define COPPICE_VERSION_MAJOR 0
#define COPPICE_VERSION_MINOR 1
#define COPPICE_VERSION_PATCH 0

/* The version of the library that is loaded, such as "0.1.0". Static text; any thread, any time. */
const char *coppice_version(void);

/* --- equal contents, held once (docs/INTERN.md) */

/* The one address of this content: calls with equal bytes and an equal tag give the same pointer for as long as it is
 * referenced. Each call adds a reference. What it points at is aligned to 8 (with COPPICE_PARAMS_TAG not at all), stays as
 * it is, and cannot be written: an attempt is SIGSEGV. `bytes` remain the caller's.
 * NULL: the caller goes on with its own copy. That is so when Coppice stands aside in this process or COPPICE_INTERN=off,
 * when length is above 1 MiB, when COPPICE_INTERN_MAX_ENTRIES contents are all referenced, and when memory is short.
 * Any thread; not in a signal handler. A fork's child has all contents and references of its parent as its own. */
const void *coppice_intern(const void *bytes, size_t length, uint32_t tag);
/* Takes back the reference of one coppice_intern. The content may then vanish at any time unless others refer to it.
 * NULL is nothing; any other pointer must come from coppice_intern. Any thread; not in a signal handler. */
void coppice_release(const void *interned);

/* --- how memory lives (docs/TYPES.md)
 *
 * A *type* says how memory is used, so that it can be kept with its like and given back at the right moment. It never
 * changes what a program may do with the memory, and a wrong one costs memory or time, nothing else. */
enum coppice_type {
    COPPICE_UNTYPED,    /* nothing is known: memory lives as without types */
    COPPICE_EPISODIC,   /* short-lived, asked for in many places */
    COPPICE_PROCEDURAL, /* workspaces that are taken and given back again and again */
    COPPICE_SEMANTIC,   /* long-lived, written once, then read: weights, vocabularies */
    COPPICE_EMOTIONAL,  /* wanted at once: reserved ahead, not given back while the process lives */
    COPPICE_TYPES
};

/* As malloc, for memory of this type: free, realloc and malloc_usable_size take it. NULL with ENOMEM: no memory. A value
 * that is no type is COPPICE_UNTYPED. Any thread; not in a signal handler. */
void *coppice_alloc(size_t size, enum coppice_type type);
/* From here to the matching coppice_type_pop, what the calling thread allocates (malloc, operator new, cudaMalloc and their
 * kin) is of this type; COPPICE_UNTYPED suspends an outer type. Calls nest, to any depth: beyond COPPICE_TYPE_DEPTH the
 * type of that depth stays. A pop without a push does nothing. The calling thread alone; not in a signal handler. */
void coppice_type_push(enum coppice_type type);
void coppice_type_pop(void);
enum { COPPICE_TYPE_DEPTH = 32 };

/* --- sets of sampling parameters as few bytes: equal settings give equal bytes (format: docs/INTERN.md)
 *
 * X(number, NAME, "name", kind, default): a field's number is its place in the format and never changes; new fields are
 * added with new numbers. A field that holds its default is not written, so it makes no difference whether it was set to
 * that or not at all. NONE: the field has no default; servers differ, so it is written whenever it was set.
 * kinds: REAL; INT; FLAG (0 or 1); STRINGS (in the order given); IDS (a set of token ids); BIAS (token id to number);
 * PAIRS (name to bytes, for whatever is not in the table). */
#define COPPICE_PARAMS(X) \
    X(1, TEMPERATURE, "temperature", REAL, 1) \
    X(2, TOP_P, "top_p", REAL, 1) \
    X(3, TOP_K, "top_k", INT, NONE) \
    X(4, MIN_P, "min_p", REAL, 0) \
    X(5, PRESENCE_PENALTY, "presence_penalty", REAL, 0) \
    X(6, FREQUENCY_PENALTY, "frequency_penalty", REAL, 0) \
    X(7, REPETITION_PENALTY, "repetition_penalty", REAL, 1) \
    X(8, SEED, "seed", INT, NONE) \
    X(9, MAX_TOKENS, "max_tokens", INT, NONE) \
    X(10, MIN_TOKENS, "min_tokens", INT, 0) \
    X(11, N, "n", INT, 1) \
    X(12, BEST_OF, "best_of", INT, NONE) \
    X(13, LOGPROBS, "logprobs", INT, NONE) \
    X(14, PROMPT_LOGPROBS, "prompt_logprobs", INT, NONE) \
    X(15, TOP_LOGPROBS, "top_logprobs", INT, NONE) \
    X(16, STOP, "stop", STRINGS, EMPTY) \
    X(17, STOP_TOKEN_IDS, "stop_token_ids", IDS, EMPTY) \
    X(18, BAD_WORDS, "bad_words", STRINGS, EMPTY) \
    X(19, ALLOWED_TOKEN_IDS, "allowed_token_ids", IDS, EMPTY) \
    X(20, LOGIT_BIAS, "logit_bias", BIAS, EMPTY) \
    X(21, IGNORE_EOS, "ignore_eos", FLAG, 0) \
    X(22, SKIP_SPECIAL_TOKENS, "skip_special_tokens", FLAG, 1) \
    X(23, SPACES_BETWEEN_SPECIAL_TOKENS, "spaces_between_special_tokens", FLAG, 1) \
    X(24, INCLUDE_STOP_STR_IN_OUTPUT, "include_stop_str_in_output", FLAG, 0) \
    X(25, DETOKENIZE, "detokenize", FLAG, 1) \
    X(26, TRUNCATE_PROMPT_TOKENS, "truncate_prompt_tokens", INT, NONE) \
    X(27, USE_BEAM_SEARCH, "use_beam_search", FLAG, 0) \
    X(28, LENGTH_PENALTY, "length_penalty", REAL, 1) \
    X(29, TYPICAL_P, "typical_p", REAL, 1) \
    X(30, TOP_A, "top_a", REAL, 0) \
    X(31, TFS, "tfs", REAL, 1) \
    X(32, MIROSTAT_MODE, "mirostat_mode", INT, 0) \
    X(33, MIROSTAT_TAU, "mirostat_tau", REAL, NONE) \
    X(34, MIROSTAT_ETA, "mirostat_eta", REAL, NONE) \
    X(35, DRY_MULTIPLIER, "dry_multiplier", REAL, 0) \
    X(36, DRY_BASE, "dry_base", REAL, NONE) \
    X(37, DRY_ALLOWED_LENGTH, "dry_allowed_length", INT, NONE) \
    X(38, XTC_THRESHOLD, "xtc_threshold", REAL, NONE) \
    X(39, XTC_PROBABILITY, "xtc_probability", REAL, 0) \
    X(40, EXTRA, "extra", PAIRS, EMPTY)

enum coppice_param_kind {
    COPPICE_REAL, COPPICE_INT, COPPICE_FLAG, COPPICE_STRINGS, COPPICE_IDS, COPPICE_BIAS, COPPICE_PAIRS
};
enum coppice_param {
#define X(number, NAME, name, kind, standard) COPPICE_##NAME = number,
    COPPICE_PARAMS(X)
#undef X
    COPPICE_PARAM_END
};
enum { COPPICE_PARAMS_VERSION = 1, COPPICE_PARAMS_TAG = 0x50415201 /* of encodings that are interned */ };

/* A set under construction, or as it was decoded. One thread at a time. */
typedef struct coppice_params coppice_params;

/* An empty set: every field at its default. NULL: no memory. */
coppice_params *coppice_params_new(void);
void coppice_params_free(coppice_params *params);
/* The field of a name, 0 when there is none; its name, NULL, and its kind, -1, when there is no such field. */
int coppice_params_field(const char *name);
const char *coppice_params_name(int field);
int coppice_params_kind(int field);

/* Each returns 0 or a negative errno: -EINVAL when the field is of another kind or the value cannot be (a REAL that is no
 * number, a FLAG beyond 0 and 1, an id below 0), -ENOMEM. A later value takes the place of an earlier one: of the
 * field, for BIAS of the token, for PAIRS of the name. */
int coppice_params_set_real(coppice_params *params, int field, double value);
int coppice_params_set_int(coppice_params *params, int field, int64_t value); /* INT and FLAG */
int coppice_params_add_string(coppice_params *params, int field, const char *bytes, size_t length);
int coppice_params_add_id(coppice_params *params, int field, int64_t id);
int coppice_params_add_bias(coppice_params *params, int field, int64_t id, double value);
int coppice_params_add_pair(coppice_params *params, int field, const char *name, size_t name_length, const char *bytes, size_t length);

/* What differs from the defaults. The number of values of a field: 0 at its default, 1, or the items of a list, which
 * stand in the order in which they are encoded. Getters return 0, or -EINVAL when there is no such value; what they point
 * at lives until the set is changed. */
size_t coppice_params_count(const coppice_params *params, int field);
int coppice_params_real(const coppice_params *params, int field, size_t item, int64_t *id, double *value); /* REAL and BIAS */
int coppice_params_int(const coppice_params *params, int field, size_t item, int64_t *value);              /* INT, FLAG and IDS */
int coppice_params_bytes(const coppice_params *params, int field, size_t item, const char **name, size_t *name_length,
                         const char **bytes, size_t *length); /* STRINGS and PAIRS */

/* The length of the encoding, which is written into `buffer` if it fits there. */
size_t coppice_params_encode(const coppice_params *params, void *buffer, size_t capacity);
/* Puts what `bytes` encode in the place of what the set holds. Only what coppice_params_encode can write is accepted, so
 * one set has one encoding; any bytes may be given. 0, -EINVAL (the set is empty then), -ENOMEM. */
int coppice_params_decode(coppice_params *params, const void *bytes, size_t length);
/* The encoding, interned; NULL as coppice_intern, or no memory. `length` may be NULL. */
const void *coppice_params_intern(const coppice_params *params, size_t *length);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
