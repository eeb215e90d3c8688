/* SPDX-License-Identifier: MIT */
/* dtls/dtls_record.c: what stands in a datagram, as far as it stands there in the clear; and the
 * cookie exchange, which needs no more than that.
 *
 *   record    type 1 · version 2 · epoch 2 · number 6 · length 2 · body             RFC 6347 §4.1
 *   fragment  type 1 · length 3 · message_seq 2 · offset 3 · length 3 · body        §4.2.2 */
#include "dtls/dtls_priv.h"

enum {
    VERSION_MAJOR = 254, /* 1's complement of 1; 1.0 is 254.255, 1.2 is 254.253 */
    NUMBER_AT = 3,       /* epoch and number in a record's head */
    NUMBER = 8,
    PARAMS = 2 + 32, /* version and random of a ClientHello */
};
#define COOKIE_LIFE (30 * USEC_S)

static uint64_t be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    while (n-- > 0)
        v = v << 8 | *p++;
    return v;
}

bool dtls_record_next(sv *rest, struct dtls_record *ret_record)
{
    const uint8_t *p = (const uint8_t *)rest->p;
    if (rest->n < DTLS_RECORD_HEAD || p[1] != VERSION_MAJOR)
        return false;
    size_t n = be(p + 11, 2);
    if (n == 0 || n > rest->n - DTLS_RECORD_HEAD)
        return false;
    ret_record->type = p[0];
    ret_record->epoch = (uint16_t)be(p + NUMBER_AT, 2);
    ret_record->number = be(p + NUMBER_AT + 2, 6);
    ret_record->all = sv_sub(*rest, 0, DTLS_RECORD_HEAD + n);
    ret_record->body = sv_sub(*rest, DTLS_RECORD_HEAD, DTLS_RECORD_HEAD + n);
    *rest = sv_sub(*rest, DTLS_RECORD_HEAD + n, rest->n);
    return true;
}

bool dtls_fragment_next(sv *rest, struct dtls_fragment *ret_fragment)
{
    const uint8_t *p = (const uint8_t *)rest->p;
    if (rest->n < DTLS_FRAGMENT_HEAD)
        return false;
    size_t n = be(p + 9, 3);
    if (n > rest->n - DTLS_FRAGMENT_HEAD)
        return false;
    *ret_fragment = (struct dtls_fragment){
        .type = p[0],
        .length = (uint32_t)be(p + 1, 3),
        .seq = (uint16_t)be(p + 4, 2),
        .offset = (uint32_t)be(p + 6, 3),
        .body = sv_sub(*rest, DTLS_FRAGMENT_HEAD, DTLS_FRAGMENT_HEAD + n),
    };
    *rest = sv_sub(*rest, DTLS_FRAGMENT_HEAD + n, rest->n);
    return true;
}

/* The first record is in the clear, its first fragment of a ClientHello. */
static bool hello_of(sv datagram, struct dtls_record *ret_record, struct dtls_fragment *ret_f)
{
    return dtls_record_next(&datagram, ret_record) && ret_record->type == DTLS_HANDSHAKE &&
           ret_record->epoch == 0 &&
           dtls_fragment_next(&(sv){ret_record->body.p, ret_record->body.n}, ret_f) &&
           ret_f->type == DTLS_CLIENT_HELLO;
}

bool dtls_record_begins(sv datagram)
{
    struct dtls_record r;
    struct dtls_fragment f;
    return hello_of(datagram, &r, &f) && f.seq == 0;
}

/* ---- budget ---- */

static bool is_expected(bool client, uint8_t type)
{
    switch (type) {
    case DTLS_CERTIFICATE:
        return true;
    case DTLS_SERVER_HELLO:
    case DTLS_HELLO_VERIFY_REQUEST:
    case DTLS_SERVER_KEY_EXCHANGE:
    case DTLS_CERTIFICATE_REQUEST:
    case DTLS_SERVER_HELLO_DONE:
        return client;
    case DTLS_CLIENT_HELLO:
    case DTLS_CERTIFICATE_VERIFY:
    case DTLS_CLIENT_KEY_EXCHANGE:
        return !client;
    default:
        return false; /* a HelloRequest too: there is a handshake already */
    }
}

/* What OpenSSL does with a message that is not next in turn: it takes memory for all of it at its first
 * fragment. So what is announced counts. A message that has another length than before is a forgery,
 * the one or the other: the first is kept. */
static enum err take_fragment(struct dtls_budget *b, bool client, const struct dtls_fragment *f)
{
    if (!is_expected(client, f->type) || f->seq >= DTLS_MESSAGES || f->length > DTLS_MESSAGE_MAX ||
        f->offset > f->length || f->body.n > f->length - f->offset ||
        (f->body.n == 0 && f->length > 0))
        return ERR_SYNTAX;
    uint32_t *seen = &b->length[f->seq];
    if (*seen > 0)
        return *seen == f->length + 1 ? ERR_OK : ERR_SYNTAX;
    if (b->announced + f->length > DTLS_HANDSHAKE_MAX)
        return ERR_TOOBIG;
    b->announced += f->length;
    *seen = f->length + 1;
    return ERR_OK;
}

enum err dtls_budget_take(struct dtls_budget *b, bool client, sv body)
{
    struct dtls_fragment f;
    if (body.n > DTLS_RECEIVED_MAX - b->received)
        return ERR_TOOBIG;
    do {
        if (!dtls_fragment_next(&body, &f))
            return ERR_SYNTAX;
        TRY(take_fragment(b, client, &f));
        b->received += DTLS_FRAGMENT_HEAD + (uint32_t)f.body.n;
    } while (body.n > 0);
    return ERR_OK;
}

/* ---- cookies ---- */

/* RFC 6347 §4.2.1: "Cookie = HMAC(Secret, Client-IP, Client-Parameters)". The time in it is what the RFC asks a change
 * of the secret for: cookies that were collected are of no use later. */
static void bake(const struct dtls_shared *s, sv peer, sv params, uint64_t at,
                 uint8_t ret_cookie[static DTLS_COOKIE])
{
    uint8_t mac[SHA256_LEN];
    uint64_t head[2] = {at, peer.n};
    sv pieces[] = {{(const char *)head, sizeof(head)}, peer, params};
    crypto_hmac_sha256((sv){(const char *)s->secret, sizeof(s->secret)}, pieces, 3, mac);
    memcpy(ret_cookie, mac, DTLS_COOKIE);
}

/* The parts of a whole ClientHello. */
static bool read_hello(sv body, sv *ret_params, sv *ret_cookie)
{
    if (body.n < PARAMS + 1)
        return false;
    *ret_params = sv_sub(body, 0, PARAMS);
    size_t at = PARAMS + 1 + (uint8_t)body.p[PARAMS]; /* behind the session_id */
    if (at >= body.n)
        return false;
    size_t n = (uint8_t)body.p[at++];
    *ret_cookie = sv_sub(body, at, at + n);
    return ret_cookie->n == n;
}

static bool good(const struct dtls_shared *s, sv peer, sv params, sv cookie, uint64_t at)
{
    uint8_t wanted[DTLS_COOKIE];
    for (uint64_t back = 0; cookie.n == DTLS_COOKIE && back < 2; back++) {
        bake(s, peer, params, at - back, wanted);
        if (crypto_equal(wanted, cookie.p, DTLS_COOKIE))
            return true;
    }
    return false;
}

/* RFC 6347 §4.2.1: "the server MUST use the record sequence number in the ClientHello as the record
 * sequence number in the HelloVerifyRequest", and 1.0 as version, whatever comes later. */
static size_t write_answer(const char *number, const uint8_t cookie[static DTLS_COOKIE],
                           uint8_t answer[static DTLS_ANSWER_MAX])
{
    enum { BODY = 3 + DTLS_COOKIE, ALL = DTLS_RECORD_HEAD + DTLS_FRAGMENT_HEAD + BODY };
    _Static_assert((int)ALL <= (int)DTLS_ANSWER_MAX, "room for the answer");
    /* a ClientHello that we read is longer: D15 */
    _Static_assert((int)ALL < DTLS_RECORD_HEAD + DTLS_FRAGMENT_HEAD + PARAMS + 2,
                   "no amplification");
    static const uint8_t head[] = {DTLS_HANDSHAKE,
                                   VERSION_MAJOR,
                                   255,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   DTLS_FRAGMENT_HEAD + BODY,
                                   DTLS_HELLO_VERIFY_REQUEST,
                                   0,
                                   0,
                                   BODY,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   BODY,
                                   VERSION_MAJOR,
                                   255,
                                   DTLS_COOKIE};
    memcpy(answer, head, sizeof(head));
    memcpy(answer + NUMBER_AT, number, NUMBER);
    memcpy(answer + sizeof(head), cookie, DTLS_COOKIE);
    return ALL;
}

enum dtls_hello dtls_hello(const struct dtls_shared *s, sv peer, sv datagram, usec now,
                           uint8_t ret_answer[static DTLS_ANSWER_MAX], size_t *ret_n)
{
    struct dtls_record r;
    struct dtls_fragment f;
    sv params, cookie;
    uint64_t at = (uint64_t)(now / COOKIE_LIFE);
    uint8_t fresh[DTLS_COOKIE];
    if (!hello_of(datagram, &r, &f) || f.offset != 0 || f.body.n != f.length || f.seq > 1 ||
        r.body.n != DTLS_FRAGMENT_HEAD + f.body.n || !read_hello(f.body, &params, &cookie))
        return DTLS_HELLO_NONE;
    if (f.seq == 1 && good(s, peer, params, cookie, at))
        return DTLS_HELLO_PROVEN;
    bake(s, peer, params, at, fresh);
    *ret_n = write_answer(r.all.p + NUMBER_AT, fresh, ret_answer);
    return DTLS_HELLO_ANSWER;
}
