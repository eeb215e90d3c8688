/* SPDX-License-Identifier: MIT */
/* dtls/dtls.c: the machine: when it begins, sends again, gives up; and what it tells.
 *
 *   new ── start, ClientHello ──► shaking ── done ──► held ── trusted ──► keyed ── closed ──► over
 *                                    └── failed ──────► over ◄── mismatch ┘
 *
 * What is to be told is noted (tell) and told as the last thing in a call, outside OpenSSL, so that
 * the user may do anything then; the struct outlives the outermost of our functions that is on the stack. */
#include "dtls/dtls_priv.h"
#include "mem/mem.h"
#include <openssl/rand.h>

enum {
    ALL_SUITES = (1 << DTLS_SUITES) - 1,
    /* How often a flight goes out again because the peer repeated its own: anyone may repeat it. With
     * the timer's (4 in DTLS_GIVE_UP) it is less than what OpenSSL gives up after, 12. */
    REPEATS_MAX = 6,
};

static const char *const why_texts[DTLS_WHYS] = {
#define DTLS_WHY(id, text) [DTLS_WHY_##id] = text,
#include "dtls/dtls.def"
};

const char *dtls_why_text(enum dtls_why why)
{
    return (unsigned)why < DTLS_WHYS ? why_texts[why] : "";
}

/* ---- what is told ---- */

static void tell_failed(struct dtls *d)
{
    char text[192];
    struct buf b;
    buf_init(&b, text, sizeof(text));
    buf_str(&b, why_texts[d->why]);
    if (d->reason > SSL_AD_REASON_OFFSET)
        buf_printf(&b, ": %s", SSL_alert_desc_string_long(d->reason - SSL_AD_REASON_OFFSET));
    else if (d->why == DTLS_WHY_BROKEN && d->reason > 0) {
        const char *what = ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, d->reason));
        buf_printf(&b, ": %s", what ? what : "broken");
    }
    if (d->user->on_failed)
        d->user->on_failed(d->arg, d->why, buf_sv(&b));
}

static void tell_keys(struct dtls *d)
{
    struct dtls_keys k = d->keys;
    crypto_wipe(&d->keys, sizeof(d->keys));
    d->user->on_keys(d->arg, &k);
    crypto_wipe(&k, sizeof(k));
}

static void destroy(struct dtls *d)
{
    dtls_ssl_drop(d);
    if (d->trusted)
        MEM_GIVE(d->trusted);
    crypto_wipe(d, sizeof(*d));
    MEM_GIVE(d);
}

static void leave(struct dtls *d)
{
    while (d->tell && !d->closed && !d->dead) {
        unsigned next = d->tell & -d->tell;
        d->tell &= (uint8_t)~next;
        if (next == DTLS_TELL_KEYS)
            tell_keys(d);
        else if (next == DTLS_TELL_FAILED)
            tell_failed(d);
        else if (d->user->on_closed)
            d->user->on_closed(d->arg);
    }
    if (--d->busy == 0 && d->dead)
        destroy(d);
}

/* ---- ends ---- */

static void end(struct dtls *d)
{
    dtls_ssl_drop(d);
    d->state = DTLS_OVER;
    d->give_up = d->resend_at = d->settle_at = USEC_NEVER;
}

/* OpenSSL is of no more use: the keys stand. */
static void settle(struct dtls *d)
{
    if (d->ssl && d->goodbye_n == 0)
        dtls_ssl_keep_goodbye(d);
    dtls_ssl_drop(d);
    d->settle_at = USEC_NEVER;
}

static void say_goodbye(struct dtls *d)
{
    if (d->state != DTLS_HELD && d->state != DTLS_KEYED)
        return; /* it would be in the clear, and believed by nobody */
    if (d->ssl)
        dtls_ssl_say_goodbye(d);
    else if (d->goodbye_n > 0)
        d->user->send(d->arg, (sv){(const char *)d->goodbye, d->goodbye_n});
}

static void fail(struct dtls *d, enum dtls_why why)
{
    d->why = why;
    d->tell |= DTLS_TELL_FAILED;
    crypto_wipe(&d->keys, sizeof(d->keys));
    if (d->stats)
        stat_inc(d->stats, STAT_DTLS_FAILURES);
    end(d);
}

/* The fingerprints are known, and so is the certificate. */
static void judge(struct dtls *d)
{
    if (!dtls_trust_holds(d)) {
        /* DEVIATES (RFC 8122 §6.2, bad_certificate): once the handshake is done OpenSSL sends no other
         * alert than close_notify. */
        say_goodbye(d);
        fail(d, DTLS_WHY_FINGERPRINT);
        return;
    }
    if (d->state != DTLS_HELD)
        return;
    d->state = DTLS_KEYED;
    d->tell |= DTLS_TELL_KEYS;
    MEM_GIVE(d->trusted);
    d->trusted = NULL;
    if (d->stats)
        stat_inc(d->stats, STAT_DTLS_HANDSHAKES);
}

/* ---- turns ---- */

static void complete(struct dtls *d, usec now)
{
    d->state = DTLS_HELD;
    d->give_up = d->resend_at = USEC_NEVER;
    d->settle_at = now + DTLS_SETTLE;
    if (!d->certified)
        fail(d, DTLS_WHY_CERTIFICATE);
    else if (!dtls_ssl_keys(d))
        fail(d, d->why);
    else if (d->trusted)
        judge(d);
}

static void shake(struct dtls *d, usec now)
{
    uint16_t before = d->read_seq;
    uint8_t rumour = d->rumour;
    d->repeated = false;
    switch (dtls_ssl_shake(d)) {
    case ERR_OK:
        complete(d, now);
        return;
    case ERR_MORE:
        break;
    default:
        fail(d, d->why);
        return;
    }
    if (d->flight_new) {
        d->flight_new = false;
        d->repeats = 0;
        d->interval = DTLS_RETRANSMIT;
        d->resend_at = now + d->interval;
    } else if (!dtls_ssl_waits(d)) {
        d->resend_at = USEC_NEVER;
    } else if (d->repeated && d->read_seq == before && d->repeats < REPEATS_MAX) {
        d->repeats++;
        d->resend_at = now + d->interval;
        dtls_ssl_resend(d);
    }
    if (d->rumour != rumour && d->give_up - now > DTLS_RUMOUR)
        d->give_up = now + DTLS_RUMOUR;
}

static void drain(struct dtls *d)
{
    switch (dtls_ssl_drain(d)) {
    case ERR_OK:
        break;
    case ERR_CLOSED:
        say_goodbye(d); /* RFC 5246 §7.2.1: answered */
        if (d->state == DTLS_HELD) {
            fail(d, DTLS_WHY_REFUSED);
            break;
        }
        d->tell |= DTLS_TELL_CLOSED;
        end(d);
        break;
    default:
        settle(d);
    }
}

static void begin(struct dtls *d, usec now)
{
    if (d->give_up == USEC_NEVER)
        d->give_up = now + DTLS_GIVE_UP;
    d->state = DTLS_SHAKING;
    if (!dtls_ssl_open(d))
        fail(d, DTLS_WHY_NOMEM);
}

/* A server's first datagram: whether it begins a handshake. */
static bool greet(struct dtls *d, sv datagram, usec now)
{
    uint8_t answer[DTLS_ANSWER_MAX];
    size_t n;
    if (!d->cookies)
        return dtls_record_begins(datagram);
    switch (
        dtls_hello(d->shared, (sv){(const char *)d->peer, d->peer_n}, datagram, now, answer, &n)) {
    case DTLS_HELLO_ANSWER:
        d->user->send(d->arg, (sv){(const char *)answer, n});
        return false;
    case DTLS_HELLO_PROVEN: {
        /* RFC 6347 §4.2.1: our ServerHello takes the number of this ClientHello. A lower one was in the
         * HelloVerifyRequest, and would be taken for a replayed one. */
        struct dtls_record r;
        if (dtls_record_next(&datagram, &r))
            d->number = r.number;
        d->proven = d->greeted = true;
        return true;
    }
    case DTLS_HELLO_NONE:
        break;
    }
    return false;
}

/* ---- what users call ---- */

enum err dtls_new(const struct dtls_shared *s, const struct dtls_config *c,
                  const struct dtls_user *user, void *arg, struct dtls **ret_dtls)
{
    if (c->peer.n > DTLS_PEER_MAX)
        return ERR_TOOBIG;
    struct dtls *d = MEM_TAKE(struct dtls);
    if (!d)
        return ERR_NOMEM;
    d->shared = s;
    d->user = user;
    d->arg = arg;
    d->stats = c->stats;
    d->client = c->client;
    d->cookies = c->cookies && !c->client;
    d->suites = c->suites & ALL_SUITES ? c->suites & ALL_SUITES : ALL_SUITES;
    d->give_up = d->resend_at = d->settle_at = USEC_NEVER;
    d->why = DTLS_WHYS;
    d->peer_n = (uint8_t)c->peer.n;
    if (c->peer.n > 0)
        memcpy(d->peer, c->peer.p, c->peer.n);
    *ret_dtls = d;
    return ERR_OK;
}

void dtls_free(struct dtls *d)
{
    if (!d)
        return;
    d->dead = true;
    if (d->busy == 0)
        destroy(d);
}

void dtls_start(struct dtls *d, usec now)
{
    if (d->state != DTLS_NEW || d->give_up != USEC_NEVER)
        return;
    d->busy++;
    d->give_up = now + DTLS_GIVE_UP;
    if (d->client)
        begin(d, now);
    if (d->state == DTLS_SHAKING)
        shake(d, now);
    leave(d);
}

void dtls_receive(struct dtls *d, sv datagram, usec now)
{
    if (d->state == DTLS_OVER || (d->state == DTLS_NEW && (d->client || !greet(d, datagram, now))))
        return;
    d->busy++;
    if (d->state == DTLS_NEW)
        begin(d, now);
    d->in = datagram;
    if (d->state == DTLS_SHAKING)
        shake(d, now);
    if (d->state != DTLS_SHAKING && d->ssl)
        drain(d);
    d->in = SV_NONE;
    leave(d);
}

usec dtls_deadline(const struct dtls *d)
{
    usec first = d->resend_at < d->give_up ? d->resend_at : d->give_up;
    return first < d->settle_at ? first : d->settle_at;
}

void dtls_timer(struct dtls *d, usec now)
{
    d->busy++;
    if (now >= d->give_up) {
        d->reason = d->rumour ? SSL_AD_REASON_OFFSET + d->rumour - 1 : 0;
        fail(d, d->rumour ? DTLS_WHY_REFUSED : DTLS_WHY_SILENT);
    } else if (now >= d->resend_at) {
        d->interval *= 2;
        d->resend_at = now + d->interval;
        dtls_ssl_resend(d);
    } else if (now >= d->settle_at) {
        settle(d);
    }
    leave(d);
}

void dtls_settle(struct dtls *d)
{
    if (d->state == DTLS_KEYED)
        settle(d);
}

enum err dtls_trust(struct dtls *d, const struct dtls_fingerprint *f, size_t n, usec now)
{
    (void)now;
    if (d->state == DTLS_OVER)
        return ERR_STATE;
    if (d->state == DTLS_KEYED)
        return dtls_matches(d, f, n) ? ERR_OK : ERR_AUTH;
    TRY(dtls_trust_set(d, f, n));
    d->busy++;
    if (d->certified)
        judge(d);
    leave(d);
    return ERR_OK;
}

void dtls_close(struct dtls *d)
{
    if (d->closed)
        return;
    say_goodbye(d);
    d->closed = true;
    crypto_wipe(&d->keys, sizeof(d->keys)); /* nobody will ask for them */
    end(d);
}

enum dtls_state dtls_state(const struct dtls *d)
{
    return d->state;
}

/* ---- shared ---- */

static void count_sent(void *arg, sv octets)
{
    (void)octets;
    ++*(unsigned *)arg;
}

/* A ClientHello, and the same again when our timer says so. */
static enum err probe(const struct dtls_shared *s)
{
    static const struct dtls_user user = {.send = count_sent};
    struct dtls *d;
    unsigned sent = 0;
    TRY(dtls_new(s, &(struct dtls_config){.client = true}, &user, &sent, &d));
    dtls_start(d, 0);
    dtls_timer(d, DTLS_RETRANSMIT);
    dtls_free(d);
    return sent == 2 ? ERR_OK : ERR_UNSUPPORTED;
}

enum err dtls_shared_new(const struct dtls_shared_config *c, struct dtls_shared **ret_shared)
{
    struct dtls_shared *s = MEM_NEW(struct dtls_shared);
    if (!s)
        return ERR_NOMEM;
    enum err rc = RAND_bytes(s->secret, sizeof(s->secret)) == 1 ? ERR_OK : ERR_IO;
    if (!rc)
        rc = dtls_ssl_setup(s);
    if (!rc)
        rc = dtls_cert_use(s, c);
    if (!rc)
        rc = probe(s);
    ERR_clear_error();
    if (rc)
        dtls_shared_free(s);
    else
        *ret_shared = s;
    return rc;
}

void dtls_shared_free(struct dtls_shared *s)
{
    if (!s)
        return;
    SSL_CTX_free(s->ctx);
    BIO_meth_free(s->bio);
    crypto_wipe(s, sizeof(*s));
    mem_free(s);
}

sv dtls_shared_fingerprint(const struct dtls_shared *s)
{
    return (sv){s->fingerprint, s->fingerprint_n};
}
