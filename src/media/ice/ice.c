/* SPDX-License-Identifier: MIT */
/* ice/ice.c: credentials, priorities, foundations, candidates as text. */
#include "ice/ice.h"

#include "crypto/crypto.h"

enum { UFRAG_MIN = 4, PWD_MIN = 22 };
static const char *const type_names[] = {"host", "srflx", "prflx", "relay"};
/* §5.1.2.2 */
static const uint8_t type_preferences[] = {126, 100, 110, 0};

/* ---- credentials ---- */

void ice_secret_make(const uint8_t seed[static ICE_SEED], struct ice_secret *ret_secret)
{
    struct buf b;
    buf_init(&b, ret_secret->ufrag, sizeof ret_secret->ufrag);
    crypto_base64(&b, seed, ICE_UFRAG_LEN * 3 / 4);
    buf_init(&b, ret_secret->pwd, sizeof ret_secret->pwd);
    crypto_base64(&b, seed + ICE_UFRAG_LEN * 3 / 4, ICE_PWD_LEN * 3 / 4);
}

void ice_secret_wipe(struct ice_secret *s)
{
    crypto_wipe(s, sizeof *s);
}

static bool ice_chars(sv s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!sv_is_alnum(s.p[i]) && s.p[i] != '+' && s.p[i] != '/')
            return false;
    return true;
}

bool ice_credentials_hold(sv ufrag, sv pwd)
{
    return ufrag.n >= UFRAG_MIN && ufrag.n <= ICE_UFRAG_MAX && pwd.n >= PWD_MIN &&
           pwd.n <= ICE_PWD_MAX && ice_chars(ufrag) && ice_chars(pwd);
}

/* ---- priorities ---- */

uint32_t ice_priority(enum ice_type type, uint16_t local_preference, unsigned component)
{
    return (uint32_t)type_preferences[type] << 24 | (uint32_t)local_preference << 8 |
           (256 - component);
}

/* Hi of IPv6 come first, then one of each in turn. The k-th of its family stands at: */
static size_t place(uint8_t family, size_t k, size_t n4, size_t n6)
{
    if (family == 6 && n4 == 0)
        return k;
    size_t head = n4 > 0 && n6 > 0 ? (n4 + n6) / n4 : 0;
    if (family == 6)
        return k < head ? k : 2 * k - head + 1;
    return head + 2 * k;
}

void ice_local_preferences(const struct addr *a, size_t n, uint16_t *ret_preferences)
{
    size_t n4 = 0, n6 = 0, k4 = 0, k6 = 0;
    for (size_t i = 0; i < n; i++)
        *(a[i].family == 4 ? &n4 : &n6) += 1;
    for (size_t i = 0; i < n; i++) {
        size_t at = place(a[i].family, a[i].family == 4 ? k4++ : k6++, n4, n6);
        ret_preferences[i] = (uint16_t)(UINT16_MAX - (at < UINT16_MAX ? at : UINT16_MAX));
    }
}

uint64_t ice_pair_priority(uint32_t controlling, uint32_t controlled)
{
    uint64_t g = controlling, d = controlled;
    return ((g < d ? g : d) << 32) + 2 * (g > d ? g : d) + (g > d);
}

void ice_foundation(struct ice_candidate *c, const struct addr *server)
{
    struct buf b;
    uint8_t type = (uint8_t)c->type;
    uint32_t crc = crypto_crc32c(0, &type, 1);
    crc = crypto_crc32c(crc, &c->base.family, 1);
    crc = crypto_crc32c(crc, c->base.ip, sizeof c->base.ip);
    if (server)
        crc = crypto_crc32c(crc, server->ip, sizeof server->ip);
    buf_init(&b, c->foundation, sizeof c->foundation);
    buf_u64(&b, crc);
    c->foundation_n = (uint8_t)b.n;
}

/* ---- as text ---- */

static bool type_of(sv name, enum ice_type *ret_type)
{
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++) {
        if (sv_ieq(name, sv_of(type_names[i]))) {
            *ret_type = (enum ice_type)i;
            return true;
        }
    }
    return false;
}

bool ice_candidate_read(const struct sdp_candidate *sdp, struct ice_candidate *ret_candidate)
{
    struct ice_candidate c = {.priority = sdp->priority};
    if (!sv_ieq(sdp->transport, SV("UDP")) || sdp->ip_n == 0 || sdp->port == 0 ||
        sdp->component < 1 || sdp->component > ICE_COMPONENTS_MAX || sdp->foundation.n == 0 ||
        sdp->foundation.n > ICE_FOUNDATION_MAX || !type_of(sdp->type, &c.type))
        return false;
    c.component = (uint8_t)sdp->component;
    c.addr = addr_from_ip(sdp->ip, sdp->ip_n, sdp->port);
    memcpy(c.foundation, sdp->foundation.p, sdp->foundation.n);
    c.foundation_n = (uint8_t)sdp->foundation.n;
    enum addr_class class = addr_class(&c.addr);
    if (addr_is_any(&c.addr) || class == ADDR_MULTICAST || class == ADDR_SPECIAL)
        return false;
    *ret_candidate = c;
    return true;
}

void ice_candidate_put(struct buf *b, const struct ice_candidate *c)
{
    buf_mem(b, c->foundation, c->foundation_n);
    buf_printf(b, " %u UDP %u ", (unsigned)c->component, (unsigned)c->priority);
    addr_print_ip(b, &c->addr);
    buf_printf(b, " %u typ %s", (unsigned)c->addr.port, type_names[c->type]);
    if (c->type != ICE_HOST) { /* RFC 8839 §5.1: raddr and rport MUST be there */
        buf_str(b, " raddr ");
        addr_print_ip(b, &c->base);
        buf_printf(b, " rport %u", (unsigned)c->base.port);
    }
}
