/* SPDX-License-Identifier: MIT */
/* Credentials and nonces: nothing is kept of either.
 *
 *   user      EXPIRY:ACCOUNT, seconds since 1970; the password is a MAC of it
 *   nonce     cookie (RFC 8489 §9.2: we take better algorithms) | time 4 | source 4 | MAC 8, base64url
 *
 * A nonce is an address's, not a port's: a NAT that changes the port, or the second connection of RFC 6062, costs no
 * 438. Two ports never have the same one (§9.2.4): it differs by what the port adds to `source`. */
#include "turnserver/turnserver_priv.h"

enum {
    NONCE_TIME = 4,
    NONCE_SOURCE = 4,
    NONCE_MAC = 8,
    NONCE_OWN = NONCE_TIME + NONCE_SOURCE + NONCE_MAC,
    NONCE_TEXT = 22, /* of those in base64url */
};

/* §18.5: in the order that we prefer. */
static const uint16_t algorithms[] = {STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5};
static const char algorithms_value[] = {0, 2, 0, 0, 0, 1, 0, 0};

/* ---- credentials ---- */

enum err turnserver_credential(const struct turnserver_shared *sh, sv account, usec wall,
                               unsigned seconds, struct buf *ret_user, struct buf *ret_password)
{
    size_t from = ret_user->n;
    if (seconds == 0 || seconds > TURNSERVER_CREDENTIAL_LIFE / USEC_S)
        return ERR_RANGE;
    buf_u64(ret_user, (uint64_t)(wall / USEC_S) + seconds);
    buf_char(ret_user, ':');
    buf_put(ret_user, account);
    sv user = sv_sub(buf_sv(ret_user), from, ret_user->n);
    if (account.n == 0 || user.n > TURNSERVER_USER_MAX)
        return ERR_TOOBIG;
    turnserver_password(sh, user, ret_password);
    return ret_user->rc ? ret_user->rc : ret_password->rc;
}

/* False: no user name of ours. */
static bool read_user(sv user, struct turnserver_login *l)
{
    size_t colon = sv_chr(user, ':');
    uint64_t seconds;
    if (user.n > TURNSERVER_USER_MAX || colon + 1 >= user.n ||
        sv_u64(sv_sub(user, 0, colon), UINT32_MAX, &seconds))
        return false;
    l->user = user;
    l->account = sv_sub(user, colon + 1, user.n);
    l->expires = (usec)seconds * USEC_S;
    return true;
}

/* ---- nonces ---- */

static void put32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void nonce_mac(const struct turnserver_core *c, const uint8_t *nonce,
                      const struct addr *source, uint8_t ret_mac[static NONCE_MAC])
{
    uint64_t mac[2];
    sv pieces[] = {{(const char *)nonce, NONCE_TIME + NONCE_SOURCE},
                   {(const char *)source->ip, sizeof(source->ip)}};
    crypto_siphash128_list(turnserver_nonce_key(c->shared), pieces, 2, mac);
    memcpy(ret_mac, mac, NONCE_MAC);
}

void turnserver_put_nonce(const struct turnserver_core *c, struct buf *b, const struct addr *source)
{
    uint8_t nonce[NONCE_OWN], key[ADDR_KEY];
    addr_key(source, key);
    put32(nonce, (uint32_t)(c->wall / USEC_S));
    put32(nonce + NONCE_TIME, (uint32_t)turnserver_hash(c->shared, key, sizeof(key)));
    nonce_mac(c, nonce, source, nonce + NONCE_TIME + NONCE_SOURCE);
    stun_put_nonce_cookie(b, STUN_PASSWORD_ALGORITHMS_BIT);
    crypto_base64url(b, nonce, sizeof(nonce));
}

/* Ours, for this address, and not too old. */
static bool nonce_holds(const struct turnserver_core *c, sv text, const struct addr *source)
{
    uint8_t nonce[NONCE_OWN], mac[NONCE_MAC];
    char cookie_mem[STUN_NONCE_COOKIE + 1];
    struct buf cookie;
    size_t n;
    buf_init(&cookie, cookie_mem, sizeof(cookie_mem));
    stun_put_nonce_cookie(&cookie, STUN_PASSWORD_ALGORITHMS_BIT);
    if (text.n != STUN_NONCE_COOKIE + NONCE_TEXT || !sv_starts(text, buf_sv(&cookie)) ||
        crypto_base64url_decode(sv_sub(text, STUN_NONCE_COOKIE, text.n), nonce, sizeof(nonce),
                                &n) ||
        n != NONCE_OWN)
        return false;
    nonce_mac(c, nonce, source, mac);
    if (!crypto_equal(mac, nonce + NONCE_TIME + NONCE_SOURCE, NONCE_MAC))
        return false;
    uint32_t made = 0;
    for (int i = 0; i < NONCE_TIME; i++)
        made = made << 8 | nonce[i];
    usec age = c->wall - (usec)made * USEC_S;
    return age >= 0 && age < TURNSERVER_NONCE_LIFE;
}

void turnserver_put_challenge(const struct turnserver_core *c, const struct stun_out *o,
                              const struct addr *source)
{
    char mem[STUN_NONCE_MAX];
    struct buf nonce;
    buf_init(&nonce, mem, sizeof(mem));
    turnserver_put_nonce(c, &nonce, source);
    stunmsg_put(o, STUN_REALM, turnserver_realm(c->shared));
    stunmsg_put(o, STUN_NONCE, buf_sv(&nonce));
    stunmsg_put_algorithms(o, STUN_PASSWORD_ALGORITHMS, algorithms,
                           sizeof(algorithms) / sizeof(algorithms[0]));
}

/* ---- requests ---- */

/* Which algorithm makes the key (§9.2.4, third bullet). False: the request contradicts itself, or what we offered. */
static bool choose(const struct stunmsg *m, struct turnserver_login *l,
                   enum stun_algorithm *ret_algorithm)
{
    struct stun_attr one, all;
    bool has_one = stunmsg_find(m, STUN_PASSWORD_ALGORITHM, &one);
    bool has_all = stunmsg_find(m, STUN_PASSWORD_ALGORITHMS, &all);
    *ret_algorithm = STUN_ALGORITHM_MD5;
    l->reply = STUN_SHA1;
    if (!has_one && !has_all)
        return true;
    sv list = one.value, parameters;
    uint16_t algorithm;
    if (!has_one || !has_all ||
        !sv_eq(all.value, (sv){algorithms_value, sizeof(algorithms_value)}) ||
        stunmsg_algorithm_next(&list, &algorithm, &parameters) || list.n > 0)
        return false;
    if (algorithm != STUN_ALGORITHM_MD5 && algorithm != STUN_ALGORITHM_SHA256)
        return false;
    *ret_algorithm = (enum stun_algorithm)algorithm;
    l->reply = STUN_SHA256;
    return true;
}

static void make_key(const struct turnserver_core *c, enum stun_algorithm algorithm,
                     struct turnserver_login *l)
{
    char mem[TURNSERVER_PASSWORD_LEN + 1];
    struct buf password;
    buf_init(&password, mem, sizeof(mem));
    turnserver_password(c->shared, l->user, &password);
    l->key_n = stun_key(algorithm, l->user, turnserver_realm(c->shared), buf_sv(&password), l->key);
    crypto_wipe(mem, sizeof(mem));
}

/* rq->claimed and rq->challenged are set. */
static enum turnserver_wrong prove(struct turnserver_request *rq, sv realm,
                                   enum stun_algorithm algorithm, struct turnserver_login *l)
{
    const struct turnserver_core *c = rq->core;
    if (!read_user(rq->claimed, l))
        return TURNSERVER_WRONG_USER;
    if (!sv_eq(realm, turnserver_realm(c->shared)))
        return TURNSERVER_WRONG_REALM;
    make_key(c, algorithm, l);
    return stunmsg_verify(rq->m, (sv){(const char *)l->key, l->key_n}, SHA256_LEN)
               ? TURNSERVER_WRONG_PASSWORD
               : TURNSERVER_WRONG_NOTHING;
}

unsigned turnserver_authenticate(struct turnserver_request *rq)
{
    const struct stunmsg *m = rq->m;
    struct stun_attr user, realm, nonce;
    struct turnserver_login l = {.key_n = 0};
    enum stun_algorithm algorithm;
    if (stunmsg_integrity(m) == STUN_UNSIGNED)
        return STUN_UNAUTHENTICATED;
    bool named = stunmsg_find(m, STUN_USERNAME, &user);
    if ((!named && !stunmsg_has(m, STUN_USERHASH)) || !stunmsg_find(m, STUN_REALM, &realm) ||
        !stunmsg_find(m, STUN_NONCE, &nonce) || !choose(m, &l, &algorithm))
        return STUN_BAD_REQUEST;
    /* We offer no anonymous names: a USERHASH is nobody's. */
    rq->claimed = named ? user.value : SV("");
    rq->challenged = nonce_holds(rq->core, nonce.value, &rq->from->client);
    rq->wrong = prove(rq, realm.value, algorithm, &l);
    unsigned code = rq->wrong ? STUN_UNAUTHENTICATED : !rq->challenged ? STUN_STALE_NONCE : 0;
    if (code == 0)
        rq->login = l;
    crypto_wipe(&l, sizeof(l));
    return code;
}

/* One bucket of a second's worth for each place of a table: sources that fall together share it. */
bool turnserver_may_answer(struct turnserver_core *c, const struct addr *source)
{
    struct addr who = {.family = source->family};
    uint8_t key[ADDR_KEY];
    memcpy(who.ip, source->ip, source->family == 6 ? 8 : 4); /* a /64 of IPv6 is one */
    addr_key(&who, key);
    usec *full_at = &c->full_at[turnserver_hash(c->shared, key, sizeof(key)) % TURN_SOURCES];
    usec next = (*full_at > c->now ? *full_at : c->now) + USEC_S / TURNSERVER_ANSWERS_A_SECOND;
    if (next - c->now > USEC_S)
        return false;
    *full_at = next;
    return true;
}
