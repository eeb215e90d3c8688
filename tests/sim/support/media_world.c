/* SPDX-License-Identifier: MIT */
/* What the parts of media_sim all use: failures, chance, memory. */
#include "support/media.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const uint8_t media_secret[HOME_SECRET] = "thirty-two octets for a server.";

void media_fail(struct media_world *w, const char *what, const char *fmt, ...)
{
    char why[512];
    va_list ap;
    if (w->failed)
        return;
    w->failed = true;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    printf("FAILED at seed %llu, %lld us: %s: %s\n  replay: media_sim --seeds %llu %s --trace\n",
           (unsigned long long)w->seed, (long long)sim_now(w->sim), what, why,
           (unsigned long long)w->seed, w->program->replay);
    fflush(stdout);
}

void media_need(enum err rc)
{
    if (rc) {
        fprintf(stderr, "media_sim: %s\n", err_text(rc));
        abort();
    }
}

bool media_chance(struct media_world *w, unsigned percent)
{
    return sim_random(w->sim) % 100 < percent;
}

usec media_between(struct media_world *w, usec from, usec to)
{
    return from + (usec)(sim_random(w->sim) % (uint64_t)(to - from + 1));
}

void *media_take(struct media_world *w, size_t n)
{
    void *p = arena_calloc(&w->memory, 1, n);
    if (!p)
        abort();
    return p;
}

sv media_keep(struct media_world *w, sv text)
{
    sv copy;
    media_need(sv_dup(&w->memory, text, &copy));
    return copy;
}
