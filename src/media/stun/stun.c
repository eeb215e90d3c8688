/* SPDX-License-Identifier: MIT */
/* stun/stun.c: addresses, and a client's transactions.
 *
 *   request   0     500    1500    3500 ...  31500 ms          39500 ms
 *             |  RTO | 2 RTO | 4 RTO |  ...    | Rm * RTO        |
 *             TRANSMIT Rc times                                  TIMED_OUT                 RFC 8489 §6.2.1 */
#include "stun/stun.h"

const struct stun_timing stun_udp = {STUN_RTO_MS * USEC_MS, STUN_RC, STUN_RM};
const struct stun_timing stun_reliable = {STUN_TI_MS * USEC_MS, 1, 1};

struct addr stun_to_addr(const struct stun_addr *a)
{
    return addr_from_ip(a->ip, a->family == 4 ? 4 : 16, a->port);
}

struct stun_addr stun_from_addr(const struct addr *a)
{
    struct stun_addr s = {.family = a->family, .port = a->port};
    memcpy(s.ip, a->ip, sizeof s.ip);
    return s;
}

enum err stun_xor_addr_of(const struct stunmsg *m, enum stun_type type, struct addr *ret_addr)
{
    struct stun_attr a;
    struct stun_addr read;
    if (!stunmsg_find(m, type, &a))
        return ERR_NOTFOUND;
    TRY(stunmsg_xor_address(m, a.value, &read));
    *ret_addr = stun_to_addr(&read);
    return ERR_OK;
}

void stun_put_xor_addr(const struct stun_out *o, enum stun_type type, const struct addr *a)
{
    struct stun_addr s = stun_from_addr(a);
    stunmsg_put_xor_address(o, (uint16_t)type, &s);
}

/* ---- transactions ---- */

void stun_txn_start(struct stun_txn *t, const uint8_t id[static STUN_ID],
                    const struct stun_timing *timing, usec now)
{
    *t = (struct stun_txn){.running = true, .timing = *timing, .began = now, .next = now};
    memcpy(t->id, id, STUN_ID);
}

enum stun_step stun_txn_step(struct stun_txn *t, usec now)
{
    if (!t->running || now < t->next)
        return STUN_WAIT;
    if (t->sent >= t->timing.rc) {
        t->running = false;
        return STUN_TIMED_OUT;
    }
    t->sent++;
    /* From now, not from when it was due: a late caller does not send two at once. */
    t->next = now + (t->sent == t->timing.rc ? t->timing.rto * t->timing.rm
                                             : t->timing.rto << (t->sent - 1));
    return STUN_TRANSMIT;
}

bool stun_txn_is_of(const struct stun_txn *t, const struct stunmsg *m)
{
    return t->running && t->sent > 0 && (m->class == STUN_SUCCESS || m->class == STUN_ERROR) &&
           memcmp(t->id, m->id, STUN_ID) == 0;
}

usec stun_txn_rtt(const struct stun_txn *t, usec now)
{
    return t->sent == 1 ? now - t->began : 0;
}

/* ---- what our address is ---- */

void stun_binding_start(struct stun_binding *s, const struct addr *server,
                        const uint8_t id[static STUN_ID], const struct stun_timing *timing,
                        usec now)
{
    *s = (struct stun_binding){.server = *server};
    stun_txn_start(&s->txn, id, timing, now);
}

/* No FINGERPRINT: nothing else shares a port that asks (RFC 8489 §12). */
void stun_binding_put(const struct stun_binding *s, struct buf *b)
{
    stunmsg_begin(b, STUN_BINDING, STUN_REQUEST, s->txn.id);
}

/* Servers of RFC 3489 know MAPPED-ADDRESS alone. */
static enum err mapped_of(const struct stunmsg *m, struct addr *ret_addr)
{
    struct stun_attr a;
    struct stun_addr read;
    enum err rc = stun_xor_addr_of(m, STUN_XOR_MAPPED_ADDRESS, ret_addr);
    if (rc != ERR_NOTFOUND)
        return rc;
    if (!stunmsg_find(m, STUN_MAPPED_ADDRESS, &a))
        return ERR_NOTFOUND;
    TRY(stunmsg_address(a.value, &read));
    *ret_addr = stun_to_addr(&read);
    return ERR_OK;
}

/* §10: to a server of the same family only. */
static bool alternate_of(const struct stunmsg *m, const struct addr *server, struct addr *ret_addr)
{
    struct stun_attr a;
    struct stun_addr read;
    unsigned code;
    sv reason;
    if (!stunmsg_find(m, STUN_ERROR_CODE, &a) || stunmsg_error_code(a.value, &code, &reason) ||
        code != STUN_TRY_ALTERNATE || !stunmsg_find(m, STUN_ALTERNATE_SERVER, &a) ||
        stunmsg_address(a.value, &read))
        return false;
    *ret_addr = stun_to_addr(&read);
    return ret_addr->family == server->family && ret_addr->port != 0;
}

enum stun_binding_event stun_binding_on_message(struct stun_binding *s, const struct stunmsg *m,
                                                const struct addr *from)
{
    uint16_t unknown;
    if (!stun_txn_is_of(&s->txn, m) || m->method != STUN_BINDING || !addr_equal(from, &s->server))
        return STUN_BINDING_NONE;
    stun_txn_end(&s->txn);
    if (stunmsg_unknown(m, stunmsg_is_basic, &unknown, 1) > 0) /* §6.3.3, §6.3.4 */
        return STUN_BINDING_FAILED;
    if (m->class == STUN_ERROR)
        return alternate_of(m, &s->server, &s->mapped) ? STUN_BINDING_ALTERNATE
                                                       : STUN_BINDING_FAILED;
    return mapped_of(m, &s->mapped) == ERR_OK ? STUN_BINDING_MAPPED : STUN_BINDING_FAILED;
}
