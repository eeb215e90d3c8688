/* SPDX-License-Identifier: MIT */
/* anchor_rig.h: a whole server with phones that have ports for media, for tests of calls whose media passes through it. */
#ifndef ANCHOR_RIG_H
#define ANCHOR_RIG_H
#include "rig.h"
#include "rtpmsg/rtpmsg.h"

#define BOB_AT  "sip:bob@192.0.2.12:5060"
#define AWAY_AT "sip:bob@203.0.113.9:5060" /* his other phone */
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"

enum { HEARD_MAX = 1000 };
/* A phone's port for RTP. */
struct media_port {
    struct udp *udp;
    unsigned n;
    uint8_t last[200];
    size_t size;                  /* of the last */
    uint8_t kept[HEARD_MAX][200]; /* the first of them */
    uint32_t length[HEARD_MAX];
};
struct media_rig {
    struct rig *r;
    struct media_port port[PEERS];
    struct anchor *anchor;
};

static void on_media(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct media_port *p = arg;
    (void)from, (void)to;
    p->size = b->n;
    if (b->n <= sizeof(p->last)) {
        memcpy(p->last, b->p, b->n);
        if (p->n < HEARD_MAX) {
            memcpy(p->kept[p->n], b->p, b->n);
            p->length[p->n] = b->n;
        }
    }
    p->n++;
}
static const struct udp_handler media_handler = {.on_datagram = on_media};

static int setup(void **state)
{
    struct media_rig *m = MEM_NEW(struct media_rig);
    struct rig *r = m->r = rig_new_with(SETTINGS_AUTH_REGISTER, true);
    struct binding b = binding_of(r, BOB_AT, BOB);
    rig_bind(r, "bob@example.com", &b, 1);
    r->set->media.mode = MEDIA_ALWAYS;
    for (int i = 0; i < PEERS; i++) {
        struct addr a = r->peer[i].addr;
        a.port = 4000;
        assert_int_equal(
            udp_open(r->peer_group->loop[0], &a, &media_handler, &m->port[i], &m->port[i].udp),
            ERR_OK);
    }
    m->anchor = routing_anchor(r->routing);
    assert_non_null(m->anchor);
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    struct media_rig *m = *state;
    for (int i = 0; i < PEERS; i++)
        udp_close(m->port[i].udp);
    rig_free(m->r);
    mem_free(m);
    return 0;
}

/* ---- messages ---- */

/* What a phone at ip:4000 says of itself. */
static const char *sdp(const char *ip, const char *formats, const char *more)
{
    char *out = scratch();
    snprintf(
        out, MESSAGE,
        "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio 4000 RTP/AVP %s\r\n%s",
        ip, ip, formats, more);
    return out;
}

static const char *with(const char *message, const char *body)
{
    char *out = scratch();
    const char *end = strstr(message, "Content-Length: 0\r\n\r\n");
    assert_non_null(end);
    snprintf(out, MESSAGE, "%.*sContent-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
             (int)(end - message), message, strlen(body), body);
    return out;
}

static const char *body_of(const char *message)
{
    const char *end = strstr(message, "\r\n\r\n");
    return end ? end + 4 : "";
}

/* The port of the first m= line; its address must be the server's, and no other is named. */
static uint16_t our_port(const char *message)
{
    unsigned port = 0;
    const char *body = body_of(message), *line = strstr(body, "m=audio ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "m=audio %u ", &port), 1);
    assert_non_null(strstr(body, "IN IP4 " SERVER_IP));
    assert_null(strstr(body, "192.0.2.11"));
    assert_null(strstr(body, "192.0.2.12"));
    assert_null(strstr(body, "192.0.2.13"));
    assert_in_range(port, 20000, 20099);
    return (uint16_t)port;
}

static void say_rtp(struct media_rig *m, int from, uint16_t port, uint8_t pt, uint16_t seq)
{
    uint8_t p[172] = {0};
    struct addr to = address(SERVER_IP, port);
    sv piece = {(const char *)p, sizeof(p)};
    rtpmsg_put_header(p, false, pt, seq, 160u * seq, 77);
    assert_int_equal(udp_send(m->port[from].udp, NULL, &to, &piece, 1), ERR_OK);
    rig_run(m->r, 20 * USEC_MS);
}

/* An in-dialog request along the route set in this message; to_tag with the tags as `from_to` says. */
static const char *inside(struct media_rig *m, int from, const char *method, const char *uri,
                          const char *from_to, const char *call, const char *heard, unsigned cseq)
{
    char *lines = scratch(), *out = scratch();
    snprintf(lines, MESSAGE, "Route: %s\r\n%s", value(heard, "Record-Route"),
             from == ALICE ? CONTACT : "Contact: <" BOB_AT ">\r\n");
    snprintf(out, MESSAGE, "%s", request(m->r, from, method, uri, from_to, call, lines));
    char *at = strstr(out, "CSeq: 1 ");
    at[6] = (char)('0' + cseq);
    return out;
}

#define DIALOG   "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>;tag=b\r\n"
#define REVERSED "From: <sip:bob@example.com>;tag=b\r\nTo: <sip:alice@example.com>;tag=a1\r\n"
#define ALICE_AT "sip:alice@192.0.2.11:5060"

static void invite(struct media_rig *m, const char *call, const char *body)
{
    rig_clear(m->r);
    const char *rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, call, CONTACT);
    say(m->r, ALICE, body ? with(rq, body) : rq);
}

/* The 200 of bob with his description, as it reaches alice. */
static const char *answer(struct media_rig *m, const char *body)
{
    const char *rq = find_raw(m->r, BOB, "INVITE");
    const char *ok = reply(rq, 200, "b", "Contact: <" BOB_AT ">\r\n");
    say(m->r, BOB, body ? with(ok, body) : ok);
    return find_raw(m->r, ALICE, "SIP/2.0 200 ");
}

static void hang_up(struct media_rig *m, const char *call, const char *heard)
{
    say(m->r, ALICE, inside(m, ALICE, "BYE", BOB_AT, DIALOG, call, heard, 9));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
    assert_int_equal(ports_taken(m->r->ports), 0);
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

#endif
