/* SPDX-License-Identifier: MIT */
/* Overload: judging, choosing, speaking of it. */
#include "overload/overload.h"
#include "str/scan.h"

enum { STEP_UP = 10, STEP_DOWN = 5, PERCENT_MAX = 95, VALIDITY_MS = 1000, VALIDITY_USUAL_MS = 500 };
enum { VIA_MAX = 1024, REPLY_ROOM = 128 };
#define PROBE_CALM   (100 * USEC_MS)
#define PROBE_LATE   (10 * USEC_MS) /* whether lateness goes away shows soon */
#define VALIDITY_MAX (60 * USEC_S)

/* ---- ourselves ---- */

/* One step of the control: additive up and, more slowly, down; a table that is nearly full is refused
 * in proportion, whatever the lag says. 5 % always pass, so that the load is seen. */
static unsigned judge(const struct overload *o)
{
    unsigned percent = o->percent, floor = 0;
    bool high = o->lag > OVERLOAD_LAG_HIGH || o->full > OVERLOAD_FULL_HIGH;
    bool low = o->lag <= OVERLOAD_LAG_LOW && o->full <= OVERLOAD_FULL_LOW;
    if (high)
        percent += STEP_UP;
    else if (low)
        percent = percent > STEP_DOWN ? percent - STEP_DOWN : 0;
    if (o->full > OVERLOAD_FULL_HIGH)
        floor = (o->full - OVERLOAD_FULL_HIGH) * 100 / (100 - OVERLOAD_FULL_HIGH);
    if (percent < floor)
        percent = floor;
    return percent < PERCENT_MAX ? percent : PERCENT_MAX;
}

void overload_measure(struct overload *o, usec now, usec lag, unsigned full)
{
    if (o->lag < 0 || lag < o->lag)
        o->lag = lag;
    if (full > o->full)
        o->full = full;
    if (now - o->judged < OVERLOAD_INTERVAL)
        return;
    /* After a pause nothing of before counts: the load is what it is now. */
    if (now - o->judged > 100 * OVERLOAD_INTERVAL)
        o->percent = 0;
    unsigned percent = judge(o);
    if (percent || o->percent) /* each tells anew for how long (RFC 7339 §5.4) */
        o->seq++;
    o->percent = percent;
    o->judged = now;
    o->lag = -1;
    o->full = 0;
}

bool overload_sheddable(struct sipmsg *m)
{
    const struct sip_addr *to;
    static const char sos[] = "urn:service:sos";
    switch (m->method) {
    case SIP_ACK:
    case SIP_BYE:
    case SIP_CANCEL:
    case SIP_PRACK:
        return false;
    default:
        break;
    }
    if (sipmsg_to(m, &to) == ERR_OK && to->tag.n)
        return false;
    size_t n = sizeof(sos) - 1;
    return !(m->uri_text.n >= n && sv_ieq(sv_sub(m->uri_text, 0, n), SV("urn:service:sos")) &&
             (m->uri_text.n == n || m->uri_text.p[n] == '.'));
}

bool overload_sheds(const struct overload *o, struct sipmsg *m, uint64_t chance)
{
    return o->percent > 0 && chance % 100 < o->percent && overload_sheddable(m);
}

unsigned overload_retry_s(uint64_t chance)
{
    return OVERLOAD_RETRY_MIN + (unsigned)(chance % (OVERLOAD_RETRY_MAX - OVERLOAD_RETRY_MIN + 1));
}

/* ---- oc ---- */

/* A list of names, quoted or one alone. */
static bool has_loss(sv algorithms)
{
    size_t n = algorithms.n;
    if (n >= 2 && algorithms.p[0] == '"' && algorithms.p[n - 1] == '"')
        algorithms = sv_sub(algorithms, 1, n - 1);
    while (algorithms.n) {
        size_t end = sv_chr(algorithms, ',');
        if (sv_ieq(sv_trim(sv_sub(algorithms, 0, end)), SV("loss")))
            return true;
        algorithms = sv_sub(algorithms, end < algorithms.n ? end + 1 : end, algorithms.n);
    }
    return false;
}

/* A parameter may begin with an o: nearly none does, and no more than that is looked at. */
static bool may_have_oc(sv params)
{
    while (params.n) {
        size_t at = 0;
        while (at < params.n && (unsigned char)params.p[at] <= ' ')
            at++;
        if (at < params.n && (params.p[at] | 0x20) == 'o')
            return true;
        params = sv_sub(params, sv_chr(params, ';') + 1, params.n);
    }
    return false;
}

bool overload_is_offered(const struct sip_via *via)
{
    sv oc, algorithms;
    return may_have_oc(via->params) && sip_param(via->params, SV("oc"), &oc) && oc.n == 0 &&
           sip_param(via->params, SV("oc-algo"), &algorithms) && has_loss(algorithms);
}

bool overload_put_via(struct buf *b, const struct overload *o, const struct sip_via *via)
{
    char mem[VIA_MAX];
    struct buf out;
    sv rest = via->params, name, value;
    enum err rc = ERR_OK;
    if (!overload_is_offered(via))
        return false;
    buf_init(&out, mem, sizeof(mem));
    /* Up to the first parameter as it came. */
    buf_put(&out, sv_trim(sv_sub(via->text, 0, sv_chr(via->text, ';'))));
    while (sip_param_next(&rest, &name, &value, &rc)) {
        if (name.n >= 2 && sv_ieq(sv_sub(name, 0, 2), SV("oc")) &&
            (name.n == 2 || name.p[2] == '-'))
            continue;
        buf_char(&out, ';');
        buf_put(&out, name);
        if (value.n) {
            buf_char(&out, '=');
            buf_put(&out, value);
        }
    }
    /* §5.1: support is told with 0; §5.7: and that nothing is asked for, with a validity of 0. */
    buf_printf(&out, ";oc=%u;oc-algo=\"loss\";oc-validity=%u;oc-seq=%u", o->percent,
               o->percent ? VALIDITY_MS : 0, o->seq);
    if (rc || out.rc)
        return false;
    buf_put(b, buf_sv(&out));
    return b->rc == ERR_OK;
}

/* The reply's octets with oc in its topmost Via; NULL: as it is. */
static struct block *with_oc(const struct overload *o, struct sip *s, struct block *plain)
{
    char mem[VIA_MAX];
    struct arena a;
    struct sipmsg m;
    struct sipedit e;
    struct buf via_text, b;
    const struct sip_via *via;
    struct block *out = NULL;
    arena_init(&a, NULL, 0, 64 * 1024);
    buf_init(&via_text, mem, sizeof(mem));
    if (sipmsg_parse(block_sv(plain), &a, &m, NULL) == ERR_OK && sipmsg_via(&m, &via) == ERR_OK &&
        overload_put_via(&via_text, o, via) && (out = sip_block(s, plain->n + REPLY_ROOM))) {
        buf_init(&b, out->p, out->cap);
        sipedit_init(&e, &m);
        sipedit_cut(&e, via->text, buf_sv(&via_text));
        if (sipedit_write(&e, &b) == ERR_OK) {
            out->n = (uint32_t)b.n;
        } else {
            block_unref(out);
            out = NULL;
        }
    }
    arena_done(&a);
    return out;
}

enum err overload_refuse(const struct overload *o, struct sip *s, struct rx *rx)
{
    char mem[32], tag[24];
    struct buf b;
    struct block *plain;
    struct loop *l = sip_loop(s);
    if (rx->msg.method == SIP_ACK)
        return ERR_OK;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "Retry-After: %u\r\n", overload_retry_s(loop_random(l)));
    struct sip_reply r = {
        .status = 503, .headers = buf_sv(&b), .to_tag = sip_stateless_tag(s, rx, tag)};
    stat_inc(&l->stats, STAT_SHED);
    stat_refuse(&l->stats, STAT_LIMIT_OVERLOAD);
    TRY(sip_build_reply(s, rx, &r, &plain));
    struct block *oc = with_oc(o, s, plain);
    enum err rc = sip_send_response(s, rx, oc ? oc : plain);
    block_unref(oc);
    block_unref(plain);
    return rc;
}

/* ---- servers below us ---- */

static struct overload_peer *peer_of(struct overload_peers *p, const struct addr *a)
{
    struct overload_peer *oldest = &p->peer[0];
    for (unsigned i = 0; i < OVERLOAD_PEERS; i++) {
        struct overload_peer *x = &p->peer[i];
        if (x->addr.family && addr_equal(&x->addr, a))
            return x;
        if (x->heard < oldest->heard)
            oldest = x;
    }
    *oldest = (struct overload_peer){.addr = *a};
    return oldest;
}

static bool number(const struct sip_via *via, sv name, uint32_t max, uint32_t *ret)
{
    sv value;
    uint64_t n;
    if (!sip_param(via->params, name, &value))
        return false;
    struct scan s = scan_of(value);
    if (scan_u64(&s, max, &n))
        return false;
    *ret = (uint32_t)n;
    return true;
}

void overload_heard(struct overload_peers *p, const struct addr *from, const struct sip_via *via,
                    usec now)
{
    uint32_t percent, ms = VALIDITY_USUAL_MS, seq;
    sv algorithms;
    if (!number(via, SV("oc"), 100, &percent) || !number(via, SV("oc-seq"), UINT32_MAX, &seq))
        return;
    if (sip_param(via->params, SV("oc-algo"), &algorithms) && !has_loss(algorithms))
        return;
    if (!number(via, SV("oc-validity"), UINT32_MAX, &ms))
        ms = VALIDITY_USUAL_MS;
    struct overload_peer *x = peer_of(p, from);
    /* §5.4: an older one has nothing to say, unless the numbers have begun anew (§4.4). */
    bool known = x->heard && now < x->until;
    if (known && seq <= x->seq && x->seq - seq < UINT32_MAX / 2)
        return;
    usec valid = (usec)ms * USEC_MS;
    x->seq = seq;
    x->percent = ms ? percent : 0;
    x->heard = now;
    x->until = now + (valid < VALIDITY_MAX ? valid : VALIDITY_MAX);
}

bool overload_may_send(const struct overload_peers *p, const struct addr *to, struct sipmsg *m,
                       usec now, uint64_t chance)
{
    for (unsigned i = 0; i < OVERLOAD_PEERS; i++) {
        const struct overload_peer *x = &p->peer[i];
        if (x->addr.family && addr_equal(&x->addr, to))
            return now >= x->until || chance % 100 >= x->percent || !overload_sheddable(m);
    }
    return true;
}

/* ---- the loop's lag ---- */

static void probe_arm(struct overload_probe *p)
{
    p->work = false;
    if (p->look[p->at] > OVERLOAD_LAG_LOW)
        loop_timer(p->loop, &p->timer, PROBE_LATE);
    else
        loop_timer_about(p->loop, &p->timer, PROBE_CALM);
    p->due = p->timer.at;
}

static void looked(struct overload_probe *p, usec lag)
{
    p->at = (p->at + 1) % OVERLOAD_LOOKS;
    p->look[p->at] = lag;
    p->lag = lag;
    for (unsigned i = 0; i < OVERLOAD_LOOKS; i++)
        if (p->look[i] < p->lag)
            p->lag = p->look[i];
}

static void on_probe(struct timer *t, void *arg)
{
    struct overload_probe *p = arg;
    (void)t;
    looked(p, p->work && p->loop->now > p->due ? p->loop->now - p->due : 0);
    p->due = 0;
    if (p->work)
        probe_arm(p);
}

void overload_probe_init(struct overload_probe *p, struct loop *l)
{
    *p = (struct overload_probe){.loop = l};
    timer_init(&p->timer, on_probe, p);
}

void overload_probe_work(struct overload_probe *p)
{
    p->work = true;
    if (!p->due)
        probe_arm(p);
}

void overload_probe_done(struct overload_probe *p)
{
    loop_timer_cancel(p->loop, &p->timer);
    p->due = 0;
}
