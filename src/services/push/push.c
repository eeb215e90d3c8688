/* SPDX-License-Identifier: MIT */
/* The webhook that wakes phones. */
#include "push/push.h"
#include "crypto/crypto.h"
#include "log/log.h"
#include <stdio.h>

enum { BODY_MAX = 8 * 1024, HEADER_MAX = 256, RECENT = 256 };

struct wake {
    struct link by_push;
    struct fetch_call *call;
    char account[128]; /* cut */
};

/* Who was woken a moment ago, by a hash of the contact: a forked or repeated call is one wake-up. */
struct recent {
    uint64_t contact;
    usec at;
};

struct push {
    struct loop *loop;
    struct fetch *fetch;
    struct link wakes;
    struct recent recent[RECENT];
    uint8_t seed[SIPHASH_KEY];
};

enum err push_new(struct loop *l, struct fetch *f, struct push **ret_push)
{
    struct push *p = MEM_NEW(struct push);
    if (!p)
        return ERR_NOMEM;
    p->loop = l;
    p->fetch = f;
    list_init(&p->wakes);
    loop_random_bytes(l, p->seed, sizeof(p->seed));
    *ret_push = p;
    return ERR_OK;
}

static void wake_free(struct wake *w)
{
    list_unlink(&w->by_push);
    mem_free(w);
}

void push_free(struct push *p)
{
    if (!p)
        return;
    LIST_EACH_SAFE (w, &p->wakes, struct wake, by_push) {
        fetch_cancel(w->call);
        wake_free(w);
    }
    mem_free(p);
}

/* Value of one of the contact's pn- parameters; binding.push is the list of them as it came. */
static sv param(const struct binding *b, sv name)
{
    sv rest = b->push, have, value;
    while (uri_param_next(&rest, &have, &value)) {
        if (sv_ieq(have, name))
            return value.p ? value : SV("");
    }
    return SV("");
}

bool push_can_wake(const struct push *p, const struct settings *set, const struct binding *b)
{
    return p && p->fetch && set->push.url.n > 0 && b->push.n > 0 &&
           param(b, SV("pn-provider")).n > 0;
}

static bool woken(struct push *p, sv contact)
{
    uint64_t h = crypto_siphash(p->seed, contact.p, contact.n);
    struct recent *r = &p->recent[h % RECENT];
    if (r->contact == h && r->at && loop_now(p->loop) - r->at < PUSH_AGAIN)
        return true;
    *r = (struct recent){.contact = h, .at = loop_now(p->loop)};
    return false;
}

static void put_text(struct buf *b, const char *name, sv text)
{
    buf_printf(b, ",\"%s\":\"", name);
    buf_json(b, text);
    buf_char(b, '"');
}

static void put_body(struct push *p, struct buf *b, const struct binding *x, sv aor,
                     const struct rx *rx)
{
    const struct sip_addr *from;
    struct rx *m = (struct rx *)rx; /* typed access remembers what it found */
    buf_str(b, "{\"event\":\"wake\"");
    put_text(b, "provider", param(x, SV("pn-provider")));
    put_text(b, "prid", param(x, SV("pn-prid")));
    put_text(b, "param", param(x, SV("pn-param")));
    put_text(b, "account", aor);
    put_text(b, "method", rx->msg.method_text);
    put_text(b, "call_id", sipmsg_value(&rx->msg, SIP_H_CALL_ID));
    put_text(b, "from", sipmsg_from(&m->msg, &from) == ERR_OK ? from->uri.text : SV(""));
    buf_str(b, ",\"time\":\"");
    clock_rfc3339(b, loop_wall(p->loop));
    buf_str(b, "\"}");
}

static void put_signature(struct push *p, struct buf *b, sv secret, sv body)
{
    char mem[32];
    uint8_t mac[SHA256_LEN];
    struct buf seconds;
    buf_init(&seconds, mem, sizeof(mem));
    buf_i64(&seconds, loop_wall(p->loop) / USEC_S);
    sv pieces[] = {buf_sv(&seconds), SV("."), body};
    crypto_hmac_sha256(secret, pieces, 3, mac);
    buf_str(b, "Tandem-Signature: t=");
    buf_put(b, buf_sv(&seconds));
    buf_str(b, ",v1=");
    buf_hex(b, mac, sizeof(mac));
}

static void on_done(void *arg, enum err rc, unsigned status)
{
    struct wake *w = arg;
    if (rc)
        LOG_WARN("push", "push.failed", F_STR("account", w->account), F_ERR(rc));
    else if (status / 100 != 2)
        LOG_WARN("push", "push.failed", F_STR("account", w->account), F_INT("status", status));
    wake_free(w);
}

void push_wake(struct push *p, const struct settings *set, const struct binding *b, sv aor,
               const struct rx *rx)
{
    char body_mem[BODY_MAX], header_mem[HEADER_MAX];
    struct buf body, header;
    if (!push_can_wake(p, set, b) || woken(p, b->uri))
        return;
    buf_init(&body, body_mem, sizeof(body_mem));
    buf_init(&header, header_mem, sizeof(header_mem));
    put_body(p, &body, b, aor, rx);
    put_signature(p, &header, set->push.secret, buf_sv(&body));
    struct wake *w = body.rc || header.rc ? NULL : MEM_NEW(struct wake);
    if (!w) {
        stat_refuse(&p->loop->stats, STAT_LIMIT_PUSH);
        return;
    }
    snprintf(w->account, sizeof(w->account), SV_FMT, SV_ARG(aor));
    struct fetch_request rq = {
        .url = set->push.url,
        .type = SV("application/json"),
        .body = buf_sv(&body),
        .headers = {buf_sv(&header)},
        .headers_n = 1,
        .time = PUSH_TIME,
        .done = on_done,
        .arg = w,
    };
    enum err rc = fetch_start(p->fetch, p->loop, &rq, &w->call);
    list_push(&p->wakes, &w->by_push);
    if (rc) {
        if (rc == ERR_BUSY)
            stat_refuse(&p->loop->stats, STAT_LIMIT_PUSH);
        on_done(w, rc, 0);
        return;
    }
    stat_inc(&p->loop->stats, STAT_PUSHES);
}
