/* SPDX-License-Identifier: MIT */
/* locate/locate_priv.h: what the parts of locate share.                         layer: sip
 *
 * Parts   locate.c queries; locate_work.c from a URI to the set; locate_order.c which record first;
 * locate_ask.c questions to the DNS and what is believed of their answers; locate_shared.c the
 * cache and the memory of failures. */
#ifndef LOCATE_LOCATE_PRIV_H
#define LOCATE_LOCATE_PRIV_H
#include "crypto/crypto.h"
#include "dns/dns.h"
#include "ds/hash.h"
#include "locate/locate.h"

enum {
    LOCATE_NAME_MAX = 253,    /* a name as text, RFC 1035 §2.3.4 */
    LOCATE_RECORDS = 32,      /* kept of one answer, the best */
    LOCATE_TEXT = 2048,       /* octets of their names */
    LOCATE_CHAIN = 8,         /* aliases that one question follows */
    LOCATE_FOLLOW = 2,        /* questions more that it asks for them */
    LOCATE_QUERIES = 4096,    /* at once on one worker */
    LOCATE_UNDER_WAY = 512,   /* questions at once on one worker */
    LOCATE_FAILED_SETS = 128, /* of the memory of failures */
    LOCATE_FAILED_WAYS = 8,   /* entries in each */
};
#define LOCATE_PATIENCE (500 * USEC_MS) /* for the others, once something usable is known */

/* ---- answers ---- */

/* What is kept of a record. A, AAAA: ip. SRV: order is the priority. NAPTR: the transport that its
 * service means; name is the replacement. */
struct locate_record {
    uint16_t order, weight, port;
    uint8_t transport; /* enum sip_transport */
    uint8_t name_n;    /* 0: the root */
    uint16_t name_at;  /* offset in the answer's text */
    uint8_t ip[16];
};

/* The answer to a question: immutable, counted. */
struct locate_answer {
    _Atomic uint32_t refs;
    enum dns_type type;
    /* ERR_OK: there are records (all may be useless); ERR_NOTFOUND: none; else why the DNS said nothing */
    enum err rc;
    uint64_t hash;
    usec until; /* monotonic */
    uint16_t n, name_n;
    struct locate_record *record; /* n; SRV by priority, NAPTR by order */
    char *text;                   /* names of records, then that of the question, lower case */
    sv name;
};
void locate_answer_unref(struct locate_answer *a); /* NULL is fine */
static inline struct locate_answer *locate_answer_ref(struct locate_answer *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}
static inline sv locate_record_name(const struct locate_answer *a, const struct locate_record *r)
{
    return (sv){a->text + r->name_at, r->name_n};
}

/* ---- locate_shared.c ---- */
uint64_t locate_hash(const struct locate_shared *sh, sv name, enum dns_type type);
/* A reference to what is known and not over, or NULL. */
struct locate_answer *locate_cache_get(struct locate_shared *sh, uint64_t hash, sv name,
                                       enum dns_type type, usec now);
/* Takes a reference of its own. */
void locate_cache_put(struct locate_shared *sh, struct locate_answer *a, usec now);
/* When d may be asked again; not later than now: at once. */
usec locate_failed_until(struct locate_shared *sh, const struct dest *d, usec now);
/* until 0: it works. */
void locate_failed_set(struct locate_shared *sh, const struct dest *d, usec until, usec now);

/* ---- locate_ask.c ---- */
struct locate_question;
/* One question of a query, and what came of it. */
struct locate_slot {
    struct locate_query *query;
    struct locate_question *question; /* under way, or NULL */
    struct link by_question;
    struct locate_answer *answer; /* a reference, or NULL */
};
/* From the cache, or asked. Errors: ERR_BUSY, ERR_NOMEM, ERR_STATE: slot is as it was. */
MUST_USE enum err locate_ask(struct locate *l, sv name, enum dns_type type,
                             struct locate_slot *slot);
/* slot asks this. */
bool locate_slot_is(const struct locate_slot *slot, sv name, enum dns_type type);
/* The slot is vacant again; its question goes on for the cache. */
void locate_slot_free(struct locate_slot *slot);
/* Errors: ERR_NOMEM; free it then too. */
MUST_USE enum err locate_questions_init(struct locate *l);
void locate_questions_free(struct locate *l);

/* ---- locate_order.c ---- */
/* One number after the other from a seed: an order by chance that can be made twice. */
uint64_t locate_chance(uint64_t *seed);
/* The order in which the n records of an SRV answer are tried (RFC 2782), as indices. */
void locate_order_srv(const struct locate_answer *a, uint64_t *seed,
                      uint8_t ret_index[static LOCATE_RECORDS]);

/* ---- locate.c ---- */
struct locate_goal {
    sv host;        /* the TARGET: lower case, no last dot */
    sv domain;      /* whom TLS must show (RFC 5922 §7.3); absent: the address */
    struct addr ip; /* family 0: a name */
    uint16_t port;
    enum sip_transport transport; /* NONE: not said */
    bool secure;                  /* TLS or nothing */
};

struct locate_query {
    struct locate *l;
    struct link by_locate, by_ready;
    struct timer timer;
    bool (*allowed)(void *arg, const struct addr *a);
    locate_fn *done;
    void *arg;
    struct locate_goal goal; /* its texts are below */
    char host[LOCATE_NAME_MAX + 1], domain[LOCATE_NAME_MAX + 1];
    uint64_t seed;
    usec end;
    bool impatient;
    unsigned slots;
    struct locate_slot slot[LOCATE_QUESTIONS];
};

/* One working-out. */
struct locate_work {
    struct locate_query *q;
    struct locate_set *set;
    unsigned pending; /* questions under way */
    unsigned waiting; /* names among them that will give targets */
    bool refused;     /* a record, or a limit */
    enum err rc;      /* why the DNS said nothing, first */
};

struct locate {
    struct sip *sip;
    struct loop *loop;
    struct locate_shared *shared;
    struct pool *query_pool, *question_pool;
    struct link queries, ready;
    struct deferred later;
    struct hash questions; /* under way, by name and type */
    struct link asked;     /* the same */
};
/* An answer came for it. */
void locate_query_ready(struct locate_query *q);

/* ---- locate_work.c ---- */
bool locate_has(const struct locate *l, enum sip_transport t);
enum sip_transport locate_transport(const struct locate *l, const struct locate_goal *g);
uint16_t locate_port(const struct locate_goal *g, enum sip_transport t);
struct dest locate_dest(const struct addr *ip, uint16_t port, enum sip_transport t);
/* Writes set, but for failures and names, from the answers that are here; asks for what is missing. */
void locate_work_out(struct locate_query *q, struct locate_work *ret_work, struct locate_set *set);

#endif
