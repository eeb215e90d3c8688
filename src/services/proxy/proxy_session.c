/* SPDX-License-Identifier: MIT */
/* The proxy's part in session timers: RFC 4028 §8. A timer of ours is asked for when the caller knows
 * them; when only he does, he is told to refresh. Nothing of it is kept beyond the transaction. */
#include "proxy/proxy_priv.h"
#include "str/scan.h"

enum { MIN_SE = 90 }; /* §5: the least there is, and what is meant without Min-SE */

static bool read_seconds(const struct sipmsg *m, enum sip_header h, uint32_t *ret)
{
    struct scan s = scan_of(sipmsg_value(m, h));
    uint64_t n;
    if (!sipmsg_has(m, h) || scan_u64(&s, UINT32_MAX, &n))
        return false;
    *ret = (uint32_t)n;
    return true;
}

static bool refreshes(const struct sipmsg *m)
{
    return m->method == SIP_INVITE || m->method == SIP_UPDATE;
}

static uint32_t seconds_of(usec t)
{
    return t / USEC_S > MIN_SE ? (uint32_t)(t / USEC_S) : MIN_SE;
}

bool session_too_small(const struct settings *set, const struct sipmsg *m, uint32_t *ret_min)
{
    uint32_t asked;
    *ret_min = seconds_of(set->min_se);
    return refreshes(m) && read_seconds(m, SIP_H_SESSION_EXPIRES, &asked) && asked < *ret_min &&
           sipmsg_lists(m, SIP_H_SUPPORTED, SV("timer"));
}

void session_plan(const struct settings *set, const struct sipmsg *m, struct session_plan *ret)
{
    uint32_t asked, min = MIN_SE, ours = seconds_of(set->min_se);
    *ret = (struct session_plan){0};
    if (!refreshes(m))
        return;
    bool known = ret->known = sipmsg_lists(m, SIP_H_SUPPORTED, SV("timer"));
    bool has_min = read_seconds(m, SIP_H_MIN_SE, &min);
    if (min < MIN_SE)
        min = MIN_SE;
    if (!read_seconds(m, SIP_H_SESSION_EXPIRES, &asked)) {
        if (known && set->session_timer)
            ret->expires = seconds_of(set->session_timer);
    } else {
        ret->expires = asked;
        /* Who does not know timers cannot be refused: his minimum is raised, never lowered. */
        if (!known && asked < ours && (!has_min || min < ours))
            ret->min = min = ours;
        if (set->session_timer && ret->expires > seconds_of(set->session_timer))
            ret->expires = seconds_of(set->session_timer);
    }
    if (ret->expires && ret->expires < min)
        ret->expires = min;
}

/* The number that a field begins with is replaced: its parameters, the refresher among them, stay. */
static void edit_number(struct sipedit *e, const struct sipmsg *m, enum sip_header h, uint32_t n,
                        struct buf *texts)
{
    struct scan s = scan_of(sipmsg_value(m, h));
    size_t from = texts->n;
    uint64_t was;
    bool has = sipmsg_has(m, h);
    if (has && scan_u64(&s, UINT32_MAX, &was))
        return; /* not ours to mend */
    if (has && was == n)
        return;
    if (!has) {
        buf_put(texts, sip_header_name(h));
        buf_str(texts, ": ");
    }
    buf_u64(texts, n);
    sv text = sv_sub(buf_sv(texts), from, texts->n);
    if (texts->rc)
        e->rc = e->rc ? e->rc : texts->rc;
    else if (has)
        sipedit_cut(e, (sv){sipmsg_value(m, h).p, scan_offset(&s)}, text);
    else
        sipedit_line_last(e, text);
}

void session_request(struct sipedit *e, const struct sipmsg *m, const struct session_plan *s,
                     struct buf *texts)
{
    if (s->min)
        edit_number(e, m, SIP_H_MIN_SE, s->min, texts);
    if (s->expires)
        edit_number(e, m, SIP_H_SESSION_EXPIRES, s->expires, texts);
}

void session_response(struct sipedit *e, const struct sipmsg *m, const struct session_plan *s,
                      char mem[static SESSION_LINE])
{
    struct buf b;
    if (m->status / 100 != 2 || !s->known || !s->expires || sipmsg_has(m, SIP_H_SESSION_EXPIRES))
        return;
    buf_init(&b, mem, SESSION_LINE);
    buf_str(&b, "Session-Expires: ");
    buf_u64(&b, s->expires);
    buf_str(&b, ";refresher=uac");
    sipedit_line_last(e, buf_sv(&b));
    if (!sipmsg_lists(m, SIP_H_REQUIRE, SV("timer")))
        sipedit_line_last(e, SV("Require: timer"));
}
