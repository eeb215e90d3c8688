/* SPDX-License-Identifier: MIT */
/* Descriptions of media_sim's phones: what they offer, and what they take. */
#include "support/media.h"
#include <stdio.h>
#include <string.h>

/* ---- writing ---- */

static sv fingerprint_of(const struct media_end *e)
{
    return dtls_shared_fingerprint(e->phone->certificate);
}

static void put_key(struct buf *b, uint32_t tag, enum offer_suite suite, const uint8_t *key)
{
    uint8_t key_n, salt_n;
    offer_key_lengths(suite, &key_n, &salt_n);
    buf_printf(b, "a=crypto:%u " SV_FMT " inline:", (unsigned)tag, SV_ARG(offer_suite_name(suite)));
    crypto_base64(b, key, (size_t)key_n + salt_n);
    buf_str(b, "\r\n");
}

static void put_ice(struct buf *b, const struct media_end *e)
{
    const struct ice_secret *s = ice_agent_secret(e->ice);
    struct ice_candidate c = {.type = ICE_HOST, .component = 1, .addr = e->port[0]->local};
    c.priority = ice_priority(ICE_HOST, 65535, 1);
    c.base = c.addr;
    ice_foundation(&c, NULL);
    buf_printf(b, "a=ice-ufrag:" SV_FMT "\r\na=ice-pwd:" SV_FMT "\r\na=candidate:",
               SV_ARG(ice_ufrag(s)), SV_ARG(ice_pwd(s)));
    ice_candidate_put(b, &c);
    buf_str(b, "\r\n");
}

static void put_head(struct buf *b, const struct media_end *e, sv proto, enum sdp_direction d)
{
    char ip[32];
    const uint8_t *o = e->told[0].ip;
    snprintf(ip, sizeof(ip), "%u.%u.%u.%u", o[0], o[1], o[2], o[3]);
    buf_printf(b,
               "v=0\r\no=- %u %u IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %u " SV_FMT
               " 0\r\na=rtpmap:0 PCMU/8000\r\na=" SV_FMT "\r\n",
               e->phone->index + 1, (unsigned)e->version, ip, ip, e->told[0].port, SV_ARG(proto),
               SV_ARG(sdp_direction_name(d)));
    if (e->mux)
        buf_str(b, "a=rtcp-mux\r\n");
}

/* What stands in its description; the server may send there as soon as it can know it. */
static void tell(struct media_end *e)
{
    struct udp **port = e->next_port[0] ? e->next_port : e->port;
    for (unsigned c = 0; c < 2; c++) {
        e->told[c] = port[c]->local;
        media_tap_name(e, &e->told[c]);
        if (e->phone->kind != MEDIA_NAT)
            continue;
        e->told[c].ip[0] = 192;
        e->told[c].ip[1] = 168;
        media_tap_name(e, &e->told[c]);
    }
    e->version++;
}

static sv proto_of(enum media_kind k)
{
    switch (k) {
    case MEDIA_SDES:
        return SV("RTP/SAVP");
    case MEDIA_DTLS:
        return SV("UDP/TLS/RTP/SAVP");
    case MEDIA_WEB:
        return SV("UDP/TLS/RTP/SAVPF");
    default:
        return SV("RTP/AVP");
    }
}

sv media_offer(struct media_end *e)
{
    struct media_world *w = e->phone->world;
    enum media_kind kind = e->phone->kind;
    char mem[2048];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    tell(e);
    e->offering = e->offered = true;
    e->next_direction = e->wish;
    put_head(&b, e, proto_of(kind), e->next_direction);
    if (kind == MEDIA_SDES || kind == MEDIA_OPTIONAL)
        put_key(&b, 1, e->suite, e->next_key);
    if (kind == MEDIA_DTLS || kind == MEDIA_WEB)
        buf_printf(&b, "a=fingerprint:" SV_FMT "\r\na=setup:actpass\r\n",
                   SV_ARG(fingerprint_of(e)));
    if (kind == MEDIA_ICE || kind == MEDIA_WEB) {
        media_end_checks(e, true, false);
        if (e->ways > 0 && media_chance(w, 40)) {
            media_end_restart(e);
            w->restarts++;
        }
        put_ice(&b, e);
    }
    media_need(b.rc);
    return media_keep(w, buf_sv(&b));
}

/* ---- reading ---- */

static const struct offer_media *read_text(struct media_end *e, sv text)
{
    struct media_world *w = e->phone->world;
    struct sdp *sdp = media_take(w, sizeof(*sdp));
    struct offer_session *s = media_take(w, sizeof(*s));
    struct sdp_fault fault = {0};
    if (sdp_parse(text, &w->memory, sdp, &fault) || offer_read(sdp, &w->memory, s, &fault) ||
        s->n != 1) {
        media_fail(w, "a description that cannot be read", SV_FMT, SV_ARG(text));
        return NULL;
    }
    const struct offer_media *m = &s->media[0];
    bool ours = m->rtp.n == 4 && memcmp(m->rtp.ip, w->server.ip, 4) == 0;
    for (unsigned i = 0; i < m->cryptos_n && ours; i++)
        media_tap_key(e, media_suite(m->cryptos[i].suite), m->cryptos[i].key,
                      (size_t)m->cryptos[i].key_n + m->cryptos[i].salt_n);
    w->exchanges++;
    return m;
}

static struct addr addr_of(const struct offer_ip *ip)
{
    return ip->n ? addr_from_ip(ip->ip, ip->n, ip->port) : (struct addr){0};
}

static struct media_way *way_of(struct media_end *e, const struct offer_media *m,
                                struct media_way **way)
{
    struct addr rtp = addr_of(&m->rtp);
    if (!*way)
        *way = media_way(e, &rtp, true);
    (*way)->remote[0] = rtp;
    (*way)->remote[1] = addr_of(&m->rtcp);
    (*way)->claimed = (*way)->live = true;
    return *way;
}

/* What was offered, or is answered, holds from now on. */
static void settle(struct media_end *e)
{
    if (e->next_port[0]) {
        for (unsigned c = 0; c < 2; c++) {
            udp_close(e->port[c]);
            e->port[c] = e->next_port[c];
            e->next_port[c] = NULL;
        }
    }
    e->direction = e->next_direction;
    memcpy(e->key, e->next_key, sizeof(e->key));
    e->offering = false;
}

void media_unanswered(struct media_end *e)
{
    for (unsigned c = 0; c < 2; c++) {
        udp_close(e->next_port[c]);
        e->next_port[c] = NULL;
    }
    e->wish = e->next_direction = e->direction;
    memcpy(e->next_key, e->key, sizeof(e->key));
    e->offering = false;
}

void media_answered(struct media_end *e, sv answer, struct media_way **way)
{
    const struct offer_media *m = read_text(e, answer);
    if (!m)
        return;
    if (m->refused) {
        media_fail(e->phone->world, "a refused line in an answer", SV_FMT, SV_ARG(answer));
        return;
    }
    settle(e);
    if (e->restarted && m->ice && sv_eq(m->ufrag, e->ice_peer))
        media_fail(e->phone->world, "a restart that is not answered with one", "phone %u",
                   e->phone->index);
    e->restarted = false;
    media_way_set(way_of(e, m, way), m, m->cryptos_n ? &m->cryptos[0] : NULL);
}

/* ---- answering ---- */

static bool suits(const struct media_end *e, const struct offer_media *m)
{
    switch (e->phone->kind) {
    case MEDIA_PLAIN:
    case MEDIA_NAT:
    case MEDIA_ICE:
        return !m->secure;
    case MEDIA_SDES:
        return m->cryptos_n > 0 && !m->dtls_only && (m->secure || !e->picky);
    case MEDIA_OPTIONAL:
        return !m->dtls_only && (m->cryptos_n > 0 || !m->secure);
    case MEDIA_DTLS:
        return m->fingerprints_n > 0 && (m->dtls_only || !e->picky);
    case MEDIA_WEB:
        return m->fingerprints_n > 0 && m->ice;
    case MEDIA_KINDS:
        break;
    }
    return false;
}

/* The one of the offer's that we like best. */
static const struct offer_key *choose(struct media_end *e, const struct offer_media *m)
{
    for (unsigned i = 0; i < m->cryptos_n; i++) {
        if (m->cryptos[i].suite == e->suite)
            return &m->cryptos[i];
    }
    e->suite = m->cryptos[0].suite;
    return &m->cryptos[0];
}

static const char *role(const struct media_end *e, const struct offer_media *m,
                        const struct media_way *way)
{
    if (way && way->dtls)
        return way->dtls_client ? "active" : "passive";
    if (m->setup_said && m->setup != SDP_ACTPASS)
        return m->setup == SDP_ACTIVE ? "passive" : "active";
    return e->passive ? "passive" : "active";
}

sv media_answer(struct media_end *e, sv offer, struct media_way **way)
{
    struct media_world *w = e->phone->world;
    enum media_kind kind = e->phone->kind;
    const struct offer_media *m = read_text(e, offer);
    const struct offer_key *theirs = NULL;
    char mem[2048];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    if (!m || !suits(e, m))
        return SV_NONE;
    e->offered = false;
    e->mux = m->mux && (e->mux || m->mux_only || kind == MEDIA_ICE || kind == MEDIA_WEB);
    e->next_direction = m->direction == SDP_INACTIVE   ? SDP_INACTIVE
                        : m->direction == SDP_SENDONLY ? SDP_RECVONLY
                        : m->direction == SDP_RECVONLY ? SDP_SENDONLY
                                                       : e->wish;
    tell(e);
    put_head(&b, e, m->text->proto, e->next_direction);
    if ((kind == MEDIA_SDES || kind == MEDIA_OPTIONAL) && m->cryptos_n > 0) {
        theirs = choose(e, m);
        put_key(&b, theirs->tag, theirs->suite, e->next_key);
    }
    const char *setup = role(e, m, *way);
    if (kind == MEDIA_DTLS || kind == MEDIA_WEB)
        buf_printf(&b, "a=fingerprint:" SV_FMT "\r\na=setup:%s\r\n", SV_ARG(fingerprint_of(e)),
                   setup);
    if ((kind == MEDIA_ICE || kind == MEDIA_WEB) && m->ice) {
        media_end_checks(e, m->ice_lite, m->ice_lite);
        put_ice(&b, e);
    }
    media_need(b.rc);
    settle(e);
    e->restarted = false;
    struct media_way *x = way_of(e, m, way);
    if (!x->dtls)
        x->dtls_client = strcmp(setup, "active") == 0;
    media_way_set(x, m, theirs);
    return media_keep(w, buf_sv(&b));
}
