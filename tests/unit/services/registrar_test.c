/* SPDX-License-Identifier: MIT */
/* What a REGISTER does to a set of bindings: RFC 3261 §10.3 as a table. */
#include "registrar_run.h"

#define A "<sip:a@192.0.2.9:5070>"
#define B "<sip:b@192.0.2.9:5070>"
#define C "<sip:c@192.0.2.9:5070>"
#define D "<sip:d@192.0.2.9:5070>"

struct one {
    const char *lines;
    uint16_t status;
    bool changed;
    const char *out; /* of the 200 */
};

/* Against a set that holds A (Call-ID "old", CSeq 10, 600 s). The request: Call-ID "new", CSeq
 * 1. */
static const struct one table[] = {
    /* query */
    {"", 200, false, "Contact: " A ";expires=600\r\n"},
    {"Expires: 0\r\n", 200, false, "Contact: " A ";expires=600\r\n"},
    /* expires: parameter over header over default; malformed is an hour; too long is cut */
    {"Contact: " B "\r\n", 200, true,
     "Contact: " B ";expires=7200\r\nContact: " A ";expires=600\r\n"},
    {"Contact: " B "\r\nExpires: 300\r\n", 200, true,
     "Contact: " A ";expires=600\r\nContact: " B ";expires=300\r\n"},
    {"Contact: " B ";expires=900\r\nExpires: 300\r\n", 200, true,
     "Contact: " B ";expires=900\r\nContact: " A ";expires=600\r\n"},
    {"Contact: " B ";expires=soon\r\n", 200, true,
     "Contact: " B ";expires=3600\r\nContact: " A ";expires=600\r\n"},
    {"Contact: " B ";expires=-1\r\n", 200, true,
     "Contact: " B ";expires=3600\r\nContact: " A ";expires=600\r\n"},
    {"Contact: " B ";expires=7201\r\n", 200, true,
     "Contact: " B ";expires=7200\r\nContact: " A ";expires=600\r\n"},
    {"Contact: " B ";expires=4294967295\r\n", 200, true,
     "Contact: " B ";expires=7200\r\nContact: " A ";expires=600\r\n"},
    {"Contact: " B ";EXPIRES=60\r\n", 200, true,
     "Contact: " A ";expires=600\r\nContact: " B ";expires=60\r\n"},
    {"Contact: " B ";expires=59\r\n", 423, false, NULL},
    {"Contact: " B ";expires=1\r\n", 423, false, NULL},
    {"Contact: " B "\r\nExpires: 59\r\n", 423, false, NULL},
    /* removal */
    {"Contact: " A ";expires=0\r\n", 200, true, ""},
    {"Contact: " A "\r\nExpires: 0\r\n", 200, true, ""},
    {"Contact: " B ";expires=0\r\n", 200, false, "Contact: " A ";expires=600\r\n"},
    {"Contact: <sip:a@192.0.2.9:5070;x=1>;expires=0\r\n", 200, true, ""}, /* equal by §19.1.4 */
    {"Contact: <sip:%61@192.0.2.9:5070>;expires=0\r\n", 200, true, ""},
    {"Contact: <sip:A@192.0.2.9:5070>;expires=0\r\n", 200, false, "Contact: " A ";expires=600\r\n"},
    {"Contact: <sip:a@192.0.2.9:5070;transport=udp>;expires=0\r\n", 200, false,
     "Contact: " A ";expires=600\r\n"},
    {"Contact: <sip:a@192.0.2.9>;expires=0\r\n", 200, false, "Contact: " A ";expires=600\r\n"},
    /* star */
    {"Contact: *\r\nExpires: 0\r\n", 200, true, ""},
    {"Contact: *\r\n", 400, false, NULL},
    {"Contact: *\r\nExpires: 1\r\n", 400, false, NULL},
    {"Contact: *\r\nExpires: zero\r\n", 400, false, NULL},
    {"Contact: *, " B "\r\nExpires: 0\r\n", 400, false, NULL},
    {"Contact: " B "\r\nContact: *\r\nExpires: 0\r\n", 400, false, NULL},
    {"Contact: *\r\nContact: *\r\nExpires: 0\r\n", 400, false, NULL},
    {"Contact: *;expires=0\r\n", 400, false, NULL},
    /* q: §20.10, order of the list */
    {"Contact: " B ";q=0.5\r\nExpires: 900\r\n", 200, true,
     "Contact: " A ";expires=600\r\nContact: " B ";q=0.500;expires=900\r\n"},
    {"Contact: " B ";q=0\r\nExpires: 900\r\n", 200, true,
     "Contact: " A ";expires=600\r\nContact: " B ";q=0.000;expires=900\r\n"},
    {"Contact: " B ";q=0.\r\nExpires: 900\r\n", 200, true,
     "Contact: " A ";expires=600\r\nContact: " B ";q=0.000;expires=900\r\n"},
    {"Contact: " B ";q=0.007\r\nExpires: 900\r\n", 200, true,
     "Contact: " A ";expires=600\r\nContact: " B ";q=0.007;expires=900\r\n"},
    {"Contact: " B ";q=1.000\r\nExpires: 900\r\n", 200, true,
     "Contact: " B ";expires=900\r\nContact: " A ";expires=600\r\n"},
    {"Contact: " B ";q=1.001\r\n", 400, false, NULL},
    {"Contact: " B ";q=2\r\n", 400, false, NULL},
    {"Contact: " B ";q=0.1234\r\n", 400, false, NULL},
    {"Contact: " B ";q=-1\r\n", 400, false, NULL},
    {"Contact: " B ";q=.5\r\n", 400, false, NULL},
    {"Contact: " B ";q=0,5\r\n", 400, false, NULL},
    {"Contact: " B ";q=05\r\n", 400, false, NULL},
    {"Contact: " B ";q\r\n", 400, false, NULL},
    /* what comes back: everything but expires and q, as it came; a fold as blanks */
    {"Contact: " B ";+sip.instance=\"<urn:x>\";q=0.1;ob;expires=90;reg-id=1\r\n", 200, true,
     "Contact: " A ";expires=600\r\n"
     "Contact: " B ";q=0.100;+sip.instance=\"<urn:x>\";ob;reg-id=1;expires=90\r\n"},
    {"Contact: " B ";x=\"a\r\n b\";expires=90\r\n", 200, true,
     "Contact: " A ";expires=600\r\nContact: " B ";x=\"a   b\";expires=90\r\n"},
    /* schemes */
    {"Contact: <tel:+1234>\r\n", 400, false, NULL},
    {"Contact: <mailto:a@example.com>\r\n", 400, false, NULL},
    /* RFC 5630 §5.2: a sips Contact needs a sips Request-URI */
    {"Contact: <sips:b@phone.invalid>;expires=90\r\n", 400, false, NULL},
    {"Contact: <sips:a@192.0.2.9:5070>;expires=0\r\n", 200, true, ""}, /* the same resource */
    /* all or nothing */
    {"Contact: " B "\r\nContact: " C ";expires=1\r\n", 423, false, NULL},
    {"Contact: " A ";expires=0, " B ";q=7\r\n", 400, false, NULL},
    /* caps count the set that comes out */
    {"Contact: " B ", " C ";expires=90\r\n", 200, true,
     "Contact: " B ";expires=7200\r\nContact: " A ";expires=600\r\nContact: " C ";expires=90\r\n"},
    {"Contact: " B ", " C ", " D "\r\n", 403, false, NULL},
    {"Contact: " B ";expires=70, " C ";expires=80, " D ";expires=90, " A ";expires=0\r\n", 200,
     true,
     "Contact: " D ";expires=90\r\nContact: " C ";expires=80\r\nContact: " B ";expires=70\r\n"},
    /* one contact twice: the last word counts */
    {"Contact: " B ";expires=70, " B ";expires=80\r\n", 200, true,
     "Contact: " A ";expires=600\r\nContact: " B ";expires=80\r\n"},
    {"Contact: " B ";expires=70, " B ";expires=0\r\n", 200, true, "Contact: " A ";expires=600\r\n"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct fixture f;
        begin(&f);
        apply(&f, "old", 10, "Contact: " A ";expires=600\r\n");
        keep(&f);
        apply(&f, "new", 1, table[i].lines);
        if (f.result.status != table[i].status || f.result.changed != table[i].changed)
            fail_msg("case %zu (%s): %u, changed %d", i, table[i].lines, f.result.status,
                     f.result.changed);
        if (table[i].out && strcmp(contacts(&f), table[i].out) != 0)
            fail_msg("case %zu (%s):\n%s", i, table[i].lines, contacts(&f));
        done(&f);
    }
}

/* §10.3 step 7: within one Call-ID only a higher CSeq; another Call-ID always. */
static void test_order(void **state)
{
    (void)state;
    static const struct {
        const char *call_id;
        unsigned cseq;
        const char *lines;
        uint16_t status;
    } cases[] = {
        {"one", 11, "Contact: " A ";expires=90\r\n", 200},
        {"one", 10, "Contact: " A ";expires=90\r\n", 500},
        {"one", 9, "Contact: " A ";expires=90\r\n", 500},
        {"one", 10, "Contact: " A ";expires=0\r\n", 500},
        {"one", 10, "Contact: *\r\nExpires: 0\r\n", 500},
        {"one", 11, "Contact: *\r\nExpires: 0\r\n", 200},
        {"two", 1, "Contact: " A ";expires=90\r\n", 200},
        {"two", 1, "Contact: *\r\nExpires: 0\r\n", 200},
        {"one", 10, "Contact: " B ";expires=90\r\n", 200}, /* no binding of it stands */
        {"one", 10, "Contact: " B ";expires=90, " A ";expires=90\r\n", 500},
        {"one", 10, "", 200},
        {"ONE", 1, "Contact: " A ";expires=90\r\n", 200}, /* Call-IDs have a case */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        begin(&f);
        apply(&f, "one", 10, "Contact: " A ";expires=600\r\n");
        keep(&f);
        apply(&f, cases[i].call_id, cases[i].cseq, cases[i].lines);
        if (f.result.status != cases[i].status)
            fail_msg("case %zu: %u", i, f.result.status);
        if (f.result.status != 200)
            assert_false(f.result.changed);
        done(&f);
    }
}

static void test_refresh(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    apply(&f, "one", 1, "User-Agent: phone/1\r\nContact: " A ";expires=600\r\n");
    assert_true(sv_eq(f.result.bindings[0].agent, SV("phone/1")));
    assert_int_equal(f.result.bindings[0].epoch, 7);
    assert_int_equal(f.result.bindings[0].expires, now + 600 * USEC_S);
    keep(&f);
    f.before[0].since = now - USEC_HOUR;
    apply(&f, "one", 2, "Contact: " A ";expires=700\r\n");
    assert_int_equal(f.result.n, 1);
    assert_int_equal(f.result.bindings[0].since, now - USEC_HOUR);
    assert_int_equal(f.result.bindings[0].cseq, 2);
    assert_int_equal(f.result.bindings[0].expires, now + 700 * USEC_S);
    /* The cap lowered below what stands: refreshes go on, new ones do not. */
    apply(&f, "one", 2, "Contact: " A ", " B ", " C "\r\n");
    keep(&f);
    f.lim.contacts = 2;
    apply(&f, "one", 3, "Contact: " A "\r\n");
    assert_int_equal(f.result.status, 200);
    apply(&f, "one", 3, "Contact: " D "\r\n");
    assert_int_equal(f.result.status, 403);
    done(&f);
}

/* §10.3 step 7: only what is below an hour may be refused as too brief. */
static void test_hour(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.lim.expires_min_s = 7000;
    f.lim.expires_max_s = 9000;
    apply(&f, "one", 1, "Contact: " A ";expires=3599\r\n");
    assert_int_equal(f.result.status, 423);
    apply(&f, "one", 1, "Contact: " A ";expires=3600\r\n");
    assert_int_equal(f.result.status, 200);
    /* Nothing to remove is nothing to write. */
    apply(&f, "one", 1, "Contact: *\r\nExpires: 0\r\n");
    assert_int_equal(f.result.status, 200);
    assert_false(f.result.changed);
    done(&f);
}

static void test_bounds(void **state)
{
    (void)state;
    static char lines[12000];
    struct fixture f;
    begin(&f);
    memset(lines, 'x', sizeof(lines));
    memcpy(lines, "Contact: <sip:", 14);
    snprintf(lines + 14 + 1025 - 4 - 12, 64, "@192.0.2.9:1>\r\n"); /* 1025 octets of URI */
    apply(&f, "one", 1, lines);
    assert_int_equal(f.result.status, 400);
    memset(lines + 14, 'x', 2000);
    snprintf(lines + 14 + 1024 - 4 - 12, 64, "@192.0.2.9:1>\r\n");
    apply(&f, "one", 1, lines);
    assert_int_equal(f.result.status, 200);
    assert_int_equal(f.result.bindings[0].uri.n, 1024);
    memset(lines, 'x', sizeof(lines));
    memcpy(lines, "Contact: " A ";", strlen("Contact: " A ";"));
    snprintf(lines + 1200, 64, "\r\n");
    apply(&f, "one", 1, lines);
    assert_int_equal(f.result.status, 400);
    /* Two hundred contacts are refused, not compared with one another. */
    struct buf b;
    buf_init(&b, lines, sizeof(lines) - 1);
    for (int i = 0; i < 200; i++)
        buf_printf(&b, "Contact: <sip:%d@192.0.2.9>\r\n", i);
    lines[b.n] = 0;
    apply(&f, "one", 1, lines);
    assert_int_equal(f.result.status, 403);
    done(&f);
}

/* How a phone is reached: by address only when nothing stands between. */
static void test_nat(void **state)
{
    (void)state;
    static const struct {
        enum sip_transport transport;
        const char *via, *contact;
        bool by_flow;
    } cases[] = {
        {SIP_T_UDP, "SIP/2.0/UDP 192.0.2.9:5070", A, false},
        {SIP_T_UDP, "SIP/2.0/UDP 192.0.2.9:5070", "<sip:a@phone.invalid>", true},
        {SIP_T_UDP, "SIP/2.0/UDP 192.0.2.9:5071", A, true},
        {SIP_T_UDP, "SIP/2.0/UDP 192.0.2.9", A, true},
        {SIP_T_UDP, "SIP/2.0/UDP 10.0.0.9:5070", A, true},
        {SIP_T_UDP, "SIP/2.0/UDP phone.example.com:5070", A, true},
        {SIP_T_TCP, "SIP/2.0/TCP 192.0.2.9:9999", A, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        char lines[256];
        begin(&f);
        f.flow.transport = cases[i].transport;
        snprintf(lines, sizeof(lines), "Contact: %s\r\n", cases[i].contact);
        apply_via(&f, cases[i].via, "one", 1, lines);
        assert_int_equal(f.result.status, 200);
        if (f.result.bindings[0].by_flow != cases[i].by_flow)
            fail_msg("case %zu", i);
        done(&f);
    }
}

/* On the open network nobody binds another's address (D15); inside one, a phone may. */
static void test_another_address(void **state)
{
    (void)state;
    static const struct {
        const char *peer, *contact;
        uint16_t status;
    } cases[] = {
        {"192.0.2.9", "<sip:a@192.0.2.77>", 403},
        {"192.0.2.9", "<sip:a@192.0.2.77;transport=tcp>", 403},
        {"192.0.2.9", "<sip:a@192.0.2.9:9>", 200},
        {"10.0.0.9", "<sip:a@10.0.0.77>", 200},
        {"10.0.0.9", "<sip:a@192.0.2.77>", 403},
        {"192.0.2.9", "<sip:a@192.0.2.9;transport=ws>", 403},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        char lines[256], via[64];
        begin(&f);
        assert_int_equal(addr_parse_ip(sv_of(cases[i].peer), 5070, &f.flow.remote), ERR_OK);
        snprintf(lines, sizeof(lines), "Contact: %s\r\n", cases[i].contact);
        snprintf(via, sizeof(via), "SIP/2.0/UDP %s:5070", cases[i].peer);
        apply_via(&f, via, "one", 1, lines);
        if (f.result.status != cases[i].status)
            fail_msg("case %zu: %u", i, f.result.status);
        done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_address),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_nat),
        cmocka_unit_test(test_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
