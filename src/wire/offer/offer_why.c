/* SPDX-License-Identifier: MIT */
/* offer/offer_why.c: reasons, in words. */
#include "offer/offer.h"

#include <stdio.h>

#include "offer/offer_priv.h"

enum { REASON_MAX = 320, NAMES_MAX = 120 };

void offer_because(struct offer_why *w, const char *fmt, ...)
{
    char text[REASON_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof text)
        n = sizeof text - 1;
    sv line;
    if (sv_dup(w->arena, (sv){text, (size_t)n}, &line) != ERR_OK) {
        w->rc = ERR_NOMEM;
        return;
    }
    /* the last is why it failed, if it did */
    if (w->reasons->n == OFFER_REASONS_MAX)
        w->reasons->n--;
    w->reasons->line[w->reasons->n++] = line;
}

sv offer_codec_names(struct offer_why *w, const struct offer_codec *list, unsigned n)
{
    char text[NAMES_MAX];
    struct buf b;
    sv names;
    buf_init(&b, text, sizeof text);
    for (unsigned i = 0; i < n && b.rc == ERR_OK; i++) {
        if (!offer_codec_is_main(&list[i]))
            continue;
        char one[64];
        struct buf c;
        buf_init(&c, one, sizeof one);
        buf_put(&c, b.n > 0 ? SV(", ") : SV(""));
        buf_put(&c, sv_sub(list[i].name, 0, 32));
        buf_char(&c, '/');
        buf_u64(&c, list[i].clock_hz);
        buf_put(&b, buf_sv(&c));
    }
    if (b.n == 0)
        return SV("nothing");
    if (sv_dup(w->arena, buf_sv(&b), &names) != ERR_OK) {
        w->rc = ERR_NOMEM;
        return SV("nothing");
    }
    return names;
}

void offer_line_done(struct offer_why *w, enum offer_kind kind, enum err rc)
{
    bool sound = kind == OFFER_AUDIO;
    w->wanted++;
    w->sound_wanted += sound;
    w->kept += rc == ERR_OK;
    w->sound_kept += sound && rc == ERR_OK;
    if (rc == ERR_OK)
        return;
    w->failed = rc;
    /* the reason that decides is the sound's, if there is one */
    if (sound || w->sound_failed == ERR_OK)
        w->failed_why = w->reasons->n > 0 ? w->reasons->line[w->reasons->n - 1] : SV_NONE;
    if (sound)
        w->sound_failed = rc;
}

enum err offer_lines_done(struct offer_why *w)
{
    enum err rc = ERR_OK;
    if (w->sound_failed && w->sound_kept == 0)
        rc = w->sound_failed;
    else if (w->kept == 0)
        rc = w->failed;
    if (rc && sv_present(w->failed_why))
        offer_because(w, SV_FMT, SV_ARG(w->failed_why));
    return w->rc ? w->rc : rc;
}
