/* SPDX-License-Identifier: MIT */
/* Standing calls: their life, their legs, their cap, what one costs. */
#include "rig.h"

enum { TEXTS = 64 };

/* A message as it would come from this peer. */
struct one {
    struct rx rx;
    char text[2048 + BLOCK_SLACK];
};

static struct rx *make(struct rig *r, struct one *o, int peer, const char *start,
                       const char *via_ip, const char *from_tag, const char *to_tag,
                       const char *call_id, const char *cseq, const char *contact)
{
    int n = snprintf(o->text, sizeof(o->text) - BLOCK_SLACK,
                     "%s\r\nVia: SIP/2.0/UDP %s:5060;branch=z9hG4bK1\r\n"
                     "From: \"A\" <sip:alice@example.com:5060;x=y>%s%s\r\n"
                     "To: <sip:bob@example.com>%s%s\r\nCall-ID: %s\r\nCSeq: %s\r\n"
                     "User-Agent: phone/1.0\r\n%s%s%sContent-Length: 0\r\n\r\n",
                     start, via_ip, from_tag[0] ? ";tag=" : "", from_tag, to_tag[0] ? ";tag=" : "",
                     to_tag, call_id, cseq, contact[0] ? "Contact: <" : "", contact,
                     contact[0] ? ">\r\n" : "");
    assert_true(n > 0 && (size_t)n < sizeof(o->text) - BLOCK_SLACK);
    memset(&o->rx, 0, sizeof(o->rx));
    arena_init(&o->rx.arena, NULL, 0, 1 << 20);
    assert_int_equal(sipmsg_parse((sv){o->text, (size_t)n}, &o->rx.arena, &o->rx.msg, NULL),
                     ERR_OK);
    o->rx.flow = (struct flow){
        .transport = SIP_T_UDP, .local = address(SERVER_IP, 5060), .remote = r->peer[peer].addr};
    return &o->rx;
}

static void drop(struct one *o)
{
    arena_done(&o->rx.arena);
}

static int setup(void **state)
{
    *state = rig_new(SETTINGS_AUTH_ALL);
    return 0;
}
static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

#define A_AT "sip:alice@192.0.2.11:5060"
#define B_AT "sip:bob@192.0.2.12:5060"

static struct call *begin(struct rig *r, struct accounting *a, const char *call_id)
{
    struct one o;
    struct call *c = accounting_begin(a,
                                      make(r, &o, ALICE, "INVITE sip:bob@example.com SIP/2.0",
                                           "192.0.2.11", "a1", "", call_id, "1 INVITE", A_AT),
                                      SV("alice@example.com"), true);
    drop(&o);
    return c;
}

static void answer(struct rig *r, struct accounting *a, struct call *c, unsigned status,
                   const char *tag, const char *call_id, const char *contact)
{
    struct one o;
    struct dest via = {.addr = r->peer[BOB].addr, .transport = SIP_T_UDP};
    char start[64];
    snprintf(start, sizeof(start), "SIP/2.0 %u X", status);
    accounting_response(
        a, c, make(r, &o, BOB, start, "192.0.2.1", "a1", tag, call_id, "1 INVITE", contact),
        (uint16_t)status, status >= 300 ? SV("No: why") : SV(""), &via, true);
    drop(&o);
}

/* The leg that this request in a dialog goes to, and the call; NULL: none. act: tell it. */
static struct call *inside(struct rig *r, struct accounting *a, int peer, const char *method,
                           const char *from_tag, const char *to_tag, const char *call_id,
                           const char *contact, unsigned *ret_leg, bool act)
{
    struct one o;
    char start[64], cseq[32];
    snprintf(start, sizeof(start), "%s sip:x@192.0.2.1 SIP/2.0", method);
    snprintf(cseq, sizeof(cseq), "2 %s", method);
    struct rx *rx = make(r, &o, peer, start, peer == ALICE ? "192.0.2.11" : "192.0.2.12", from_tag,
                         to_tag, call_id, cseq, contact);
    struct call *c = accounting_find(a, rx, ret_leg);
    if (c && act && rx->msg.method == SIP_BYE)
        accounting_hung_up(a, c, *ret_leg, loop_now(r->group->loop[0]));
    else if (c && act)
        accounting_request(a, c, rx, *ret_leg);
    drop(&o);
    return c;
}

static struct accounting *accounting(struct rig *r, size_t cap)
{
    struct accounting *a;
    assert_int_equal(accounting_new(r->sip, r->store, cap, &a), ERR_OK);
    return a;
}

static bool keep_view(const struct call_view *v, void *arg)
{
    *(struct call_view *)arg = *v;
    return true;
}

/* Where a leg is reached is learned again when its contact changes, or the place that it speaks from. */
static void test_leg_moves(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 10);
    struct one o;
    struct dest by_flow = {.flow.transport = SIP_T_UDP};
    unsigned leg;
    struct call *c = begin(r, a, "moves");
    answer(r, a, c, 180, "b1", "moves", B_AT);
    answer(r, a, c, 180, "b1", "moves", B_AT);
    assert_true(addr_equal(&accounting_leg(c, 1).dest->addr, &r->peer[BOB].addr));
    answer(r, a, c, 183, "b1", "moves", "sip:bob@192.0.2.12:5070");
    assert_int_equal(accounting_leg(c, 1).dest->addr.port, 5070);
    /* The same words over a flow that nothing else leads to. */
    accounting_response(a, c,
                        make(r, &o, DESK, "SIP/2.0 183 X", "192.0.2.1", "a1", "b1", "moves",
                             "1 INVITE", "sip:bob@192.0.2.12:5070"),
                        183, SV(""), &by_flow, true);
    drop(&o);
    assert_int_equal(accounting_leg(c, 1).dest->flow.transport, SIP_T_UDP);
    assert_true(addr_equal(&accounting_leg(c, 1).dest->flow.remote, &r->peer[DESK].addr));
    answer(r, a, c, 200, "b1", "moves", "sip:bob@192.0.2.12:5070");
    assert_int_equal(accounting_leg(c, 1).dest->flow.transport, SIP_T_NONE);
    assert_int_equal(accounting_leg(c, 1).dest->addr.port, 5070);
    assert_ptr_equal(inside(r, a, ALICE, "BYE", "a1", "b1", "moves", "", &leg, true), c);
    accounting_setup_gone(a, c);
    accounting_free(a);
}

static void test_life(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 10);
    unsigned leg = 9;
    size_t entries = home_entries(sip_home(r->sip));
    struct call *c = begin(r, a, "one");
    struct call_view v = {0};
    assert_non_null(c);
    assert_int_equal(home_entries(sip_home(r->sip)), entries + 1);
    accounting_each(a, keep_view, &v);
    assert_true(sv_eq(v.from, SV("sip:alice@example.com")));
    assert_true(sv_eq(v.to, SV("sip:bob@example.com")));
    assert_int_equal(v.state, CALL_CALLING);
    /* No dialog yet. */
    assert_null(inside(r, a, ALICE, "BYE", "a1", "b1", "one", "", &leg, false));
    answer(r, a, c, 180, "", "one", "");
    assert_int_equal(accounting_leg(c, 1).tag.n, 0);
    answer(r, a, c, 180, "b1", "one", B_AT);
    assert_ptr_equal(inside(r, a, ALICE, "PRACK", "a1", "b1", "one", "", &leg, false), c);
    assert_int_equal(leg, 1);
    answer(r, a, c, 200, "b2", "one", B_AT);
    answer(r, a, c, 200, "b3", "one", "sip:late@192.0.2.13"); /* a fork: not followed */
    assert_null(inside(r, a, ALICE, "BYE", "a1", "b3", "one", "", &leg, false));
    assert_null(inside(r, a, ALICE, "BYE", "a1", "b1", "one", "", &leg, false));
    assert_null(inside(r, a, ALICE, "BYE", "a1", "b2", "ONE", "", &leg, false));
    assert_null(inside(r, a, ALICE, "BYE", "a1", "", "one", "", &leg, false));
    assert_null(inside(r, a, ALICE, "BYE", "", "b2", "one", "", &leg, false));
    assert_ptr_equal(inside(r, a, ALICE, "BYE", "a1", "b2", "one", "", &leg, false), c);
    assert_int_equal(leg, 1);
    assert_ptr_equal(inside(r, a, BOB, "BYE", "b2", "a1", "one", "", &leg, false), c);
    assert_int_equal(leg, 0);
    const struct call_leg l = accounting_leg(c, 0);
    assert_true(addr_equal(&l.dest->addr, &r->peer[ALICE].addr));
    assert_true(sv_eq(l.contact, SV(A_AT)));
    /* A final answer elsewhere changes nothing now. */
    answer(r, a, c, 487, "b9", "one", "");
    accounting_setup_gone(a, c);
    accounting_each(a, keep_view, &v);
    assert_int_equal(v.state, CALL_UP);
    assert_true(v.answered > 0);
    assert_int_equal(r->dir.records, 0);
    inside(r, a, BOB, "BYE", "b2", "a1", "one", "", &leg, true);
    assert_int_equal(accounting_count(a), 0);
    assert_int_equal(accounting_bytes(a), 0);
    assert_int_equal(home_entries(sip_home(r->sip)), entries);
    assert_int_equal(r->dir.records, 1);
    assert_string_equal(r->dir.ended_by, "callee");
    assert_string_equal(r->dir.caller, "alice@example.com");
    assert_int_equal(r->dir.last.status, 200);
    assert_true(r->dir.last.answer > 0);
    accounting_free(a);
}

/* How it can end before it stands. */
static void test_unanswered(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 10);
    static const struct {
        unsigned provisional, final;
        const char *by, *reason;
    } table[] = {{0, 404, "", "Not Found"},
                 {180, 486, "", "Busy"},
                 {180, 487, "caller", "Given Up"},
                 {0, 0, "", ""},
                 {180, 0, "", ""}}; /* ringing is no answer */
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct call *c = begin(r, a, "x");
        if (table[i].provisional)
            answer(r, a, c, table[i].provisional, "b1", "x", B_AT);
        if (table[i].final)
            accounting_response(a, c, NULL, (uint16_t)table[i].final, sv_of(table[i].reason), NULL,
                                false); /* made here */
        accounting_setup_gone(a, c);
        assert_int_equal(accounting_count(a), 0);
        assert_int_equal(r->dir.records, i + 1);
        assert_int_equal(r->dir.last.status, table[i].final);
        assert_int_equal(r->dir.last.answer, 0);
        assert_string_equal(r->dir.ended_by, table[i].by);
        assert_string_equal(r->dir.reason, table[i].reason);
    }
    assert_int_equal(accounting_bytes(a), 0);
    accounting_free(a);
}

/* Who cannot be asked at all has a record, and takes no place from a call. */
static void test_refused(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 1);
    struct one o;
    size_t entries = home_entries(sip_home(r->sip));
    struct call *c = begin(r, a, "stands");
    answer(r, a, c, 200, "b1", "stands", B_AT);
    accounting_setup_gone(a, c);
    size_t bytes = accounting_bytes(a);
    int64_t calls = stat_get(&r->group->loop[0]->stats, STAT_CALLS);
    accounting_refused(a,
                       make(r, &o, ALICE, "INVITE sip:bob@example.com SIP/2.0", "192.0.2.11", "a1",
                            "", "refused", "1 INVITE", A_AT),
                       SV("alice@example.com"), 480, SV("Temporarily Unavailable"));
    drop(&o);
    assert_int_equal(r->dir.records, 1);
    assert_int_equal(r->dir.last.status, 480);
    assert_int_equal(r->dir.last.answer, 0);
    assert_true(r->dir.last.start > 0 && r->dir.last.end >= r->dir.last.start);
    assert_string_equal(r->dir.ended_by, "");
    assert_string_equal(r->dir.reason, "Temporarily Unavailable");
    assert_string_equal(r->dir.caller, "alice@example.com");
    assert_int_equal(accounting_count(a), 1);
    assert_int_equal(accounting_bytes(a), bytes);
    assert_int_equal(stat_get(&r->group->loop[0]->stats, STAT_CALLS), calls);
    assert_int_equal(home_entries(sip_home(r->sip)), entries + 1);
    accounting_free(a);
}

/* BYE overtakes the end of the set-up: one record, and no pointer into what is gone. */
static void test_bye_in_setup(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 10);
    unsigned leg;
    struct call *c = begin(r, a, "b");
    answer(r, a, c, 200, "b1", "b", B_AT);
    assert_ptr_equal(inside(r, a, ALICE, "BYE", "a1", "b1", "b", "", &leg, true), c);
    assert_int_equal(r->dir.records, 1);
    assert_string_equal(r->dir.ended_by, "caller");
    assert_null(inside(r, a, ALICE, "BYE", "a1", "b1", "b", "", &leg, true));
    struct call_view v = {0};
    accounting_each(a, keep_view, &v);
    assert_null(v.call_id.p); /* not shown any more */
    answer(r, a, c, 200, "b1", "b", B_AT);
    accounting_setup_gone(a, c);
    assert_int_equal(r->dir.records, 1);
    assert_int_equal(accounting_count(a), 0);
    accounting_free(a);
}

/* BYE of an early dialog may be refused, and the call be answered all the same. */
static void test_bye_before_the_answer(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 10);
    unsigned leg;
    for (unsigned answered = 0; answered < 2; answered++) {
        struct call *c = begin(r, a, "e");
        answer(r, a, c, 180, "b1", "e", B_AT);
        assert_ptr_equal(inside(r, a, ALICE, "BYE", "a1", "b1", "e", "", &leg, true), c);
        assert_int_equal(r->dir.records, answered);
        answer(r, a, c, answered ? 200 : 487, "b1", "e", B_AT);
        accounting_setup_gone(a, c);
        if (answered)
            inside(r, a, BOB, "BYE", "b1", "a1", "e", "", &leg, true);
        assert_int_equal(r->dir.records, answered + 1);
        assert_string_equal(r->dir.ended_by, answered ? "callee" : "caller");
        assert_int_equal(r->dir.last.answer > 0, answered);
        assert_int_equal(accounting_count(a), 0);
    }
    accounting_free(a);
}

/* §12.2: the target moves with the requests that carry a Contact, to where that peer may point. */
static void test_target(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 10);
    unsigned leg;
    struct call *c = begin(r, a, "t");
    answer(r, a, c, 200, "b1", "t", B_AT);
    accounting_setup_gone(a, c);
    static const struct {
        const char *method, *contact;
        const char *ip;
    } table[] = {
        {"INVITE", "sip:alice@192.0.2.13:5060", "192.0.2.13"},
        {"INFO", "", "192.0.2.13"},
        {"UPDATE", "sip:alice@192.0.2.14", "192.0.2.14"},
        {"UPDATE", "sip:alice@phone.invalid", "192.0.2.11"}, /* the flow */
        {"UPDATE", "sip:alice@192.0.2.15;transport=tcp", "192.0.2.15"},
        {"UPDATE", "sip:alice@127.0.0.1", "192.0.2.11"},
        {"UPDATE", "sip:alice@192.0.2.14", "192.0.2.14"},
        {"UPDATE", "sip:alice@10.0.0.1", "192.0.2.11"},
        {"UPDATE", "sip:alice@192.0.2.14", "192.0.2.14"},
        {"UPDATE", "sip:alice@192.0.2.1", "192.0.2.11"}, /* ourselves */
        {"UPDATE", "sip:alice@192.0.2.14", "192.0.2.14"},
        {"UPDATE", "sip:alice@192.0.2.14;maddr=169.254.169.254", "192.0.2.11"},
        {"UPDATE", "tel:+1", "192.0.2.11"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_ptr_equal(
            inside(r, a, ALICE, table[i].method, "a1", "b1", "t", table[i].contact, &leg, true), c);
        struct addr want = address(table[i].ip, 0);
        if (!addr_equal_ip(&accounting_leg(c, 0).dest->addr, &want))
            fail_msg("case %zu", i);
        assert_true(sv_eq(accounting_leg(c, 1).contact, SV(B_AT)));
    }
    /* Every change of a text is counted. */
    size_t before = accounting_bytes(a);
    inside(r, a, ALICE, "UPDATE", "a1", "b1", "t", "sip:alice@192.0.2.14", &leg, true);
    size_t short_one = accounting_bytes(a);
    inside(r, a, ALICE, "UPDATE", "a1", "b1", "t", "sip:alice-of-long-name@192.0.2.14", &leg, true);
    assert_int_equal(accounting_bytes(a), short_one + strlen("-of-long-name"));
    (void)before;
    accounting_free(a);
}

static void test_cap(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 3);
    struct call *c[4];
    char id[16];
    unsigned leg;
    for (int i = 0; i < 3; i++) {
        snprintf(id, sizeof(id), "c%d", i);
        c[i] = begin(r, a, id);
        assert_non_null(c[i]);
        answer(r, a, c[i], 200, "b1", id, B_AT);
    }
    /* All still reported to: nothing may be forgotten, the new one goes unseen. */
    assert_null(begin(r, a, "c3"));
    assert_int_equal(r->dir.records, 0);
    for (int i = 0; i < 3; i++)
        accounting_setup_gone(a, c[i]);
    inside(r, a, ALICE, "INFO", "a1", "b1", "c0", "", &leg, true); /* c1 is silent longest now */
    assert_non_null(begin(r, a, "c3"));
    assert_int_equal(accounting_count(a), 3);
    assert_int_equal(r->dir.records, 1);
    assert_string_equal(r->dir.ended_by, "lost");
    assert_null(inside(r, a, ALICE, "BYE", "a1", "b1", "c1", "", &leg, false));
    assert_ptr_equal(inside(r, a, ALICE, "BYE", "a1", "b1", "c0", "", &leg, false), c[0]);
    assert_int_equal(r->group->loop[0]->stats.refusals[STAT_LIMIT_CALLS], 2);
    accounting_free(a);
    a = accounting(r, 0);
    assert_null(begin(r, a, "none"));
    accounting_free(a);
}

/* A server that ends leaves no call without a record. */
static void test_stop(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 1000);
    struct call *stands = begin(r, a, "stands"), *rings = begin(r, a, "rings");
    answer(r, a, stands, 200, "b1", "stands", B_AT);
    accounting_setup_gone(a, stands);
    answer(r, a, rings, 180, "b2", "rings", B_AT);
    accounting_stop(a);
    assert_int_equal(r->dir.records, 2);
    assert_string_equal(r->dir.ended_by, "stop");
    accounting_setup_gone(a, rings); /* as its context ends */
    accounting_free(a);
    assert_int_equal(r->dir.records, 2);
    assert_int_equal(stat_get(&r->group->loop[0]->stats, STAT_CALLS), 0);
}

/* What it refuses itself while it ends, and whose ACKs it waits for. */
static void test_leave(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 1000);
    struct call *c[3] = {begin(r, a, "l0"), begin(r, a, "l1"), begin(r, a, "l2")};
    unsigned leg;
    accounting_leave(a);
    answer(r, a, c[0], 486, "b1", "l0", "");
    assert_string_equal(r->dir.ended_by, "");
    accounting_response(a, c[1], NULL, 503, SV("Shutting Down"), NULL, false);
    assert_int_equal(r->dir.last.status, 503);
    assert_string_equal(r->dir.ended_by, "stop");
    assert_string_equal(r->dir.reason, "Shutting Down");
    assert_int_equal(accounting_unacknowledged(a), 0);
    answer(r, a, c[2], 200, "b1", "l2", B_AT);
    assert_int_equal(accounting_unacknowledged(a), 1);
    for (int i = 0; i < 3; i++)
        accounting_setup_gone(a, c[i]);
    accounting_acknowledged(a, c[2], 0); /* of the callee's own INVITE */
    assert_int_equal(accounting_unacknowledged(a), 1);
    rig_run(r, 31 * USEC_S);
    assert_int_equal(accounting_unacknowledged(a), 1);
    rig_run(r, USEC_S);
    assert_int_equal(accounting_unacknowledged(a), 0);
    accounting_acknowledged(a, c[2], 1);
    accounting_acknowledged(a, c[2], 1);
    assert_int_equal(accounting_unacknowledged(a), 0);
    /* one that never comes is not waited for behind the call's end */
    struct call *gone = begin(r, a, "l3");
    answer(r, a, gone, 200, "b1", "l3", B_AT);
    accounting_setup_gone(a, gone);
    assert_int_equal(accounting_unacknowledged(a), 1);
    inside(r, a, BOB, "BYE", "b1", "a1", "l3", "", &leg, true);
    assert_int_equal(accounting_unacknowledged(a), 0);
    accounting_free(a);
}

/* Calls of one Call-ID are one chain, which must not grow without end. */
static void test_same(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 1000);
    for (int i = 0; i < 70; i++) {
        struct call *c = begin(r, a, "same");
        answer(r, a, c, 200, "b1", "same", B_AT);
        accounting_setup_gone(a, c);
        assert_non_null(begin(r, a, "same")); /* goes on to ring: it stays */
    }
    assert_int_equal(accounting_count(a), 70); /* those that ring */
    assert_string_equal(r->dir.ended_by, "lost");
    accounting_free(a);
}

static void test_bytes(void **state)
{
    struct rig *r = *state;
    struct accounting *a = accounting(r, 1000);
    char id[64];
    size_t live = mem_live();
    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof(id), "%08x-0123456789abcdef@192.0.2.11", i);
        struct call *c = begin(r, a, id);
        answer(r, a, c, 180, "0123456789abcdef", id, B_AT);
        answer(r, a, c, 200, "0123456789abcdef", id, B_AT);
        accounting_setup_gone(a, c);
    }
    print_message("%zu bytes a standing call\n", accounting_bytes(a) / accounting_count(a));
    assert_int_equal(accounting_count(a), 1000);
    assert_in_range(accounting_bytes(a) / 1000, 200, 1200);
    accounting_free(a);
    assert_true(mem_live() <= live);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_life),    T(test_leg_moves),    T(test_unanswered),
        T(test_refused), T(test_bye_in_setup), T(test_bye_before_the_answer),
        T(test_target),  T(test_cap),          T(test_stop),
        T(test_leave),   T(test_same),         T(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
