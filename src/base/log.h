/* log.h: the one way in which Coppice speaks of its own trouble: a single line on standard error that begins with
 * "coppice: ". No malloc, no stdio; async-signal-safe; errno is kept. Silent when switched off. */
#ifndef COPPICE_BASE_LOG_H
#define COPPICE_BASE_LOG_H
#include "base/text.h"

/* Writes "coppice: " and the strings up to the NULL that ends them, and a newline. */
void log_line(const char *first, ...) __attribute__((sentinel));
/* Is standard error still the file that it was at the start? A program that closed descriptor 2 may have data there now. */
void log_remember_stderr(void);
bool log_stderr_is_ours(void);
void log_silence(void);
#endif
