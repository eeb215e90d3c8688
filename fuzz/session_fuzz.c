/* SPDX-License-Identifier: MIT */
/* fuzz/session_fuzz.c: written forms of sessions that were made here, so that they are of this version, with changes and
 * a head that fits them. What is taken is written again, and read again as the same; what is not leaves no port and no
 * session. Then the session hears a packet.
 *
 *   which form (1: written ahead), then changes: where (two octets), how many octets go (the low four bits) and come
 *   (the high ones), those that come */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "ice_peer.h"
#include "rtpmsg/rtpmsg.h"
#include "session/session.h"
#include "sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 14, FORM_MAX = 1 << 13, ROOM = 1 << 15, CHANGE = 3, SOUNDS = 10 };
enum form { OFFERED, PLAIN, KEYED, CODED, BROWSER, FORMS };

static struct sim *sim;
static struct ports *ports;
static struct session_shared *shared;
static struct sessions *sessions;
static struct udp *phone;
static char octets[ROOM], again[ROOM];
static struct {
    char p[FORM_MAX];
    size_t n;
} made[FORMS][2];

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

static void run(void)
{
    sim_run_until(sim, sim_now(sim) + 10 * USEC_MS);
}

static void say(const struct offer_ip *ip, const void *p, size_t n)
{
    struct addr to = addr_from_ip(ip->ip, ip->n, ip->port);
    sv piece = {p, n};
    must(udp_send(phone, NULL, &to, &piece, 1) == ERR_OK);
}

/* ---- sessions ---- */

/* A check by the browser, which gives its ICE a pair. */
static void check_from(const struct offer_ours *o)
{
    char mem[512];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    struct peer_check c = {
        .ufrag = o->ufrag, .pwd = o->pwd, .from = "abcd", .priority = 1000, .use = true};
    sv octets = peer_check(&c, &b);
    must(b.rc == ERR_OK);
    say(&o->media[0].rtp, octets.p, octets.n);
}

static void agree(enum form which, const struct offer_ours ours[static SESSION_SIDES],
                  struct offer_plan *plan)
{
    static const struct sdp_fingerprint print = {.hash = {"sha-256", 7}, .digest = {1}, .n = 32};
    static const struct offer_codec mu = {
        .id = CODEC_PCMU, .clock_hz = 8000, .channels = 1, .name = {"PCMU", 4}};
    static const struct offer_codec a = {
        .id = CODEC_PCMA, .pt = 8, .clock_hz = 8000, .channels = 1, .name = {"PCMA", 4}};
    struct offer_leg leg = {
        .mux = true, .send = true, .receive = true, .event_pt = OFFER_NO_PT, .cn_pt = OFFER_NO_PT};
    struct offer_stream *sound = &plan->streams[0], *video = &plan->streams[1];
    memset(plan, 0, sizeof(*plan));
    leg.rtp.n = 4;
    memcpy(leg.rtp.ip, phone->local.ip, 4);
    leg.rtp.port = phone->local.port;
    leg.rtcp = leg.rtp;
    for (unsigned i = 0; i < SESSION_SIDES; i++) {
        sound->leg[i] = leg;
        sound->map[i][0] = (struct offer_map){.in = mu, .out = mu};
        sound->map_n[i] = 1;
    }
    plan->n = which == BROWSER ? 2 : 1;
    if (which == CODED) {
        sound->map[0][0] = (struct offer_map){.to = a.pt, .transcode = true, .in = mu, .out = a};
        sound->transcodes = true;
    }
    if (which == KEYED || which == CODED) {
        enum offer_suite suite =
            which == KEYED ? SUITE_AES_CM_128_HMAC_SHA1_80 : SUITE_AEAD_AES_256_GCM;
        struct offer_leg *l = &sound->leg[SESSION_ANSWERER];
        l->keying = OFFER_SDES;
        l->ours = l->theirs = ours[SESSION_ANSWERER].media[0].keys[suite];
        memset(l->theirs.key, 7, sizeof(l->theirs.key));
    }
    if (which == BROWSER) {
        struct offer_leg *l = &sound->leg[SESSION_OFFERER];
        l->keying = OFFER_DTLS;
        l->fingerprints = &print;
        l->fingerprints_n = 1;
        l->ice = true;
        *video = *sound;
        video->kind = OFFER_VIDEO;
        video->leg[SESSION_OFFERER].bundled = true;
    }
}

static void keep(enum form which, struct session_id id)
{
    for (int how = 0; how < 2; how++) {
        struct buf b;
        buf_init(&b, made[which][how].p, FORM_MAX);
        must(session_save(sessions, id, how ? SESSION_AHEAD : SESSION_LAST, &b) == ERR_OK);
        made[which][how].n = b.n;
    }
}

/* One that has relayed something, unless it is only offered. */
static void make(enum form which, const struct addr *local)
{
    static struct offer_ours ours[SESSION_SIDES];
    static struct offer_plan plan;
    struct session_party party[SESSION_SIDES] = {{.local = *local, .source = phone->local},
                                                 {.local = *local, .source = phone->local}};
    struct session_id id;
    uint8_t p[RTP_HEADER + 160] = {0};
    must(session_new(sessions, party, which == BROWSER ? 2 : 1, &handler, NULL, &id) == ERR_OK);
    for (unsigned i = 0; i < SESSION_SIDES; i++)
        must(session_ours(sessions, id, i, SESSION_NEXT, &ours[i]) == ERR_OK);
    if (which != OFFERED) {
        agree(which, ours, &plan);
        must(session_apply(sessions, id, SESSION_OFFERER, &plan) == ERR_OK);
        run();
    }
    if (which == BROWSER)
        check_from(&ours[SESSION_OFFERER]);
    for (unsigned i = 0; i < SOUNDS && which != OFFERED; i++) {
        rtpmsg_put_header(p, false, 0, (uint16_t)i, 160 * i, 1);
        say(&ours[SESSION_OFFERER].media[0].rtp, p, sizeof(p));
        run();
    }
    keep(which, id);
    session_end(sessions, id);
    run();
}

static void set_up(void)
{
    static const struct session_config c = {.relay = {.latch = USEC_S}, .silence = USEC_S};
    struct addr local, at;
    must(crypto_start() == ERR_OK && sim_new(1, &sim) == ERR_OK);
    struct loop *l = host("192.0.2.1:0", &local);
    must(ports_new(28000, 28999, &ports) == ERR_OK);
    must(session_shared_new(ports, &shared) == ERR_OK);
    must(sessions_new(l, shared, &c, &sessions) == ERR_OK);
    l = host("198.51.100.1:4000", &at);
    must(udp_open(l, &at, &phone_handler, NULL, &phone) == ERR_OK);
    for (enum form i = 0; i < FORMS; i++)
        make(i, &local);
}

/* ---- forms ---- */

/* The form with its changes in octets, and how long it is. */
static size_t change(enum form which, bool ahead, sv changes)
{
    size_t n = made[which][ahead].n;
    memcpy(octets, made[which][ahead].p, n);
    while (changes.n >= CHANGE) {
        const uint8_t *c = (const uint8_t *)changes.p;
        size_t at = HEAD + (size_t)(c[0] << 8 | c[1]) % (n - HEAD + 1);
        size_t go = c[2] & 15, come = c[2] >> 4;
        changes = sv_sub(changes, CHANGE, changes.n);
        go = go < n - at ? go : n - at;
        come = come < changes.n ? come : changes.n;
        if (n + come > ROOM)
            break;
        memmove(octets + at + come, octets + at + go, n - at - go);
        memcpy(octets + at, changes.p, come);
        n = n + come - go;
        changes = sv_sub(changes, come, changes.n);
    }
    rtpmsg_set_u32(octets, 6, (uint32_t)(n - HEAD));
    rtpmsg_set_u32(octets, 10, crypto_crc32c(0, octets + HEAD, n - HEAD));
    return n;
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
    for (unsigned side = 0; side < SESSION_SIDES; side++) {
        must(session_ours(sessions, id, side, 0, &ours) == ERR_OK);
        for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++) {
            if (ours.media[i].rtp.n == 0)
                continue;
            p[1] = 0;
            say(&ours.media[i].rtp, p, sizeof(p));
            p[1] = 201;
            say(&ours.media[i].rtp, p, sizeof(p));
        }
    }
    run();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session_id id;
    if (!sim)
        set_up();
    if (size == 0)
        return 0;
    enum session_form how = data[0] & 1 ? SESSION_AHEAD : SESSION_LAST;
    size_t n = change((enum form)(data[0] / 2 % FORMS), data[0] & 1,
                      (sv){(const char *)data + 1, size - 1});
    enum err rc = session_restore(sessions, (sv){octets, n}, &handler, NULL, &id);
    must(!rc || size > CHANGE); /* as it was written it is read */
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
