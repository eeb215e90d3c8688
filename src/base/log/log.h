/* SPDX-License-Identifier: MIT */
/* log/log.h: one line per decision, as text or JSON, on standard error.         layer: base
 *
 * Shape   an event has a level, a module, a name (lower case, dots: `call.start`) and fields.
 *         Values are escaped for the format (D25); values of fields named as secrets never reach
 *         this interface. JSON: {"time":…,"level":…,"module":…,"event":…,fields…}; text: time
 *         level module event k=v…
 * Rule    below services nothing logs above debug; services and app log once, where they decide.
 * Threads any: one write(2) per line. Configuration is set before threads start, level changes
 *         are atomic.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H
#include "clock/clock.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVELS };

struct log_field {
    const char *name;
    enum { LOG_TEXT, LOG_INT } kind;
    sv text;
    int64_t number;
};
#define F_SV(k, v)  ((struct log_field){(k), LOG_TEXT, (v), 0})
#define F_STR(k, v) ((struct log_field){(k), LOG_TEXT, sv_of(v), 0})
#define F_INT(k, v) ((struct log_field){(k), LOG_INT, SV_NONE, (int64_t)(v)})
#define F_ERR(rc)   F_STR("error", err_text(rc))

/* json: JSON lines, else text. Default before the call: text, info. */
void log_setup(bool json, enum log_level level);
/* Level of one module (NULL: of all others). Errors: ERR_TOOBIG (over 32 modules). */
MUST_USE enum err log_level_set(const char *module, enum log_level level);
bool log_enabled(const char *module, enum log_level level);
void log_emit(enum log_level level, const char *module, const char *event,
              const struct log_field *fields, size_t n);
/* For tests: every finished line goes here instead of standard error; NULL restores. */
void log_sink(void (*fn)(sv line, void *arg), void *arg);
MUST_USE enum err log_level_parse(sv text, enum log_level *ret_level);

/* Lines of one kind in this second, and those that were not written (D25). */
struct log_brake {
    usec second;
    unsigned lines, left_out;
};
enum { LOG_BRAKE_LINES = 10 }; /* a second */
/* One more may be written; the caller says left_out in it and sets it to 0. */
bool log_may(struct log_brake *b, usec now);

#define LOG_AT(level, module, event, ...)                                                        \
    do {                                                                                         \
        if (log_enabled((module), (level))) {                                                    \
            const struct log_field fields_[] = {__VA_ARGS__};                                    \
            log_emit((level), (module), (event), fields_, sizeof(fields_) / sizeof(fields_[0])); \
        }                                                                                        \
    } while (0)
#define LOG_ERROR(module, event, ...) LOG_AT(LOG_LEVEL_ERROR, module, event, __VA_ARGS__)
#define LOG_WARN(module, event, ...)  LOG_AT(LOG_LEVEL_WARN, module, event, __VA_ARGS__)
#define LOG_INFO(module, event, ...)  LOG_AT(LOG_LEVEL_INFO, module, event, __VA_ARGS__)
#define LOG_DEBUG(module, event, ...) LOG_AT(LOG_LEVEL_DEBUG, module, event, __VA_ARGS__)

#endif
