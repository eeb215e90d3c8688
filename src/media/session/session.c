/* SPDX-License-Identifier: MIT */
/* Sessions of a worker, their lines, and what was agreed on. Packets are session_packet.c's, keys session_keys.c's. */
#include "session/session.h"

#include <assert.h>

#include "crypto/crypto.h"
#include "session/session_priv.h"

/* ---- ids ---- */

struct session *session_find(const struct sessions *m, struct session_id id)
{
    if (id.generation == 0 || id.slot >= m->slots || m->slot[id.slot].generation != id.generation)
        return NULL;
    return m->slot[id.slot].session;
}

static enum err more_slots(struct sessions *m)
{
    uint32_t n = m->slots > 0 ? 2 * m->slots : 64;
    struct slot *slot = mem_realloc(m->slot, n * sizeof(*slot));
    if (!slot)
        return ERR_NOMEM;
    for (uint32_t i = m->slots; i < n; i++)
        slot[i] = (struct slot){.generation = 1, .next_free = i + 1};
    m->slot = slot;
    m->slots = n; /* first_free was the old number: the first new one */
    return ERR_OK;
}

enum err session_enter(struct sessions *m, struct session *s)
{
    if (m->first_free == m->slots)
        TRY(more_slots(m));
    uint32_t i = m->first_free;
    m->first_free = m->slot[i].next_free;
    m->slot[i].session = s;
    s->id = (struct session_id){i, m->slot[i].generation};
    m->live++;
    stat_add(&m->loop->stats, STAT_MEDIA_SESSIONS, 1);
    return ERR_OK;
}

static void leave(struct sessions *m, struct session *s)
{
    struct slot *x = &m->slot[s->id.slot];
    x->session = NULL;
    if (++x->generation == 0)
        x->generation = 1;
    x->next_free = m->first_free;
    m->first_free = s->id.slot;
    m->live--;
    stat_add(&m->loop->stats, STAT_MEDIA_SESSIONS, -1);
}

/* ---- lines ---- */

struct addr session_told(const struct session_party *p)
{
    return p->advertise.family ? p->advertise : p->local;
}

static void close_transport(struct transport **t)
{
    if (!*t)
        return;
    for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++) {
        struct leg *l = &(*t)->session->stream[i].leg[(*t)->side];
        l->transport = l->transport == *t ? NULL : l->transport;
    }
    session_keys_done(*t);
    relay_close(&(*t)->relay);
    session_give_ports((*t)->session);
    MEM_GIVE(*t);
    *t = NULL;
}

enum err session_open_transport(struct session *s, unsigned side, unsigned line, uint16_t port)
{
    if (!session_take_ports(s))
        return ERR_DENIED;
    struct transport *t = MEM_TAKE(struct transport);
    if (!t) {
        session_give_ports(s);
        return ERR_NOMEM;
    }
    t->session = s;
    t->side = (uint8_t)side;
    t->line = (uint8_t)line;
    t->generation = loop_random(s->all->loop);
    timer_init(&t->timer, session_on_timer, t);
    struct addr local = s->party[side].local;
    local.port = port;
    enum err rc =
        (port ? relay_open_at : relay_open)(s->all->relay, &local, &session_packets, t, &t->relay);
    if (rc) {
        MEM_GIVE(t);
        session_give_ports(s);
        return rc;
    }
    s->transport[side][line] = t;
    s->stream[line].leg[side].transport = t;
    s->stream[line].leg[side].session = s;
    s->stream[line].leg[side].line = (uint8_t)line;
    s->stream[line].leg[side].side = (uint8_t)side;
    memset(s->stream[line].leg[side].to, PT_NONE, PAYLOAD_TYPES);
    return ERR_OK;
}

/* One that is alone has the first side. */
static unsigned sides(const struct session *s)
{
    return s->alone ? 1 : SESSION_SIDES;
}

static void close_line(struct session *s, unsigned line)
{
    for (unsigned side = 0; side < sides(s); side++) {
        session_coder_done(&s->stream[line].leg[side]);
        close_transport(&s->transport[side][line]);
    }
}

static enum err open_line(struct session *s, unsigned line)
{
    enum err rc = ERR_OK;
    for (unsigned side = 0; !rc && side < sides(s); side++)
        rc = session_open_transport(s, side, line, 0);
    return rc;
}

/* So many of them, of which each that is not `without` has ports: all, or as it was. */
static enum err set_lines(struct session *s, unsigned lines, const bool *without)
{
    bool opened[OFFER_MEDIA_MAX] = {false};
    enum err rc = lines > OFFER_MEDIA_MAX ? ERR_TOOBIG : ERR_OK;
    for (unsigned i = 0; !rc && i < lines; i++) {
        if (without[i] || s->transport[SESSION_OFFERER][i])
            continue;
        opened[i] = true;
        rc = open_line(s, i);
    }
    for (unsigned i = 0; rc && i < OFFER_MEDIA_MAX; i++) {
        if (opened[i])
            close_line(s, i);
    }
    if (!rc && lines > s->lines)
        s->lines = lines;
    return rc;
}

static const bool each_has_ports[OFFER_MEDIA_MAX];

enum err session_lines(struct sessions *m, struct session_id id, unsigned lines)
{
    struct session *s = session_find(m, id);
    return s ? set_lines(s, lines, each_has_ports) : ERR_NOTFOUND;
}

enum err session_offered(struct sessions *m, struct session_id id,
                         const struct offer_session *offer)
{
    struct session *s = session_find(m, id);
    bool without[OFFER_MEDIA_MAX] = {false};
    for (unsigned i = 0; i < offer->n && i < OFFER_MEDIA_MAX; i++)
        without[i] = offer->media[i].refused;
    return s ? set_lines(s, offer->n, without) : ERR_NOTFOUND;
}

void session_settle(struct sessions *m, struct session_id id)
{
    struct session *s = session_find(m, id);
    for (unsigned i = 0; s && i < s->lines; i++) {
        if (i >= s->planned || s->stream[i].refused)
            close_line(s, i);
    }
    if (s)
        s->lines = s->planned;
}

enum err session_source(struct sessions *m, struct session_id id, unsigned side,
                        const struct addr *source)
{
    struct session *s = session_find(m, id);
    if (!s)
        return ERR_NOTFOUND;
    s->party[side].source = *source;
    return ERR_OK;
}

void session_retold(struct sessions *m, struct session_id id, unsigned side)
{
    struct session *s = session_find(m, id);
    for (unsigned i = 0; s && i < s->lines; i++) {
        struct transport *t = s->transport[side][i];
        for (unsigned c = 0; t && c < RELAY_COMPONENTS; c++)
            relay_path_retold(&t->relay.path[c], m->config.relay.latch, loop_now(m->loop));
    }
}

/* ---- what is ours ---- */

struct offer_ip session_ip(const struct addr *a)
{
    struct offer_ip ip = {.n = a->family == 4 ? 4 : a->family == 6 ? 16 : 0, .port = a->port};
    memcpy(ip.ip, a->ip, ip.n);
    return ip;
}

static struct offer_ip told_port(const struct session_party *p, uint16_t port)
{
    struct addr a = session_told(p);
    a.port = port;
    return session_ip(&a);
}

enum err session_ours(struct sessions *m, struct session_id id, unsigned side, unsigned flags,
                      struct offer_ours *ret_ours)
{
    struct session *s = session_find(m, id);
    if (!s)
        return ERR_NOTFOUND;
    struct offer_ours *o = ret_ours;
    if (flags & SESSION_NEXT)
        s->version[side]++;
    *o = (struct offer_ours){.session_id = s->number, .version = s->version[side]};
    for (unsigned i = 0; i < s->lines; i++) {
        struct offer_ours_media *x = &o->media[i];
        const struct transport *t = s->transport[side][i];
        if (!t)
            continue;
        x->rtp = told_port(&s->party[side], t->relay.port[RELAY_RTP]->local.port);
        x->rtcp = told_port(&s->party[side], t->relay.port[RELAY_RTCP]->local.port);
    }
    return session_keys_ours(s, side, flags, o);
}

/* ---- what was agreed on ---- */

static struct addr addr_of(const struct offer_ip *ip)
{
    if (ip->n == 0 || ip->port == 0)
        return (struct addr){0};
    return addr_from_ip(ip->ip, ip->n, ip->port);
}

static void set_map(struct leg *l, const struct offer_map *map, unsigned n)
{
    memset(l->to, PT_NONE, PAYLOAD_TYPES);
    for (unsigned i = 0; i < n; i++) {
        if (map[i].from < PAYLOAD_TYPES)
            l->to[map[i].from] = map[i].transcode ? PT_CODED : map[i].to;
    }
}

static void set_paths(struct transport *t, const struct offer_leg *o)
{
    struct session *s = t->session;
    const struct session_party *party = &s->party[t->side];
    struct relay_peer peer = {
        .told = addr_of(&o->rtp), .party = party->source, .trusted = party->trusted};
    struct addr mine = session_told(party);
    usec now = loop_now(s->all->loop);
    bool secure = o->keying != OFFER_PLAIN;
    t->relay.mux = o->mux;
    relay_path_set(&t->relay.path[RELAY_RTP], &peer, secure, s->all->config.relay.latch, &mine,
                   s->all->shared->ports, now);
    peer.told = addr_of(&o->rtcp);
    relay_path_set(&t->relay.path[RELAY_RTCP], &peer, secure, s->all->config.relay.latch, &mine,
                   s->all->shared->ports, now);
}

/* A leg of a line as its side has agreed to it. */
static enum err apply_leg(struct session *s, unsigned line, unsigned side,
                          const struct offer_leg *o)
{
    struct leg *l = &s->stream[line].leg[side];
    unsigned with = o->bundled ? o->bundle_with : line;
    if (with >= s->lines || !s->transport[side][with])
        return ERR_STATE;
    struct transport *t = s->transport[side][with];
    l->transport = t;
    l->send = o->send;
    l->receive = o->receive;
    if (with != line) {
        t->shared = true;
        return ERR_OK;
    }
    session_ice_apply(t, o);
    set_paths(t, o);
    TRY(session_keys_apply(t, o));
    session_timer(t);
    t->open = true;
    return ERR_OK;
}

static enum err apply_stream(struct session *s, unsigned line, unsigned offerer,
                             const struct offer_stream *o)
{
    struct session_line *st = &s->stream[line];
    st->kind = o->kind;
    st->refused = o->refused;
    if (o->refused)
        return ERR_OK;
    for (unsigned i = 0; i < sides(s); i++) {
        unsigned side = i ^ offerer;
        TRY(apply_leg(s, line, side, &o->leg[i]));
        set_map(&st->leg[side], o->map[i], o->map_n[i]);
        if (!s->alone) /* it asks in which clock was heard what was heard */
            TRY(session_coder_apply(s, line, side, o->map[i], o->map_n[i], &o->leg[!i]));
        session_quality_apply(s, line, side, o->map[i], o->map_n[i]);
        st->leg[side].transport->relay.opaque = o->kind == OFFER_T38;
        st->leg[side].xr = o->leg[i].xr;
    }
    return ERR_OK;
}

static enum err plan_lines(struct session *s, const struct offer_plan *plan)
{
    bool without[OFFER_MEDIA_MAX] = {false};
    for (unsigned i = 0; i < plan->n && i < OFFER_MEDIA_MAX; i++)
        without[i] = plan->streams[i].refused;
    TRY(set_lines(s, plan->n, without));
    for (unsigned i = plan->n; i < s->planned; i++)
        s->stream[i].refused = true; /* which no plan should leave out (RFC 3264 §8) */
    s->planned = plan->n > s->planned ? plan->n : s->planned;
    return ERR_OK;
}

/* What was on hold has its time to speak again. */
static void all_heard(struct session *s)
{
    for (unsigned i = 0; i < SESSION_SIDES; i++)
        s->heard[i] = loop_now(s->all->loop);
}

void session_start(struct session *s)
{
    s->applied = true;
    all_heard(s);
    session_quality_begin(s);
    if (s->all->config.silence > 0)
        loop_timer(s->all->loop, &s->silence, s->all->config.silence);
}

enum err session_apply(struct sessions *m, struct session_id id, unsigned offerer,
                       const struct offer_plan *plan)
{
    struct session *s = session_find(m, id);
    if (!s)
        return ERR_NOTFOUND;
    if (s->alone && offerer != SESSION_OFFERER)
        return ERR_STATE;
    TRY(plan_lines(s, plan));
    for (unsigned i = 0; i < plan->n; i++)
        TRY(apply_stream(s, i, offerer, &plan->streams[i]));
    session_ice_watch(s);
    if (s->alone)
        session_sound_of(s, plan);
    session_quality_reports(s);
    all_heard(s);
    if (!s->applied)
        session_start(s);
    return ERR_OK;
}

/* ---- events ---- */

struct telling {
    struct deferred deferred;
    struct link by_all;
    struct sessions *all;
    struct session_id id;
    enum session_event event;
    unsigned side;
    char digit; /* 0: an event */
    uint32_t ms;
    size_t n;
    char why[128];
};

static void on_telling(struct deferred *deferred, void *arg)
{
    struct telling *x = arg;
    struct session *s = session_find(x->all, x->id);
    (void)deferred;
    if (s && x->digit && s->h->on_digit)
        s->h->on_digit(s->arg, x->id, x->side, x->digit, x->ms);
    else if (s && !x->digit && s->h->on_event)
        s->h->on_event(s->arg, x->id, x->event, x->side, (sv){x->why, x->n});
    list_unlink(&x->by_all);
    MEM_GIVE(x);
}

/* Told at the end of the turn: its handler may end the session, which has callers of ours on the stack. */
static struct telling *telling_new(struct session *s, unsigned side)
{
    struct telling *x = MEM_TAKE(struct telling);
    if (!x)
        return NULL;
    x->all = s->all;
    x->id = s->id;
    x->side = side;
    list_push(&s->all->tellings, &x->by_all);
    deferred_init(&x->deferred, on_telling, x);
    loop_defer(s->all->loop, &x->deferred);
    return x;
}

void session_tell(struct session *s, enum session_event e, unsigned side, sv why)
{
    struct telling *x = telling_new(s, side);
    if (!x)
        return;
    x->event = e;
    x->n = why.n < sizeof(x->why) ? why.n : sizeof(x->why);
    if (x->n > 0)
        memcpy(x->why, why.p, x->n);
}

void session_tell_digit(struct session *s, unsigned side, char digit, uint32_t ms)
{
    struct telling *x = telling_new(s, side);
    if (!x)
        return;
    x->digit = digit;
    x->ms = ms;
}

/* Who is meant to send, as a mask of sides. */
static unsigned speakers(const struct session *s)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < s->lines; i++) {
        const struct leg *l = s->stream[i].leg;
        for (unsigned side = 0; !s->stream[i].refused && side < SESSION_SIDES; side++) {
            if (l[side].receive && (s->alone || l[!side].send))
                mask |= 1u << side;
        }
    }
    return mask;
}

/* How long nobody has spoken who is meant to. */
static usec silent_for(const struct session *s, unsigned who, usec now)
{
    usec heard = who ? 0 : now;
    for (unsigned side = 0; side < SESSION_SIDES; side++) {
        if (who >> side & 1 && s->heard[side] > heard)
            heard = s->heard[side];
    }
    return now - heard;
}

static void on_silence(struct timer *timer, void *arg)
{
    struct session *s = arg;
    struct sessions *m = s->all;
    unsigned who = speakers(s);
    usec most = m->config.silence, silent = silent_for(s, who, loop_now(m->loop));
    if (most == 0)
        return;
    if (silent < most) {
        loop_timer(m->loop, timer, most - silent);
        return;
    }
    loop_timer(m->loop, timer, most);
    stat_add(&m->loop->stats, STAT_MEDIA_SILENT, 1);
    session_tell(s, SESSION_SILENT,
                 who == 1u << SESSION_OFFERER    ? SESSION_OFFERER
                 : who == 1u << SESSION_ANSWERER ? SESSION_ANSWERER
                                                 : SESSION_SIDES,
                 SV("no packet from who is meant to send"));
}

enum err session_heard(struct sessions *m, struct session_id id, unsigned side, usec *ret_at)
{
    const struct session *s = session_find(m, id);
    if (!s)
        return ERR_NOTFOUND;
    *ret_at = s->heard[side];
    return ERR_OK;
}

/* ---- figures ---- */

unsigned session_streams(struct sessions *m, struct session_id id)
{
    const struct session *s = session_find(m, id);
    return s ? s->lines : 0;
}

enum err session_figures(struct sessions *m, struct session_id id, unsigned line, unsigned side,
                         struct session_figures *ret)
{
    const struct session *s = session_find(m, id);
    if (!s || line >= s->lines)
        return ERR_NOTFOUND;
    const struct session_line *st = &s->stream[line];
    const struct leg *l = &st->leg[side];
    *ret = (struct session_figures){.kind = st->kind,
                                    .packets = l->packets,
                                    .octets = l->octets,
                                    .sent = l->sent,
                                    .from = l->receive,
                                    .to = st->leg[!side].send};
    if (l->clock_hz > 0)
        session_quality_figures(s, l, ret);
    if (l->transport) {
        ret->remote = l->transport->relay.path[RELAY_RTP].to;
        ret->keying = l->transport->keying;
        ret->refused = l->transport->refused;
        ret->foreign = l->transport->foreign;
    }
    return ERR_OK;
}

/* ---- life ---- */

void session_free(struct session *s)
{
    loop_timer_cancel(s->all->loop, &s->silence);
    session_play_done(s);
    session_quality_end(s);
    for (unsigned side = 0; side < SESSION_SIDES; side++) {
        for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++) {
            session_coder_done(&s->stream[i].leg[side]);
            close_transport(&s->transport[side][i]);
        }
    }
    list_unlink(&s->by_call);
    (void)session_hold(s, 0, 0);
    crypto_wipe(s->secret, sizeof(s->secret));
    for (unsigned side = 0; side < SESSION_SIDES; side++)
        ice_secret_wipe(&s->ice[side]);
    MEM_GIVE(s);
}

static void make_cname(struct session *s)
{
    uint8_t chance[12];
    struct buf b;
    loop_random_bytes(s->all->loop, chance, sizeof(chance));
    buf_init(&b, s->cname, sizeof(s->cname));
    crypto_base64url(&b, chance, sizeof(chance));
    s->cname_n = (uint8_t)b.n;
}

struct session *session_blank(struct sessions *m, const struct session_handler *h, void *arg)
{
    struct session *s =
        m->config.most == 0 || m->live < m->config.most ? MEM_TAKE(struct session) : NULL;
    if (!s) {
        stat_refuse(&m->loop->stats, STAT_LIMIT_MEDIA_SESSIONS);
        return NULL;
    }
    s->all = m;
    s->h = h;
    s->arg = arg;
    list_init(&s->by_call);
    timer_init(&s->silence, on_silence, s);
    timer_init(&s->interval, session_on_interval, s);
    return s;
}

enum err session_new(struct sessions *m, const struct session_party party[SESSION_SIDES],
                     unsigned lines, const struct session_handler *h, void *arg,
                     struct session_id *ret_id)
{
    struct session *s = session_blank(m, h, arg);
    if (!s)
        return ERR_BUSY;
    memcpy(s->party, party, sizeof(s->party));
    s->alone = party[SESSION_ANSWERER].local.family == 0;
    s->ssrc = (uint32_t)loop_random(m->loop);
    s->number = loop_random(m->loop) >> 2; /* RFC 3264 §5: fits a signed number of 64 bits */
    make_cname(s);
    session_keys_new(s);
    enum err rc = set_lines(s, lines, each_has_ports);
    if (!rc)
        rc = session_enter(m, s);
    if (rc) {
        session_free(s);
        return rc;
    }
    *ret_id = s->id;
    return ERR_OK;
}

void session_end(struct sessions *m, struct session_id id)
{
    struct session *s = session_find(m, id);
    if (!s)
        return;
    if (!s->handed)
        session_quality_bye(s);
    leave(m, s);
    session_free(s);
}

enum err sessions_new(struct loop *l, struct session_shared *shared, const struct session_config *c,
                      struct sessions **ret_sessions)
{
    struct sessions *m = MEM_NEW(struct sessions);
    if (!m)
        return ERR_NOMEM;
    m->loop = l;
    m->shared = shared;
    m->config = *c;
    list_init(&m->tellings);
    enum err rc = srtp_engine_new(&m->engine);
    if (!rc)
        rc = relay_new(l, shared->ports, &c->relay, &m->relay);
    if (rc) {
        srtp_engine_free(m->engine);
        mem_free(m);
        return rc;
    }
    *ret_sessions = m;
    return ERR_OK;
}

void sessions_free(struct sessions *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->slots; i++) {
        struct session *s = m->slot[i].session;
        if (!s)
            continue;
        leave(m, s); /* nothing is sent: the loop may be over */
        session_free(s);
    }
    for (struct link *l; (l = list_pop(&m->tellings));) {
        struct telling *x = CONTAINER(l, struct telling, by_all);
        loop_defer_cancel(&x->deferred);
        MEM_GIVE(x);
    }
    assert(relay_pairs(m->relay) == 0);
    relay_free(m->relay);
    srtp_engine_free(m->engine);
    mem_free(m->slot);
    mem_free(m);
}

void sessions_configure(struct sessions *m, const struct session_config *c)
{
    m->config = *c;
    relay_configure(m->relay, &c->relay);
}

size_t sessions_live(const struct sessions *m)
{
    return m->live;
}
