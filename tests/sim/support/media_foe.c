/* SPDX-License-Identifier: MIT */
/* A host that is in no call: it sends packets, checks and ClientHellos to any port that may be the server's. */
#include "support/media.h"
#include <string.h>

#define SPRAY (20 * USEC_MS)

static struct addr any_port(struct media_world *w)
{
    struct addr to = w->server;
    to.port = (uint16_t)(MEDIA_FIRST_PORT +
                         sim_random(w->sim) % (MEDIA_LAST_PORT - MEDIA_FIRST_PORT + 1));
    return to;
}

/* One that a call has, if there is any. */
static struct addr live_port(struct media_world *w)
{
    struct addr to = any_port(w);
    for (unsigned i = 0; i < 50 && !ports_is_live(w->ports, &to); i++)
        to = any_port(w);
    return to;
}

static void send_to(struct media_foe *f, const struct addr *to, const void *p, size_t n)
{
    sv octets = {p, n};
    enum err rc = udp_send(f->udp, NULL, to, &octets, 1);
    (void)rc;
}

static void on_send(void *arg, sv octets)
{
    struct media_world *w = arg;
    send_to(&w->foe, &w->foe.aim, octets.p, octets.n);
}

static void on_keys(void *arg, const struct dtls_keys *k)
{
    (void)arg;
    (void)k; /* it believes nobody */
}

static void on_failed(void *arg, enum dtls_why why, sv text)
{
    (void)arg;
    (void)why;
    (void)text;
}

static void on_closed(void *arg)
{
    (void)arg;
}

static const struct dtls_user user = {
    .send = on_send, .on_keys = on_keys, .on_failed = on_failed, .on_closed = on_closed};

static void shake_hands(struct media_world *w)
{
    struct media_foe *f = &w->foe;
    struct dtls_config c = {.client = true};
    if (f->dtls)
        dtls_free(f->dtls);
    f->aim = live_port(w);
    media_need(dtls_new(f->certificate, &c, &user, w, &f->dtls));
    dtls_start(f->dtls, sim_now(w->sim));
}

static void on_spray(struct timer *t, void *arg)
{
    struct media_world *w = arg;
    struct media_foe *f = &w->foe;
    struct addr to = sim_random(w->sim) % 2 ? live_port(w) : any_port(w);
    uint8_t p[172] = {0};
    switch (sim_random(w->sim) % 4) {
    case 0: /* a Binding request of nobody */
        rtpmsg_set_u16(p, 0, 1);
        rtpmsg_set_u32(p, 4, 0x2112a442);
        send_to(f, &to, p, 20);
        break;
    case 1:
        rtpmsg_put_header(p, false, 200 - 128, 1, 0, 0xbadbad);
        p[1] = 200;
        rtpmsg_set_u16(p, 2, 6);
        send_to(f, &to, p, 28);
        break;
    default:
        rtpmsg_put_header(p, false, 0, (uint16_t)(sim_now(w->sim) / SPRAY), 0, 0xbadbad);
        send_to(f, &to, p, sizeof(p));
        break;
    }
    if (sim_random(w->sim) % (w->seed % 4 == 1 ? 2 : 8) == 0)
        shake_hands(w);
    if (f->dtls && dtls_deadline(f->dtls) <= sim_now(w->sim))
        dtls_timer(f->dtls, sim_now(w->sim));
    if (f->on)
        loop_timer(f->group->loop[0], t, SPRAY);
}

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct media_world *w = arg;
    (void)to;
    if (w->foe.dtls && dtls_is(block_sv(b)) && addr_equal(from, &w->foe.aim))
        dtls_receive(w->foe.dtls, block_sv(b), sim_now(w->sim));
}
static const struct udp_handler handler = {.on_datagram = on_datagram};

void media_foe_start(struct media_world *w)
{
    struct media_foe *f = &w->foe;
    struct addr a;
    struct dtls_shared_config certificate = {.wall = 0};
    media_need(addr_parse_ip(SV("10.0.66.6"), 6666, &a));
    media_need(sim_host_new(w->sim, "foe", &a, 1, &f->host));
    media_need(sim_process(f->host, 1, &f->group));
    media_need(udp_open(f->group->loop[0], &a, &handler, w, &f->udp));
    media_need(dtls_shared_new(&certificate, &f->certificate));
    timer_init(&f->spray, on_spray, w);
    f->on = true;
    loop_timer(f->group->loop[0], &f->spray, SPRAY);
}

void media_foe_stop(struct media_world *w)
{
    w->foe.on = false;
}

void media_foe_done(struct media_world *w)
{
    struct media_foe *f = &w->foe;
    sim_process_stop(f->host);
    if (f->dtls)
        dtls_free(f->dtls);
    udp_close(f->udp);
    dtls_shared_free(f->certificate);
    sim_process_free(f->host);
}
