/* SPDX-License-Identifier: MIT */
/* The servers of all routes, one after the other: what they are called, where they are. */
#include "fence/fence.h"

#include "location/location.h"
#include "log/log.h"

/* How soon a name is asked about again: after an answer, at least and at most; after none. */
#define AGAIN_LEAST (5 * USEC_S)
#define AGAIN_MOST  USEC_HOUR
#define AGAIN_SOON  (30 * USEC_S)

struct server {
    struct uri uri; /* in the settings */
    struct addr addr[FENCE_ADDRESSES];
    unsigned n, next; /* where the next address goes */
    usec until;       /* when it is asked about; USEC_NEVER: by number */
};

struct fence {
    struct loop *loop;
    struct locate *locate;
    struct turnserver *turn;
    struct settings *set; /* a reference */
    struct server *servers;
    size_t n;
    struct server *asked; /* about whom `query` is */
    struct locate_query *query;
    struct timer again;
};

/* ---- what is known ---- */

/* False: it is known. */
static bool add(struct server *s, const struct addr *a)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (addr_equal_ip(&s->addr[i], a))
            return false;
    }
    s->addr[s->next] = *a;
    s->next = (s->next + 1) % FENCE_ADDRESSES;
    s->n += s->n < FENCE_ADDRESSES;
    return true;
}

static enum err tell(struct fence *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        n += f->servers[i].n;
    struct addr *all = mem_alloc((n + 1) * sizeof(*all));
    if (!all)
        return ERR_NOMEM;
    n = 0;
    for (size_t i = 0; i < f->n; i++) {
        memcpy(all + n, f->servers[i].addr, f->servers[i].n * sizeof(*all));
        n += f->servers[i].n;
    }
    enum err rc = turnserver_forbid(f->turn, all, n);
    mem_free(all);
    return rc;
}

/* ---- names ---- */

static struct server *due(struct fence *f, usec *ret_next)
{
    usec now = loop_now(f->loop);
    *ret_next = USEC_NEVER;
    for (size_t i = 0; i < f->n; i++) {
        struct server *s = &f->servers[i];
        if (s->until <= now)
            return s;
        *ret_next = s->until < *ret_next ? s->until : *ret_next;
    }
    return NULL;
}

static void on_located(void *arg, enum err rc, const struct locate_set *set)
{
    struct fence *f = arg;
    struct server *s = f->asked;
    usec now = loop_now(f->loop), most = now + AGAIN_MOST;
    bool changed = false;
    f->query = NULL;
    s->until = now + AGAIN_SOON;
    for (unsigned i = 0; !rc && i < set->n; i++)
        changed = add(s, &set->dest[i].addr) || changed;
    if (!rc)
        s->until = set->until < now + AGAIN_LEAST ? now + AGAIN_LEAST
                   : set->until > most            ? most
                                                  : set->until;
    if (changed && tell(f))
        LOG_WARN("turn", "memory");
    loop_timer(f->loop, &f->again, 0);
}

static void on_again(struct timer *t, void *arg)
{
    struct fence *f = arg;
    usec now = loop_now(f->loop), next = USEC_NEVER;
    while (!f->query && (f->asked = due(f, &next))) {
        f->asked->until = now + AGAIN_SOON;
        if (locate_start(f->locate, &f->asked->uri, NULL, on_located, f, &f->query))
            f->query = NULL; /* the next one, then */
    }
    if (!f->query && next != USEC_NEVER)
        loop_timer(f->loop, t, next - now);
}

/* ---- servers of routes ---- */

static bool same_way(const struct uri *a, const struct uri *b)
{
    return a->scheme == b->scheme && sv_ieq(a->host, b->host) && a->port == b->port &&
           sv_ieq(a->params, b->params);
}

static struct server *find(struct server *all, size_t n, const struct uri *u)
{
    for (size_t i = 0; i < n; i++) {
        if (same_way(&all[i].uri, u))
            return &all[i];
    }
    return NULL;
}

static void by_number(struct fence *f, struct server *s)
{
    struct locate_set set = {.n = 1};
    enum err rc =
        f->locate ? locate_numeric(f->locate, &s->uri, &set) : location_dest(&s->uri, &set.dest[0]);
    s->until = f->locate && rc == ERR_MORE ? 0 : USEC_NEVER;
    for (unsigned i = 0; !rc && i < set.n; i++)
        (void)add(s, &set.dest[i].addr);
}

/* Those of a route, behind the n that are known. False: there is no room. */
static bool read_route(struct fence *f, const struct settings_route *r, struct server *all,
                       size_t *io_n)
{
    for (unsigned i = 0; r->action == ACTION_TO && i < r->targets_n; i++) {
        const struct settings_target *t = &r->target[i];
        struct uri u;
        if (t->kind != TARGET_SIP || uri_parse(t->uri, &u, NULL) || find(all, *io_n, &u))
            continue;
        if (*io_n == FENCE_SERVERS)
            return false;
        const struct server *was = find(f->servers, f->n, &u);
        struct server *s = &all[(*io_n)++];
        *s = was ? *was : (struct server){.until = USEC_NEVER};
        s->uri = u;
        by_number(f, s);
    }
    return true;
}

static size_t count(const struct settings *set)
{
    size_t n = 0;
    for (size_t i = 0; i < set->routes_n; i++)
        n += set->routes[i].targets_n;
    return n < FENCE_SERVERS ? n : FENCE_SERVERS;
}

enum err fence_settings(struct fence *f, struct settings *set)
{
    struct server *was = f->servers, *all = mem_alloc((count(set) + 1) * sizeof(*all));
    size_t n = 0;
    bool room = true;
    if (!all)
        return ERR_NOMEM;
    for (size_t i = 0; i < set->routes_n && room; i++)
        room = read_route(f, &set->routes[i], all, &n);
    if (!room)
        LOG_WARN("turn", "fence.full", F_INT("servers", FENCE_SERVERS));
    locate_cancel(f->query);
    f->query = NULL;
    f->servers = all;
    f->n = n;
    mem_free(was);
    settings_ref(set);
    settings_unref(f->set);
    f->set = set;
    loop_timer(f->loop, &f->again, 0);
    return tell(f);
}

/* ---- life ---- */

enum err fence_new(struct loop *l, struct locate *locate, struct turnserver *t,
                   struct settings *set, struct fence **ret_fence)
{
    struct fence *f = MEM_NEW(struct fence);
    if (!f)
        return ERR_NOMEM;
    f->loop = l;
    f->locate = locate;
    f->turn = t;
    timer_init(&f->again, on_again, f);
    enum err rc = fence_settings(f, set);
    if (rc) {
        fence_free(f);
        return rc;
    }
    *ret_fence = f;
    return ERR_OK;
}

void fence_free(struct fence *f)
{
    if (!f)
        return;
    loop_timer_cancel(f->loop, &f->again);
    locate_cancel(f->query);
    settings_unref(f->set);
    mem_free(f->servers);
    mem_free(f);
}
