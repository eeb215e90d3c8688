/* SPDX-License-Identifier: MIT */
/* locate/locate_ask.c: questions to the DNS, and what is believed of their answers.
 *
 * A question is asked once for all who wait for it on this worker. It outlives them: what comes goes
 * to the cache in any case. An answer is read from the name that was asked along its aliases, and
 * nothing else in it counts (threats D33); where an alias leads out of it, one more question is
 * asked. */
#include "locate/locate_priv.h"

#define TTL_MIN      (1 * USEC_S)
#define TTL_MAX      USEC_DAY
#define TTL_NEGATIVE (5 * USEC_MIN)
#define TTL_FAILURE  (5 * USEC_S) /* RFC 2308 §7 allows 5 minutes; §5: no SOA, no time is given */

struct locate_question {
    struct hash_node by_key;
    struct link by_asked, slots;
    struct locate *l;
    struct dns_query *dns;
    uint64_t hash;
    enum dns_type type;
    char name[LOCATE_NAME_MAX]; /* as asked; the key */
    uint8_t name_n, at_n;
    char at[LOCATE_NAME_MAX]; /* where the aliases have led */
    unsigned aliases, follows;
    uint32_t ttl_s; /* of the aliases so far */
};

static sv question_name(const struct locate_question *qn)
{
    return (sv){qn->name, qn->name_n};
}

static sv question_at(const struct locate_question *qn)
{
    return (sv){qn->at, qn->at_n};
}

/* ---- what is kept ---- */

/* The transport that a service means (RFC 3263 §4.1, §8): "the flags 's', an empty regular
 * expression and a replacement". */
static enum sip_transport naptr_transport(const struct locate *l, const struct dns_rr *rr)
{
    static const struct {
        sv service;
        enum sip_transport transport;
    } services[] = {
        {{"SIP+D2U", 7}, SIP_T_UDP}, {{"SIP+D2T", 7}, SIP_T_TCP}, {{"SIPS+D2T", 8}, SIP_T_TLS}};
    for (unsigned i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (!sv_ieq(rr->naptr.service, services[i].service))
            continue;
        if (sv_ieq(rr->naptr.flags, SV("s")) && rr->naptr.regexp.n == 0 &&
            rr->naptr.replacement.n > 0)
            return services[i].transport;
        stat_refuse(&l->loop->stats, STAT_LIMIT_DNS);
    }
    return SIP_T_NONE;
}

/* The fields that order and name records of a kind, whatever it is. */
static struct locate_record head(const struct dns_rr *rr, sv *ret_name)
{
    struct locate_record r = {0};
    *ret_name = SV("");
    if (rr->type == DNS_SRV) {
        r.order = rr->srv.priority;
        r.weight = rr->srv.weight;
        r.port = rr->srv.port;
        *ret_name = rr->srv.target;
    } else if (rr->type == DNS_NAPTR) {
        r.order = rr->naptr.order;
        r.weight = rr->naptr.preference;
        *ret_name = rr->naptr.replacement;
    }
    return r;
}

/* Canonical, so that the same records are tried in the same order however the DNS turned them; but
 * addresses stay as they came. */
static bool before(const struct dns_rr *a, const struct dns_rr *b)
{
    sv name_a, name_b;
    struct locate_record x = head(a, &name_a), y = head(b, &name_b);
    if (x.order != y.order)
        return x.order < y.order;
    if (x.weight != y.weight)
        return x.weight < y.weight;
    if (x.port != y.port)
        return x.port < y.port;
    return sv_cmp(name_a, name_b) < 0;
}

static bool useful(const struct locate *l, const struct dns_rr *rr)
{
    sv name;
    if (rr->type == DNS_NAPTR && naptr_transport(l, rr) == SIP_T_NONE)
        return false;
    (void)head(rr, &name);
    return name.n <= LOCATE_NAME_MAX;
}

/* The records at name, the best of them first. */
static unsigned collect(const struct locate *l, const struct dnsmsg *m, sv name, enum dns_type type,
                        const struct dns_rr *ret_rr[static DNSMSG_RRS_MAX])
{
    unsigned n = 0;
    for (size_t i = 0; i < m->n && n < DNSMSG_RRS_MAX; i++) {
        const struct dns_rr *rr = &m->rrs[i];
        if (rr->type != type || !sv_eq(rr->name, name) || !useful(l, rr))
            continue;
        unsigned k = n++;
        for (; k > 0 && before(rr, ret_rr[k - 1]); k--)
            ret_rr[k] = ret_rr[k - 1];
        ret_rr[k] = rr;
    }
    return n;
}

/* The first of n that we have room for. */
static unsigned fitting(const struct dns_rr *const *rr, unsigned n, size_t *ret_text)
{
    size_t text = 0;
    unsigned i = 0;
    for (; i < n && i < LOCATE_RECORDS; i++) {
        sv name;
        (void)head(rr[i], &name);
        if (text + name.n > LOCATE_TEXT)
            break;
        text += name.n;
    }
    *ret_text = text;
    return i;
}

static struct locate_answer *answer_new(const struct locate_question *qn, enum err rc, usec until,
                                        const struct dns_rr *const *rr, unsigned n)
{
    size_t text_n, at = 0;
    unsigned kept = fitting(rr, n, &text_n);
    if (kept < n)
        stat_refuse(&qn->l->loop->stats, STAT_LIMIT_DNS);
    struct locate_answer *a = mem_alloc(sizeof *a + kept * sizeof *a->record + text_n + qn->name_n);
    if (!a)
        return NULL;
    *a = (struct locate_answer){.type = qn->type,
                                .rc = rc,
                                .hash = qn->hash,
                                .until = until,
                                .n = (uint16_t)kept,
                                .record = (struct locate_record *)(a + 1)};
    atomic_init(&a->refs, 1);
    a->text = (char *)(a->record + kept);
    for (unsigned i = 0; i < kept; i++) {
        sv name;
        struct locate_record *r = &a->record[i];
        *r = head(rr[i], &name);
        if (rr[i]->type == DNS_NAPTR)
            r->transport = (uint8_t)naptr_transport(qn->l, rr[i]);
        if (rr[i]->type == DNS_A || rr[i]->type == DNS_AAAA)
            memcpy(r->ip, rr[i]->ip, sizeof r->ip);
        r->name_at = (uint16_t)at;
        r->name_n = (uint8_t)name.n;
        if (name.n)
            memcpy(a->text + at, name.p, name.n);
        at += name.n;
    }
    memcpy(a->text + at, qn->name, qn->name_n);
    a->name = (sv){a->text + at, qn->name_n};
    return a;
}

static usec clamp(usec ttl, usec least, usec most)
{
    return ttl < least ? least : ttl > most ? most : ttl;
}

/* ---- the end of a question ---- */

static void question_free(struct locate_question *qn)
{
    hash_remove(&qn->l->questions, &qn->by_key);
    list_unlink(&qn->by_asked);
    pool_put(qn->l->question_pool, qn);
}

/* a is NULL when there was no memory for it: then those who wait ask again, and meet it there. */
static void finish(struct locate_question *qn, struct locate_answer *a)
{
    struct locate *l = qn->l;
    if (a)
        locate_cache_put(l->shared, a, l->loop->now);
    for (struct link *k; (k = list_pop(&qn->slots));) {
        struct locate_slot *slot = CONTAINER(k, struct locate_slot, by_question);
        slot->question = NULL;
        slot->answer = a ? locate_answer_ref(a) : NULL;
        locate_query_ready(slot->query);
    }
    locate_answer_unref(a);
    question_free(qn);
}

static void finish_without(struct locate_question *qn, enum err rc, usec ttl)
{
    finish(qn, answer_new(qn, rc, qn->l->loop->now + ttl, NULL, 0));
}

/* ---- an answer ---- */

static const struct dns_rr *alias_at(const struct dnsmsg *m, sv name)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->rrs[i].type == DNS_CNAME && sv_eq(m->rrs[i].name, name))
            return &m->rrs[i];
    return NULL;
}

/* Goes along the aliases to where the records are. Errors: ERR_TOOBIG (a loop, or longer than we
 * follow). */
static enum err follow(struct locate_question *qn, const struct dnsmsg *m,
                       const struct dns_rr *ret_rr[static DNSMSG_RRS_MAX], unsigned *ret_n,
                       bool *ret_moved)
{
    const struct dns_rr *alias;
    *ret_moved = false;
    while ((*ret_n = collect(qn->l, m, question_at(qn), qn->type, ret_rr)) == 0 &&
           (alias = alias_at(m, question_at(qn))) != NULL) {
        if (++qn->aliases > LOCATE_CHAIN || alias->cname.n > LOCATE_NAME_MAX || !alias->cname.n)
            return ERR_TOOBIG;
        memcpy(qn->at, alias->cname.p, alias->cname.n);
        qn->at_n = (uint8_t)alias->cname.n;
        if (alias->ttl_s < qn->ttl_s)
            qn->ttl_s = alias->ttl_s;
        *ret_moved = true;
    }
    return ERR_OK;
}

static void on_answer(void *arg, enum err rc, const struct dnsmsg *m);

static enum err ask(struct locate_question *qn)
{
    TRY(dns_ask(qn->l->loop, question_at(qn), qn->type, on_answer, qn, &qn->dns));
    stat_inc(&qn->l->loop->stats, STAT_DNS_QUESTIONS);
    return ERR_OK;
}

static void on_answer(void *arg, enum err rc, const struct dnsmsg *m)
{
    enum { NOERROR = 0, NXDOMAIN = 3 };
    struct locate_question *qn = arg;
    struct stats *stats = &qn->l->loop->stats;
    const struct dns_rr *rr[DNSMSG_RRS_MAX];
    unsigned n = 0;
    bool moved = false;
    qn->dns = NULL;
    if (!rc && m->rcode != NOERROR && m->rcode != NXDOMAIN)
        rc = ERR_UNREACHABLE;
    if (!rc && follow(qn, m, rr, &n, &moved)) {
        stat_refuse(stats, STAT_LIMIT_DNS);
        finish_without(qn, ERR_NOTFOUND, TTL_FAILURE);
        return;
    }
    if (rc) {
        finish_without(qn, rc, TTL_FAILURE);
        return;
    }
    if (n > 0) {
        uint32_t ttl_s = qn->ttl_s;
        for (unsigned i = 0; i < n; i++)
            ttl_s = rr[i]->ttl_s < ttl_s ? rr[i]->ttl_s : ttl_s;
        usec ttl = clamp(ttl_s * USEC_S, TTL_MIN, TTL_MAX);
        finish(qn, answer_new(qn, ERR_OK, qn->l->loop->now + ttl, rr, n));
        return;
    }
    /* An alias that leads out of what this server knows: with a SOA it would know that there is
     * nothing. */
    if (moved && m->rcode == NOERROR && m->negative_ttl_s == 0) {
        if (++qn->follows <= LOCATE_FOLLOW && ask(qn) == ERR_OK)
            return;
        stat_refuse(stats, STAT_LIMIT_DNS);
    }
    usec ttl =
        m->negative_ttl_s ? clamp(m->negative_ttl_s * USEC_S, TTL_MIN, TTL_NEGATIVE) : TTL_FAILURE;
    finish_without(qn, ERR_NOTFOUND, ttl);
}

/* ---- asking ---- */

static struct locate_question *under_way(const struct locate *l, uint64_t hash, sv name,
                                         enum dns_type type)
{
    HASH_EACH (qn, &l->questions, hash, struct locate_question, by_key) {
        if (qn->type == type && sv_eq(question_name(qn), name))
            return qn;
    }
    return NULL;
}

static enum err question_new(struct locate *l, uint64_t hash, sv name, enum dns_type type,
                             struct locate_question **ret_question)
{
    struct locate_question *qn = pool_get(l->question_pool);
    if (!qn) {
        stat_refuse(&l->loop->stats, STAT_LIMIT_DNS);
        return ERR_BUSY;
    }
    qn->l = l;
    qn->hash = hash;
    qn->type = type;
    qn->ttl_s = UINT32_MAX;
    memcpy(qn->name, name.p, name.n);
    memcpy(qn->at, name.p, name.n);
    qn->name_n = qn->at_n = (uint8_t)name.n;
    list_init(&qn->slots);
    hash_insert(&l->questions, &qn->by_key, hash);
    list_push(&l->asked, &qn->by_asked);
    enum err rc = ask(qn);
    if (rc == ERR_SYNTAX || rc == ERR_TOOBIG) { /* no such name can be */
        finish_without(qn, ERR_NOTFOUND, TTL_NEGATIVE);
        return ERR_NOTFOUND;
    }
    if (rc) {
        question_free(qn);
        return rc;
    }
    *ret_question = qn;
    return ERR_OK;
}

enum err locate_ask(struct locate *l, sv name, enum dns_type type, struct locate_slot *slot)
{
    uint64_t hash = locate_hash(l->shared, name, type);
    struct locate_answer *a = locate_cache_get(l->shared, hash, name, type, l->loop->now);
    if (a) {
        stat_inc(&l->loop->stats, STAT_DNS_CACHE_HITS);
        slot->answer = a;
        return ERR_OK;
    }
    struct locate_question *qn = under_way(l, hash, name, type);
    if (!qn)
        TRY(question_new(l, hash, name, type, &qn));
    slot->question = qn;
    list_push(&qn->slots, &slot->by_question);
    return ERR_OK;
}

bool locate_slot_is(const struct locate_slot *slot, sv name, enum dns_type type)
{
    if (slot->answer)
        return slot->answer->type == type && sv_eq(slot->answer->name, name);
    return slot->question && slot->question->type == type &&
           sv_eq(question_name(slot->question), name);
}

void locate_slot_free(struct locate_slot *slot)
{
    list_unlink(&slot->by_question);
    locate_answer_unref(slot->answer);
    slot->answer = NULL;
    slot->question = NULL;
}

enum err locate_questions_init(struct locate *l)
{
    TRY(hash_init(&l->questions, 64));
    return pool_new("locate_question", sizeof(struct locate_question), LOCATE_UNDER_WAY,
                    &l->question_pool);
}

void locate_questions_free(struct locate *l)
{
    LIST_EACH_SAFE (qn, &l->asked, struct locate_question, by_asked) {
        dns_cancel(qn->dns);
        question_free(qn);
    }
    hash_done(&l->questions);
    pool_free(l->question_pool);
}
