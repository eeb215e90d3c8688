/* SPDX-License-Identifier: MIT */
/* proxy_body_rig.h: the proxy alone with a watcher of bodies that exchanges descriptions, for tests of both. */
#ifndef TESTS_SERVICES_PROXY_BODY_RIG_H
#define TESTS_SERVICES_PROXY_BODY_RIG_H
#include "proxy_rig.h"

#define THERE   "sip:bob@there.example.net"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"
#define SDP     "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nt=0 0\r\n"

enum { LEGS = 16 };

struct leg {
    unsigned asked, answered, gone;
};

/* The watcher: what it says of leg n is "v=0\r\ns=to n\r\n" and "v=0\r\ns=from n\r\n". */
struct exchanger {
    struct bench *b;
    struct leg leg[LEGS];
    unsigned legs, over;
    size_t extra, back;     /* octets that each offer, each answer has besides */
    enum proxy_body offers; /* the answer to requests */
    enum proxy_body answers[7];
    struct proxy_body_new refusal;
    unsigned refused, again;   /* on_refused was asked; how often it may still say yes */
    uint32_t raise;            /* of CSeq: by as much as was sent again */
    const char *why;           /* of the last that passed */
    bool no_leg;               /* of the last response */
    enum proxy_body begins;    /* the answer to on_begin */
    unsigned told;             /* on_told */
    struct proxy_body_new was; /* of the last, but for texts */
    struct addr last;
};

static sv say_leg(size_t extra, struct arena *a, const char *way, unsigned n)
{
    char mem[8192];
    sv text;
    int len = snprintf(mem, sizeof(mem), "v=0\r\ns=%s %u\r\na=%0*d\r\n", way, n, (int)extra, 0);
    assert_true(len > 0 && (size_t)len < sizeof(mem));
    assert_int_equal(sv_dup(a, (sv){mem, (size_t)len}, &text), ERR_OK);
    return text;
}

static enum proxy_body on_request(void *arg, void **leg, const struct proxy_passing *m,
                                  struct proxy_body_new *ret)
{
    struct exchanger *x = arg;
    assert_int_equal(m->status, 0);
    assert_non_null(m->target);
    x->why = m->why;
    x->last = m->dest->flow.transport ? m->dest->flow.remote : m->dest->addr;
    if (!*leg) {
        assert_true(x->legs < LEGS);
        *leg = &x->leg[x->legs++];
    }
    struct leg *l = *leg;
    l->asked++;
    if (x->offers == PROXY_BODY_REFUSE)
        *ret = x->refusal;
    ret->raise = x->raise;
    if (x->offers != PROXY_BODY_REFUSE)
        ret->description = say_leg(x->extra, m->arena, "to", (unsigned)(l - x->leg));
    return x->offers;
}

static enum proxy_body on_response(void *arg, void **leg, const struct proxy_passing *m,
                                   struct proxy_body_new *ret)
{
    struct exchanger *x = arg;
    struct leg *l = *leg;
    x->no_leg = !l;
    x->why = m->why;
    assert_null(m->target);
    if (!l)
        return PROXY_BODY_PASS;
    l->answered++;
    assert_false(l->gone);
    if (x->answers[m->status / 100] == PROXY_BODY_REFUSE && m->status >= 200)
        *ret = x->refusal;
    else if (m->description.p)
        ret->description = say_leg(x->back, m->arena, "from", (unsigned)(l - x->leg));
    return x->answers[m->status / 100];
}

static bool on_refused(void *arg, void **leg, uint16_t status)
{
    struct exchanger *x = arg;
    assert_non_null(*leg);
    x->refused++;
    if (x->again == 0 || status != 488)
        return false;
    x->again--;
    x->raise++;
    x->extra++; /* another description */
    return true;
}

static void on_leg_gone(void *arg, void *leg)
{
    struct leg *l = leg;
    (void)arg;
    assert_false(l->gone);
    l->gone++;
}

static void on_gone(void *arg)
{
    struct exchanger *x = arg;
    x->over++;
    for (unsigned i = 0; i < x->legs && x->over == 1; i++)
        assert_int_equal(x->leg[i].gone, 1);
}

static enum proxy_body on_begin(void *arg, const struct proxy_passing *m,
                                struct proxy_body_new *ret)
{
    struct exchanger *x = arg;
    assert_null(m->target);
    assert_null(m->dest);
    *ret = x->refusal;
    return x->begins;
}

static void on_told(void *arg, struct rx *rx, const struct proxy_body_new *why)
{
    struct exchanger *x = arg;
    assert_non_null(rx);
    assert_true(sv_eq(why->warning_text, x->refusal.warning_text));
    x->told++;
    x->was = *why;
}

static const struct proxy_bodies exchanging = {.on_begin = on_begin,
                                               .on_told = on_told,
                                               .on_request = on_request,
                                               .on_response = on_response,
                                               .on_leg_gone = on_leg_gone,
                                               .on_gone = on_gone};

static struct exchanger *x_of(struct bench *b)
{
    return b->next.bodies_arg;
}

static int setup(void **state)
{
    struct bench *b = bench_new();
    struct exchanger *x = MEM_NEW(struct exchanger);
    x->b = b;
    x->extra = x->back = 1;
    x->offers = PROXY_BODY_REPLACE;
    for (int i = 0; i < 7; i++)
        x->answers[i] = PROXY_BODY_REPLACE;
    b->next.bodies = &exchanging;
    b->next.bodies_arg = x;
    static const int peers[] = {BOB, DESK, STRANGER};
    for (int i = 0; i < 3; i++)
        b->target[i] = (struct proxy_target){
            .uri = SV(THERE), .dest = {.addr = b->rig.peer[peers[i]].addr, .transport = SIP_T_UDP}};
    *state = b;
    return 0;
}
static int teardown(void **state)
{
    struct bench *b = *state;
    struct exchanger *x = x_of(b);
    bench_free(b);
    mem_free(x);
    return 0;
}

/* text, which ends without a body, with this one. */
static const char *with(const char *text, const char *headers, const char *body)
{
    char *out = scratch();
    const char *end = strstr(text, "Content-Length: 0\r\n\r\n");
    assert_non_null(end);
    snprintf(out, MESSAGE, "%.*s%sContent-Length: %zu\r\n\r\n%s", (int)(end - text), text, headers,
             strlen(body), body);
    return out;
}
static const char *with_sdp(const char *text)
{
    return with(text, "Content-Type: application/sdp\r\n", SDP);
}

static void ask(struct bench *b, const char *method, const char *call_id, const char *more)
{
    say(&b->rig, ALICE, with_sdp(request(&b->rig, ALICE, method, THERE, TO_BOB, call_id, more)));
    rig_run(&b->rig, 120 * USEC_MS);
}

static void ack(struct bench *b, const char *call_id, const char *response)
{
    ack_refusal(&b->rig, THERE, call_id, response);
}

/* The whole body of a message, whose Content-Length is right. */
static void has_body(const char *raw, const char *want)
{
    const char *body = strstr(raw, "\r\n\r\n");
    char length[32];
    assert_non_null(body);
    assert_string_equal(body + 4, want);
    snprintf(length, sizeof(length), "%zu", strlen(want));
    assert_string_equal(value(raw, "Content-Length"), length);
}

#define TO_0   "v=0\r\ns=to 0\r\na=0\r\n"
#define TO_1   "v=0\r\ns=to 1\r\na=0\r\n"
#define FROM_0 "v=0\r\ns=from 0\r\na=0\r\n"
#define FROM_1 "v=0\r\ns=from 1\r\na=0\r\n"

#endif
