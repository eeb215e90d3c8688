/* SPDX-License-Identifier: MIT */
/* dtls/dtls_bio.c: what OpenSSL reads and writes, through a BIO without a buffer.
 *
 * It reads the records of the datagram at hand, one at a time, and only those that cannot do harm: OpenSSL
 * ends a handshake because of many things that anybody can send, and takes memory for others (admit). What it
 * writes goes to the user at the end of the turn, in as few datagrams as will do. */
#include "dtls/dtls_priv.h"

enum {
    EARLY_MAX = 2, /* OpenSSL keeps a buffer of 17 kB for each */
    LEVEL_FATAL = 2,
    ALERT_LEN = 2,
    NUMBER_AT = 5, /* in a record's head */
    NUMBER_LEN = 6,
    SEALED_MORE =
        8 + 16, /* octets of a record sealed with AES-GCM besides the plain ones: RFC 5288 §3 */
};

/* An alert in the clear is anybody's. It is remembered: if the handshake does not end in spite of it, it was the
 * peer's, and says why. */
static void hear_rumour(struct dtls *d, sv body)
{
    if (body.n == ALERT_LEN && (body.p[0] == LEVEL_FATAL || body.p[1] == SSL_AD_CLOSE_NOTIFY))
        d->rumour = (uint8_t)((uint8_t)body.p[1] + 1);
}

/* The last message of the flight that we have answered: the peer did not get our answer. RFC 6347 §4.2.4. */
static void note_repetition(struct dtls *d, sv body)
{
    struct dtls_fragment f;
    while (dtls_fragment_next(&body, &f))
        if (f.offset == 0 && d->flight_seq > 0 && f.seq == d->flight_seq - 1)
            d->repeated = true;
}

static bool admit_clear(struct dtls *d, const struct dtls_record *r)
{
    switch (r->type) {
    case DTLS_HANDSHAKE: {
        enum err rc = dtls_budget_take(&d->budget, d->client, r->body);
        if (rc == ERR_TOOBIG && d->stats)
            stat_refuse(d->stats, STAT_LIMIT_DTLS);
        if (!rc)
            note_repetition(d, r->body);
        return !rc;
    }
    case DTLS_CCS:
        return r->body.n == 1 && r->body.p[0] == 1; /* OpenSSL gives up on others */
    case DTLS_ALERT:
        hear_rumour(d, r->body);
        return false;
    default:
        return false;
    }
}

/* The next epoch's, while the handshake runs. Before the ChangeCipherSpec OpenSSL keeps them. */
static bool admit_early(struct dtls *d)
{
    OSSL_HANDSHAKE_STATE at = SSL_get_state(d->ssl);
    if (at == TLS_ST_SR_CHANGE || at == TLS_ST_CR_CHANGE)
        return true;
    if (d->early == EARLY_MAX)
        return false;
    d->early++;
    return true;
}

/* Whether OpenSSL may see this record: what it would give up on, or keep too much of, it does not. */
static bool admit(struct dtls *d, const struct dtls_record *r)
{
    bool shaking = d->state == DTLS_SHAKING;
    if (r->epoch == 0)
        return shaking && admit_clear(d, r);
    /* One that is too short to hold its seal makes OpenSSL give up, with an alert that the peer believes. */
    size_t least = r->type == DTLS_ALERT ? ALERT_LEN : DTLS_FRAGMENT_HEAD;
    if (r->epoch != 1 || (r->type != DTLS_HANDSHAKE && r->type != DTLS_ALERT) ||
        r->body.n < SEALED_MORE + least)
        return false;
    if (shaking)
        return admit_early(d);
    /* then a handshake message is the client's Finished once more, or a wish to renegotiate */
    return !d->client || r->type == DTLS_ALERT;
}

/* OpenSSL drops a record whose number it has seen, or that is far behind the highest it has seen (RFC 6347
 * §4.1.2.6). In the clear a forger could thereby make it drop all that follows: the number is nobody's word, so
 * it gets one of ours, and what is repeated is known by its message_seq. */
static void renumber(struct dtls *d, uint8_t *p)
{
    uint64_t number = d->number++;
    for (size_t i = NUMBER_AT + NUMBER_LEN; i-- > NUMBER_AT;) {
        p[i] = (uint8_t)number;
        number >>= 8;
    }
}

static int bio_read(BIO *b, char *p, int n)
{
    struct dtls *d = BIO_get_data(b);
    struct dtls_record r;
    BIO_clear_retry_flags(b);
    while (dtls_record_next(&d->in, &r)) {
        if (n <= 0 || r.all.n > (size_t)n || !admit(d, &r))
            continue;
        memcpy(p, r.all.p, r.all.n);
        if (r.epoch == 0)
            renumber(d, (uint8_t *)p);
        return (int)r.all.n;
    }
    d->in = SV_NONE;
    d->dry = true;
    BIO_set_retry_read(b);
    return -1;
}

void dtls_bio_flush(struct dtls *d)
{
    sv octets = {(const char *)d->out->p, d->out->n};
    d->out->n = 0;
    if (octets.n > 0 && !d->closed)
        d->user->send(d->arg, octets);
}

/* Whole records; what fits into one datagram goes in one. */
static int bio_write(BIO *b, const char *p, int n)
{
    struct dtls *d = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0 || (size_t)n > sizeof(d->out->p) || !d->out)
        return -1;
    if ((size_t)n > sizeof(d->out->p) - d->out->n)
        dtls_bio_flush(d);
    memcpy(d->out->p + d->out->n, p, (size_t)n);
    d->out->n += (size_t)n;
    return n;
}

static long bio_ctrl(BIO *b, int what, long num, void *p)
{
    struct dtls *d = BIO_get_data(b);
    (void)num;
    if (what == BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT && d)
        d->clock = p;
    return what == BIO_CTRL_FLUSH || what == BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT;
}

BIO_METHOD *dtls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "datagrams");
    if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
        BIO_meth_set_ctrl(m, bio_ctrl))
        return m;
    BIO_meth_free(m);
    return NULL;
}
