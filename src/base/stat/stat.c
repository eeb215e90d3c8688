/* SPDX-License-Identifier: MIT */
/* stat/stat.c: the tables of stat.def as names, and the set-up histogram. */
#include "stat/stat.h"
#include <math.h>
#include <stddef.h>

const double stat_setup_bounds_s[STAT_SETUP_BUCKETS] = {
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, INFINITY,
};

static const struct {
    const char *name, *help;
    enum stat_kind kind;
} row[STAT_COUNT] = {
#define X(id, metric, what, words) \
    [STAT_##id] = {.name = metric, .help = words, .kind = STAT_KIND_##what},
#include "stat/stat.def"
#undef X
};

const char *stat_name(enum stat_id id)
{
    return row[id].name;
}

const char *stat_help(enum stat_id id)
{
    return row[id].help;
}

enum stat_kind stat_kind(enum stat_id id)
{
    return row[id].kind;
}

const char *stat_limit_label(enum stat_limit id)
{
    static const char *const label[STAT_LIMIT_COUNT] = {
#define X(name, text) [STAT_LIMIT_##name] = text,
        STAT_LIMIT_LIST(X)
#undef X
    };
    return label[id];
}

const char *stat_turn_label(enum stat_turn id)
{
    static const char *const label[STAT_TURN_COUNT] = {
#define X(name, text) [STAT_TURN_##name] = text,
        STAT_TURN_LIST(X)
#undef X
    };
    return label[id];
}

_Static_assert((int)STAT_LIMIT_COUNT <= (int)STAT_LIMITS,
               "struct stats has a place for every limit");

static void bump(_Atomic uint64_t *v, uint64_t by)
{
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

const double stat_mos_bounds[STAT_MOS_BUCKETS] = {2, 2.5, 3, 3.3, 3.6, 4, 4.3, INFINITY};

void stat_mos(struct stats *s, double mos)
{
    unsigned bucket = 0;
    while (bucket < STAT_MOS_BUCKETS - 1 && mos > stat_mos_bounds[bucket])
        bucket++;
    bump(&s->mos[bucket], 1);
    bump(&s->mos_count, 1);
    bump(&s->mos_sum_milli, (uint64_t)(mos * 1000));
}

void stat_setup_time(struct stats *s, int64_t us)
{
    int bucket = 0;
    if (us < 0)
        us = 0;
    while (bucket < STAT_SETUP_BUCKETS - 1 && (double)us > stat_setup_bounds_s[bucket] * 1e6)
        bucket++;
    bump(&s->setup[bucket], 1);
    bump(&s->setup_count, 1);
    bump(&s->setup_sum_us, (uint64_t)us);
}
