/* SPDX-License-Identifier: MIT */
/* The TURN server: one on each worker, with what they share; and where it is, for those who are handed
 * credentials. */
#include "daemon/daemon_priv.h"

enum { ADDRESSES_MAX = 64, URIS_MAX = 16 * 1024, USER_LOGGED = 64 };

/* ---- what it asks ---- */

static bool has_account(void *arg, sv account)
{
    const struct turn_desk *k = arg;
    return store_has_account(k->d->store, account);
}

/* What the client is not told the operator is, as of who registers. (D25) */
static void log_failure(void *arg, const struct turnserver_tuple *client, sv user,
                        enum turnserver_wrong why)
{
    static const char *const words[] = {[TURNSERVER_WRONG_NOTHING] = "",
                                        [TURNSERVER_WRONG_USER] = "unknown user",
                                        [TURNSERVER_WRONG_REALM] = "wrong realm",
                                        [TURNSERVER_WRONG_PASSWORD] = "wrong password",
                                        [TURNSERVER_WRONG_EXPIRED] = "expired"};
    struct turn_desk *k = arg;
    char mem[64];
    struct buf b;
    if (!log_may(&k->failures, loop_now(k->loop)))
        return;
    buf_init(&b, mem, sizeof(mem));
    addr_print(&b, &client->client);
    LOG_WARN("turn", "auth.failure", F_SV("user", sv_sub(user, 0, USER_LOGGED)),
             F_STR("why", words[why]), F_SV("source", buf_sv(&b)),
             F_INT("left_out", k->failures.left_out));
    k->failures.left_out = 0;
}

/* ---- what a reload changes ---- */

void turn_settings(struct turnserver *t, struct fence *f, struct settings *set)
{
    if (!t)
        return;
    turnserver_limits(t, &set->turn.limits);
    if (fence_settings(f, set))
        LOG_ERROR("turn", "memory", F_STR("what", "routes lead where TURN clients may, too"));
}

static int fail(const char *what, const struct turnserver_listen *l, enum err rc)
{
    char mem[64];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    if (l)
        addr_print(&b, &l->bind);
    LOG_ERROR("daemon", "start.failed", F_STR("what", what), F_SV("address", buf_sv(&b)),
              F_ERR(rc));
    return 3;
}

/* ---- where it is ---- */

static void put_line(struct buf *b, const struct turnserver_listen *l, sv host)
{
    size_t from = b->n;
    turnserver_put_uri(b, l->transport, host, l->bind.port);
    buf_char(b, '\n');
    /* A name stands for both families, each of which has a listener. */
    sv all = buf_sv(b), line = sv_sub(all, from, all.n);
    for (sv rest = sv_sub(all, 0, from); rest.n > 0;) {
        size_t n = sv_chr(rest, '\n') + 1;
        if (sv_eq(sv_sub(rest, 0, n), line)) {
            b->n = from;
            return;
        }
        rest = sv_sub(rest, n, rest.n);
    }
}

static void put_address(struct buf *b, const struct turnserver_listen *l, const struct addr *a)
{
    char mem[64];
    struct buf host;
    buf_init(&host, mem, sizeof(mem));
    addr_print_host(&host, a);
    put_line(b, l, buf_sv(&host));
}

/* Every address of ours that others may know; or the machine's own to itself. */
static void put_own(struct buf *b, const struct turnserver_listen *l, bool loopback)
{
    struct addr own[ADDRESSES_MAX];
    size_t n = worker_addresses(own, ADDRESSES_MAX);
    for (size_t i = 0; i < n; i++) {
        enum addr_class is = addr_class(&own[i]);
        bool fits = loopback ? is == ADDR_LOOPBACK : is != ADDR_LOOPBACK && is != ADDR_LINK_LOCAL;
        if (own[i].family == l->bind.family && fits)
            put_address(b, l, &own[i]);
    }
}

static void put_listener(struct daemon *d, const struct turnserver_listen *l, bool loopback)
{
    const struct settings *set = d->config->settings;
    const struct addr *public = &set->turn.advertise[l->bind.family == 6];
    /* Somebody's certificate is for a name; our own has our addresses, too. */
    if (l->transport == TURNSERVER_TLS && d->config->tls.n > 0)
        put_line(&d->turn_uris, l, set->domains[0].name);
    else if (public->family)
        put_address(&d->turn_uris, l, public);
    else if (!addr_is_any(&l->bind))
        put_address(&d->turn_uris, l, &l->bind);
    else
        put_own(&d->turn_uris, l, loopback);
}

static void put_uris(struct daemon *d)
{
    const struct settings_turn *t = &d->config->settings->turn;
    buf_init_heap(&d->turn_uris, URIS_MAX);
    /* A machine that has no address for others may still be tried out. */
    for (int loopback = 0; loopback < 2 && d->turn_uris.n == 0; loopback++)
        for (unsigned i = 0; i < t->listeners; i++)
            put_listener(d, &t->listen[i], loopback);
}

/* ---- life ---- */

static int start_worker(struct daemon *d, unsigned i)
{
    struct settings_turn *t = &d->config->settings->turn;
    struct turn_desk *k = &d->turn_desk[i];
    *k = (struct turn_desk){.d = d, .loop = d->group->loop[i]};
    struct turnserver_config c = {
        .limits = t->limits, .has_account = has_account, .wrong = log_failure, .arg = k};
    memcpy(c.advertise, t->advertise, sizeof(c.advertise));
    enum err rc = turnserver_new(k->loop, d->turn_shared, &c, &d->turn[i]);
    if (rc)
        return fail("out of memory", NULL, rc);
    rc = fence_new(d->group->loop[i], routing_locate(d->routing[i]), d->turn[i],
                   d->config->settings, &d->fence[i]);
    if (rc)
        return fail("out of memory", NULL, rc);
    for (unsigned k = 0; k < t->listeners; k++) {
        rc = turnserver_listen(d->turn[i], &t->listen[k]);
        if (rc)
            return fail("a listener of the TURN server cannot be opened", &t->listen[k], rc);
    }
    return 0;
}

int turn_setup(struct daemon *d)
{
    struct settings *set = d->config->settings;
    if (set->turn.listeners == 0 || d->mode == DAEMON_OFFLINE)
        return 0;
    int code = ports_check_turn(d);
    if (code)
        return code;
    enum err rc =
        turnserver_shared_new(d->secrets.turn, set->domains[0].name, d->ports, &d->turn_shared);
    if (rc)
        return fail("out of memory, or the domain is too long for a realm", NULL, rc);
    for (unsigned i = 0; i < d->group->n && !code; i++)
        code = start_worker(d, i);
    if (!code)
        put_uris(d);
    return code;
}

void turn_free(struct daemon *d)
{
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
        fence_free(d->fence[i]);
        turnserver_free(d->turn[i]);
    }
    turnserver_shared_free(d->turn_shared);
    buf_done(&d->turn_uris);
}
