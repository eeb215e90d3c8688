/* SPDX-License-Identifier: MIT */
/* The user agent's life, what comes in (RFC 3261 §8.2), and how calls end. */
#include "useragent/useragent_priv.h"

enum {
    MEMORY_MAX = 16 * 1024,
    CALLS_DEFAULT = 8,
    TRANSACTIONS_DEFAULT = 1024,
    CONNECTIONS = 8,
    MESSAGE_MAX = 64 * 1024,
};

bool useragent_set_text(sv *at, sv text)
{
    mem_free((char *)at->p);
    *at = SV_NONE;
    if (!text.p)
        return true;
    char *p = mem_alloc(text.n ? text.n : 1);
    if (!p)
        return false;
    memcpy(p, text.p, text.n);
    *at = (sv){p, text.n};
    return true;
}

void useragent_put_tag(struct useragent *ua, struct buf *b)
{
    uint64_t chance = loop_random(ua->loop);
    buf_hex(b, &chance, sizeof(chance));
}

void useragent_reply(struct useragent *ua, struct rx *rx, struct sip_reply *r)
{
    char tag[24];
    struct stxn *t;
    r->to_tag = sip_stateless_tag(ua->sip, rx, tag);
    /* Without a transaction the answer is given anew to each repetition. A response that is lost is
     * asked for again. */
    enum err rc = stxn_new(ua->sip, rx, NULL, NULL, &t);
    if (rc == ERR_OK) {
        rc = stxn_reply(t, r);
        stxn_drop(t);
    } else {
        rc = sip_reply(ua->sip, rx, r);
    }
    (void)rc;
}

/* ---- a call's life ---- */

struct useragent_call *useragent_call_new(struct useragent *ua, sv call_id, bool outgoing)
{
    char mem[TAG_LEN];
    struct buf tag;
    struct useragent_call *c = MEM_NEW(struct useragent_call);
    if (!c)
        return NULL;
    buf_init(&tag, mem, sizeof(mem));
    useragent_put_tag(ua, &tag);
    c->ua = ua;
    c->outgoing = outgoing;
    c->phase = outgoing ? PHASE_CALLING : PHASE_INCOMING;
    list_init(&c->by_due);
    list_init(&c->dialogs);
    timer_init(&c->ringing, NULL, c);
    if (!useragent_set_text(&c->call_id, call_id) ||
        !useragent_set_text(&c->local_tag, buf_sv(&tag))) {
        useragent_set_text(&c->call_id, SV_NONE);
        mem_free(c);
        return NULL;
    }
    hash_insert(&ua->calls, &c->by_call_id, crypto_siphash(ua->seed, call_id.p, call_id.n));
    ua->active++;
    return c;
}

static void call_free(struct useragent_call *c)
{
    loop_timer_cancel(c->ua->loop, &c->ringing);
    request_drop(&c->invite);
    stxn_drop(c->server);
    LIST_EACH_SAFE (d, &c->dialogs, struct dialog, by_call)
        dialog_free(d);
    sv *texts[] = {&c->call_id, &c->local_tag, &c->local_sdp,
                   &c->remote,  &c->target,    &c->credentials};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        useragent_set_text(texts[i], SV_NONE);
    hash_remove(&c->ua->calls, &c->by_call_id);
    list_unlink(&c->by_due);
    mem_free(c);
}

static bool busy(const struct useragent_call *c)
{
    if (c->invite.txn || c->server)
        return true;
    LIST_EACH (d, &c->dialogs, struct dialog, by_call) {
        if (d->bye.txn)
            return true;
    }
    return false;
}

void useragent_settle(struct useragent_call *c)
{
    if (!list_linked(&c->by_due))
        list_push(&c->ua->due, &c->by_due);
    loop_defer(c->ua->loop, &c->ua->later);
}

void useragent_finish(struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    if (c->phase == PHASE_ENDED)
        return;
    c->phase = PHASE_ENDED;
    c->why = why;
    c->status = status;
    c->ua->active--;
    loop_timer_cancel(c->ua->loop, &c->ringing);
    useragent_settle(c);
}

/* The end of a turn: no handler of ours is on the stack, so calls can be told and freed. */
static void on_later(struct deferred *d, void *arg)
{
    struct useragent *ua = arg;
    struct link *l;
    (void)d;
    while ((l = list_pop(&ua->due)) != NULL) {
        struct useragent_call *c = CONTAINER(l, struct useragent_call, by_due);
        if (c->phase != PHASE_ENDED)
            continue;
        if (!c->told) {
            c->told = true;
            if (ua->h->on_ended)
                ua->h->on_ended(ua->arg, c, c->why, c->status);
        }
        if (!busy(c))
            call_free(c);
    }
}

void useragent_hangup(struct useragent_call *c)
{
    if (c->hangup || c->phase == PHASE_ENDED)
        return;
    c->hangup = true;
    if (c->outgoing)
        caller_hangup(c);
    else
        callee_hangup(c);
}

void *useragent_call_arg(const struct useragent_call *c)
{
    return c->arg;
}

void useragent_call_set_arg(struct useragent_call *c, void *arg)
{
    c->arg = arg;
}

sv useragent_call_id(const struct useragent_call *c)
{
    return c->call_id;
}

/* ---- requests that come in ---- */

static void refuse(struct useragent *ua, struct rx *rx, uint16_t status, sv headers)
{
    struct sip_reply r = {.status = status, .headers = headers};
    useragent_reply(ua, rx, &r);
}

/* §8.2.2.3: we know no extension. */
static bool check_require(struct useragent *ua, struct rx *rx)
{
    char mem[2048];
    struct buf b;
    struct sip_item item;
    struct sip_walk w = {.m = &rx->msg, .id = SIP_H_REQUIRE};
    const char *sep = "Unsupported: ";
    if (!sipmsg_has(&rx->msg, SIP_H_REQUIRE))
        return true;
    buf_init(&b, mem, sizeof(mem));
    while (sipmsg_next(&w, &item)) {
        buf_str(&b, sep);
        buf_put(&b, item.text);
        sep = ", ";
    }
    buf_str(&b, "\r\n");
    refuse(ua, rx, b.rc ? 400 : 420, b.rc ? SV_NONE : buf_sv(&b));
    return false;
}

/* §8.2.2.1: the Request-URI is ours. */
static bool names_us(struct useragent *ua, struct rx *rx)
{
    const struct uri *u;
    return sipmsg_uri(&rx->msg, &u) == ERR_OK && sv_eq(u->user, ua->c.user);
}

/* §8.2.3: a body that we are to act on is a session description. */
static bool check_body(struct useragent *ua, struct rx *rx)
{
    sv type = sipmsg_value(&rx->msg, SIP_H_CONTENT_TYPE);
    type = sv_trim(sv_sub(type, 0, sv_chr(type, ';')));
    if (sipmsg_body(&rx->msg).n == 0 || sv_ieq(type, SV("application/sdp")))
        return true;
    refuse(ua, rx, 415, SV("Accept: application/sdp\r\n"));
    return false;
}

/* §12.2.2: CSeqs of a dialog rise. */
static bool in_order(struct dialog *d, struct rx *rx)
{
    const struct sip_cseq *cseq;
    if (sipmsg_cseq(&rx->msg, &cseq) || (d->remote_cseq && cseq->number <= d->remote_cseq)) {
        refuse(d->call->ua, rx, 500, SV_NONE);
        return false;
    }
    d->remote_cseq = cseq->number;
    return true;
}

static void inside(struct useragent *ua, struct dialog *d, struct rx *rx)
{
    if (rx->msg.method == SIP_ACK) {
        callee_ack(d, rx);
        return;
    }
    if (!in_order(d, rx) || !check_require(ua, rx))
        return;
    switch (rx->msg.method) {
    case SIP_INVITE:
        if (check_body(ua, rx))
            callee_reinvite(d, rx);
        return;
    case SIP_BYE:
        callee_bye(d, rx);
        return;
    case SIP_OPTIONS:
        refuse(ua, rx, 200, SV(USERAGENT_ALLOW "Accept: application/sdp\r\n"));
        return;
    default:
        refuse(ua, rx, 405, SV(USERAGENT_ALLOW));
        return;
    }
}

static void outside(struct useragent *ua, struct rx *rx)
{
    const struct sip_addr *to;
    bool tagged = sipmsg_to(&rx->msg, &to) == ERR_OK && to->tag.p;
    enum sip_method m = rx->msg.method;
    if (m == SIP_ACK)
        return;
    if (tagged || m == SIP_CANCEL || m == SIP_BYE) {
        refuse(ua, rx, 481, SV_NONE); /* §12.2.2, §9.2, §15.1.2 */
    } else if (stxn_merged(ua->sip, rx)) {
        refuse(ua, rx, 482, SV_NONE);
    } else if (!names_us(ua, rx)) {
        refuse(ua, rx, 404, SV_NONE);
    } else if (!check_require(ua, rx)) {
        return;
    } else if (m == SIP_INVITE) {
        if (check_body(ua, rx))
            callee_invite(ua, rx);
    } else if (m == SIP_OPTIONS) {
        refuse(ua, rx, 200, SV(USERAGENT_ALLOW "Accept: application/sdp\r\n"));
    } else {
        refuse(ua, rx, m == SIP_EXTENSION ? 501 : 405, SV(USERAGENT_ALLOW));
    }
}

static void on_request(void *arg, struct rx *rx)
{
    struct useragent *ua = arg;
    if (rx->rc) {
        struct sip_reply r = {.status = rx->fault.status ? rx->fault.status : 400};
        enum err rc = sip_reply(ua->sip, rx, &r);
        (void)rc;
        return;
    }
    struct dialog *d = dialog_match(ua, rx);
    if (d && rx->msg.method != SIP_CANCEL)
        inside(ua, d, rx);
    else
        outside(ua, rx);
}

static void on_flow_gone(void *arg, const struct flow *f)
{
    struct useragent *ua = arg;
    if (!ua->closing)
        register_flow_gone(ua, f);
}

static void on_octets(void *arg, bool out, const struct addr *peer, sv octets)
{
    struct useragent *ua = arg;
    if (ua->h->on_message)
        ua->h->on_message(ua->arg, out, peer, octets);
}

static const struct sip_user user = {
    .on_request = on_request, .on_flow_gone = on_flow_gone, .on_octets = on_octets};

/* ---- life ---- */

static enum err copy_config(struct useragent *ua, const struct useragent_config *from)
{
    struct useragent_config *c = &ua->c;
    struct arena *a = &ua->memory;
    char mem[1024];
    struct buf b;
    *c = *from;
    TRY(sv_dup(a, from->user, &c->user));
    TRY(sv_dup(a, from->domain, &c->domain));
    if (from->password.p)
        TRY(sv_dup(a, from->password, &c->password));
    TRY(sv_dup(a, from->realm, &c->realm));
    TRY(sv_dup(a, from->instance, &c->instance));
    TRY(sv_dup(a, from->agent.p ? from->agent : SV("Tandem/" TANDEM_VERSION), &c->agent));
    c->calls = from->calls ? from->calls : CALLS_DEFAULT;
    buf_init(&b, mem, sizeof(mem));
    if (from->name.n) {
        buf_char(&b, '"');
        buf_quoted(&b, from->name);
        buf_str(&b, "\" ");
    }
    buf_str(&b, "<sip:");
    uri_put_user(&b, c->user);
    buf_char(&b, '@');
    buf_put(&b, c->domain);
    buf_char(&b, '>');
    TRY(b.rc);
    TRY(sv_dup(a, buf_sv(&b), &ua->local));
    buf_reset(&b);
    useragent_put_tag(ua, &b);
    useragent_put_tag(ua, &b);
    return sv_dup(a, buf_sv(&b), &ua->register_call_id);
}

static enum err open_endpoint(struct useragent *ua)
{
    const struct useragent_config *c = &ua->c;
    uint8_t secret[HOME_SECRET];
    struct sip_config config = {
        .listen = {{.transport = c->transport, .bind = c->bind}},
        .listeners = 1,
        .t1 = c->t1 ? c->t1 : 500 * USEC_MS,
        .t2 = c->t2 ? c->t2 : 4 * USEC_S,
        .t4 = c->t4 ? c->t4 : 5 * USEC_S,
        .max_message = MESSAGE_MAX,
        .mtu = 1300,
        .connections = CONNECTIONS,
        .connections_source = CONNECTIONS,
        .idle = USEC_HOUR,
        .message_time = 10 * USEC_S,
        .transactions = c->transactions ? c->transactions : TRANSACTIONS_DEFAULT,
    };
    loop_random_bytes(ua->loop, secret, sizeof(secret));
    enum err rc = sip_shared_new(secret, ua->loop->group, &config, &ua->shared);
    crypto_wipe(secret, sizeof(secret));
    TRY(rc);
    TRY(sip_new(ua->loop, ua->shared, &user, ua, &ua->sip));
    TRY(txn_start(ua->sip));
    return sip_listen(ua->sip, 0);
}

enum err useragent_new(struct loop *l, const struct useragent_config *c,
                       const struct useragent_handler *h, void *arg, struct useragent **ret_ua)
{
    struct useragent *ua = MEM_NEW(struct useragent);
    if (!ua)
        return ERR_NOMEM;
    ua->loop = l;
    ua->h = h;
    ua->arg = arg;
    list_init(&ua->due);
    deferred_init(&ua->later, on_later, ua);
    arena_init(&ua->memory, NULL, 0, MEMORY_MAX);
    loop_random_bytes(l, ua->seed, sizeof(ua->seed));
    register_init(ua);
    enum err rc = hash_init(&ua->calls, 16);
    if (!rc)
        rc = copy_config(ua, c);
    if (!rc)
        rc = open_endpoint(ua);
    if (rc) {
        useragent_free(ua);
        return rc;
    }
    *ret_ua = ua;
    return ERR_OK;
}

static bool free_each(struct hash_node *n, void *arg)
{
    (void)arg;
    call_free(CONTAINER(n, struct useragent_call, by_call_id));
    return true;
}

void useragent_free(struct useragent *ua)
{
    if (!ua)
        return;
    ua->closing = true;
    loop_defer_cancel(&ua->later);
    register_done(ua);
    if (ua->calls.buckets)
        hash_walk(&ua->calls, free_each, NULL);
    sip_free(ua->sip);
    sip_shared_free(ua->shared);
    hash_done(&ua->calls);
    crypto_wipe(&ua->c.ha1, sizeof(ua->c.ha1));
    if (ua->c.password.p)
        crypto_wipe((char *)ua->c.password.p, ua->c.password.n);
    arena_done(&ua->memory);
    mem_free(ua);
}

struct sip *useragent_sip(struct useragent *ua)
{
    return ua->sip;
}

size_t useragent_calls(const struct useragent *ua)
{
    return ua->active;
}

size_t useragent_remains(const struct useragent *ua)
{
    return ua->calls.count + sip_transactions(ua->sip);
}
