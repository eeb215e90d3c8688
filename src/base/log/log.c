/* SPDX-License-Identifier: MIT */
/* log/log.c: one event, one line, one write(2).
 *
 * A line is built on the stack. A value is cut at VALUE_MAX octets; a field that does not fit any
 * more is left out and the line says so, because a log that grows with its input is a weapon. */
#include "log/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_OCTETS = 8192, VALUE_MAX = 2048, TAIL = 32, MODULES = 32, MODULE_NAME = 32 };

static const char *const level_name[LOG_LEVELS] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

/* Rows are only added, under the mutex, and counted after they are complete: readers take no lock.
 */
static struct {
    char name[MODULE_NAME];
    _Atomic int level;
} module_level[MODULES];
static _Atomic size_t module_count;
static pthread_mutex_t module_mutex = PTHREAD_MUTEX_INITIALIZER;

static _Atomic int default_level = LOG_LEVEL_INFO;
static bool json_lines;                  /* RO after log_setup */
static void (*sink)(sv line, void *arg); /* RO after log_sink */
static void *sink_arg;

void log_setup(bool json, enum log_level level)
{
    json_lines = json;
    atomic_store(&default_level, (int)level);
}

void log_sink(void (*fn)(sv line, void *arg), void *arg)
{
    sink = fn;
    sink_arg = arg;
}

/* The row of module, or -1. */
static int module_row(const char *module)
{
    size_t n = atomic_load_explicit(&module_count, memory_order_acquire);
    for (size_t i = 0; i < n; i++)
        if (strcmp(module_level[i].name, module) == 0)
            return (int)i;
    return -1;
}

enum err log_level_set(const char *module, enum log_level level)
{
    if (!module) {
        atomic_store(&default_level, (int)level);
        return ERR_OK;
    }
    size_t n = strlen(module);
    if (n >= MODULE_NAME)
        return ERR_TOOBIG;
    enum err rc = ERR_OK;
    pthread_mutex_lock(&module_mutex);
    int i = module_row(module);
    size_t count = atomic_load(&module_count);
    if (i >= 0) {
        atomic_store(&module_level[i].level, (int)level);
    } else if (count == MODULES) {
        rc = ERR_TOOBIG;
    } else {
        memcpy(module_level[count].name, module, n + 1);
        atomic_store(&module_level[count].level, (int)level);
        atomic_store_explicit(&module_count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&module_mutex);
    return rc;
}

bool log_enabled(const char *module, enum log_level level)
{
    int i = module_row(module);
    _Atomic int *limit = i >= 0 ? &module_level[i].level : &default_level;
    return (int)level <= atomic_load_explicit(limit, memory_order_relaxed);
}

enum err log_level_parse(sv text, enum log_level *ret_level)
{
    for (int i = 0; i < LOG_LEVELS; i++) {
        if (sv_eq(text, sv_of(level_name[i]))) {
            *ret_level = (enum log_level)i;
            return ERR_OK;
        }
    }
    return ERR_SYNTAX;
}

static sv cut(sv s)
{
    if (s.n <= VALUE_MAX)
        return s;
    size_t n = VALUE_MAX;
    while (n > VALUE_MAX - 4 && ((uint8_t)s.p[n] & 0xc0) == 0x80) /* not inside a character */
        n--;
    return sv_sub(s, 0, n);
}

static void json_text(struct buf *b, const char *key, sv value)
{
    buf_char(b, '"');
    buf_str(b, key);
    buf_str(b, "\":\"");
    buf_json(b, cut(value));
    if (value.n > VALUE_MAX)
        buf_str(b, "...");
    buf_char(b, '"');
}

/* A word that needs no quotes in text lines. */
static bool is_bare(sv s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return s.n > 0 && s.n <= VALUE_MAX;
}

static void field_put(struct buf *b, const struct log_field *f)
{
    buf_char(b, json_lines ? ',' : ' ');
    if (f->kind == LOG_INT) {
        buf_printf(b, json_lines ? "\"%s\":" : "%s=", f->name);
        buf_i64(b, f->number);
    } else if (json_lines) {
        json_text(b, f->name, f->text);
    } else if (is_bare(f->text)) {
        buf_printf(b, "%s=", f->name);
        buf_put(b, f->text);
    } else {
        /* JSON's escapes inside quotes: no value can look like another field or end the line */
        buf_printf(b, "%s=\"", f->name);
        buf_json(b, cut(f->text));
        buf_str(b, f->text.n > VALUE_MAX ? "...\"" : "\"");
    }
}

static void line_write(sv line)
{
    int saved = errno;
    while (line.n > 0) {
        ssize_t n = write(STDERR_FILENO, line.p, line.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* nowhere to complain to */
        line = sv_sub(line, (size_t)n, line.n);
    }
    errno = saved;
}

static usec wall_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (usec)ts.tv_sec * USEC_S + ts.tv_nsec / 1000;
}

static void head_put(struct buf *b, enum log_level level, const char *module, const char *event)
{
    if (json_lines)
        buf_str(b, "{\"time\":\"");
    clock_rfc3339(b, wall_now());
    buf_printf(b,
               json_lines ? "\",\"level\":\"%s\",\"module\":\"%s\",\"event\":\"%s\"" : " %s %s %s",
               level_name[level], module, event);
}

void log_emit(enum log_level level, const char *module, const char *event,
              const struct log_field *fields, size_t n)
{
    char mem[LINE_MAX_OCTETS];
    struct buf b;
    buf_init(&b, mem, sizeof mem - TAIL);
    head_put(&b, level, module, event);
    bool cut_short = false;
    for (size_t i = 0; i < n; i++) {
        size_t before = b.n;
        field_put(&b, &fields[i]);
        if (b.rc) {
            b.n = before;
            b.rc = ERR_OK;
            cut_short = true;
        }
    }
    b.cap = b.cap_max = sizeof mem; /* TAIL holds what follows */
    if (cut_short)
        buf_str(&b, json_lines ? ",\"truncated\":true" : " truncated=true");
    buf_str(&b, json_lines ? "}\n" : "\n");
    if (sink)
        sink((sv){b.p, b.n - 1}, sink_arg);
    else
        line_write(buf_sv(&b));
}

bool log_may(struct log_brake *b, usec now)
{
    if (now - b->second >= USEC_S) {
        b->second = now;
        b->lines = 0;
    }
    if (b->lines == LOG_BRAKE_LINES) {
        b->left_out++;
        return false;
    }
    b->lines++;
    return true;
}
