/* SPDX-License-Identifier: MIT */
/* routing_bye_test.c: which BYE ends a call, its record and its media. In a whole server. */
#include "anchor_rig.h"

#define PROXY   "<sip:near@192.0.2.12;lr>" /* bob's, at the address that he is called at */
#define BEYOND  "sip:bob@192.0.2.13:5060"  /* he, behind it */
#define FORGERS "sip:bob@203.0.113.9:5060"

/* A call that stands, with bob at this Contact; its 200, as alice has it. */
static void call_up_at(struct media_rig *m, const char *call, const char *at,
                       char ret_ok[static MESSAGE])
{
    char contact[200];
    snprintf(contact, sizeof(contact), "Contact: <%s>\r\n", at);
    invite(m, call, sdp("192.0.2.11", "0", ""));
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, "b", contact), sdp("192.0.2.12", "0", "")));
    snprintf(ret_ok, MESSAGE, "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    say(m->r, ALICE, inside(m, ALICE, "ACK", at, DIALOG, call, ret_ok, 1));
    rig_clear(m->r);
}

static void call_up(struct media_rig *m, const char *call, char ret_ok[static MESSAGE])
{
    call_up_at(m, call, BOB_AT, ret_ok);
}

/* A request of alice's along our Record-Route, then these Routes. */
static const char *along(struct media_rig *m, const char *method, const char *uri, const char *call,
                         const char *ok, const char *routes, unsigned cseq)
{
    char *lines = scratch(), *out = scratch();
    const char *at = strstr(ok, "Record-Route: <sip:");
    while (strncmp(at, "Record-Route: " PROXY, strlen("Record-Route: " PROXY)) == 0)
        at = strstr(at + 1, "Record-Route: <sip:");
    snprintf(lines, MESSAGE, "Route: %.*s%s\r\n" CONTACT, (int)strcspn(at + 14, "\r"), at + 14,
             routes);
    snprintf(out, MESSAGE, "%s", request(m->r, ALICE, method, uri, DIALOG, call, lines));
    strstr(out, "CSeq: 1 ")[6] = (char)('0' + cseq);
    return out;
}

/* The same through proxies of bob's that stay in the way: ways is what their Record-Routes are. */
static void call_up_through(struct media_rig *m, const char *call, const char *ways,
                            char ret_ok[static MESSAGE])
{
    char in[MESSAGE], lines[MESSAGE];
    invite(m, call, sdp("192.0.2.11", "0", ""));
    snprintf(in, sizeof(in), "%s", find_raw(m->r, BOB, "INVITE"));
    char *at = strstr(in, "Record-Route: ");
    assert_non_null(at);
    snprintf(lines, sizeof(lines), "%.*sRecord-Route: %s\r\n%s", (int)(at - in), in, ways, at);
    say(m->r, BOB,
        with(reply(lines, 200, "b", "Contact: <" BEYOND ">\r\n"), sdp("192.0.2.12", "0", "")));
    snprintf(ret_ok, MESSAGE, "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    assert_non_null(strstr(ret_ok, ways));
}

static void call_up_beyond(struct media_rig *m, const char *call, char ret_ok[static MESSAGE])
{
    call_up_through(m, call, PROXY, ret_ok);
    say(m->r, ALICE, along(m, "ACK", BEYOND, call, ret_ok, ", " PROXY, 1));
    rig_clear(m->r);
}

static bool stands(const struct media_rig *m, unsigned records)
{
    unsigned there = m->r->dir.records == records;
    assert_int_equal(accounting_count(routing_accounting(m->r->routing)), there);
    return there;
}

/* What becomes of a call by what its BYE is answered. */
static const struct {
    unsigned status; /* 0: silence */
    enum { ENDS, REFUSED, ASKED } what;
} answers[] = {
    {200, ENDS},    {202, ENDS},    {408, ENDS},    {481, ENDS},    {0, ENDS},
    {401, ASKED},   {407, ASKED},   {403, REFUSED}, {420, REFUSED}, {482, REFUSED},
    {302, REFUSED}, {483, REFUSED}, {500, REFUSED}, {503, REFUSED}, {603, REFUSED},
};
enum { ANSWERS = sizeof(answers) / sizeof(answers[0]) };

/* Who refused it hears BYE of ours, which he has no reason to refuse. */
static void hears_ours(struct media_rig *m, int who, const char *start, const char *cseq)
{
    const char *bye = find_raw(m->r, who, start);
    assert_non_null(strstr(bye, cseq));
    assert_non_null(strstr(bye, " has hung up\"\r\n"));
    say(m->r, who, reply(bye, 200, NULL, ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 200 ") + heard(m->r, BOB, "SIP/2.0 200 "), 0);
}

static void each_answer(struct media_rig *m, bool relayed)
{
    m->r->set->media.mode = relayed ? MEDIA_ALWAYS : MEDIA_NEVER;
    for (unsigned i = 0; i < ANSWERS; i++) {
        char ok[MESSAGE], call[16], bye[MESSAGE];
        unsigned records = m->r->dir.records;
        bool ends = answers[i].what == ENDS || (answers[i].what == REFUSED && relayed);
        snprintf(call, sizeof(call), "a%u", i);
        call_up(m, call, ok);
        say(m->r, ALICE, inside(m, ALICE, "BYE", BOB_AT, DIALOG, call, ok, 2));
        assert_true(stands(m, records)); /* nothing is known yet */
        snprintf(bye, sizeof(bye), "%s", find_raw(m->r, BOB, "BYE"));
        rig_clear(m->r);
        if (answers[i].status)
            say(m->r, BOB, reply(bye, answers[i].status, NULL, ""));
        else
            rig_run(m->r, 33 * USEC_S);
        if (stands(m, records) == ends)
            fail_msg("%u", answers[i].status);
        assert_int_equal(sessions_live(anchor_sessions(m->anchor)), relayed && !ends);
        if (ends && answers[i].what == REFUSED)
            hears_ours(m, BOB, "BYE " BOB_AT " SIP/2.0\r\n", "\r\nCSeq: 3 BYE\r\n");
        else if (answers[i].status)
            assert_int_equal(heard(m->r, BOB, "BYE"), 0);
        if (!ends) { /* the other one does it */
            rig_clear(m->r);
            say(m->r, BOB, inside(m, BOB, "BYE", ALICE_AT, REVERSED, call, ok, 2));
            say(m->r, ALICE, reply(find_raw(m->r, ALICE, "BYE"), 200, NULL, ""));
            assert_false(stands(m, records));
        }
        assert_string_equal(m->r->dir.ended_by, ends ? "caller" : "callee");
        assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
    }
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
    assert_int_equal(m->r->dir.records, ANSWERS);
}

static void a_direct_call_ends_with_what_its_bye_is_answered(void **state)
{
    each_answer(*state, false);
}

static void a_relayed_call_ends_with_what_its_bye_is_answered(void **state)
{
    each_answer(*state, true);
}

/* So it is for a caller who refuses; and in a dialog with another number than who hung up says. */
static void a_refused_bye_ends_what_we_relay_for_both(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE], bye[MESSAGE];
    call_up(m, "f1", ok);
    say(m->r, ALICE, inside(m, ALICE, "OPTIONS", BOB_AT, DIALOG, "f1", ok, 8));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "OPTIONS"), 200, NULL, ""));
    rig_clear(m->r);
    say(m->r, ALICE, inside(m, ALICE, "BYE", BOB_AT, DIALOG, "f1", ok, 3)); /* he has to refuse */
    snprintf(bye, sizeof(bye), "%s", find_raw(m->r, BOB, "BYE"));
    rig_clear(m->r);
    say(m->r, BOB, reply(bye, 500, NULL, ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 500 "), 1);
    hears_ours(m, BOB, "BYE " BOB_AT " SIP/2.0\r\n", "\r\nCSeq: 9 BYE\r\n");
    assert_false(stands(m, 0));
    assert_string_equal(m->r->dir.ended_by, "caller");
    call_up(m, "f2", ok);
    say(m->r, BOB, inside(m, BOB, "BYE", ALICE_AT, REVERSED, "f2", ok, 4));
    snprintf(bye, sizeof(bye), "%s", find_raw(m->r, ALICE, "BYE"));
    rig_clear(m->r);
    say(m->r, ALICE, reply(bye, 603, NULL, ""));
    hears_ours(m, ALICE, "BYE " ALICE_AT " SIP/2.0\r\n", "\r\nCSeq: 5 BYE\r\n");
    assert_false(stands(m, 1));
    assert_string_equal(m->r->dir.ended_by, "callee");
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

/* What somebody else refuses is not of the call. */
static void a_bye_that_somebody_else_refuses_ends_nothing(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    call_up(m, "g", ok);
    say(m->r, ALICE, along(m, "BYE", BOB_AT, "g", ok, ", <sip:192.0.2.13;lr>", 2));
    say(m->r, DESK, reply(find_raw(m->r, DESK, "BYE"), 500, NULL, ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 500 "), 1);
    assert_true(stands(m, 0));
    assert_int_equal(heard(m->r, BOB, "BYE"), 0);
    rig_clear(m->r);
    hang_up(m, "g", ok);
    assert_false(stands(m, 0));
}

/* §15.1.1: it was over for its sender when it went out. */
static void the_record_ends_with_the_bye(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    m->r->set->media.mode = MEDIA_NEVER;
    call_up(m, "t", ok);
    rig_run(m->r, 5 * USEC_S);
    say(m->r, ALICE, inside(m, ALICE, "BYE", BOB_AT, DIALOG, "t", ok, 2));
    usec wall = m->r->group->loop[0]->wall;
    rig_run(m->r, 40 * USEC_S);
    assert_false(stands(m, 0));
    assert_in_range(wall - m->r->dir.last.end, 0, 100 * USEC_MS);
    rig_quiet(m->r);
}

/* One who wants his call forgotten sends BYE to a friend, along our Record-Route. */
static void a_bye_to_somebody_else_ends_nothing(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    m->r->set->media.mode = MEDIA_NEVER;
    call_up(m, "s", ok);
    say(m->r, ALICE, along(m, "BYE", BOB_AT, "s", ok, ", <sip:192.0.2.13;lr>", 2));
    say(m->r, DESK, reply(find_raw(m->r, DESK, "BYE"), 200, NULL, ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 200 "), 1);
    assert_true(stands(m, 0));
    say(m->r, ALICE, along(m, "BYE", BOB_AT, "s", ok, ", <sip:192.0.2.13;lr>", 3));
    rig_run(m->r, 40 * USEC_S); /* or to nobody */
    assert_true(stands(m, 0));
    rig_clear(m->r);
    say(m->r, ALICE, along(m, "BYE", BOB_AT, "s", ok, "", 4));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
    assert_false(stands(m, 0));
    rig_quiet(m->r);
}

/* Behind a proxy the target says who is meant. */
static void behind_a_proxy_route_set_and_target_have_to_be_the_calls(void **state)
{
    struct media_rig *m = *state;
    static const struct {
        const char *uri, *routes;
        bool ends;
    } table[] = {
        {FORGERS, ", " PROXY, false},
        {FORGERS, "", false},
        {BEYOND, ", " PROXY ", <sip:203.0.113.9;lr>", false},
        {BEYOND, ", " PROXY, true},
    };
    char ok[MESSAGE];
    m->r->set->media.mode = MEDIA_NEVER;
    call_up_beyond(m, "p", ok);
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        rig_clear(m->r);
        say(m->r, ALICE, along(m, "BYE", table[i].uri, "p", ok, table[i].routes, 2 + i));
        int at = heard(m->r, BOB, "BYE") ? BOB : DESK;
        say(m->r, at, reply(find_raw(m->r, at, "BYE"), 200, NULL, ""));
        assert_int_equal(heard(m->r, ALICE, "SIP/2.0 200 "), 1);
        if (stands(m, 0) == table[i].ends)
            fail_msg("case %u", i);
    }
    rig_quiet(m->r);
}

/* From now on bob is called through a server that says no Record-Route. */
static void put_behind(struct media_rig *m)
{
    struct binding b = binding_of(m->r, BOB_AT, BOB);
    b.path = SV("<sip:192.0.2.12;lr>");
    rig_bind(m->r, "bob@example.com", &b, 1);
}

/* It may go by the target: what is answered there may be another one's word. */
static void behind_a_server_the_target_has_to_be_the_calls(void **state)
{
    struct media_rig *m = *state;
    static const struct {
        const char *contact, *uri;
        bool ends;
    } table[] = {
        {BOB_AT, FORGERS, false},
        {BOB_AT, "sip:eve@192.0.2.12:5060", false},
        {BOB_AT, "sip:192.0.2.12:5060", false},
        {BOB_AT, "sip:bob@192.0.2.12:5062", false},
        {BOB_AT, "sip:bob@192.0.2.12:5060;maddr=203.0.113.9", false},
        {BOB_AT, "sip:bob@" SERVER_IP, false},
        {BOB_AT, "tel:+15550102", false},
        {BOB_AT, BOB_AT, true},
        {BOB_AT, "sip:BOB@192.0.2.12;transport=udp;x=y", true},
        {"sip:bob@192.0.2.12;method=INVITE?Subject=x", "sip:bob@192.0.2.12:5060", true},
        {"sip:bob@example.com;gr=1", "sip:bob@example.com", false},
        {"sip:bob@example.com;gr=1", "sip:bob@Example.com;gr=1", true},
        {"sip:bob@10.0.0.5:5060", "sip:bob@" SERVER_IP ":5060", false},
        {"sip:bob@10.0.0.5:5060", "sip:bob@10.0.0.5", true},
    };
    m->r->set->media.mode = MEDIA_NEVER;
    put_behind(m);
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char ok[MESSAGE], call[16];
        unsigned records = m->r->dir.records;
        snprintf(call, sizeof(call), "n%u", i);
        call_up_at(m, call, table[i].contact, ok);
        say(m->r, ALICE, inside(m, ALICE, "BYE", table[i].uri, DIALOG, call, ok, 2));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 481, NULL, ""));
        assert_int_equal(heard(m->r, ALICE, "SIP/2.0 481 "), 1);
        if (stands(m, records) == table[i].ends)
            fail_msg("case %u", i);
        rig_clear(m->r);
        if (table[i].ends)
            continue;
        say(m->r, ALICE, inside(m, ALICE, "BYE", table[i].contact, DIALOG, call, ok, 3));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        assert_false(stands(m, records));
    }
    rig_quiet(m->r);
}

/* A phone that we reach ourselves is who answers, whatever a proxy near the other one, or that one, made of the target. */
static void whom_we_reach_ourselves_answers_whatever_the_target(void **state)
{
    struct media_rig *m = *state;
    static const struct {
        const char *contact, *uri;
    } table[] = {
        {BOB_AT, BOB_AT},
        {BOB_AT, "sip:bob@" SERVER_IP ":5060"},
        {BOB_AT, "sip:192.0.2.12:5060"},
        {BOB_AT, "sip:eve@192.0.2.12:5060"},
        {BOB_AT, "sip:bob@192.0.2.12:5062;maddr=203.0.113.9"},
        {"sip:bob@example.com;gr=1", "sip:bob@example.com"},
        {"sip:bob@10.0.0.5:5060", "sip:bob@" SERVER_IP ":5060"},
    };
    static const char *const hers[] = {ALICE_AT, "sip:192.0.2.11:5060", "sip:alice@192.0.2.1"};
    char ok[MESSAGE], call[16];
    m->r->set->media.mode = MEDIA_NEVER;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        unsigned records = m->r->dir.records;
        snprintf(call, sizeof(call), "h%u", i);
        call_up_at(m, call, table[i].contact, ok);
        say(m->r, ALICE, inside(m, ALICE, "BYE", table[i].uri, DIALOG, call, ok, 2));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        if (stands(m, records))
            fail_msg("case %u", i);
    }
    for (unsigned i = 0; i < sizeof(hers) / sizeof(hers[0]); i++) {
        unsigned records = m->r->dir.records;
        snprintf(call, sizeof(call), "i%u", i);
        call_up(m, call, ok);
        say(m->r, BOB, inside(m, BOB, "BYE", hers[i], REVERSED, call, ok, 2));
        say(m->r, ALICE, reply(find_raw(m->r, ALICE, "BYE"), 200, NULL, ""));
        if (stands(m, records))
            fail_msg("hers %u", i);
    }
    rig_quiet(m->r);
}

/* Her INVITE went through a server that says no Record-Route: where it sends a BYE it goes by the target. */
static void a_caller_behind_a_server_has_a_target(void **state)
{
    struct media_rig *m = *state;
    static const char *const uri[] = {"sip:eve@192.0.2.11:5060", ALICE_AT};
    char in[MESSAGE], ok[MESSAGE];
    m->r->set->media.mode = MEDIA_NEVER;
    rig_clear(m->r);
    const char *rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, "v",
                             "Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKbehind\r\n" CONTACT);
    say(m->r, ALICE, with(rq, sdp("192.0.2.11", "0", "")));
    snprintf(in, sizeof(in), "%s", find_raw(m->r, BOB, "INVITE"));
    say(m->r, BOB,
        with(reply(in, 200, "b", "Contact: <" BOB_AT ">\r\n"), sdp("192.0.2.12", "0", "")));
    snprintf(ok, sizeof(ok), "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    for (unsigned i = 0; i < 2; i++) {
        rig_clear(m->r);
        say(m->r, BOB, inside(m, BOB, "BYE", uri[i], REVERSED, "v", ok, 2 + i));
        say(m->r, ALICE, reply(find_raw(m->r, ALICE, "BYE"), 200, NULL, ""));
        assert_int_equal(heard(m->r, BOB, "SIP/2.0 200 "), 1);
        assert_int_equal(stands(m, 0), i == 0);
    }
    rig_quiet(m->r);
}

/* Which way it goes is not known any more; whom it is for is. */
static void without_its_route_set_a_call_has_a_target(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE], ways[2400], routes[2500];
    size_t n = (size_t)snprintf(ways, sizeof(ways), PROXY);
    while (n < 2200)
        n += (size_t)snprintf(ways + n, sizeof(ways) - n, ", <sip:far%04zu@203.0.113.9;lr>", n);
    snprintf(routes, sizeof(routes), ", %s", ways);
    m->r->set->media.mode = MEDIA_NEVER;
    call_up_through(m, "w", ways, ok);
    static const char *const uri[] = {FORGERS, BEYOND};
    for (unsigned i = 0; i < 2; i++) {
        rig_clear(m->r);
        say(m->r, ALICE, along(m, "BYE", uri[i], "w", ok, routes, 2 + i));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        assert_int_equal(heard(m->r, ALICE, "SIP/2.0 200 "), 1);
        assert_int_equal(stands(m, 0), i == 0);
    }
    rig_quiet(m->r);
}

/* §12.2.1.2: a 2xx to a target refresh says where its sender is from now on. A BYE that was sent before it came is late by
 * no more than a transaction lasts. */
static void the_target_is_the_last_that_was_told(void **state)
{
    struct media_rig *m = *state;
    static const struct {
        const char *uri;
        unsigned after; /* seconds */
        bool ends;
    } table[] = {{"sip:moved@192.0.2.13", 0, true},
                 {"sip:moved@192.0.2.13", 40, true},
                 {BEYOND, 0, true},
                 {BEYOND, 31, true},
                 {BEYOND, 33, false},
                 {FORGERS, 0, false}};
    m->r->set->media.mode = MEDIA_NEVER;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char ok[MESSAGE], call[16];
        unsigned records = m->r->dir.records;
        snprintf(call, sizeof(call), "m%u", i);
        call_up_beyond(m, call, ok);
        say(m->r, ALICE, along(m, "UPDATE", BEYOND, call, ok, ", " PROXY, 2));
        say(m->r, BOB,
            reply(find_raw(m->r, BOB, "UPDATE"), 200, NULL, "Contact: <sip:moved@192.0.2.13>\r\n"));
        rig_run(m->r, table[i].after * USEC_S);
        rig_clear(m->r);
        say(m->r, ALICE, along(m, "BYE", table[i].uri, call, ok, ", " PROXY, 3));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        if (stands(m, records) == table[i].ends)
            fail_msg("case %u", i);
        rig_clear(m->r);
        if (table[i].ends)
            continue;
        say(m->r, ALICE, along(m, "BYE", "sip:moved@192.0.2.13", call, ok, ", " PROXY, 4));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        assert_false(stands(m, records));
    }
    rig_quiet(m->r);
}

/* Bob tells another Contact, and this is what becomes of it. */
static void bob_moves(struct media_rig *m, const char *call, const char *ok, const char *at,
                      unsigned cseq, unsigned status)
{
    char *rq = scratch();
    const char *asked = inside(m, BOB, "UPDATE", ALICE_AT, REVERSED, call, ok, cseq);
    const char *contact = strstr(asked, "Contact: ");
    rig_clear(m->r);
    snprintf(rq, MESSAGE, "%.*sContact: <%s>%s", (int)(contact - asked), asked, at,
             strstr(contact, "\r\n"));
    say(m->r, BOB, rq);
    if (status)
        say(m->r, ALICE, reply(find_raw(m->r, ALICE, "UPDATE"), status, NULL, CONTACT));
}

/* Who refuses a target refresh, or has not seen it yet, goes on with the target that he knows (§12.2.2, RFC 6141 §4). */
static void a_target_that_was_not_taken_leaves_the_one_before(void **state)
{
    struct media_rig *m = *state;
    static const struct {
        unsigned first, second; /* what the refreshes are answered */
        unsigned at;            /* alice's target: as it was; of the first; of the second */
        bool ends;
    } table[] = {
        {488, 488, 0, true}, {488, 0, 0, true},    {488, 200, 2, true}, {488, 0, 2, true},
        {200, 488, 1, true}, {200, 0, 1, true},    {200, 200, 2, true}, {200, 0, 2, true},
        {200, 0, 0, false},  {200, 488, 0, false},
    };
    m->r->set->media.mode = MEDIA_NEVER;
    put_behind(m);
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        static const char *const at[] = {BOB_AT, "sip:one@192.0.2.12", "sip:two@192.0.2.12"};
        char ok[MESSAGE], call[16];
        snprintf(call, sizeof(call), "u%u", i);
        unsigned records = m->r->dir.records;
        call_up(m, call, ok);
        bob_moves(m, call, ok, at[1], 1, table[i].first);
        bob_moves(m, call, ok, at[2], 2, table[i].second);
        rig_clear(m->r);
        say(m->r, ALICE, inside(m, ALICE, "BYE", at[table[i].at], DIALOG, call, ok, 2));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        if (stands(m, records) == table[i].ends)
            fail_msg("case %u", i);
        if (!table[i].ends) {
            rig_clear(m->r);
            say(m->r, ALICE, inside(m, ALICE, "BYE", at[2], DIALOG, call, ok, 3));
            say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        }
        rig_quiet(m->r);
    }
}

/* Of the early dialog; the call that has come of it meanwhile goes on (§15.1.1). */
static void a_bye_before_the_answer_ends_no_call_by_being_refused(void **state)
{
    struct media_rig *m = *state;
    const struct accounting *books = routing_accounting(m->r->routing);
    char in[MESSAGE], rings[MESSAGE], bye[MESSAGE];
    m->r->set->media.mode = MEDIA_ALWAYS;
    invite(m, "e1", sdp("192.0.2.11", "0", ""));
    snprintf(in, sizeof(in), "%s", find_raw(m->r, BOB, "INVITE"));
    say(m->r, BOB, reply(in, 180, "b", "Contact: <" BOB_AT ">\r\n"));
    snprintf(rings, sizeof(rings), "%s", find_raw(m->r, ALICE, "SIP/2.0 180 "));
    say(m->r, ALICE, inside(m, ALICE, "BYE", BOB_AT, DIALOG, "e1", rings, 2));
    snprintf(bye, sizeof(bye), "%s", find_raw(m->r, BOB, "BYE"));
    rig_run(m->r, 3 * USEC_S);
    say(m->r, BOB,
        with(reply(in, 200, "b", "Contact: <" BOB_AT ">\r\n"), sdp("192.0.2.12", "0", "")));
    say(m->r, BOB, reply(bye, 481, NULL, ""));
    assert_int_equal(m->r->dir.records, 0);
    assert_int_equal(accounting_count(books), 1);
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 1);
    snprintf(rings, sizeof(rings), "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    rig_clear(m->r);
    hang_up(m, "e1", rings);
    assert_int_equal(accounting_count(books), 0);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_direct_call_ends_with_what_its_bye_is_answered),
        T(a_relayed_call_ends_with_what_its_bye_is_answered),
        T(a_refused_bye_ends_what_we_relay_for_both),
        T(a_bye_that_somebody_else_refuses_ends_nothing),
        T(the_record_ends_with_the_bye),
        T(a_bye_before_the_answer_ends_no_call_by_being_refused),
        T(a_bye_to_somebody_else_ends_nothing),
        T(behind_a_proxy_route_set_and_target_have_to_be_the_calls),
        T(behind_a_server_the_target_has_to_be_the_calls),
        T(whom_we_reach_ourselves_answers_whatever_the_target),
        T(a_caller_behind_a_server_has_a_target),
        T(without_its_route_set_a_call_has_a_target),
        T(the_target_is_the_last_that_was_told),
        T(a_target_that_was_not_taken_leaves_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
