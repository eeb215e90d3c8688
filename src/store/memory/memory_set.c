/* SPDX-License-Identifier: MIT */
/* memory/memory_set.c: the bindings of an address of record as octets, compactly: a usual one takes
 * about 250.
 *
 * The latest expiry comes first, so that expired sets are found without reading the rest. Then a 0
 * and the number of the form, FORM; the first form had neither, but the number of bindings, which is
 * never 0, at this place. Older forms are read, and written in the present one when the set changes.
 */
#include "memory/memory_priv.h"
#include "pack/pack.h"

enum { AGENT_MAX = 128, Q_MAX = 1000, BY_FLOW = 1 };
/* Of a set. 2: instance, reg_id, push, gruu of RFC 5626, 5627 and 8599. */
enum { FORM_FIRST = 1, FORM = 2 };

static char *put_addr(char *p, const struct addr *a)
{
    size_t n = a->family == 4 ? 4 : 16;
    *p++ = (char)a->family;
    if (!a->family)
        return p;
    memcpy(p, a->ip, n);
    p = pack_varint_to(p + n, a->port);
    return pack_varint_to(p, a->scope);
}

static void get_addr(struct unpack *u, struct addr *ret_addr)
{
    struct addr a = {.family = unpack_u8(u)};
    if (a.family != 0 && a.family != 4 && a.family != 6)
        u->rc = ERR_CORRUPT;
    if (a.family && !u->rc) {
        sv ip = unpack_octets(u, a.family == 4 ? 4 : 16);
        if (ip.n)
            memcpy(a.ip, ip.p, ip.n);
        a.port = (uint16_t)unpack_varint(u, UINT16_MAX);
        a.scope = (uint32_t)unpack_varint(u, UINT32_MAX);
    }
    *ret_addr = a;
}

static char *put_u64(char *p, uint64_t v)
{
    pack_u64_at(p, v);
    return p + 8;
}

/* Its numbers take less than 2 * 8 + 4 + 5 varints + 2 * (17 + 2 varints). */
enum { NUMBERS_MAX = 54 + 9 * PACK_VARINT_MAX, TEXTS = 8 };

static void put_binding(struct buf *b, const struct binding *v)
{
    sv agent = sv_sub(v->agent, 0, AGENT_MAX);
    size_t octets = v->uri.n + v->params.n + v->call_id.n + agent.n + v->path.n + v->instance.n +
                    v->push.n + v->gruu.n;
    char *p = buf_room(b, octets + TEXTS * PACK_VARINT_MAX + NUMBERS_MAX);
    if (!p)
        return;
    p = put_u64(p, (uint64_t)v->expires);
    p = put_u64(p, (uint64_t)v->since);
    p = pack_sv_to(p, v->uri);
    p = pack_sv_to(p, v->params);
    p = pack_sv_to(p, v->call_id);
    p = pack_varint_to(p, v->cseq);
    p = pack_varint_to(p, v->q);
    p = pack_sv_to(p, agent);
    p = pack_sv_to(p, v->path);
    *p++ = (char)v->transport;
    *p++ = (char)v->listener;
    *p++ = (char)v->worker;
    *p++ = v->by_flow ? BY_FLOW : 0;
    p = pack_varint_to(p, v->conn);
    p = pack_varint_to(p, v->epoch);
    p = put_addr(p, &v->local);
    p = put_addr(p, &v->remote);
    p = pack_sv_to(p, v->instance);
    p = pack_varint_to(p, v->reg_id);
    p = pack_sv_to(p, v->push);
    p = pack_sv_to(p, v->gruu);
    b->n = (size_t)(p - b->p);
}

static void get_binding(struct unpack *u, unsigned form, struct binding *v)
{
    *v = (struct binding){0};
    v->expires = (usec)unpack_u64(u);
    v->since = (usec)unpack_u64(u);
    v->uri = unpack_sv(u);
    v->params = unpack_sv(u);
    v->call_id = unpack_sv(u);
    v->cseq = (uint32_t)unpack_varint(u, UINT32_MAX);
    v->q = (uint16_t)unpack_varint(u, Q_MAX);
    v->agent = unpack_sv(u);
    v->path = unpack_sv(u);
    v->transport = unpack_u8(u);
    v->listener = unpack_u8(u);
    v->worker = unpack_u8(u);
    uint8_t flags = unpack_u8(u);
    if (flags & ~BY_FLOW || v->agent.n > AGENT_MAX)
        u->rc = ERR_CORRUPT;
    v->by_flow = flags & BY_FLOW;
    v->conn = unpack_varint(u, UINT64_MAX);
    v->epoch = unpack_varint(u, UINT64_MAX);
    get_addr(u, &v->local);
    get_addr(u, &v->remote);
    if (form > FORM_FIRST) {
        v->instance = unpack_sv(u);
        v->reg_id = (uint32_t)unpack_varint(u, UINT32_MAX);
        v->push = unpack_sv(u);
        v->gruu = unpack_sv(u);
    }
}

enum err memory_set_pack(struct buf *b, const struct binding *bindings, size_t n)
{
    size_t begin = b->n;
    usec latest = INT64_MIN;
    if (n == 0 || n > STORE_BINDINGS_MAX)
        return n ? ERR_TOOBIG : ERR_RANGE;
    for (size_t i = 0; i < n; i++) {
        if (bindings[i].q > Q_MAX)
            return ERR_RANGE;
        if (bindings[i].expires > latest)
            latest = bindings[i].expires;
    }
    pack_u64(b, (uint64_t)latest);
    pack_varint(b, 0);
    pack_varint(b, FORM);
    pack_varint(b, n);
    for (size_t i = 0; i < n; i++)
        put_binding(b, &bindings[i]);
    if (b->rc)
        return b->rc;
    return b->n - begin <= MEMORY_SET_MAX ? ERR_OK : ERR_TOOBIG;
}

enum err memory_set_unpack(sv set, usec wall, struct arena *a, struct binding **ret_bindings,
                           size_t *ret_n)
{
    struct unpack u = unpack_of(set);
    usec latest = (usec)unpack_u64(&u), seen = INT64_MIN;
    size_t n = (size_t)unpack_varint(&u, STORE_BINDINGS_MAX), kept = 0;
    unsigned form = FORM_FIRST;
    if (!u.rc && n == 0) {
        form = (unsigned)unpack_varint(&u, FORM);
        n = (size_t)unpack_varint(&u, STORE_BINDINGS_MAX);
    }
    if (u.rc || n == 0 || form < FORM_FIRST)
        return ERR_CORRUPT;
    struct binding *all = arena_alloc(a, n * sizeof *all); /* n has its cap */
    if (!all)
        return ERR_NOMEM;
    for (size_t i = 0; i < n && !u.rc; i++) {
        get_binding(&u, form, &all[kept]);
        if (all[kept].expires > seen)
            seen = all[kept].expires;
        kept += all[kept].expires > wall;
    }
    TRY(unpack_end(&u));
    if (seen != latest)
        return ERR_CORRUPT;
    *ret_bindings = all;
    *ret_n = kept;
    return ERR_OK;
}

usec memory_set_expiry(sv set)
{
    struct unpack u = unpack_of(set);
    return (usec)unpack_u64(&u);
}
