/* SPDX-License-Identifier: MIT */
/* Digest, the server's side: stateless nonces, nonce counts, verdicts. RFC 7616, RFC 8760. */
#include "auth/auth.h"
#include "auth/auth_priv.h"
#include "mem/mem.h"

/* A nonce: 8 octets of time (seconds and a version), 8 of chance, 12 of MAC; base64url. */
enum {
    NONCE_TIME = 8,
    NONCE_CHANCE = 8,
    NONCE_MAC = 12,
    NONCE_LEN = NONCE_TIME + NONCE_CHANCE + NONCE_MAC
};
enum { NONCE_TEXT = 38 };
enum { WAYS = 8 }; /* entries of one set of the count table */

/* The highest count seen of a nonce. A set is locked for a few instructions. */
struct count_entry {
    int64_t made; /* when the nonce was made, wall */
    uint32_t key; /* of the nonce, with the time; 0: free */
    uint32_t nc;
};
struct count_set {
    _Atomic bool lock;
    int64_t floor; /* nonces made at or before this and not in the set are stale */
    struct count_entry way[WAYS];
};

struct auth_verifier {
    uint8_t key[SIPHASH_KEY]; /* of the nonces' MAC */
    size_t sets;              /* power of two */
    struct count_set *set;
};

enum err auth_verifier_new(const uint8_t secret[static 32], size_t counts,
                           struct auth_verifier **ret_v)
{
    struct auth_verifier *v = MEM_NEW(struct auth_verifier);
    if (!v)
        return ERR_NOMEM;
    v->sets = 1;
    while (v->sets * WAYS < counts)
        v->sets *= 2;
    v->set = mem_calloc(v->sets, sizeof(*v->set));
    if (!v->set) {
        mem_free(v);
        return ERR_NOMEM;
    }
    uint8_t mac[SHA256_LEN];
    sv use = SV("nonce");
    crypto_hmac_sha256((sv){(const char *)secret, 32}, &use, 1, mac);
    memcpy(v->key, mac, sizeof(v->key));
    crypto_wipe(mac, sizeof(mac));
    *ret_v = v;
    return ERR_OK;
}

void auth_verifier_free(struct auth_verifier *v)
{
    if (!v)
        return;
    crypto_wipe(v->key, sizeof(v->key));
    mem_free(v->set);
    mem_free(v);
}

/* ---- nonces ---- */

static void nonce_mac(const struct auth_verifier *v, const uint8_t *nonce, sv realm,
                      const struct addr *source, uint8_t ret_mac[static NONCE_MAC])
{
    uint64_t mac[2];
    sv pieces[] = {
        {(const char *)nonce, NONCE_TIME + NONCE_CHANCE},
        /* The address alone: phones change their port when a NAT forgets them. */
        {(const char *)source->ip, sizeof(source->ip)},
        realm,
    };
    crypto_siphash128_list(v->key, pieces, 3, mac);
    memcpy(ret_mac, mac, NONCE_MAC);
}

static void put_nonce(const struct auth_verifier *v, struct buf *b, sv realm,
                      const struct addr *source, usec wall, uint64_t chance)
{
    uint8_t nonce[NONCE_LEN];
    uint64_t t = (uint64_t)wall;
    for (int i = 0; i < 8; i++) {
        nonce[i] = (uint8_t)(t >> (56 - 8 * i));
        nonce[NONCE_TIME + i] = (uint8_t)(chance >> (56 - 8 * i));
    }
    nonce_mac(v, nonce, realm, source, nonce + NONCE_TIME + NONCE_CHANCE);
    crypto_base64url(b, nonce, sizeof(nonce));
}

/* Ours, for this source and realm. */
static bool nonce_read(const struct auth_verifier *v, sv text, sv realm, const struct addr *source,
                       usec *ret_made, uint64_t *ret_chance)
{
    uint8_t nonce[NONCE_LEN], mac[NONCE_MAC];
    size_t n;
    if (text.n != NONCE_TEXT || crypto_base64url_decode(text, nonce, sizeof(nonce), &n) ||
        n != NONCE_LEN)
        return false;
    nonce_mac(v, nonce, realm, source, mac);
    if (!crypto_equal(mac, nonce + NONCE_TIME + NONCE_CHANCE, NONCE_MAC))
        return false;
    uint64_t t = 0, chance = 0;
    for (int i = 0; i < 8; i++) {
        t = t << 8 | nonce[i];
        chance = chance << 8 | nonce[NONCE_TIME + i];
    }
    *ret_made = (usec)t;
    *ret_chance = chance;
    return true;
}

static struct count_set *set_of(const struct auth_verifier *v, uint64_t chance)
{
    return &v->set[chance >> 32 & (v->sets - 1)];
}

/* The counts of a nonce are in no cache when it comes back: they come while its digest is computed. */
static void fetch_set(const struct auth_verifier *v, uint64_t chance)
{
    const struct count_set *s = set_of(v, chance);
    for (size_t at = 0; at < sizeof(*s); at += 64)
        __builtin_prefetch((const char *)s + at, 1);
}

/* nc is above every count seen with this nonce; it is the highest from now on. */
static bool count_rises(struct auth_verifier *v, uint64_t chance, usec made, uint32_t nc)
{
    struct count_set *s = set_of(v, chance);
    uint32_t key = (uint32_t)chance ? (uint32_t)chance : 1;
    while (atomic_exchange_explicit(&s->lock, true, memory_order_acquire))
        ;
    struct count_entry *at = NULL, *oldest = &s->way[0];
    for (int i = 0; i < WAYS; i++) {
        if (s->way[i].key == key && s->way[i].made == made)
            at = &s->way[i];
        if (s->way[i].key == 0 || (oldest->key != 0 && s->way[i].made < oldest->made))
            oldest = &s->way[i];
    }
    bool rises;
    if (at) {
        rises = nc > at->nc;
        if (rises)
            at->nc = nc;
    } else {
        /* Not in the set: never used, or pushed out; the floor tells them apart, on the safe side.
         */
        rises = made > s->floor;
        if (rises) {
            if (oldest->key != 0 && oldest->made > s->floor)
                s->floor = oldest->made;
            *oldest = (struct count_entry){.key = key, .made = made, .nc = nc};
        }
    }
    atomic_store_explicit(&s->lock, false, memory_order_release);
    return rises;
}

/* ---- challenge ---- */

/* User agents that are known to answer a SHA-256 challenge (RFC 8760), by how their User-Agent
 * begins and from which version on. */
static const struct {
    sv name;
    unsigned major, minor;
} sha256_agents[] = {
    {{"Linphone", 8}, 4, 0}, {{"LinphoneiOS", 11}, 4, 0}, {{"LinphoneAndroid", 15}, 4, 0},
    {{"Tandem", 6}, 0, 0},   {{"PJSUA", 5}, 2, 10},       {{"JsSIP", 5}, 99, 0},
    {{"baresip", 7}, 3, 0},
};

/* "<name>[ /]v?<major>.<minor>": the name ends there, so that JsSIP is not JsSIPhone. */
static bool agent_takes_sha256(sv agent)
{
    for (size_t i = 0; i < sizeof(sha256_agents) / sizeof(sha256_agents[0]); i++) {
        sv name = sha256_agents[i].name;
        if (agent.n < name.n || !sv_ieq(sv_sub(agent, 0, name.n), name))
            continue;
        size_t at = name.n;
        if (at < agent.n && agent.p[at] != '/' && agent.p[at] != ' ')
            continue;
        unsigned version[2] = {0, 0};
        at++;
        if (at < agent.n && agent.p[at] == 'v')
            at++;
        for (int k = 0; k < 2; k++, at++) {
            for (; at < agent.n && agent.p[at] >= '0' && agent.p[at] <= '9' && version[k] < 10000;
                 at++)
                version[k] = version[k] * 10 + (unsigned)(agent.p[at] - '0');
            if (at >= agent.n || agent.p[at] != '.')
                break;
        }
        return version[0] > sha256_agents[i].major ||
               (version[0] == sha256_agents[i].major && version[1] >= sha256_agents[i].minor);
    }
    return false;
}

static void put_challenge(struct buf *b, bool proxy, sv realm, sv nonce,
                          enum auth_algorithm algorithm, bool stale)
{
    buf_str(b, proxy ? "Proxy-Authenticate: " : "WWW-Authenticate: ");
    buf_str(b, "Digest realm=\"");
    buf_quoted(b, realm);
    buf_str(b, "\", nonce=\"");
    buf_put(b, nonce);
    buf_str(b, "\", algorithm=");
    buf_put(b, auth_algorithm_name(algorithm));
    buf_str(b, ", qop=\"auth\"");
    if (stale)
        buf_str(b, ", stale=true");
    buf_str(b, "\r\n");
}

void auth_challenge(struct auth_verifier *v, struct buf *b, const struct auth_policy *p, bool proxy,
                    sv realm, const struct addr *source, sv user_agent, usec wall, uint64_t chance,
                    bool stale)
{
    char mem[NONCE_TEXT + 2];
    struct buf nonce;
    buf_init(&nonce, mem, sizeof(mem));
    put_nonce(v, &nonce, realm, source, wall, chance);
    if (p->mode == AUTH_MODE_AUTO) {
        /* Several phones fail when both are offered, so exactly one is. */
        put_challenge(b, proxy, realm, buf_sv(&nonce),
                      agent_takes_sha256(user_agent) ? AUTH_SHA256 : AUTH_MD5, stale);
        return;
    }
    for (unsigned i = 0; i < p->n; i++)
        put_challenge(b, proxy, realm, buf_sv(&nonce), p->list[i], stale);
}

/* ---- verdict ---- */

/* §22.4, RFC 7616 §3.4.6: the digest names the resource that is asked for. Equal as text, or as a
 * URI (some phones leave parameters out or write the port). */
static bool uri_matches(struct sipmsg *req, sv digest_uri)
{
    const struct uri *want;
    struct uri have;
    if (sv_eq(req->uri_text, digest_uri))
        return true;
    if (sipmsg_uri(req, &want) || uri_parse(digest_uri, &have, NULL))
        return false;
    /* The tolerance is for hosts: a number is the resource itself. */
    if (want->host.n == 0 || have.host.n == 0)
        return uri_equal(want, &have);
    return sv_ieq(want->host, have.host) && sv_eq(want->user, have.user);
}

bool auth_allows(const struct auth_policy *p, enum auth_algorithm algorithm)
{
    bool listed = p->mode == AUTH_MODE_AUTO;
    for (unsigned i = 0; i < p->n; i++)
        listed = listed || p->list[i] == algorithm;
    return listed;
}

enum auth_verdict auth_verify(struct auth_verifier *v, struct sipmsg *req,
                              const struct auth_claim *c, const struct auth_ha1 *ha1,
                              const struct addr *source, usec wall)
{
    /* The same work for a user that does not exist. */
    static const struct auth_ha1 nobody = {.has_md5 = true, .has_sha256 = true};
    const struct auth_ha1 *use = ha1 ? ha1 : &nobody;
    usec made = 0;
    uint64_t chance = 0;
    bool fresh = nonce_read(v, c->nonce, c->realm, source, &made, &chance) &&
                 wall - made <= AUTH_NONCE_LIFE && made - wall <= AUTH_NONCE_LIFE;
    if (fresh)
        fetch_set(v, chance);

    char want[2 * SHA256_LEN];
    size_t n = auth_response(c, use, req->method_text, want);
    bool has = c->algorithm == AUTH_MD5 ? use->has_md5 : use->has_sha256;
    bool right = c->response.n == n && crypto_equal(want, c->response.p, n);
    right = right && has && ha1 && (c->uri_names_us || uri_matches(req, c->uri));
    if (!right)
        return AUTH_WRONG;
    if (!fresh || !count_rises(v, chance, made, c->nc))
        return AUTH_STALE;
    return AUTH_OK;
}
