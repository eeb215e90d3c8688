/* SPDX-License-Identifier: MIT */
/* Questions to the DNS by c-ares, which gives the raw answer; wire/dnsmsg reads it.
 *
 * c-ares gives every question an id by chance, and drops what does not come from the server that was
 * asked or does not repeat the question; a truncated answer is fetched by TCP.
 *
 * A channel keeps its UDP port while it has questions under way, so a busy one would keep it for
 * ever and give an off-path forger time to guess it (RFC 5452 §9.2). So a channel takes
 * CHANNEL_QUERIES questions or lives CHANNEL_LIFE, then a new one takes over and the old one ends
 * with its last answer. With it come the servers of the system and /etc/hosts as they are then. */
#include "worker/worker_priv.h"
#include <ares.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
    DNS_QUERIES_MAX = 1024, /* under way on one worker */
    CHANNEL_QUERIES = 64,
    NAME_MAX_OCTETS = 253,
    ANSWER_ARENA = 256 * 1024,
    TIMEOUT_MS = 1000, /* of the first try; c-ares doubles it. With TRIES a silent server is left */
    TRIES = 2,         /* after 3 s, so that a few questions one after the other end in 10 s */
    EDNS_OCTETS = 1232, /* fits any IPv6 path without fragments, which can be forged */
    SERVER_TEXT = 64,
    HOSTS_MAX = 64 * 1024, /* octets read of /etc/hosts */
    HOSTS_TTL_S = 60,
    HOSTS_RECORDS = 16,
};
#define CHANNEL_LIFE (60 * USEC_S)

struct dns_channel {
    struct worker *w;
    ares_channel ares;
    unsigned asked, live;
    usec born;
    char *hosts; /* the text of /etc/hosts; NULL: none */
    size_t hosts_n;
    struct timer timeout;
    struct deferred end; /* c-ares must not be destroyed in a call of its own */
    struct link sockets, answered, by_worker;
};

struct dns_socket {
    uv_poll_t poll;
    struct dns_channel *c;
    ares_socket_t fd;
    int watched;
    struct link by_channel;
};

struct worker_query {
    struct dns_query base;
    struct dns_channel *c;
    dns_fn *fn; /* NULL: cancelled, c-ares still holds it */
    void *arg;
    enum dns_type type;
    char name[NAME_MAX_OCTETS + 1];
    enum err rc;
    struct block *raw;
    struct link by_answered;
};

/* ---- answers ---- */

static void query_free(struct worker_query *q)
{
    struct dns_channel *c = q->c;
    list_unlink(&q->by_answered);
    block_unref(q->raw);
    c->live--;
    c->w->dns_live--;
    if (c->live == 0 && c->w->dns != c)
        loop_defer(&c->w->base, &c->end);
    mem_free(q);
}

static enum err read_answer(struct worker_query *q, struct arena *a, struct dnsmsg *ret_answer)
{
    if (q->rc)
        return q->rc;
    if (dnsmsg_parse(block_sv(q->raw), a, ret_answer) != ERR_OK)
        return ERR_CORRUPT;
    /* c-ares has compared the question too; a cache is poisoned by what is believed, so it is
     * checked here again. */
    if (!ret_answer->response || ret_answer->question_type != q->type ||
        !sv_ieq(ret_answer->question, sv_of(q->name)))
        return ERR_CORRUPT;
    return ERR_OK;
}

/* Tells the user; q is gone after it. */
static void tell(struct worker_query *q)
{
    struct arena a;
    struct dnsmsg answer;
    dns_fn *fn = q->fn;
    void *arg = q->arg;
    arena_init(&a, NULL, 0, ANSWER_ARENA);
    enum err rc = read_answer(q, &a, &answer);
    query_free(q);
    fn(arg, rc, rc ? NULL : &answer);
    arena_done(&a);
}

/* Of those here now: what a user asks meanwhile is told later, even if c-ares fails it at once. */
static void tell_all(struct dns_channel *c)
{
    struct link now;
    list_init(&now);
    list_splice(&now, &c->answered);
    for (struct link *l; (l = list_pop(&now));)
        tell(CONTAINER(l, struct worker_query, by_answered));
}

static enum err from_status(int status)
{
    switch (status) {
    case ARES_SUCCESS:
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
        return ERR_OK;
    case ARES_ETIMEOUT:
        return ERR_TIMEOUT;
    case ARES_EFORMERR:
    case ARES_EBADRESP:
    case ARES_EBADNAME:
        return ERR_CORRUPT;
    case ARES_ENOMEM:
        return ERR_NOMEM;
    default: /* none reached, or all of them failed (SERVFAIL, REFUSED) */
        return ERR_UNREACHABLE;
    }
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *octets, int n)
{
    struct worker_query *q = arg;
    (void)timeouts;
    if (!q->fn) {
        query_free(q);
        return;
    }
    q->rc = from_status(status);
    if (!q->rc && (!octets || n <= 0))
        q->rc = ERR_CORRUPT;
    if (!q->rc) {
        q->raw = block_new(q->c->w->base.blocks, (size_t)n);
        if (q->raw) {
            memcpy(q->raw->p, octets, (size_t)n);
            q->raw->n = (uint32_t)n;
        } else {
            q->rc = ERR_NOMEM;
        }
    }
    list_push(&q->c->answered, &q->by_answered);
}

/* ---- c-ares on the loop ---- */

static void arm_timeout(struct dns_channel *c)
{
    struct timeval tv;
    if (!list_empty(&c->answered)) /* failed before anything was sent: told in the next turn */
        loop_timer(&c->w->base, &c->timeout, 0);
    else if (ares_timeout(c->ares, NULL, &tv))
        loop_timer(&c->w->base, &c->timeout, tv.tv_sec * USEC_S + tv.tv_usec);
    else
        loop_timer_cancel(&c->w->base, &c->timeout);
}

static void process(struct dns_channel *c, ares_socket_t readable, ares_socket_t writable)
{
    ares_process_fd(c->ares, readable, writable);
    tell_all(c); /* outside of c-ares: a user may ask again or cancel */
    arm_timeout(c);
}

static void on_timeout(struct timer *t, void *arg)
{
    (void)t;
    process(arg, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct dns_socket *s = CONTAINER(h, struct dns_socket, poll);
    struct dns_channel *c = s->c;
    worker_turn(c->w);
    if (uv_is_closing((uv_handle_t *)h))
        return;
    if (status < 0) { /* POLLERR: libuv stops polling; c-ares meets the error when it reads */
        uv_poll_start(h, s->watched, on_poll);
        events = UV_READABLE | UV_WRITABLE;
    }
    process(c, events & UV_READABLE ? s->fd : ARES_SOCKET_BAD,
            events & UV_WRITABLE ? s->fd : ARES_SOCKET_BAD);
}

static void on_socket_gone(uv_handle_t *h)
{
    mem_free(CONTAINER((uv_poll_t *)h, struct dns_socket, poll));
}

static struct dns_socket *find_socket(struct dns_channel *c, ares_socket_t fd)
{
    LIST_EACH (s, &c->sockets, struct dns_socket, by_channel) {
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* c-ares says what it waits for on fd; nothing: it is about to close fd. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns_channel *c = arg;
    struct dns_socket *s = find_socket(c, fd);
    if (!readable && !writable) {
        if (s) {
            list_unlink(&s->by_channel);
            uv_close((uv_handle_t *)&s->poll, on_socket_gone);
        }
        return;
    }
    if (!s) {
        s = MEM_NEW(struct dns_socket);
        if (!s || uv_poll_init(&c->w->uv, &s->poll, fd) != 0) {
            mem_free(s);
            return; /* not heard: the question times out */
        }
        s->c = c;
        s->fd = fd;
        list_push(&c->sockets, &s->by_channel);
    }
    s->watched = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    uv_poll_start(&s->poll, s->watched, on_poll);
}

/* ---- names that the DNS is not asked for ---- */

static void read_hosts(struct dns_channel *c)
{
    int fd = open("/etc/hosts", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    c->hosts = mem_alloc(HOSTS_MAX);
    ssize_t n = 1;
    while (c->hosts && n > 0 && c->hosts_n < HOSTS_MAX) {
        n = read(fd, c->hosts + c->hosts_n, HOSTS_MAX - c->hosts_n);
        c->hosts_n += n > 0 ? (size_t)n : 0;
    }
    close(fd);
}

static sv next_word(sv *rest)
{
    size_t from = 0;
    while (from < rest->n && (rest->p[from] == ' ' || rest->p[from] == '\t'))
        from++;
    size_t to = from;
    while (to < rest->n && rest->p[to] != ' ' && rest->p[to] != '\t')
        to++;
    sv word = sv_sub(*rest, from, to);
    *rest = sv_sub(*rest, to, rest->n);
    return word;
}

/* "address name ... # comment": the address, if name is among the names. */
static bool hosts_line(sv line, sv name, struct addr *ret_addr)
{
    line = sv_trim(sv_sub(line, 0, sv_chr(line, '#')));
    sv ip = next_word(&line);
    for (sv word; (word = next_word(&line)).n > 0;)
        if (sv_ieq(word, name))
            return addr_parse_ip(ip, 0, ret_addr) == ERR_OK;
    return false;
}

static void add_address(struct dnsmsg *m, struct dns_rr *rrs, const struct addr *a)
{
    if ((a->family == 4) != (m->question_type == DNS_A) || m->n == HOSTS_RECORDS)
        return;
    struct dns_rr *rr = &rrs[m->n++];
    *rr = (struct dns_rr){
        .name = m->question, .type = (enum dns_type)m->question_type, .ttl_s = HOSTS_TTL_S};
    memcpy(rr->ip, a->ip, sizeof rr->ip);
}

/* What /etc/hosts says of the question: false: nothing. */
static bool in_hosts(const struct dns_channel *c, struct dnsmsg *m, struct dns_rr *rrs)
{
    sv rest = {c->hosts, c->hosts_n};
    bool known = false;
    while (rest.n > 0) {
        size_t end = sv_chr(rest, '\n');
        struct addr a;
        if (hosts_line(sv_sub(rest, 0, end), m->question, &a)) {
            known = true;
            add_address(m, rrs, &a);
        }
        rest = sv_sub(rest, end + 1, rest.n);
    }
    return known;
}

/* RFC 6761 §6.3: localhost and what lies under it are the loopback, and nobody is asked. */
static bool is_localhost(sv name)
{
    sv last = sv_sub(name, name.n > 10 ? name.n - 10 : 0, name.n);
    return sv_ieq(name, SV("localhost")) || sv_ieq(last, SV(".localhost"));
}

/* Answers q from here. False: the DNS is to be asked. */
static bool answer_here(struct worker_query *q)
{
    struct dns_rr rrs[HOSTS_RECORDS];
    struct dnsmsg m = {.response = true,
                       .question = sv_of(q->name),
                       .question_type = (uint16_t)q->type,
                       .rrs = rrs,
                       .negative_ttl_s = HOSTS_TTL_S};
    struct addr loopback = {.ip = {127, 0, 0, 1}, .family = 4};
    struct buf b;
    if (is_localhost(m.question)) {
        if (q->type == DNS_AAAA)
            loopback = (struct addr){.ip = {[15] = 1}, .family = 6};
        if (q->type == DNS_A || q->type == DNS_AAAA)
            add_address(&m, rrs, &loopback);
    } else if ((q->type != DNS_A && q->type != DNS_AAAA) || !in_hosts(q->c, &m, rrs)) {
        return false;
    }
    q->raw = block_new(q->c->w->base.blocks, EDNS_OCTETS * 8);
    if (q->raw) {
        buf_init(&b, q->raw->p, q->raw->cap);
        q->rc = dnsmsg_print_answer(&b, &m);
        q->raw->n = (uint32_t)b.n;
    } else {
        q->rc = ERR_NOMEM;
    }
    list_push(&q->c->answered, &q->by_answered);
    return true;
}

/* ---- channels ---- */

static void channel_free(struct dns_channel *c)
{
    if (c->w->dns == c)
        c->w->dns = NULL;
    ares_destroy(c->ares); /* hands back what is under way */
    while (!list_empty(&c->answered))
        query_free(CONTAINER(c->answered.next, struct worker_query, by_answered));
    loop_timer_cancel(&c->w->base, &c->timeout);
    loop_defer_cancel(&c->end);
    list_unlink(&c->by_worker);
    mem_free(c->hosts);
    mem_free(c);
}

static void on_end(struct deferred *d, void *arg)
{
    struct dns_channel *c = arg;
    (void)d;
    if (c->live == 0)
        channel_free(c);
}

static enum err set_servers(struct dns_channel *c)
{
    const struct worker_group *g = c->w->g;
    char text[DNS_SERVERS_MAX * SERVER_TEXT];
    struct buf b;
    if (g->dns_servers == 0)
        return ERR_OK;
    buf_init(&b, text, sizeof(text));
    for (size_t i = 0; i < g->dns_servers; i++) {
        struct addr server = g->dns_server[i];
        if (server.port == 0)
            server.port = 53;
        if (i > 0)
            buf_char(&b, ',');
        addr_print(&b, &server);
    }
    buf_char(&b, 0);
    return !b.rc && ares_set_servers_ports_csv(c->ares, text) == ARES_SUCCESS ? ERR_OK : ERR_IO;
}

static enum err channel_new(struct worker *w)
{
    struct dns_channel *c = MEM_NEW(struct dns_channel);
    if (!c)
        return ERR_NOMEM;
    struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
                             .timeout = TIMEOUT_MS,
                             .tries = TRIES,
                             .ednspsz = EDNS_OCTETS,
                             .sock_state_cb = on_socket_state,
                             .sock_state_cb_data = c};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
               ARES_OPT_SOCK_STATE_CB;
    c->w = w;
    if (ares_init_options(&c->ares, &o, mask) != ARES_SUCCESS) {
        mem_free(c);
        return ERR_IO;
    }
    c->born = w->base.now;
    timer_init(&c->timeout, on_timeout, c);
    deferred_init(&c->end, on_end, c);
    list_init(&c->sockets);
    list_init(&c->answered);
    list_push(&w->dns_channels, &c->by_worker);
    read_hosts(c);
    enum err rc = set_servers(c);
    if (rc) {
        channel_free(c);
        return rc;
    }
    w->dns = c;
    return ERR_OK;
}

/* The channel for the next question. */
static enum err channel_for(struct worker *w, struct dns_channel **ret_channel)
{
    struct dns_channel *c = w->dns;
    if (c && (c->asked >= CHANNEL_QUERIES || w->base.now - c->born >= CHANNEL_LIFE)) {
        w->dns = NULL;
        if (c->live == 0)
            loop_defer(&w->base, &c->end);
    }
    if (!w->dns)
        TRY(channel_new(w));
    *ret_channel = w->dns;
    return ERR_OK;
}

/* ---- questions ---- */

static void query_cancel(struct dns_query *query)
{
    struct worker_query *q = CONTAINER(query, struct worker_query, base);
    if (list_linked(&q->by_answered))
        query_free(q);
    else
        q->fn = NULL; /* c-ares cannot take one question back */
}

static const struct dns_query_ops query_ops = {.cancel = query_cancel};

static enum err put_name(struct worker_query *q, sv name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n > NAME_MAX_OCTETS)
        return ERR_TOOBIG;
    /* A backslash begins an escape for c-ares. No host name has one. */
    if (name.n == 0 || memchr(name.p, 0, name.n) || memchr(name.p, '\\', name.n))
        return ERR_SYNTAX;
    memcpy(q->name, name.p, name.n);
    return ERR_OK;
}

enum err worker_dns_query(struct loop *l, sv name, unsigned type, dns_fn *fn, void *arg,
                          struct dns_query **ret_query)
{
    enum { CLASS_IN = 1 };
    struct worker *w = worker_of(l);
    struct dns_channel *c;
    if (l->stopping)
        return ERR_STATE;
    if (w->dns_live >= DNS_QUERIES_MAX)
        return ERR_BUSY;
    struct worker_query *q = MEM_NEW(struct worker_query);
    if (!q)
        return ERR_NOMEM;
    enum err rc = put_name(q, name);
    if (!rc)
        rc = channel_for(w, &c);
    if (rc) {
        mem_free(q);
        return rc;
    }
    q->base.ops = &query_ops;
    q->c = c;
    q->fn = fn;
    q->arg = arg;
    q->type = (enum dns_type)type;
    c->asked++;
    c->live++;
    w->dns_live++;
    if (!answer_here(q))
        ares_query(c->ares, q->name, CLASS_IN, (int)type, on_answer, q);
    arm_timeout(c);
    *ret_query = &q->base;
    return ERR_OK;
}

void worker_dns_done(struct worker *w)
{
    /* Who still waits has not cancelled and is not told: its memory may be gone. */
    LIST_EACH_SAFE (c, &w->dns_channels, struct dns_channel, by_worker) {
        channel_free(c);
    }
}
