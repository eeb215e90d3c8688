/* SPDX-License-Identifier: MIT */
/* offer/offer_print.c: a description of ours, from what was decided.
 *
 * What speaks of transport, keys and identity is written from the draft alone.
 * Spec RFC 8866 §5 (order of lines), 3605, 4568, 8122, 8839, 8858, 9143. */
#include "offer/offer.h"

#include "crypto/crypto.h"
#include "offer/offer_priv.h"

enum { TEXT_FIRST = 2048, ICE_TYPE_HOST = 126 };

/* ---- addresses ---- */

bool offer_ip_equal(const struct offer_ip *a, const struct offer_ip *b)
{
    return a->n == b->n && a->port == b->port && memcmp(a->ip, b->ip, a->n) == 0;
}

static bool same_host(const struct offer_ip *a, const struct offer_ip *b)
{
    return a->n == b->n && memcmp(a->ip, b->ip, a->n) == 0;
}

static void put_conn(struct buf *b, const struct offer_ip *ip)
{
    buf_str(b, ip->n == 16 ? "IN IP6 " : "IN IP4 ");
    buf_ip(b, ip->ip, ip->n);
}

/* ---- transport ---- */

/* RFC 8445 §5.1.2.1; an agent with one address of a family prefers the first that it was given. */
static void put_candidate(struct buf *b, const struct offer_ip *ip, unsigned index,
                          unsigned component)
{
    uint32_t priority = (uint32_t)ICE_TYPE_HOST << 24 | (65535u - index) << 8 | (256u - component);
    buf_printf(b, "a=candidate:%u %u UDP %u ", index + 1, component, (unsigned)priority);
    buf_ip(b, ip->ip, ip->n);
    buf_printf(b, " %u typ host\r\n", ip->port);
}

static void put_ice(struct buf *b, const struct offer_line *l, const struct offer_ours *ours)
{
    if (!l->ice)
        return;
    buf_str(b, "a=ice-ufrag:");
    buf_put(b, ours->ufrag);
    buf_str(b, "\r\na=ice-pwd:");
    buf_put(b, ours->pwd);
    buf_str(b, "\r\n");
    put_candidate(b, &l->rtp, 0, 1);
    if (l->rtcp.n > 0)
        put_candidate(b, &l->rtcp, 0, 2);
    for (unsigned i = 0; l->rtcp.n == 0 && i < l->more_n; i++)
        if (l->more[i].n > 0 && !offer_ip_equal(&l->more[i], &l->rtp))
            put_candidate(b, &l->more[i], i + 1, 1);
}

static void put_keys(struct buf *b, const struct offer_line *l, const struct offer_ours *ours)
{
    for (unsigned i = 0; i < l->cryptos_n; i++) {
        const struct offer_key *k = l->cryptos[i];
        buf_printf(b, "a=crypto:%u ", (unsigned)l->tags[i]);
        buf_put(b, offer_suite_name(k->suite));
        buf_str(b, " inline:");
        crypto_base64(b, k->key, (size_t)k->key_n + k->salt_n);
        buf_str(b, "\r\n");
    }
    if (!l->dtls)
        return;
    static const char *const roles[] = {[SDP_ACTIVE] = "active",
                                        [SDP_PASSIVE] = "passive",
                                        [SDP_ACTPASS] = "actpass",
                                        [SDP_HOLDCONN] = "holdconn"};
    buf_printf(b, "a=setup:%s\r\na=fingerprint:", roles[l->setup]);
    buf_put(b, ours->fingerprint);
    buf_str(b, "\r\n");
}

static void put_rtcp(struct buf *b, const struct offer_line *l)
{
    if (l->mux)
        buf_str(b, "a=rtcp-mux\r\n");
    if (l->mux_only)
        buf_str(b, "a=rtcp-mux-only\r\n");
    if (l->rtcp.n == 0 || (same_host(&l->rtcp, &l->rtp) && l->rtcp.port == l->rtp.port + 1))
        return;
    buf_printf(b, "a=rtcp:%u", l->rtcp.port);
    if (!same_host(&l->rtcp, &l->rtp)) {
        buf_char(b, ' ');
        put_conn(b, &l->rtcp);
    }
    buf_str(b, "\r\n");
}

/* ---- the whole ---- */

static void put_mid(struct buf *b, sv mid)
{
    if (mid.n == 0)
        return;
    buf_str(b, "a=mid:");
    buf_put(b, mid);
    buf_str(b, "\r\n");
}

/* RFC 3264 §6: port 0; the formats mean nothing, and one must be there. */
static void put_refused(struct buf *b, const struct sdp_media *like, sv mid)
{
    buf_str(b, "m=");
    buf_put(b, like->type);
    buf_str(b, " 0 ");
    buf_put(b, like->proto);
    for (size_t i = 0; i < like->n_formats; i++) {
        buf_char(b, ' ');
        buf_put(b, like->formats[i]);
    }
    if (like->n_formats == 0)
        buf_str(b, " 0");
    buf_str(b, "\r\n");
    put_mid(b, mid);
}

static void put_line(struct buf *b, const struct offer_draft *d, const struct offer_line *l,
                     const struct offer_ip *session)
{
    if (l->refused) {
        put_refused(b, l->like, l->mid);
        return;
    }
    buf_str(b, "m=");
    buf_put(b, l->like->type);
    buf_printf(b, " %u ", l->rtp.port);
    buf_put(b, l->proto);
    for (unsigned i = 0; i < l->codecs_n; i++)
        buf_printf(b, " %u", l->codecs[i].pt);
    for (size_t i = 0; l->kind == OFFER_T38 && i < l->like->n_formats; i++) {
        buf_char(b, ' ');
        buf_put(b, l->like->formats[i]);
    }
    buf_str(b, "\r\n");
    if (!same_host(&l->rtp, session)) {
        buf_str(b, "c=");
        put_conn(b, &l->rtp);
        buf_str(b, "\r\n");
    }
    if (l->from && !l->remade)
        offer_put_bandwidths(b, l->from->bandwidths, l->from->n_bandwidths);
    put_mid(b, l->mid);
    offer_put_codecs(b, l);
    offer_put_passing(b, l);
    if (l->kind != OFFER_T38 || l->direction != SDP_SENDRECV) {
        buf_str(b, "a=");
        buf_put(b, sdp_direction_name(l->direction));
        buf_str(b, "\r\n");
    }
    if (l->bundled) {
        /* DEVIATES: RFC 9143 §7.1.3 wants it in the head's section alone, but browsers refuse a bundle of which a
         * section lacks it */
        buf_str(b, "a=rtcp-mux\r\n");
        return;
    }
    put_keys(b, l, d->ours);
    put_ice(b, l, d->ours);
    put_rtcp(b, l);
}

/* Behind another that has a transport of its own. */
static bool is_rest(const struct offer_draft *d, unsigned i)
{
    bool first = !d->lines[i].bundled;
    for (unsigned k = 0; k < i && first; k++)
        first = d->lines[k].refused || !d->lines[k].grouped || d->lines[k].bundled;
    return !first;
}

static void put_session_attrs(struct buf *b, const struct offer_draft *d)
{
    bool ice = false, web = false, group = false;
    for (unsigned i = 0; i < d->n; i++) {
        ice = ice || (!d->lines[i].refused && d->lines[i].ice);
        web = web || (!d->lines[i].refused && d->lines[i].web);
        group = group || (!d->lines[i].refused && d->lines[i].grouped);
    }
    if (group) {
        buf_str(b, "a=group:BUNDLE");
        for (int rest = 0; rest < 2; rest++) /* the head first */
            for (unsigned i = 0; i < d->n; i++)
                if (!d->lines[i].refused && d->lines[i].grouped && is_rest(d, i) == rest) {
                    buf_char(b, ' ');
                    buf_put(b, d->lines[i].mid);
                }
        buf_str(b, "\r\n");
    }
    if (ice && !d->ours->ice_full)
        buf_str(b, "a=ice-lite\r\n");
    if (ice)
        buf_str(b, "a=ice-options:ice2\r\n");
    if (d->from)
        offer_put_session_passing(b, d->from, web);
}

static void put_times(struct buf *b, const struct offer_draft *d)
{
    for (size_t i = 0; d->answer && i < d->like->n_times; i++) {
        buf_str(b, "t=");
        buf_u64(b, d->like->times[i].start);
        buf_char(b, ' ');
        buf_u64(b, d->like->times[i].stop);
        buf_str(b, "\r\n");
    }
    if (!d->answer)
        buf_str(b, "t=0 0\r\n");
}

static void put_all(struct buf *b, const struct offer_draft *d)
{
    struct offer_ip first = {.n = 4}; /* 0.0.0.0 when nothing is accepted */
    for (unsigned i = d->n; i > 0; i--)
        if (!d->lines[i - 1].refused)
            first = d->lines[i - 1].rtp;
    buf_str(b, "v=0\r\no=- ");
    buf_u64(b, d->ours->session_id);
    buf_char(b, ' ');
    buf_u64(b, d->ours->version);
    buf_char(b, ' ');
    put_conn(b, &first);
    buf_str(b, "\r\ns=-\r\nc=");
    put_conn(b, &first);
    buf_str(b, "\r\n");
    if (d->from)
        offer_put_bandwidths(b, d->from->bandwidths, d->from->n_bandwidths);
    put_times(b, d);
    put_session_attrs(b, d);
    for (unsigned i = 0; i < d->n; i++)
        put_line(b, d, &d->lines[i], &first);
    for (size_t i = d->n; i < d->like->n_media; i++) {
        const struct sdp_attr *mid = sdp_attr_find(&d->like->media[i].attrs, SV("mid"));
        put_refused(b, &d->like->media[i], mid ? mid->value : SV_NONE);
    }
}

enum err offer_print(const struct offer_draft *d, struct arena *a, sv *ret_text)
{
    struct buf b = {.rc = ERR_TOOBIG};
    for (size_t cap = TEXT_FIRST; b.rc == ERR_TOOBIG && cap / 2 < SDP_MAX; cap *= 2) {
        size_t room = cap < SDP_MAX ? cap : SDP_MAX;
        char *mem = arena_alloc(a, room);
        if (!mem)
            return ERR_NOMEM;
        buf_init(&b, mem, room);
        put_all(&b, d);
    }
    if (b.rc)
        return b.rc;
    *ret_text = buf_sv(&b);
    return ERR_OK;
}
