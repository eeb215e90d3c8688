/* SPDX-License-Identifier: MIT */
/* operations: what the server executes for one operation, in the simulation, under callgrind.
 *
 *   valgrind --tool=callgrind --collect-atstart=no operations call 200
 *
 * prints nothing of its own; callgrind's total divided by the count is the figure. Only the turns of the
 * simulation are collected: the server's work and the simulation's own few hundred instructions a
 * datagram, not the making of the clients' messages. An operation counts with its end: virtual time
 * runs on until all of its timers have fired. Over TCP and TLS caller and callee have a connection each,
 * and what the simulated network and the clients' side of TLS execute is counted with the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../collect.h"
#include "auth/auth.h"
#include "crypto/crypto.h"
#include "support/world.h"
#include "tls/tls.h"

enum { INBOX = 16, MESSAGE = 4096, ACCOUNTS = 2, TLS_PORT = 5061 };

enum who { CALLER, CALLEE, CLIENTS };

struct message {
    char text[MESSAGE];
    size_t n;
};

/* A client's connection, and what came on it of a message that is not whole yet. */
struct wire {
    struct stream *stream;
    bool open;
    char in[2 * MESSAGE];
    size_t n;
};

static struct rig {
    struct world w;
    struct sim_host *host;
    enum sip_transport transport;
    struct addr ip;
    struct loop *loop; /* of the clients */
    struct udp *udp;   /* of caller and callee alike; NULL: they have connections */
    struct wire wire[CLIENTS];
    struct tls *tls; /* of the server, and of the clients */
    struct message in[INBOX];
    unsigned n;
    unsigned serial;
    bool redirects; /* the server does */
} rig;

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "operations: %s\n", what);
    exit(1);
}

/* ---- the wire ---- */

static void came(sv text)
{
    need(rig.n < INBOX && text.n < MESSAGE, "more than was asked for came");
    struct message *m = &rig.in[rig.n++];
    memcpy(m->text, text.p, text.n);
    m->text[text.n] = 0;
    m->n = text.n;
}

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg;
    (void)from;
    (void)to;
    came(block_sv(b));
}

static const struct udp_handler handler = {.on_datagram = on_datagram};

static void on_open(void *arg)
{
    ((struct wire *)arg)->open = true;
}

static void on_data(void *arg, sv octets)
{
    struct wire *w = arg;
    size_t n;
    need(octets.n < sizeof(w->in) - w->n, "more than was asked for came");
    memcpy(w->in + w->n, octets.p, octets.n);
    w->n += octets.n;
    for (size_t resume = 0;
         w->n && sipmsg_frame((sv){w->in, w->n}, MESSAGE, &resume, &n, NULL) == ERR_OK;
         resume = 0) {
        came((sv){w->in, n});
        w->n -= n;
        memmove(w->in, w->in + n, w->n);
    }
}

static void on_close(void *arg, enum err why)
{
    (void)arg;
    need(false, err_text(why));
}

static const struct stream_handler stream_handler = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

static void collected_run(usec duration)
{
    CALLGRIND_TOGGLE_COLLECT;
    world_run(&rig.w, duration);
    CALLGRIND_TOGGLE_COLLECT;
}

static void connect_wire(struct wire *w)
{
    struct addr to = rig.w.server_ip;
    enum err rc;
    stream_close(w->stream, false);
    *w = (struct wire){0};
    if (rig.transport == SIP_T_TLS) {
        to.port = TLS_PORT;
        rc = tls_connect(rig.tls, rig.loop, NULL, &to, SV_NONE, false, &stream_handler, w,
                         &w->stream);
    } else {
        rc = stream_connect(rig.loop, NULL, &to, &stream_handler, w, &w->stream);
    }
    need(rc == ERR_OK, "the client cannot connect");
    collected_run(20 * USEC_MS);
    need(w->open, "the client's connection does not open");
}

/* Sends it; what the server says within some milliseconds is in rig.in. */
static void say(enum who who, const char *text)
{
    sv piece = sv_of(text);
    rig.n = 0;
    need((rig.udp ? udp_send(rig.udp, NULL, &rig.w.server_ip, &piece, 1)
                  : stream_send(rig.wire[who].stream, &piece, 1)) == ERR_OK,
         "the client cannot send");
    collected_run(2 * USEC_MS);
}

static struct message *got(const char *start)
{
    for (unsigned i = 0; i < rig.n; i++)
        if (strncmp(rig.in[i].text, start, strlen(start)) == 0)
            return &rig.in[i];
    fprintf(stderr, "operations: no '%s' came; %s\n", start,
            rig.n ? rig.in[0].text : "nothing did");
    exit(1);
}

/* ---- the clients' messages ---- */

/* All lines of that name, appended. */
static void copy_lines(struct buf *b, const struct message *m, const char *name)
{
    for (const char *line = m->text; line && *line; line = strstr(line, "\r\n")) {
        line += *line == '\r' ? 2 : 0;
        if (strncmp(line, name, strlen(name)) == 0)
            buf_put(b, (sv){line, (size_t)(strstr(line, "\r\n") - line) + 2});
        if (strncmp(line, "\r\n", 2) == 0)
            return;
    }
}

static const char *answer(const struct message *m, const char *status, const char *to_tag,
                          const char *more)
{
    static char text[MESSAGE];
    struct buf b;
    buf_init(&b, text, sizeof(text) - 1);
    buf_printf(&b, "SIP/2.0 %s\r\n", status);
    copy_lines(&b, m, "Via:");
    copy_lines(&b, m, "Record-Route:");
    copy_lines(&b, m, "From:");
    copy_lines(&b, m, "To:");
    if (to_tag) {
        b.n -= 2;
        buf_printf(&b, ";tag=%s\r\n", to_tag);
    }
    copy_lines(&b, m, "Call-ID:");
    copy_lines(&b, m, "CSeq:");
    buf_str(&b, more);
    need(b.rc == ERR_OK, "an answer is too long");
    text[b.n] = 0;
    return text;
}

/* The parameter of a URI, and the word of a Via, that name the clients' transport. */
static const char *parameter(void)
{
    return rig.transport == SIP_T_UDP   ? ""
           : rig.transport == SIP_T_TCP ? ";transport=tcp"
                                        : ";transport=tls";
}

static const char *via_word(void)
{
    return rig.transport == SIP_T_UDP ? "UDP" : rig.transport == SIP_T_TCP ? "TCP" : "TLS";
}

/* The callee's Contact, and what stands behind it. */
static const char *contact(const char *more)
{
    static char text[MESSAGE];
    snprintf(text, sizeof(text), "Contact: <sip:user1@10.0.2.1:5070%s>\r\n%s", parameter(), more);
    return text;
}

#define SDP                                                                             \
    "v=0\r\no=- 1 1 IN IP4 10.0.2.1\r\ns=-\r\nc=IN IP4 10.0.2.1\r\nt=0 0\r\n"           \
    "m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n" \
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
#define WITH_SDP "Content-Type: application/sdp\r\nContent-Length: 212\r\n\r\n" SDP
_Static_assert(sizeof(SDP) - 1 == 212, "what Content-Length says");
#define EMPTY "Content-Length: 0\r\n\r\n"

/* A request of user0; uri, line and to are texts, more goes to the end. */
static const char *request(const char *method, const char *uri, const char *to_tag, unsigned cseq,
                           const char *routes, const char *more)
{
    static char text[MESSAGE];
    const char *to = strcmp(method, "OPTIONS") == 0 ? "" : "user1";
    int n = snprintf(
        text, sizeof(text),
        "%s %s SIP/2.0\r\nVia: SIP/2.0/%s 10.0.2.1:5070;rport;branch=z9hG4bK-%u-%u-%s\r\n"
        "%sMax-Forwards: 70\r\nFrom: <sip:user%d@" WORLD_DOMAIN ">;tag=from-%u\r\n"
        "To: <sip:%s%s" WORLD_DOMAIN ">%s\r\nCall-ID: %u-9316@10.0.2.1\r\nCSeq: %u %s\r\n"
        "User-Agent: operations\r\n%s",
        method, uri, via_word(), rig.serial, cseq, method, routes, strcmp(method, "REGISTER") == 0,
        rig.serial, to, *to ? "@" : "", to_tag, rig.serial, cseq, method, more);
    need(n > 0 && (size_t)n < sizeof(text), "a request is too long");
    return text;
}

/* ---- operations ---- */

static void options(void)
{
    rig.serial++;
    say(CALLER,
        request("OPTIONS", "sip:" WORLD_DOMAIN, "", 1, "", "Accept: application/sdp\r\n" EMPTY));
    got("SIP/2.0 200");
}

/* The header line that answers the challenge in m. */
static void authorize(struct message *m, const char *method, const char *uri, char *ret_line,
                      size_t size)
{
    char mem[4096];
    struct arena a;
    struct sipmsg msg;
    struct buf b;
    arena_init(&a, mem, sizeof(mem), 65536);
    need(sipmsg_parse((sv){m->text, m->n}, &a, &msg, NULL) == ERR_OK, "no challenge");
    buf_init(&b, ret_line, size - 1);
    need(auth_answer(&b, &msg, sv_of(method), sv_of(uri), SV("user1"), SV(WORLD_PASSWORD),
                     SV("0a4f113b"), 1) == ERR_OK,
         "no answer to the challenge");
    ret_line[b.n] = 0;
    arena_done(&a);
}

static void registration(void)
{
    char line[1024], more[sizeof(line) + MESSAGE];
    rig.serial++;
    say(CALLEE,
        request("REGISTER", "sip:" WORLD_DOMAIN, "", 1, "", contact("Expires: 3600\r\n" EMPTY)));
    authorize(got("SIP/2.0 401"), "REGISTER", "sip:" WORLD_DOMAIN, line, sizeof(line));
    snprintf(more, sizeof(more), "%s%s", line, contact("Expires: 3600\r\n" EMPTY));
    say(CALLEE, request("REGISTER", "sip:" WORLD_DOMAIN, "", 2, "", more));
    got("SIP/2.0 200");
}

static void message(void)
{
    rig.serial++;
    say(CALLER, request("MESSAGE", "sip:user1@" WORLD_DOMAIN, "", 1, "",
                        "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"));
    say(CALLEE, answer(got("MESSAGE "), "200 OK", "to", EMPTY));
    got("SIP/2.0 200");
}

static void call(void)
{
    char routes[1024], invite[MESSAGE], offer[MESSAGE], uri[64], tag[64];
    struct buf b;
    rig.serial++;
    snprintf(tag, sizeof(tag), ";tag=to-%u", rig.serial);
    snprintf(uri, sizeof(uri), "sip:user1@10.0.2.1:5070%s", parameter());
    snprintf(offer, sizeof(offer),
             "Contact: <sip:user0@10.0.2.1:5070%s>\r\n"
             "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n"
             "Supported: 100rel, timer, replaces\r\n" WITH_SDP,
             parameter());
    say(CALLER, request("INVITE", "sip:user1@" WORLD_DOMAIN, "", 1, "", offer));
    struct message *m = got("INVITE ");
    memcpy(invite, m->text, m->n + 1);
    say(CALLEE, answer(m, "180 Ringing", tag + 5, contact(EMPTY)));
    got("SIP/2.0 180");
    m->n = strlen(invite);
    memcpy(m->text, invite, m->n + 1);
    say(CALLEE, answer(m, "200 OK", tag + 5, contact(WITH_SDP)));
    buf_init(&b, routes, sizeof(routes) - 1);
    copy_lines(&b, got("SIP/2.0 200"), "Record-Route:");
    routes[b.n] = 0;
    const char *route = routes + strlen("Record-");
    say(CALLER, request("ACK", uri, tag, 1, route, EMPTY));
    got("ACK ");
    collected_run(200 * USEC_MS);
    say(CALLER, request("BYE", uri, tag, 2, route, EMPTY));
    say(CALLEE, answer(got("BYE "), "200 OK", NULL, EMPTY));
    got("SIP/2.0 200");
}

/* A call by a caller who connects for it. */
static void call_connecting(void)
{
    connect_wire(&rig.wire[CALLER]);
    call();
    stream_close(rig.wire[CALLER].stream, true);
    rig.wire[CALLER].stream = NULL;
}

static void redirect(void)
{
    char tag[64], text[MESSAGE];
    rig.serial++;
    say(CALLER, request("INVITE", "sip:user1@" WORLD_DOMAIN, "", 1, "",
                        "Contact: <sip:user0@10.0.2.1:5070>\r\n" WITH_SDP));
    const char *to = strstr(got("SIP/2.0 302")->text, "\r\nTo:");
    to = to ? strstr(to, ";tag=") : NULL;
    need(to != NULL, "the redirection has no tag");
    snprintf(tag, sizeof(tag), "%.*s", (int)strcspn(to, "\r"), to);
    /* RFC 3261 §17.1.1.3: the ACK of a failure has the branch of its INVITE. */
    const char *ack = request("ACK", "sip:user1@" WORLD_DOMAIN, tag, 1, "", EMPTY);
    const char *branch = strstr(ack, "-ACK\r\n");
    need(branch != NULL, "an ACK has a branch");
    snprintf(text, sizeof(text), "%.*s-INVITE%s", (int)(branch - ack), ack, branch + 4);
    say(CALLER, text);
}

static const struct operation {
    const char *name;
    void (*fn)(void);
    enum sip_transport transport;
} operations[] = {{"options", options, SIP_T_UDP},   {"register", registration, SIP_T_UDP},
                  {"message", message, SIP_T_UDP},   {"call", call, SIP_T_UDP},
                  {"redirect", redirect, SIP_T_UDP}, {"call_tcp", call, SIP_T_TCP},
                  {"call_tls", call, SIP_T_TLS},     {"call_tls_new", call_connecting, SIP_T_TLS}};

static const struct settings_route redirects = {.name = {"all", 3},
                                                .action = ACTION_REDIRECT,
                                                .target = {{.kind = TARGET_LOCAL}},
                                                .targets_n = 1};

static void configure(struct settings *set)
{
    set->authenticate = SETTINGS_AUTH_REGISTER;
    set->routes = &redirects;
    set->routes_n = rig.redirects;
    if (rig.transport != SIP_T_TLS)
        return;
    struct sip_listen *l = &set->sip.listen[set->sip.listeners++];
    *l = (struct sip_listen){.transport = SIP_T_TLS, .bind = rig.w.server_ip};
    l->bind.port = TLS_PORT;
}

/* The server's certificate, of its own authority; the clients trust anybody. */
static void start_tls(void)
{
    static char ca[4096], ca_key[4096], chain[4096], key[4096];
    struct buf b[4], why;
    char said[256];
    sv domain = SV(WORLD_DOMAIN);
    usec wall = rig.loop->wall;
    struct tls_names names = {.dns = &domain, .dns_n = 1, .ips = &rig.w.server_ip, .ips_n = 1};
    buf_init(&b[0], ca, sizeof(ca));
    buf_init(&b[1], ca_key, sizeof(ca_key));
    buf_init(&b[2], chain, sizeof(chain));
    buf_init(&b[3], key, sizeof(key));
    buf_init(&why, said, sizeof(said));
    need(tls_make_ca(&names, wall, &b[0], &b[1]) == ERR_OK &&
             tls_make_leaf(buf_sv(&b[0]), buf_sv(&b[1]), &names, wall, &b[2], &b[3]) == ERR_OK,
         "no certificate");
    struct tls_pair pair = {buf_sv(&b[2]), buf_sv(&b[3])};
    struct tls_config c = {.pairs = &pair, .n = 1, .ca = buf_sv(&b[0])};
    need(tls_new(&c, &why, &rig.tls) == ERR_OK, "no TLS");
    sip_tls(routing_sip(rig.w.server.routing[0]), rig.tls);
}

/* The clients, ready for the first operation. */
static void start_clients(void)
{
    struct loop_group *g;
    need(addr_parse_ip(SV("10.0.2.1"), 5070, &rig.ip) == ERR_OK, "address");
    need(sim_host_new(rig.w.sim, "client", &rig.ip, 1, &rig.host) == ERR_OK, "host");
    need(sim_process(rig.host, 1, &g) == ERR_OK, "process");
    rig.loop = g->loop[0];
    if (rig.transport == SIP_T_UDP) {
        need(udp_open(rig.loop, &rig.ip, &handler, NULL, &rig.udp) == ERR_OK, "socket");
        return;
    }
    if (rig.transport == SIP_T_TLS)
        start_tls();
    for (enum who who = 0; who < CLIENTS; who++)
        connect_wire(&rig.wire[who]);
}

static void stop_clients(void)
{
    for (enum who who = 0; who < CLIENTS; who++)
        stream_close(rig.wire[who].stream, false);
    sim_process_kill(rig.host, false);
    udp_close(rig.udp);
    sim_process_free(rig.host);
    tls_unref(rig.tls);
}

/* So many, and all of their ends. */
static void run(const struct operation *op, long count)
{
    for (long i = 0; i < count; i++)
        op->fn();
    collected_run(70 * USEC_S);
}

int main(int argc, char **argv)
{
    const struct world_config c = {.seed = 1,
                                   .workers = 1,
                                   .media = true,
                                   .wire = {.delay_min = 100, .delay_max = 100},
                                   .configure = configure};
    const struct operation *op = NULL;
    for (size_t i = 0; argc == 3 && i < sizeof(operations) / sizeof(operations[0]); i++)
        if (strcmp(operations[i].name, argv[1]) == 0)
            op = &operations[i];
    long count = op ? strtol(argv[2], NULL, 10) : 0;
    if (count < 1 || count > 1000000) {
        fprintf(stderr,
                "usage: operations "
                "options|register|message|call|redirect|call_tcp|call_tls|call_tls_new COUNT\n");
        return 2;
    }
    need(crypto_start() == ERR_OK, "crypto");
    CALLGRIND_STOP_INSTRUMENTATION;
    world_init(&rig.w, &c);
    rig.w.accounts = ACCOUNTS;
    rig.transport = op->transport;
    rig.redirects = op->fn == redirect;
    world_server_start(&rig.w);
    start_clients();
    /* What comes once is not of an operation, and memory is steady when as many have ended as stand. */
    registration();
    run(op, count);
    CALLGRIND_START_INSTRUMENTATION;
    run(op, count);
    CALLGRIND_STOP_INSTRUMENTATION;
    stop_clients();
    world_done(&rig.w);
    return 0;
}
