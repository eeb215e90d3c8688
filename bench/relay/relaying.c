/* SPDX-License-Identifier: MIT */
/* relaying.c: what a relayed packet costs: `relaying [CALLS [SLICES]]`, CPU of the relaying thread in microseconds a
 * packet, medians of slices in turns, of
 *
 *   floor   epoll_wait, recvfrom for all that are ready, then sendto: what the kernel takes at least
 *   plain   sessions of the media layer on a real loop, RTP on both sides
 *   srtp    the same, RTP on one side and AES_CM_128_HMAC_SHA1_80 on the other
 *
 * for bursts of 1, 5 and 25 packets of different streams, 172 octets each. One that comes alone finds a thread that
 * sleeps, and caches that others have used; in a burst the ways are warm. Phones look later for what has come
 * and never wait for it, so nobody pays for waking them.
 *
 * `relaying train` relays some packets of both kinds in the simulation, for the build's profile. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "crypto/crypto.h"
#include "rtpmsg/rtpmsg.h"
#include "session/session.h"
#include "sim/sim.h"
#include "srtp/srtp.h"
#include "worker/worker.h"

enum {
    SIDES = SESSION_SIDES,
    CALLS_MAX = 1000,
    PACKET = RTP_HEADER + 160,
    ROOM = 2048,
    SLICES_MAX = 999,
    SLICE = 1000, /* packets */
    AT_ONCE = 64,
    TRAINED = 30, /* calls, and packets of each phone */
};
enum way { FLOOR, PLAIN, SECURE, WAYS };
static const char *const way_names[WAYS] = {"floor", "plain", "srtp"};
static const unsigned bursts[] = {1, 5, 25};
enum { BURSTS = sizeof(bursts) / sizeof(bursts[0]) };

/* One side of a call and its phone. */
struct end {
    struct end *other;
    int phone, port;           /* sockets: the phone's; ours toward it, of the floor only */
    struct udp *udp;           /* the phone's in the simulation */
    struct addr to;            /* our port */
    struct sockaddr_in at;     /* the phone */
    bool secure;               /* the phone encrypts */
    struct srtp_context sends; /* by which */
    uint16_t seq;
};

static struct end end[WAYS][CALLS_MAX][SIDES];
static unsigned calls = 250, slices = 21;
static struct srtp_engine *engine;
static struct sessions *sessions;
static struct loop_group *group;
static clockid_t relays[WAYS]; /* the processor time of who relays */
static _Atomic bool floor_ends;
static unsigned heard;

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "relaying: %s\n", what);
    exit(1);
}

/* ---- phones ---- */

static int open_socket(struct sockaddr_in *ret_at)
{
    socklen_t n = sizeof(*ret_at);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *ret_at = (struct sockaddr_in){.sin_family = AF_INET};
    ret_at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(fd >= 0 && bind(fd, (struct sockaddr *)ret_at, n) == 0 &&
             getsockname(fd, (struct sockaddr *)ret_at, &n) == 0,
         "no socket");
    return fd;
}

static size_t make_packet(struct end *e, uint8_t p[static ROOM])
{
    size_t n = PACKET;
    e->seq++;
    rtpmsg_put_header(p, false, 0, e->seq, 160u * e->seq, 0x1000);
    memset(p + RTP_HEADER, 0xd5, PACKET - RTP_HEADER);
    if (e->secure)
        must(srtp_rtp_protect(&e->sends, p, &n, ROOM) == ERR_OK, "a packet is not protected");
    return n;
}

static void phone_sends(struct end *e)
{
    uint8_t p[ROOM];
    size_t n = make_packet(e, p);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(e->to.port)};
    memcpy(&to.sin_addr, e->to.ip, 4);
    must(sendto(e->phone, p, n, 0, (struct sockaddr *)&to, sizeof(to)) == (ssize_t)n,
         "a phone cannot send");
}

static void phone_hears(struct end *e)
{
    static const struct timespec a_while = {0, 100 * 1000};
    uint8_t p[ROOM];
    for (unsigned i = 0; recv(e->phone, p, sizeof(p), 0) < 0; i++) {
        must(errno == EAGAIN && i < 50000, "a packet did not come");
        nanosleep(&a_while, NULL);
    }
}

/* ---- what relays ---- */

static struct offer_ip ip_of(const struct addr *a)
{
    struct offer_ip ip = {.n = 4, .port = a->port};
    memcpy(ip.ip, a->ip, 4);
    return ip;
}

static struct offer_key key_of(unsigned number)
{
    struct offer_key k = {
        .suite = SUITE_AES_CM_128_HMAC_SHA1_80, .tag = 1, .key_n = 16, .salt_n = 14};
    memset(k.key, (int)(number % 251), 30);
    return k;
}

/* A session that both have agreed on; side 1 encrypts if it is told to. */
static void begin_call(struct end e[static SIDES], const struct addr local[SIDES],
                       const struct addr phone[SIDES], bool secure, unsigned number)
{
    static const struct session_handler nobody;
    static struct offer_plan plan;
    static struct offer_ours ours;
    const struct offer_codec pcmu = {.id = CODEC_PCMU, .clock_hz = 8000, .channels = 1};
    struct session_party party[SIDES];
    struct session_id id;
    for (unsigned i = 0; i < SIDES; i++)
        party[i] = (struct session_party){.local = local[i], .source = phone[i]};
    must(session_new(sessions, party, 1, &nobody, NULL, &id) == ERR_OK, "no session");
    plan = (struct offer_plan){.n = 1};
    for (unsigned i = 0; i < SIDES; i++) {
        struct offer_leg *l = &plan.streams[0].leg[i];
        must(session_ours(sessions, id, i, SESSION_NEXT, &ours) == ERR_OK, "nothing is ours");
        e[i].to = addr_from_ip(ours.media[0].rtp.ip, 4, ours.media[0].rtp.port);
        e[i].other = &e[!i];
        l->rtp = l->rtcp = ip_of(&phone[i]);
        l->send = l->receive = true;
        l->event_pt = l->cn_pt = OFFER_NO_PT;
        plan.streams[0].map[i][0] = (struct offer_map){.in = pcmu, .out = pcmu};
        plan.streams[0].map_n[i] = 1;
        if (!secure || i == 0)
            continue;
        l->keying = OFFER_SDES;
        l->theirs = key_of(number);
        l->ours = ours.media[0].keys[SUITE_AES_CM_128_HMAC_SHA1_80];
        sv key = {(const char *)l->theirs.key, 16}, salt = {(const char *)l->theirs.key + 16, 14};
        e[i].secure = true;
        must(srtp_context_init(&e[i].sends, engine, SRTP_SENDER, SRTP_AES_CM_128_HMAC_SHA1_80, key,
                               salt) == ERR_OK,
             "no keys");
    }
    must(session_apply(sessions, id, SESSION_OFFERER, &plan) == ERR_OK, "nothing is agreed on");
}

static void begin_sessions(struct loop *l, uint16_t first, uint16_t last)
{
    static const struct session_config config = {.relay = {.latch = USEC_S}};
    static struct ports *ports;
    static struct session_shared *shared;
    must(ports_new(first, last, &ports) == ERR_OK && session_shared_new(ports, &shared) == ERR_OK &&
             sessions_new(l, shared, &config, &sessions) == ERR_OK,
         "no sessions");
}

static void begin_real(enum way w)
{
    struct addr local = {.ip = {127, 0, 0, 1}, .family = 4};
    for (unsigned c = 0; c < calls; c++) {
        struct addr phone[SIDES], both[SIDES] = {local, local};
        for (unsigned i = 0; i < SIDES; i++) {
            struct end *e = &end[w][c][i];
            e->phone = open_socket(&e->at);
            phone[i] = local;
            phone[i].port = ntohs(e->at.sin_port);
        }
        begin_call(end[w][c], both, phone, w == SECURE, c);
    }
}

static void begin_floor(int poll)
{
    for (unsigned c = 0; c < calls * SIDES; c++) {
        struct end *e = &end[FLOOR][c / SIDES][c % SIDES];
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = e};
        struct sockaddr_in at;
        e->other = &end[FLOOR][c / SIDES][!(c % SIDES)];
        e->phone = open_socket(&e->at);
        e->port = open_socket(&at);
        e->to = addr_from_ip((const uint8_t *)&at.sin_addr, 4, ntohs(at.sin_port));
        must(epoll_ctl(poll, EPOLL_CTL_ADD, e->port, &ev) == 0, "epoll");
    }
}

static void *run_floor(void *arg)
{
    static char octets[AT_ONCE][ROOM];
    int poll = *(int *)arg;
    struct epoll_event ev[AT_ONCE];
    ssize_t size[AT_ONCE];
    while (!atomic_load_explicit(&floor_ends, memory_order_relaxed)) {
        int n = epoll_wait(poll, ev, AT_ONCE, 200);
        for (int i = 0; i < n; i++) {
            struct sockaddr_in from;
            socklen_t from_n = sizeof(from);
            size[i] = recvfrom(((struct end *)ev[i].data.ptr)->port, octets[i], ROOM, 0,
                               (struct sockaddr *)&from, &from_n);
        }
        for (int i = 0; i < n; i++) {
            const struct end *to = ((struct end *)ev[i].data.ptr)->other;
            if (size[i] >= 0)
                sendto(to->port, octets[i], (size_t)size[i], 0, (const struct sockaddr *)&to->at,
                       sizeof(to->at));
        }
    }
    return NULL;
}

/* ---- measuring ---- */

static double cpu_us(enum way w)
{
    struct timespec t;
    must(clock_gettime(relays[w], &t) == 0, "no clock");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Microseconds of a packet. */
static double slice(enum way w, unsigned burst)
{
    static unsigned at;
    unsigned n = SLICE / burst * burst, streams = calls * SIDES;
    double before = cpu_us(w);
    for (unsigned i = 0; i < n; i += burst, at += burst) {
        for (unsigned k = 0; k < burst; k++)
            phone_sends(&end[w][(at + k) % streams / SIDES][(at + k) % SIDES]);
        for (unsigned k = 0; k < burst; k++)
            phone_hears(end[w][(at + k) % streams / SIDES][(at + k) % SIDES].other);
    }
    return (cpu_us(w) - before) / n;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void *measure(void *arg)
{
    static double us[BURSTS][WAYS][SLICES_MAX];
    (void)arg;
    for (unsigned s = 0; s < slices; s++)
        for (unsigned b = 0; b < BURSTS; b++)
            for (unsigned w = 0; w < WAYS; w++)
                us[b][w][s] = slice((enum way)w, bursts[b]);
    printf("%u streams; us of a packet\n%-6s", calls * SIDES, "burst");
    for (unsigned w = 0; w < WAYS; w++)
        printf(" %8s", way_names[w]);
    for (unsigned b = 0; b < BURSTS; b++) {
        printf("\n%-6u", bursts[b]);
        for (unsigned w = 0; w < WAYS; w++) {
            qsort(us[b][w], slices, sizeof(double), by_value);
            printf(" %8.2f", us[b][w][slices / 2]);
        }
    }
    printf("\n");
    worker_group_stop(group);
    return NULL;
}

static void beside_the_floor(void)
{
    pthread_t bare, load;
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    must(worker_group_new(1, &group) == ERR_OK, "no loop");
    begin_sessions(group->loop[0], 30000, 45000);
    begin_floor(poll);
    begin_real(PLAIN);
    begin_real(SECURE);
    must(pthread_create(&bare, NULL, run_floor, &poll) == 0 &&
             pthread_getcpuclockid(bare, &relays[FLOOR]) == 0 &&
             pthread_getcpuclockid(pthread_self(), &relays[PLAIN]) == 0,
         "no thread");
    relays[SECURE] = relays[PLAIN];
    must(pthread_create(&load, NULL, measure, NULL) == 0 && worker_group_run(group) == ERR_OK,
         "no run");
    pthread_join(load, NULL);
    atomic_store(&floor_ends, true);
    pthread_join(bare, NULL);
    exit(0); /* what stands ends with the process */
}

/* ---- training ---- */

static void on_heard(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg, (void)b, (void)from, (void)to;
    heard++;
}
static const struct udp_handler listens = {.on_datagram = on_heard};

static void train(void)
{
    struct addr server = {.ip = {10, 0, 1, 1}, .family = 4},
                there = {.ip = {10, 0, 2, 1}, .family = 4};
    struct addr local[SIDES] = {server, server};
    struct sim *sim;
    struct sim_host *us, *phones;
    struct loop_group *theirs;
    must(sim_new(1, &sim) == ERR_OK && sim_host_new(sim, "us", &server, 1, &us) == ERR_OK &&
             sim_host_new(sim, "phones", &there, 1, &phones) == ERR_OK &&
             sim_process(us, 1, &group) == ERR_OK && sim_process(phones, 1, &theirs) == ERR_OK,
         "no simulation");
    begin_sessions(group->loop[0], 30000, 45000);
    for (unsigned c = 0; c < TRAINED; c++) {
        struct end *e = end[PLAIN][c];
        struct addr phone[SIDES];
        for (unsigned i = 0; i < SIDES; i++) {
            must(udp_open(theirs->loop[0], &there, &listens, NULL, &e[i].udp) == ERR_OK,
                 "no phone");
            phone[i] = e[i].udp->local;
        }
        begin_call(e, local, phone, c % 2, c);
    }
    for (unsigned n = 0; n < TRAINED; n++) {
        for (unsigned c = 0; c < TRAINED * SIDES; c++) {
            struct end *e = &end[PLAIN][c / SIDES][c % SIDES];
            uint8_t p[ROOM];
            sv piece = {(const char *)p, make_packet(e, p)};
            must(udp_send(e->udp, NULL, &e->to, &piece, 1) == ERR_OK, "a phone cannot send");
        }
        sim_run_until(sim, sim_now(sim) + 20 * USEC_MS);
    }
    must(heard > TRAINED * TRAINED, "hardly anything was relayed");
}

static unsigned number(const char *text, unsigned max)
{
    char *rest;
    unsigned long n = strtoul(text, &rest, 10);
    must(*rest == 0 && n >= 1 && n <= max, "usage: relaying [CALLS [SLICES]] | relaying train");
    return (unsigned)n;
}

int main(int argc, char **argv)
{
    must(crypto_start() == ERR_OK && srtp_engine_new(&engine) == ERR_OK, "no crypto");
    if (argc == 2 && strcmp(argv[1], "train") == 0) {
        train();
        return 0;
    }
    if (argc > 1)
        calls = number(argv[1], CALLS_MAX);
    if (argc > 2)
        slices = number(argv[2], SLICES_MAX);
    beside_the_floor();
}
