/* SPDX-License-Identifier: MIT */
/* Connections of phones: made, registered on, kept alive, lost, made anew. */
#include "support/flows_priv.h"
#include <stdio.h>
#include <stdlib.h>

enum { IN_MAX = 64 * 1024 };
/* RFC 5626 §4.5: wait between half and all of base * 2^failures; the base is shorter than its default
 * of 30 and 90 s, which a configuration may say. */
static const usec base_all_fail = 4 * USEC_S, base_not_failed = 8 * USEC_S, retry_max = USEC_MIN;
static const usec pong_within = 10 * USEC_S; /* §4.4.1 */
static const usec flow_timer_default = 25 * USEC_S;

void flows_configure(struct settings *set)
{
    struct sip_config *s = &set->sip;
    struct addr bind = s->listen[0].bind;
    bind.port = FLOWS_WS_PORT;
    s->listen[s->listeners++] = (struct sip_listen){.transport = SIP_T_WS, .bind = bind};
}

static usec between(struct handset *h, usec from, usec to)
{
    return from + (usec)(loop_random(h->loop) % (uint64_t)(to - from + 1));
}

static bool is_ws(const struct line *l)
{
    return l->handset->transport == SIP_T_WS;
}

void line_put_host(struct buf *b, const struct line *l)
{
    const struct handset *h = l->handset;
    if (h->numeric) {
        addr_print_host(b, &h->ip);
        buf_printf(b, ":%u", 5060 + l->index);
    } else {
        /* RFC 7118 §5: a name that cannot be found, another one for each connection. */
        buf_printf(b, "h%u-%u-%u.invalid", h->index, l->index, l->births);
    }
}

/* ---- out ---- */

/* RFC 6455 §5.2: a final frame, masked as those of clients are. */
static bool send_frame(struct line *l, unsigned opcode, sv payload)
{
    uint8_t head[8] = {(uint8_t)(0x80 | opcode)};
    size_t n = 2;
    uint32_t mask = (uint32_t)loop_random(l->handset->loop);
    char *masked = malloc(payload.n + 1);
    if (!masked)
        abort();
    if (payload.n < 126) {
        head[1] = (uint8_t)(0x80 | payload.n);
    } else {
        head[1] = 0x80 | 126;
        head[2] = (uint8_t)(payload.n >> 8);
        head[3] = (uint8_t)payload.n;
        n = 4;
    }
    memcpy(head + n, &mask, 4);
    for (size_t i = 0; i < payload.n; i++)
        masked[i] = (char)((uint8_t)payload.p[i] ^ head[n + i % 4]);
    sv pieces[] = {{(char *)head, n + 4}, {masked, payload.n}};
    enum err rc = stream_send(l->stream, pieces, 2);
    free(masked);
    return rc == ERR_OK;
}

static void show(struct line *l, bool out, sv octets)
{
    struct world *w = l->handset->world;
    if (!w->c.trace)
        return;
    printf("%lld.%06lld phone%u line%u#%u (user%u) %s\n", (long long)(sim_now(w->sim) / USEC_S),
           (long long)(sim_now(w->sim) % USEC_S), l->handset->index, l->index, l->births,
           l->handset->account, out ? "sends" : "gets");
    while (octets.n) {
        size_t n = sv_chr(octets, '\n');
        printf("    | " SV_FMT "\n", SV_ARG(sv_trim(sv_sub(octets, 0, n))));
        octets = sv_sub(octets, n + 1, octets.n);
    }
}

static bool send_plain(struct line *l, sv octets)
{
    if (l->state != LINE_UP)
        return false;
    return is_ws(l) ? send_frame(l, 1, octets) : stream_send(l->stream, &octets, 1) == ERR_OK;
}

bool line_send(struct line *l, sv octets)
{
    show(l, true, octets);
    return send_plain(l, octets);
}

/* ---- lost, and made anew ---- */

static bool another_is_bound(const struct line *l)
{
    const struct handset *h = l->handset;
    for (unsigned i = 0; i < h->lines; i++) {
        if (i != l->index && h->line[i].bound)
            return true;
    }
    return false;
}

static void retry(struct line *l)
{
    struct handset *h = l->handset;
    usec wait = another_is_bound(l) ? base_not_failed : base_all_fail;
    for (unsigned i = 0; i < l->failures && wait < retry_max; i++)
        wait *= 2;
    wait = wait < retry_max ? wait : retry_max;
    l->failures++;
    loop_timer(h->loop, &l->again, between(h, wait / 2, wait));
}

static void lost(struct line *l)
{
    struct handset *h = l->handset;
    l->stream = NULL;
    l->state = LINE_DOWN;
    l->bound = l->pong_due = l->slow = false;
    l->in_n = l->resume = 0;
    h->mishaps++;
    loop_timer_cancel(h->loop, &l->keep);
    loop_timer_cancel(h->loop, &l->stall);
    handset_line_lost(l);
    retry(l);
}

static void give_up(struct line *l)
{
    struct stream *s = l->stream;
    if (!s)
        return;
    stream_close(s, false);
    lost(l);
}

static void on_close(void *arg, enum err why)
{
    struct line *l = arg;
    char mem[64];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "line %u.%u.%u ended: %s", l->handset->index, l->index, l->births,
               err_text(why));
    sim_note(l->handset->world->sim, buf_sv(&b));
    lost(l);
}

static void on_cut(struct timer *t, void *arg)
{
    (void)t;
    give_up(arg);
}

void handset_cut(struct line *l)
{
    if (l->handset->loop)
        loop_timer(l->handset->loop, &l->cut, 0);
}

static void on_stall_over(struct timer *t, void *arg)
{
    struct line *l = arg;
    (void)t;
    l->slow = false;
    l->handset->mishaps++;
    if (l->stream)
        stream_pause(l->stream, false);
}

void handset_stall(struct line *l, usec duration)
{
    struct handset *h = l->handset;
    if (!h->loop || !l->stream || l->slow)
        return;
    l->slow = true;
    h->mishaps++;
    stream_pause(l->stream, true);
    wheel_arm(&h->loop->wheel, &l->stall, sim_now(h->world->sim) + duration);
}

/* ---- kept alive (RFC 5626 §4.4.1) ---- */

static void arm_keep(struct line *l)
{
    loop_timer(l->handset->loop, &l->keep,
               between(l->handset, l->flow_timer * 8 / 10, l->flow_timer));
}

static void on_keep(struct timer *t, void *arg)
{
    struct line *l = arg;
    if (l->pong_due) {
        sim_note(l->handset->world->sim, SV("no pong"));
        give_up(l);
        return;
    }
    if (!send_plain(l, SV("\r\n\r\n"))) {
        give_up(l);
        return;
    }
    l->pong_due = true;
    loop_timer(l->handset->loop, t, pong_within);
}

static void on_crlf(struct line *l)
{
    if (!l->pong_due)
        return;
    l->pong_due = false;
    arm_keep(l);
}

void handset_registered(struct line *l, uint16_t status, struct sipmsg *m)
{
    struct handset *h = l->handset;
    uint64_t seconds;
    if (status != 200) {
        if (status != 500 && status != 503 && status != 408 && status != 0)
            world_fail(h->world, "phone %u: REGISTER answered %u", h->index, status);
        give_up(l);
        return;
    }
    sv timer = sipmsg_value_named(m, SV("Flow-Timer"));
    if (!sipmsg_lists(m, SIP_H_REQUIRE, SV("outbound")))
        world_fail(h->world, "phone %u: 200 without Require: outbound", h->index);
    l->flow_timer = timer.n && sv_u64(timer, 3600, &seconds) == ERR_OK ? (usec)seconds * USEC_S
                                                                       : flow_timer_default;
    l->failures = 0;
    l->bound = true;
    l->bound_at = sim_now(h->world->sim);
    if (!timer_armed(&l->keep))
        arm_keep(l);
}

/* ---- in ---- */

static void eat(struct line *l, size_t n)
{
    memmove(l->in, l->in + n, l->in_n - n);
    l->in_n -= n;
}

static void is_up(struct line *l)
{
    l->state = LINE_UP;
    handset_register(l);
}

static void put_upgrade(struct line *l)
{
    char mem[512];
    struct buf b;
    uint8_t key[16];
    buf_init(&b, mem, sizeof(mem));
    loop_random_bytes(l->handset->loop, key, sizeof(key));
    buf_printf(&b,
               "GET / HTTP/1.1\r\nHost: 10.0.0.1:%u\r\nUpgrade: websocket\r\nConnection: "
               "Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n"
               "Sec-WebSocket-Key: ",
               FLOWS_WS_PORT);
    crypto_base64(&b, key, sizeof(key));
    buf_str(&b, "\r\n\r\n");
    sv text = buf_sv(&b);
    if (stream_send(l->stream, &text, 1))
        give_up(l);
}

/* True: something was taken. */
static bool take_upgrade(struct line *l)
{
    const char *end = memmem(l->in, l->in_n, "\r\n\r\n", 4);
    if (!end)
        return false;
    if (!sv_starts((sv){l->in, l->in_n}, SV("HTTP/1.1 101 "))) {
        give_up(l); /* a server that just starts or ends may say 503 */
        return false;
    }
    eat(l, (size_t)(end + 4 - l->in));
    is_up(l);
    return true;
}

/* A copy with slack, for one message may lead to another before it is done with. */
static void deliver(struct line *l, sv octets)
{
    char *copy = calloc(1, octets.n + BLOCK_SLACK);
    if (!copy)
        abort();
    memcpy(copy, octets.p, octets.n);
    show(l, false, octets);
    handset_message(l, (sv){copy, octets.n});
    free(copy);
}

static bool take_frame(struct line *l)
{
    const uint8_t *p = (const uint8_t *)l->in;
    if (l->in_n < 2)
        return false;
    size_t n = p[1] & 0x7f, head = 2;
    if (n == 126) {
        if (l->in_n < 4)
            return false;
        n = (size_t)p[2] << 8 | p[3];
        head = 4;
    }
    if (l->in_n < head + n)
        return false;
    unsigned opcode = p[0] & 0x0f;
    if (!(p[0] & 0x80) || (p[1] & 0x80) || n == 127)
        world_fail(l->handset->world, "phone %u: a frame that no server makes", l->handset->index);
    char *payload = malloc(n + 1);
    if (!payload)
        abort();
    memcpy(payload, l->in + head, n);
    sv text = {payload, n};
    eat(l, head + n);
    if (opcode == 9)
        (void)!send_frame(l, 10, text);
    else if (opcode == 8)
        give_up(l);
    else if (opcode == 1 && sv_trim(text).n == 0)
        on_crlf(l);
    else if (opcode == 1)
        deliver(l, text);
    free(payload);
    return l->stream != NULL;
}

static bool take_message(struct line *l)
{
    sv text = {l->in, l->in_n};
    size_t n = l->resume ? 0 : sipmsg_skip_crlf(text);
    if (n) {
        on_crlf(l);
        eat(l, n);
        return true;
    }
    if (l->in_n == 0 || (l->in_n == 1 && l->in[0] == '\r'))
        return false;
    enum err rc = sipmsg_frame(text, IN_MAX, &l->resume, &n, NULL);
    if (rc == ERR_MORE)
        return false;
    l->resume = 0;
    if (rc) {
        world_fail(l->handset->world, "phone %u: its stream cannot be framed", l->handset->index);
        return false;
    }
    text.n = n;
    char *copy = malloc(n);
    if (!copy)
        abort();
    memcpy(copy, text.p, n);
    eat(l, n);
    deliver(l, (sv){copy, n});
    free(copy);
    return l->stream != NULL;
}

static void on_data(void *arg, sv octets)
{
    struct line *l = arg;
    if (octets.n > IN_MAX - l->in_n) {
        world_fail(l->handset->world, "phone %u: more octets than it has room for",
                   l->handset->index);
        return;
    }
    memcpy(l->in + l->in_n, octets.p, octets.n);
    l->in_n += octets.n;
    while (l->stream && (l->state == LINE_UPGRADING ? take_upgrade(l)
                         : is_ws(l)                 ? take_frame(l)
                                                    : take_message(l)))
        ;
}

/* ---- life ---- */

static void on_open(void *arg)
{
    struct line *l = arg;
    if (!is_ws(l)) {
        is_up(l);
        return;
    }
    l->state = LINE_UPGRADING;
    put_upgrade(l);
}

static const struct stream_handler stream_events = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

static void on_again(struct timer *t, void *arg)
{
    struct line *l = arg;
    struct handset *h = l->handset;
    struct addr to = h->world->server_ip;
    (void)t;
    if (is_ws(l))
        to.port = FLOWS_WS_PORT;
    l->births++;
    l->state = LINE_OPENING;
    if (stream_connect(h->loop, NULL, &to, &stream_events, l, &l->stream)) {
        l->state = LINE_DOWN;
        retry(l);
    }
}

void handset_init(struct handset *h, struct world *w, unsigned index, unsigned account)
{
    char name[32], ip[32];
    h->world = w;
    h->index = index;
    h->account = account;
    h->loop = NULL;
    list_init(&h->asks);
    list_init(&h->talks);
    snprintf(name, sizeof(name), "handset%u", index);
    snprintf(ip, sizeof(ip), "10.0.2.%u", index + 1);
    if (addr_parse_ip(sv_of(ip), 0, &h->ip) || sim_host_new(w->sim, name, &h->ip, 1, &h->host))
        abort();
    for (unsigned i = 0; i < HANDSET_LINES; i++)
        h->line[i] = (struct line){.handset = h, .index = i};
    handset_on(h);
}

void handset_on(struct handset *h)
{
    struct loop_group *g;
    if (sim_process(h->host, 1, &g))
        abort();
    h->loop = g->loop[0];
    for (unsigned i = 0; i < h->lines; i++) {
        struct line *l = &h->line[i];
        *l = (struct line){.handset = h, .index = i, .births = l->births};
        l->in = malloc(IN_MAX + BLOCK_SLACK);
        if (!l->in)
            abort();
        timer_init(&l->keep, on_keep, l);
        timer_init(&l->again, on_again, l);
        timer_init(&l->cut, on_cut, l);
        timer_init(&l->stall, on_stall_over, l);
        /* Not all at once. */
        loop_timer(h->loop, &l->again, between(h, 0, 500 * USEC_MS));
    }
}

void handset_off(struct handset *h, bool power)
{
    if (!h->loop)
        return;
    sim_process_kill(h->host, power);
    h->mishaps++;
    for (unsigned i = 0; i < h->lines; i++) {
        struct line *l = &h->line[i];
        if (l->stream)
            stream_close(l->stream, false);
        l->stream = NULL;
        l->state = LINE_DOWN;
        l->bound = false;
        free(l->in);
        l->in = NULL;
    }
    handset_forget(h);
    sim_process_free(h->host);
    h->loop = NULL;
}

unsigned handset_bound(const struct handset *h)
{
    unsigned n = 0;
    for (unsigned i = 0; h->loop && i < h->lines; i++)
        n += h->line[i].bound;
    return n;
}

/* ---- the store ---- */

struct looking {
    struct world *w;
    unsigned phones;
    struct handset_bindings *found;
};

static bool look_at(sv aor, const struct binding *b, size_t n, void *arg)
{
    struct looking *k = arg;
    struct handset_bindings *f = k->found;
    (void)aor;
    for (size_t i = 0; i < n; i++) {
        unsigned phone, line, birth;
        char text[64];
        snprintf(text, sizeof(text), SV_FMT, SV_ARG(b[i].uri));
        if (sscanf(text, "sip:p%u-%u-%u@", &phone, &line, &birth) != 3 || phone >= k->phones ||
            line >= HANDSET_LINES) {
            world_fail(k->w, "a binding of nobody: %s", text);
            continue;
        }
        if (f->n[phone][line]++)
            world_fail(k->w, "phone %u is bound twice by reg-id %u", phone, line + 1);
        if (b[i].reg_id != line + 1)
            world_fail(k->w, "phone %u: its reg-id is %u", phone, b[i].reg_id);
        f->birth[phone][line] = birth;
        f->dead[phone][line] = binding_conn_dead(&b[i], store_epoch(k->w->server.store));
    }
    return true;
}

void handset_look(struct world *w, unsigned phones, struct handset_bindings *ret)
{
    struct looking k = {.w = w, .phones = phones, .found = ret};
    *ret = (struct handset_bindings){.n = {{0}}};
    /* The entries' expiry is far away: a clock that stands a little behind shows the same. */
    if (store_each_aor(w->server.store, w->server.group->loop[0]->wall, look_at, &k))
        world_fail(w, "the store cannot be walked");
}
