/* SPDX-License-Identifier: MIT */
/* fuzz/session_fuzz.c: octets as the body of a session's written form, with a head that fits. What is taken is written
 * again, and read again as the same; what is not leaves no port and no session. Then the session hears a packet. */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "session/session.h"
#include "sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 14, BODY_MAX = 60000, ROOM = 1 << 17 };

static struct sim *sim;
static struct ports *ports;
static struct session_shared *shared;
static struct sessions *sessions;
static struct udp *phone;
static char octets[ROOM], again[ROOM];

static void must(bool holds)
{
    if (!holds)
        abort();
}

static const struct session_handler handler = {.on_event = NULL};
static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg, (void)b, (void)from, (void)to;
}
static const struct udp_handler phone_handler = {.on_datagram = on_datagram};

static struct loop *host(const char *name, struct addr *ret_addr)
{
    struct sim_host *h;
    struct loop_group *g;
    must(addr_parse(sv_of(name), ret_addr) == ERR_OK);
    must(sim_host_new(sim, name, ret_addr, 1, &h) == ERR_OK);
    must(sim_process(h, 1, &g) == ERR_OK);
    return g->loop[0];
}

static void set_up(void)
{
    static const struct session_config c = {.relay = {.latch = USEC_S}, .silence = USEC_S};
    struct addr at;
    must(crypto_start() == ERR_OK && sim_new(1, &sim) == ERR_OK);
    struct loop *l = host("192.0.2.1:0", &at);
    must(ports_new(28000, 28999, &ports) == ERR_OK);
    must(session_shared_new(ports, &shared) == ERR_OK);
    must(sessions_new(l, shared, &c, &sessions) == ERR_OK);
    l = host("198.51.100.1:4000", &at);
    must(udp_open(l, &at, &phone_handler, NULL, &phone) == ERR_OK);
}

static sv saved(struct session_id id, enum session_form how, char *mem)
{
    struct buf b;
    buf_init(&b, mem, ROOM);
    enum err rc = session_save(sessions, id, how, &b);
    must(rc == ERR_OK || rc == ERR_TOOBIG);
    return rc ? SV_NONE : buf_sv(&b);
}

/* To each of the session's ports. */
static void hear(struct session_id id)
{
    static struct offer_ours ours;
    uint8_t p[40] = {0x80};
    sv piece = {(char *)p, sizeof(p)};
    for (unsigned side = 0; side < SESSION_SIDES; side++) {
        must(session_ours(sessions, id, side, 0, &ours) == ERR_OK);
        for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++) {
            const struct offer_ip *ip = &ours.media[i].rtp;
            struct addr to;
            if (ip->n == 0)
                continue;
            to = addr_from_ip(ip->ip, ip->n, ip->port);
            p[1] = 0;
            must(udp_send(phone, NULL, &to, &piece, 1) == ERR_OK);
            p[1] = 201;
            must(udp_send(phone, NULL, &to, &piece, 1) == ERR_OK);
        }
    }
    sim_run_until(sim, sim_now(sim) + 10 * USEC_MS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t start[HEAD] = {'T', 'S', 'E', 'S', 0, 2};
    struct session_id id;
    if (!sim)
        set_up();
    if (size == 0 || size > BODY_MAX)
        return 0;
    enum session_form how = data[0] & 1 ? SESSION_AHEAD : SESSION_LAST;
    size_t n = size - 1;
    uint32_t sum = crypto_crc32c(0, data + 1, n);
    memcpy(octets, start, HEAD);
    for (unsigned i = 0; i < 4; i++) {
        octets[6 + i] = (char)((uint32_t)n >> (24 - 8 * i));
        octets[10 + i] = (char)(sum >> (24 - 8 * i));
    }
    memcpy(octets + HEAD, data + 1, n);
    enum err rc = session_restore(sessions, (sv){octets, HEAD + n}, &handler, NULL, &id);
    if (!rc) {
        sv one = saved(id, SESSION_LAST, octets);
        session_end(sessions, id);
        must(session_restore(sessions, one, &handler, NULL, &id) == ERR_OK);
        sv two = saved(id, how, again);
        must(how == SESSION_AHEAD || sv_eq(one, two));
        session_end(sessions, id);
        must(session_restore(sessions, two, &handler, NULL, &id) == ERR_OK);
        hear(id);
        session_end(sessions, id);
    }
    must(sessions_live(sessions) == 0 && ports_taken(ports) == 0);
    return 0;
}
