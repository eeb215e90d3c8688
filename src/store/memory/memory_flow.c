/* SPDX-License-Identifier: MIT */
/* memory/memory_flow.c: which addresses of record were bound over a connection of this process.
 *
 * A second table of the same kind: worker and connection → their names. It only grows with a
 * connection and ends with it, so it may name more than are still bound there; who asks looks. It
 * lives in memory alone: another process's connections are dead. */
#include "memory/memory_priv.h"
#include "pack/pack.h"

enum { KEY = 1 + 8, NAMES_MAX = 64 * 1024, SCRATCH = 4096 };

static sv key_of(unsigned worker, uint64_t conn, char mem[static KEY])
{
    mem[0] = (char)worker;
    pack_u64_at(mem + 1, conn);
    return (sv){mem, KEY};
}

/* Names and, behind them, room for one more. True: aor is among them, or there is no room. */
static bool known(sv names, sv aor)
{
    struct unpack u = unpack_of(names);
    unsigned n = 0;
    while (!u.rc && u.p < u.end) {
        if (sv_eq(unpack_sv(&u), aor))
            return true;
        n++;
    }
    return u.rc || n >= STORE_FLOW_AORS || names.n + aor.n + PACK_VARINT_MAX > NAMES_MAX;
}

static void add(struct memory *m, unsigned worker, uint64_t conn, sv aor)
{
    char key_mem[KEY], first[SCRATCH];
    sv key = key_of(worker, conn, key_mem), names;
    enum err rc = ERR_BUSY;
    while (rc == ERR_BUSY) { /* another worker was first: it has added one, so this ends */
        struct arena a;
        struct buf b;
        uint64_t version;
        arena_init(&a, first, sizeof(first), NAMES_MAX);
        rc = table_get(m->flows, key, &a, &names, &version);
        if (!rc && !known(names, aor)) {
            buf_init_heap(&b, NAMES_MAX);
            buf_put(&b, names);
            pack_sv(&b, aor);
            rc = b.rc ? b.rc : table_swap(m->flows, key, version, buf_sv(&b), &version);
            buf_done(&b);
        }
        arena_done(&a);
    }
    /* Without memory it is not known: the binding ends when it expires, or when a call fails. */
}

void memory_flow_add(struct memory *m, sv aor, const struct binding *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (b[i].conn && b[i].epoch == m->epoch)
            add(m, b[i].worker, b[i].conn, aor);
}

enum err memory_flow_take(struct memory *m, unsigned worker, uint64_t conn, struct arena *a,
                          sv **ret_aors, size_t *ret_n)
{
    char key_mem[KEY];
    sv key = key_of(worker, conn, key_mem), names;
    uint64_t version, gone;
    enum err rc;
    *ret_n = 0;
    do {
        TRY(table_get(m->flows, key, a, &names, &version));
        if (!version)
            return ERR_OK;
        rc = table_swap(m->flows, key, version, SV_NONE, &gone);
    } while (rc == ERR_BUSY);
    TRY(rc);
    *ret_aors = arena_calloc(a, STORE_FLOW_AORS, sizeof(**ret_aors));
    if (!*ret_aors)
        return ERR_NOMEM;
    struct unpack u = unpack_of(names);
    while (!u.rc && u.p < u.end && *ret_n < STORE_FLOW_AORS)
        (*ret_aors)[(*ret_n)++] = unpack_sv(&u);
    return u.rc;
}
