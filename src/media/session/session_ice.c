/* SPDX-License-Identifier: MIT */
/* Checks: a side that speaks ICE shows by them where it is, and where it wants its packets (RFC 8445, lite). */
#include "crypto/crypto.h"
#include "session/session_priv.h"

/* Their credentials are not kept: they are to be told apart, no more. */
static uint64_t mark_of(const struct session *s, sv ufrag, sv pwd)
{
    const sv both[] = {ufrag, pwd};
    return crypto_siphash_list(s->secret, both, 2) | 1;
}

bool session_restarts(const struct sessions *m, struct session_id id, unsigned side,
                      const struct offer_session *theirs)
{
    const struct session *s = session_find(m, id);
    for (unsigned i = 0; s && i < theirs->n && i < s->lines; i++) {
        const struct offer_media *o = &theirs->media[i];
        const struct transport *t = s->stream[i].leg[side].transport;
        if (!o->refused && o->ice && t && t->ice_theirs &&
            t->ice_theirs != mark_of(s, o->ufrag, o->pwd))
            return true;
    }
    return false;
}

static enum err ice_of(struct session *s, unsigned side, unsigned flags, struct transport *t)
{
    if (t->ice) {
        if (flags & SESSION_RESTART)
            ice_lite_restart(t->ice, &s->ice[side]);
        return ERR_OK;
    }
    t->ice = MEM_TAKE(struct ice_lite);
    if (!t->ice)
        return ERR_NOMEM;
    ice_lite_init(t->ice, &s->ice[side], RELAY_COMPONENTS, ICE_LITE_SILENCE_S * USEC_S);
    return ERR_OK;
}

/* From when a side has been told of it: its checks may come before its description does. */
enum err session_ice_offer(struct session *s, unsigned side, unsigned flags, struct offer_ours *o)
{
    uint8_t seed[ICE_SEED];
    if (flags & SESSION_RESTART) {
        loop_random_bytes(s->all->loop, seed, sizeof(seed));
        ice_secret_make(seed, &s->ice[side]);
    }
    for (unsigned i = 0; i < s->lines; i++) {
        if (s->transport[side][i])
            TRY(ice_of(s, side, flags, s->transport[side][i]));
    }
    o->ufrag = ice_ufrag(&s->ice[side]);
    o->pwd = ice_pwd(&s->ice[side]);
    return ERR_OK;
}

void session_ice_done(struct transport *t)
{
    if (!t->ice)
        return;
    ice_lite_done(t->ice);
    MEM_GIVE(t->ice);
    t->ice = NULL;
}

void session_ice_apply(struct transport *t, const struct offer_leg *o)
{
    bool ice = o->ice && !o->ice_lite; /* two lite ones: nobody checks (RFC 8445 §8.2) */
    t->relay.path[RELAY_RTP].ice = t->relay.path[RELAY_RTCP].ice = ice;
    if (!ice)
        session_ice_done(t); /* who made checks before owes none any more */
    if (o->ice)
        t->ice_theirs = mark_of(t->session, o->ufrag, o->pwd);
    if (ice && o->mux && t->ice)
        ice_lite_mux(t->ice);
}

void session_ice_heard(struct transport *t, enum relay_component c, const struct addr *from)
{
    if (!t->ice ||
        !(ice_lite_data(t->ice, c + 1, from, loop_now(t->session->all->loop)) & ICE_LITE_SELECTED))
        return;
    relay_path_validate(&t->relay.path[c], from, true);
    session_timer(t);
}

/* A side that nothing is sent to owes no proof that it is there. */
void session_ice_watch(struct session *s)
{
    for (unsigned side = 0; side < SESSION_SIDES; side++) {
        for (unsigned i = 0; i < s->lines; i++) {
            struct transport *t = s->transport[side][i];
            bool sends = false;
            if (!t || !t->ice)
                continue;
            for (unsigned k = 0; k < s->lines; k++) {
                const struct leg *l = &s->stream[k].leg[side];
                sends = sends || (!s->stream[k].refused && l->transport == t && l->send);
            }
            ice_lite_watch_data(t->ice, sends, loop_now(s->all->loop));
            session_timer(t);
        }
    }
}

void session_ice_receive(struct transport *t, enum relay_component c, struct block *b,
                         const struct addr *from)
{
    struct session *s = t->session;
    const struct session_party *party = &s->party[t->side];
    struct addr mine = session_told(party);
    struct relay_peer peer = {.party = party->source, .trusted = party->trusted};
    struct relay_path *p = &t->relay.path[c];
    char mem[ICE_CHECK_MAX];
    struct buf answer;
    if (!t->ice || !stunmsg_is(block_sv(b)) ||
        !relay_peer_may_name(&peer, from, &mine, s->all->shared->ports)) {
        t->foreign++;
        stat_add(&s->all->loop->stats, STAT_MEDIA_FOREIGN, 1);
        return;
    }
    buf_init(&answer, mem, sizeof(mem));
    unsigned change =
        ice_lite_on_datagram(t->ice, c + 1, 0, from, block_sv(b), loop_now(s->all->loop), &answer);
    if (change & ICE_LITE_ANSWER)
        relay_send_to(&t->relay, c, from, buf_sv(&answer));
    if (change & ICE_LITE_CHECKED)
        relay_path_validate(p, from, false);
    if (change & ICE_LITE_SELECTED) {
        const struct ice_lite_pair *pair = ice_lite_selected(t->ice, c + 1);
        if (pair)
            relay_path_validate(p, &pair->remote, true);
        session_dtls_begin(t);
    }
}

void session_ice_timer(struct transport *t, usec now)
{
    unsigned lost = t->ice ? ice_lite_timer(t->ice, now) : 0;
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        if (lost >> c & 1)
            relay_path_lose(&t->relay.path[c]);
    }
    if (lost)
        session_tell(t->session, SESSION_LOST, t->side, SV("its checks of consent have ended"));
}
