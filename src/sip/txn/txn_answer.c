/* SPDX-License-Identifier: MIT */
/* txn/txn_answer.c: a final response as it is kept for a request that may come again.
 *
 * A response of our own is what it adds to its request (RFC 3261 §8.2.6): the request brings the rest when
 * it comes again, and the same response is built again. Of a response that was passed on the octets are
 * kept. Either way it is one piece of its own size. */
#include "txn/txn_priv.h"

enum { SCRATCH = 8 * 1024, SCRATCH_MAX = 256 * 1024 };
/* All together take as much for each transaction that there may be. What comes beyond stays where it is, in
 * a block, of which there are so many. */
enum { MEAN_MAX = 1024 };

struct txn_answer {
    uint64_t asked;  /* of our own: what it answers */
    uint32_t n;      /* of text */
    uint16_t status; /* 0: text is the whole response */
    uint8_t reason_n, tag_n, type_n;
    bool record_route;
    uint16_t headers_n;
    char text[]; /* reason, To tag, header lines, Content-Type, body */
};

static size_t size_of(size_t n)
{
    return offsetof(struct txn_answer, text) + n;
}

static char *put(char *p, sv text)
{
    if (text.n)
        memcpy(p, text.p, text.n);
    return p + text.n;
}

/* An empty text would be kept as an absent one. */
static bool keeps(sv text, size_t max)
{
    return text.n <= max && (text.n || !text.p);
}

/* n octets of text, counted. */
static struct txn_answer *new (struct txn_table *tt, size_t n)
{
    if (n > UINT32_MAX || tt->answers + size_of(n) > tt->config->transactions * MEAN_MAX)
        return NULL;
    struct txn_answer *a = mem_take(size_of(n));
    if (!a)
        return NULL;
    tt->answers += size_of(n);
    *a = (struct txn_answer){.n = (uint32_t)n};
    return a;
}

/* What a response takes from its request and a request that only has the same branch would bring anew. */
static uint64_t asked(const struct txn_table *tt, const struct rx *rx)
{
    const struct sipmsg *m = &rx->msg;
    sv pieces[] = {SV("asked"), sipmsg_value(m, SIP_H_CALL_ID), sipmsg_value(m, SIP_H_CSEQ),
                   sipmsg_value(m, SIP_H_FROM), sipmsg_value(m, SIP_H_TO)};
    return home_list_key(tt->home, pieces, 5).a;
}

struct txn_answer *txn_answer_of(struct txn_table *tt, const struct rx *rx,
                                 const struct sip_reply *r)
{
    size_t n = r->reason.n + r->to_tag.n + r->headers.n + r->content_type.n + r->body.n;
    if (!keeps(r->reason, UINT8_MAX) || !keeps(r->to_tag, UINT8_MAX) ||
        !keeps(r->content_type, UINT8_MAX) || r->headers.n > UINT16_MAX)
        return NULL;
    struct txn_answer *a = new (tt, n);
    if (!a)
        return NULL;
    a->asked = asked(tt, rx);
    a->status = r->status;
    a->reason_n = (uint8_t)r->reason.n;
    a->tag_n = (uint8_t)r->to_tag.n;
    a->type_n = (uint8_t)r->content_type.n;
    a->record_route = r->record_route;
    a->headers_n = (uint16_t)r->headers.n;
    char *p = put(put(put(a->text, r->reason), r->to_tag), r->headers);
    put(put(p, r->content_type), r->body);
    return a;
}

struct txn_answer *txn_answer_copy(struct txn_table *tt, sv octets)
{
    struct txn_answer *a = new (tt, octets.n);
    if (a)
        put(a->text, octets);
    return a;
}

void txn_answer_free(struct txn_table *tt, struct txn_answer *a)
{
    if (!a)
        return;
    tt->answers -= size_of(a->n);
    mem_give(a, size_of(a->n));
}

/* The next n octets of what *at walks. */
static sv take(const char **at, size_t n)
{
    sv piece = n ? (sv){*at, n} : SV_NONE;
    *at += n;
    return piece;
}

static struct sip_reply reply_of(const struct txn_answer *a)
{
    const char *at = a->text;
    struct sip_reply r = {.status = a->status, .record_route = a->record_route};
    r.reason = take(&at, a->reason_n);
    r.to_tag = take(&at, a->tag_n);
    r.headers = take(&at, a->headers_n);
    r.content_type = take(&at, a->type_n);
    r.body = take(&at, a->n - (size_t)(at - a->text));
    return r;
}

static struct block *copy_of(const struct txn_answer *a, struct sip *s)
{
    struct block *octets = sip_block(s, a->n);
    if (!octets)
        return NULL;
    memcpy(octets->p, a->text, a->n);
    octets->n = a->n;
    return octets;
}

void txn_answer_send(struct txn_table *tt, const struct txn_answer *a, struct rx *rx)
{
    struct block *octets = NULL;
    struct sip *s = tt->sip;
    if (a->status) {
        if (asked(tt, rx) != a->asked)
            return; /* another request, which was never judged */
        struct sip_reply r = reply_of(a);
        if (sip_build_reply(s, rx, &r, &octets))
            return;
    } else if (!(octets = copy_of(a, s))) {
        return;
    }
    enum err rc = sip_send_response(s, rx, octets);
    (void)rc;
    block_unref(octets);
}

sv txn_octets_tag(const struct block *response, char mem[static TXN_TAG_MAX])
{
    char scratch[SCRATCH];
    struct arena a;
    struct sipmsg m;
    const struct sip_addr *to;
    sv tag = SV_NONE;
    arena_init(&a, scratch, sizeof scratch, SCRATCH_MAX);
    if (!sipmsg_parse(block_sv(response), &a, &m, NULL) && !sipmsg_to(&m, &to) &&
        sv_present(to->tag) && to->tag.n <= TXN_TAG_MAX) {
        memcpy(mem, to->tag.p, to->tag.n);
        tag = (sv){mem, to->tag.n};
    }
    arena_done(&a);
    return tag;
}

sv txn_answer_tag(const struct txn_answer *a, struct sip *s, char mem[static TXN_TAG_MAX])
{
    if (a->status) {
        put(mem, reply_of(a).to_tag);
        return a->tag_n ? (sv){mem, a->tag_n} : SV_NONE;
    }
    struct block *octets = copy_of(a, s); /* the parser reads beyond the end */
    sv tag = octets ? txn_octets_tag(octets, mem) : SV_NONE;
    block_unref(octets);
    return tag;
}
