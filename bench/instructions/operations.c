/* SPDX-License-Identifier: MIT */
/* operations: what the server executes for one operation, in the simulation, under callgrind.
 *
 *   valgrind --tool=callgrind --collect-atstart=no operations call 200
 *
 * prints nothing of its own; callgrind's total divided by the count is the figure. Only the turns of the
 * simulation are collected: the server's work and the simulation's own few hundred instructions a
 * datagram, not the making of the clients' messages. An operation counts with its end: virtual time
 * runs on until all of its timers have fired. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>
#include "auth/auth.h"
#include "crypto/crypto.h"
#include "crypto/crypto.h"
#include "support/world.h"

enum { INBOX = 16, MESSAGE = 4096, ACCOUNTS = 2 };

struct message {
    char text[MESSAGE];
    size_t n;
};

static struct rig {
    struct world w;
    struct sim_host *host;
    struct udp *udp; /* of caller and callee alike */
    struct message in[INBOX];
    unsigned n;
    unsigned serial;
} rig;

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "operations: %s\n", what);
    exit(1);
}

/* ---- the wire ---- */

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg;
    (void)from;
    (void)to;
    need(rig.n < INBOX && b->n < MESSAGE, "more than was asked for came");
    struct message *m = &rig.in[rig.n++];
    memcpy(m->text, b->p, b->n);
    m->text[b->n] = 0;
    m->n = b->n;
}

static const struct udp_handler handler = {.on_datagram = on_datagram};

static void collected_run(usec duration)
{
    CALLGRIND_TOGGLE_COLLECT;
    world_run(&rig.w, duration);
    CALLGRIND_TOGGLE_COLLECT;
}

/* Sends it; what the server says within some milliseconds is in rig.in. */
static void say(const char *text)
{
    sv piece = sv_of(text);
    rig.n = 0;
    need(udp_send(rig.udp, NULL, &rig.w.server_ip, &piece, 1) == ERR_OK, "the client cannot send");
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

#define CONTACT "Contact: <sip:user1@10.0.2.1:5070>\r\n"
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
    int n =
        snprintf(text, sizeof(text),
                 "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.2.1:5070;rport;branch=z9hG4bK-%u-%u-%s\r\n"
                 "%sMax-Forwards: 70\r\nFrom: <sip:user%d@" WORLD_DOMAIN ">;tag=from-%u\r\n"
                 "To: <sip:%s%s" WORLD_DOMAIN ">%s\r\nCall-ID: %u-9316@10.0.2.1\r\nCSeq: %u %s\r\n"
                 "User-Agent: operations\r\n%s",
                 method, uri, rig.serial, cseq, method, routes, strcmp(method, "REGISTER") == 0,
                 rig.serial, to, *to ? "@" : "", to_tag, rig.serial, cseq, method, more);
    need(n > 0 && (size_t)n < sizeof(text), "a request is too long");
    return text;
}

/* ---- operations ---- */

static void options(void)
{
    rig.serial++;
    say(request("OPTIONS", "sip:" WORLD_DOMAIN, "", 1, "", "Accept: application/sdp\r\n" EMPTY));
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
    char line[1024], more[2048];
    rig.serial++;
    say(request("REGISTER", "sip:" WORLD_DOMAIN, "", 1, "", CONTACT "Expires: 3600\r\n" EMPTY));
    authorize(got("SIP/2.0 401"), "REGISTER", "sip:" WORLD_DOMAIN, line, sizeof(line));
    snprintf(more, sizeof(more), "%s" CONTACT "Expires: 3600\r\n" EMPTY, line);
    say(request("REGISTER", "sip:" WORLD_DOMAIN, "", 2, "", more));
    got("SIP/2.0 200");
}

static void message(void)
{
    rig.serial++;
    say(request("MESSAGE", "sip:user1@" WORLD_DOMAIN, "", 1, "",
                "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"));
    say(answer(got("MESSAGE "), "200 OK", "to", EMPTY));
    got("SIP/2.0 200");
}

static void call(void)
{
    char routes[1024], invite[MESSAGE], tag[64];
    struct buf b;
    rig.serial++;
    snprintf(tag, sizeof(tag), ";tag=to-%u", rig.serial);
    say(request(
        "INVITE", "sip:user1@" WORLD_DOMAIN, "", 1, "",
        "Contact: <sip:user0@10.0.2.1:5070>\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n"
        "Supported: 100rel, timer, replaces\r\n" WITH_SDP));
    struct message *m = got("INVITE ");
    memcpy(invite, m->text, m->n + 1);
    say(answer(m, "180 Ringing", tag + 5, CONTACT EMPTY));
    got("SIP/2.0 180");
    m->n = strlen(invite);
    memcpy(m->text, invite, m->n + 1);
    say(answer(m, "200 OK", tag + 5, CONTACT WITH_SDP));
    buf_init(&b, routes, sizeof(routes) - 1);
    copy_lines(&b, got("SIP/2.0 200"), "Record-Route:");
    routes[b.n] = 0;
    const char *route = routes + strlen("Record-");
    say(request("ACK", "sip:user1@10.0.2.1:5070", tag, 1, route, EMPTY));
    got("ACK ");
    collected_run(200 * USEC_MS);
    say(request("BYE", "sip:user1@10.0.2.1:5070", tag, 2, route, EMPTY));
    say(answer(got("BYE "), "200 OK", NULL, EMPTY));
    got("SIP/2.0 200");
}

static const struct operation {
    const char *name;
    void (*fn)(void);
} operations[] = {
    {"options", options}, {"register", registration}, {"message", message}, {"call", call}};

static void configure(struct settings *set)
{
    set->authenticate = SETTINGS_AUTH_REGISTER;
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
                                   .wire = {.delay_min = 100, .delay_max = 100},
                                   .configure = configure};
    struct loop_group *g;
    struct addr ip;
    const struct operation *op = NULL;
    for (size_t i = 0; argc == 3 && i < sizeof(operations) / sizeof(operations[0]); i++)
        if (strcmp(operations[i].name, argv[1]) == 0)
            op = &operations[i];
    long count = op ? strtol(argv[2], NULL, 10) : 0;
    if (count < 1 || count > 1000000) {
        fprintf(stderr, "usage: operations options|register|message|call COUNT\n");
        return 2;
    }
    need(crypto_start() == ERR_OK, "crypto");
    world_init(&rig.w, &c);
    rig.w.accounts = ACCOUNTS;
    world_server_start(&rig.w);
    need(addr_parse_ip(SV("10.0.2.1"), 5070, &ip) == ERR_OK, "address");
    need(sim_host_new(rig.w.sim, "client", &ip, 1, &rig.host) == ERR_OK, "host");
    need(sim_process(rig.host, 1, &g) == ERR_OK, "process");
    need(udp_open(g->loop[0], &ip, &handler, NULL, &rig.udp) == ERR_OK, "socket");
    /* What comes once is not of an operation, and memory is steady when as many have ended as stand. */
    CALLGRIND_STOP_INSTRUMENTATION;
    registration();
    run(op, count);
    CALLGRIND_START_INSTRUMENTATION;
    run(op, count);
    CALLGRIND_STOP_INSTRUMENTATION;
    sim_process_kill(rig.host, false);
    udp_close(rig.udp);
    sim_process_free(rig.host);
    world_done(&rig.w);
    return 0;
}
