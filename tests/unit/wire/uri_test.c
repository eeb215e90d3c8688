/* SPDX-License-Identifier: MIT */
/* URIs: RFC 3261 §19.1 and §25.1, RFC 3966, RFC 5954, RFC 5118 §4.10. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mem/arena.h"
#include "uri/uri.h"

#define assert_sv(got, want) assert_true(sv_eq((got), SV(want)) && sv_present(got))

static struct uri good(const char *text)
{
    struct uri u;
    size_t at = 0;
    enum err rc = uri_parse(sv_of(text), &u, &at);
    if (rc)
        fail_msg("%s: %s at %zu", text, err_name(rc), at);
    return u;
}

static void bad(const char *text, enum err want, size_t want_at)
{
    struct uri u;
    size_t at = SIZE_MAX;
    enum err rc = uri_parse(sv_of(text), &u, &at);
    if (rc != want || at != want_at)
        fail_msg("%s: %s at %zu, not %s at %zu", text, err_name(rc), at, err_name(want), want_at);
}

static void takes_a_sip_uri_apart(void **state)
{
    (void)state;
    struct uri u = good("sip:mara:secret@quay.example.test:5070;transport=tcp;lr?Subject=a%20b&x=");
    assert_int_equal(u.scheme, URI_SIP);
    assert_sv(u.scheme_text, "sip");
    assert_sv(u.user, "mara");
    assert_sv(u.password, "secret");
    assert_sv(u.host, "quay.example.test");
    assert_int_equal(u.port, 5070);
    assert_false(u.host_ip6);
    assert_sv(u.params, "transport=tcp;lr");
    assert_sv(u.headers, "Subject=a%20b&x=");

    u = good("SIPS:example.test");
    assert_int_equal(u.scheme, URI_SIPS);
    assert_false(sv_present(u.user) || sv_present(u.password) || sv_present(u.params) ||
                 sv_present(u.headers));
    assert_int_equal(u.port, 0);

    u = good("sip:[2001:db8::10]:5070;lr");
    assert_true(u.host_ip6);
    assert_sv(u.host, "2001:db8::10");
    assert_int_equal(u.port, 5070);

    u = good("sip:[2001:db8::10:5070]"); /* RFC 5118 §4.3: the last group, no port */
    assert_int_equal(u.port, 0);
}

static void user_part_may_hold_separators(void **state)
{
    (void)state;
    /* RFC 4475 §3.1.1.9 and the request line of §3.1.1.2: everything before '@' is userinfo */
    struct uri u = good("sip:user;par=u%40example.net@example.test");
    assert_sv(u.user, "user;par=u%40example.net");
    assert_false(sv_present(u.params));
    u = good("sip:1_x~(y)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(d't)@example.test");
    assert_sv(u.user, "1_x~(y)&isn't+it$/crazy?,/;;*");
    assert_sv(u.password, "&it+has=1,weird!*pas$wo~d_too.(d't)");
    u = good("sip:mara:@example.test");
    assert_true(sv_present(u.password) && u.password.n == 0);
    bad("sip:@example.test", ERR_SYNTAX, 4);
    bad("sip:a@b@example.test", ERR_SYNTAX, 7);
    bad("sip:a b@example.test", ERR_SYNTAX, 5);
    bad("sip:a%4@example.test", ERR_SYNTAX, 5);
    bad("sip:a%g0@example.test", ERR_SYNTAX, 5);
    bad("sip:a\"b@example.test", ERR_SYNTAX, 5);
}

static void hosts_and_ports_are_strict(void **state)
{
    (void)state;
    static const char *const hosts[] = {"sip:a",
                                        "sip:a.",
                                        "sip:a-b.c3",
                                        "sip:1a.b",
                                        "sip:x.y.z",
                                        "sip:0.0.0.0",
                                        "sip:255.255.255.255",
                                        "sip:db_1.example.test",
                                        "sip:[::]",
                                        "sip:[::1]",
                                        "sip:[1:2:3:4:5:6:7:8]",
                                        "sip:[1::8]",
                                        "sip:[::ffff:192.0.2.10]",
                                        "sip:[2001:db8:::192.0.2.1]",
                                        "sip:[1:2:3:4:5:6:1.2.3.4]",
                                        "sip:[1:2:3:4:5:6:7::]"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        good(hosts[i]);
    static const char *const not_hosts[] = {"sip:",
                                            "sip:.",
                                            "sip:a..b",
                                            "sip:-a",
                                            "sip:a-",
                                            "sip:a-.b",
                                            "sip:1.2.3",
                                            "sip:256.1.1.1",
                                            "sip:1.2.3.04",
                                            "sip:a.1",
                                            "sip:1.2.3.4.5",
                                            "sip:[",
                                            "sip:[]",
                                            "sip:[:]",
                                            "sip:[:::]",
                                            "sip:[1:2:3:4:5:6:7]",
                                            "sip:[1:2:3:4:5:6:7:8:9]",
                                            "sip:[1::2::3]",
                                            "sip:[1:2:3:4:5:6:7:8::]",
                                            "sip:[12345::]",
                                            "sip:[g::]",
                                            "sip:[::1",
                                            "sip:[1:]",
                                            "sip:[:1]",
                                            "sip:[fe80::1%25eth0]",
                                            "sip:[1.2.3.4]",
                                            "sip:[a:::b]",
                                            "sip:[::1.2.3]",
                                            "sip:[1:2:3:4:5:6:7:1.2.3.4]",
                                            "sip:2001:db8::10"};
    for (size_t i = 0; i < sizeof(not_hosts) / sizeof(not_hosts[0]); i++) {
        struct uri u;
        if (uri_parse(sv_of(not_hosts[i]), &u, NULL) != ERR_SYNTAX)
            fail_msg("%s taken", not_hosts[i]);
    }
    assert_int_equal(good("sip:a:0005060").port, 5060);
    assert_int_equal(good("sip:a:65535").port, 65535);
    bad("sip:a:65536", ERR_RANGE, 10);
    bad("sip:a:0", ERR_RANGE, 6);
    bad("sip:a:99999999999999999999", ERR_RANGE, 10);
    bad("sip:a:", ERR_SYNTAX, 6);
    bad("sip:a:5060x", ERR_SYNTAX, 10);
    bad("sip:[::1]x", ERR_SYNTAX, 9);
}

static void parameters_and_headers(void **state)
{
    (void)state;
    struct uri u = good("sip:h;lr;transport=UDP;%6Caps=%31;x=[1]/:&+$");
    sv value, rest = u.params, name;
    assert_true(uri_param(&u, SV("LR"), &value) && value.p && value.n == 0);
    assert_true(uri_param(&u, SV("Transport"), &value));
    assert_sv(value, "UDP");
    assert_true(uri_param(&u, SV("laps"), &value)); /* RFC 4475 §3.1.1.3 */
    assert_sv(value, "%31");
    assert_false(uri_param(&u, SV("transpor"), &value));
    size_t n = 0;
    while (uri_param_next(&rest, &name, &value))
        n++;
    assert_int_equal(n, 4);
    assert_sv(name, "x");
    assert_sv(value, "[1]/:&+$");

    bad("sip:h;", ERR_SYNTAX, 6);
    bad("sip:h;;lr", ERR_SYNTAX, 6);
    bad("sip:h;=x", ERR_SYNTAX, 6);
    bad("sip:h;x=", ERR_SYNTAX, 8);
    bad("sip:h;x=a=b", ERR_SYNTAX, 9);
    bad("sip:h;lr;x;LR", ERR_SYNTAX, 11); /* §19.1.1: not more than once */
    bad("sip:h;lr;%6c%72", ERR_SYNTAX, 9);
    bad("sip:h;transport", ERR_SYNTAX, 6);
    bad("sip:h;ttl=256", ERR_RANGE, 6);
    bad("sip:h;maddr=a..b", ERR_SYNTAX, 6);
    good("sip:h;maddr=[2001:db8::1];ttl=255");
    bad("sip:h?", ERR_SYNTAX, 6);
    bad("sip:h?a", ERR_SYNTAX, 7);
    bad("sip:h?=a", ERR_SYNTAX, 6);
    bad("sip:h?a=b&", ERR_SYNTAX, 10);
    bad("sip:h?a=b;c", ERR_SYNTAX, 9);
}

static void limits_hold(void **state)
{
    (void)state;
    static char text[URI_MAX + 2];
    struct uri u;
    size_t at;
    memset(text, 'a', sizeof(text));
    memcpy(text, "sip:", 4);
    assert_int_equal(uri_parse((sv){text, URI_MAX}, &u, NULL), ERR_OK);
    assert_int_equal(uri_parse((sv){text, URI_MAX + 1}, &u, &at), ERR_TOOBIG);
    assert_int_equal(at, URI_MAX);
    for (unsigned kind = 0; kind < 2; kind++) {
        struct buf b;
        buf_init(&b, text, sizeof(text));
        buf_str(&b, "sip:h");
        for (unsigned i = 0; i < URI_PARAMS_MAX; i++)
            buf_printf(&b, kind ? "%cp%u=1" : "%cp%u", kind ? (i ? '&' : '?') : ';', i);
        assert_int_equal(uri_parse(buf_sv(&b), &u, NULL), ERR_OK);
        buf_str(&b, kind ? "&x=1" : ";x");
        assert_int_equal(uri_parse(buf_sv(&b), &u, NULL), ERR_TOOBIG);
    }
    assert_int_equal(uri_parse(SV_NONE, &u, &at), ERR_SYNTAX);
    assert_int_equal(at, 0);
}

static void tel_uris(void **state)
{
    (void)state;
    struct uri u = good("tel:+49-30-(555)01;ext=12;isub=7");
    assert_int_equal(u.scheme, URI_TEL);
    assert_sv(u.opaque, "+49-30-(555)01");
    assert_sv(u.params, "ext=12;isub=7");
    assert_sv(good("TEL:70*2#;phone-context=example.test").opaque, "70*2#");
    good("tel:7042;phone-context=+4930");
    bad("tel:7042", ERR_SYNTAX, 4); /* RFC 3966 §5.1.5: a local number has a context */
    bad("tel:7042;phone-context=+-", ERR_SYNTAX, 4);
    bad("tel:7042;phone-context=a..b", ERR_SYNTAX, 4);
    bad("tel:+", ERR_SYNTAX, 5);
    bad("tel:+-.", ERR_SYNTAX, 7);
    bad("tel:", ERR_SYNTAX, 4);
    bad("tel:+49*1", ERR_SYNTAX, 7);
    bad("tel:+49;ext=1;ext=2", ERR_SYNTAX, 14);
    bad("tel:+49;a_b", ERR_SYNTAX, 9);
    bad("tel:+49?a=b", ERR_SYNTAX, 7);
    bad("tel:%2B49", ERR_SYNTAX, 4);
}

static void other_schemes_stay_opaque(void **state)
{
    (void)state;
    struct uri u = good("nobodyKnowsThisScheme:totallyopaquecontent");
    assert_int_equal(u.scheme, URI_OTHER);
    assert_sv(u.scheme_text, "nobodyKnowsThisScheme");
    assert_sv(u.opaque, "totallyopaquecontent");
    good("soap.beep://192.0.2.103:3002");
    good("isbn:2983792873");
    good("http://www.example.test");
    good("http://[2001:db8::1]:80/x?y=z");
    good("urn:service:sos");
    bad("urn:", ERR_SYNTAX, 4);
    bad("urn:a b", ERR_SYNTAX, 5);
    bad("urn:a<b", ERR_SYNTAX, 5);
    bad("urn:a[1]", ERR_SYNTAX, 5);
    bad("http://[::g]/", ERR_SYNTAX, 7);
    bad("1urn:a", ERR_SYNTAX, 0);
    bad("<sip:a@b>", ERR_SYNTAX, 0);
    bad(" sip:a@b", ERR_SYNTAX, 0);
    bad("sip", ERR_SYNTAX, 3);
    bad("", ERR_SYNTAX, 0);
}

static void print_and_parse_agree(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "sip:mara:secret@quay.example.test:5070;transport=tcp;lr?Subject=a%20b&x=",
        "sips:[2001:db8::1]:5061",
        "sip:mara:@h",
        "tel:+49-30;ext=1",
        "urn:service:sos",
        "soap.beep://192.0.2.103:3002"};
    char room[256];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct uri u = good(texts[i]);
        struct buf b;
        buf_init(&b, room, sizeof(room));
        uri_print(&b, &u);
        assert_true(sv_eq(buf_sv(&b), sv_of(texts[i])));
    }
    struct uri u = good("SIP:h:05060");
    struct buf b;
    buf_init(&b, room, sizeof(room));
    uri_print(&b, &u);
    assert_sv(buf_sv(&b), "sip:h:5060");
}

static void copies_do_not_need_the_text(void **state)
{
    (void)state;
    static const char text[] = "sip:mara:pw@[2001:db8::1]:5070;lr?a=b";
    char *heap = malloc(sizeof(text));
    assert_non_null(heap);
    memcpy(heap, text, sizeof(text));
    struct uri u = good(heap), copy;
    struct arena a;
    arena_init(&a, NULL, 0, 4096);
    assert_int_equal(uri_dup(&a, &u, &copy), ERR_OK);
    memset(heap, 'X', sizeof(text));
    free(heap);
    assert_sv(copy.user, "mara");
    assert_sv(copy.password, "pw");
    assert_sv(copy.host, "2001:db8::1");
    assert_sv(copy.params, "lr");
    assert_sv(copy.headers, "a=b");
    assert_sv(copy.text, "sip:mara:pw@[2001:db8::1]:5070;lr?a=b");
    arena_done(&a);

    struct uri made = {.scheme = URI_SIP, .user = SV("nils"), .host = SV("h")};
    arena_init(&a, NULL, 0, 4096);
    assert_int_equal(uri_dup(&a, &made, &copy), ERR_OK);
    assert_sv(copy.user, "nils");
    assert_ptr_not_equal(copy.user.p, made.user.p);
    arena_done(&a);
    arena_init(&a, NULL, 0, 0);
    assert_int_equal(uri_dup(&a, &made, &copy), ERR_NOMEM);
    arena_done(&a);
}

struct pair {
    const char *a, *b;
};

static void equality_of_rfc_3261(void **state)
{
    (void)state;
    static const struct pair equal[] = {
        {"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"},
        {"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"},
        {"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"},
        {"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
         "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"},
        {"sip:alice@atlanta.com?subject=project%20x&priority=urgent",
         "sip:alice@atlanta.com?priority=urgent&subject=project%20x"},
        {"sip:[2001:DB8::1]", "sip:[2001:db8:0:0::0.0.0.1]"},
        {"sip:a@h;lr", "sip:a@h;%6Cr"},
        {"sip:%2b@h", "sip:%2B@h"},
        {"tel:+49-30.1", "tel:+49(30)1"},
        {"tel:+1;ext=1-2;a=B", "tel:+1;A=b;ext=12"},
        {"tel:1;phone-context=Example.test", "tel:1;phone-context=example.TEST"},
        {"tel:1;phone-context=+4-9", "tel:1;phone-context=+49"},
        {"tel:aF*;phone-context=+49", "tel:Af*;phone-context=+49"},
        {"URN:a", "urn:a"},
    };
    static const struct pair different[] = {
        {"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"},
        {"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"},
        {"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"},
        {"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"},
        {"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"},
        {"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"},
        {"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"},
        {"sip:a@h", "sips:a@h"},
        {"sip:h", "sip:a@h"},
        {"sip:a:@h", "sip:a@h"},
        {"sip:a@h;user=phone", "sip:a@h"},
        {"sip:a@h", "sip:a@h;ttl=1"},
        {"sip:a@h;maddr=192.0.2.1", "sip:a@h"},
        {"sip:a@h;method=INVITE", "sip:a@h;method=invite"},
        {"sip:+1@h", "sip:%2B1@h"},     /* reserved: an escape is another character */
        {"sip:%25%34%31@h", "sip:A@h"}, /* never undone twice */
        {"sip:%00@h", "sip:%00%00@h"},  /* RFC 4475 §3.1.1.4 */
        {"sip:h?a=1&a=1", "sip:h?a=1&a=2"},
        {"sip:h?a=1", "sip:h?a=1&a=1"},
        {"sip:[::1]", "sip:[::2]"},
        {"tel:+491", "tel:+492"},
        {"tel:+49", "tel:49;phone-context=+1"},
        {"tel:+49;ext=1", "tel:+49"},
        {"tel:1;phone-context=+49", "tel:1;phone-context=+48"},
        {"urn:a", "urn:A"},
        {"urn:a", "isbn:a"},
    };
    for (size_t i = 0; i < sizeof(equal) / sizeof(equal[0]); i++) {
        struct uri a = good(equal[i].a), b = good(equal[i].b);
        if (!uri_equal(&a, &b) || !uri_equal(&b, &a))
            fail_msg("%s != %s", equal[i].a, equal[i].b);
    }
    for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++) {
        struct uri a = good(different[i].a), b = good(different[i].b);
        if (uri_equal(&a, &b) || uri_equal(&b, &a))
            fail_msg("%s == %s", different[i].a, different[i].b);
    }
}

/* Which Request-URIs were made of a Contact. */
static void targets(void **state)
{
    (void)state;
    static const struct pair same[] = {
        {"sip:bob@h", "sip:bob@h"},
        {"sip:BoB@h", "sip:bob@H"},
        {"sip:bob@h", "sip:bob@h:5060"},
        {"sips:bob@h", "sip:bob@h:5061;transport=tls"},
        {"sips:bob@h", "sip:bob@h"},
        {"sip:bob:secret@h", "sip:bob@h"},
        {"sip:bob@h;transport=tcp;ob;x=1", "sip:bob@h;x=2"},
        {"sip:bob@h;method=INVITE?Subject=x", "sip:bob@h"},
        {"sip:bob@h;maddr=192.0.2.1", "sip:bob@h;MADDR=192.0.2.1"},
        {"sip:bob@h;gr=x", "sip:bob@h;gr=X"},
        {"sip:h", "sip:h"},
        {"sip:b@[::1]", "sip:b@[0:0::1]"},
        {"urn:a", "URN:a"},
    };
    static const struct pair other[] = {
        {"sip:bob@h", "sip:eve@h"},
        {"sip:bob@h", "sip:bob@g"},
        {"sip:bob@h", "sip:h"},
        {"sip:bob@h", "sip:bob@h:5062"},
        {"sips:bob@h", "sips:bob@h:5060"},
        {"sip:bob@h", "sip:bob@h;maddr=192.0.2.1"},
        {"sip:bob@h;maddr=192.0.2.1", "sip:bob@h;maddr=192.0.2.2"},
        {"sip:bob@h;gr=x", "sip:bob@h"},
        {"sip:bob@h;gr=x", "sip:bob@h;gr=y"},
        {"sip:bob@h;gr", "sip:bob@h"},
        {"sip:+491@h", "tel:+491"},
        {"tel:+491", "tel:+492"},
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct uri a = good(same[i].a), b = good(same[i].b);
        if (!uri_same_target(&a, &b) || !uri_same_target(&b, &a))
            fail_msg("%s != %s", same[i].a, same[i].b);
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        struct uri a = good(other[i].a), b = good(other[i].b);
        if (uri_same_target(&a, &b) || uri_same_target(&b, &a))
            fail_msg("%s == %s", other[i].a, other[i].b);
    }
}

static void canonical_users(void **state)
{
    (void)state;
    static const struct pair users[] = {
        {"mara", "mara"},     {"%6dar%61", "mara"},   {"%2bmara", "%2Bmara"},
        {"+mara", "+mara"},   {"%25%34%31", "%2541"}, {"a%20b", "a%20b"},
        {"%c3%a4", "%C3%A4"}, {"%00", "%00"},         {"%7e%2D", "~-"},
    };
    char room[64];
    struct buf b;
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
        buf_init(&b, room, sizeof(room));
        assert_int_equal(uri_user_canonical(sv_of(users[i].a), &b), ERR_OK);
        if (!sv_eq(buf_sv(&b), sv_of(users[i].b)))
            fail_msg("%s -> " SV_FMT, users[i].a, SV_ARG(buf_sv(&b)));
    }
    buf_init(&b, room, 3);
    assert_int_equal(uri_user_canonical(SV("mara"), &b), ERR_TOOBIG);

    buf_init(&b, room, sizeof(room));
    uri_put_user(&b, SV("m a@%\"\r\n\xc3\xa4+;?"));
    assert_sv(buf_sv(&b), "m%20a%40%25%22%0D%0A%C3%A4+;?");
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        uint8_t ip[16];
    } good_ips[] = {
        {"192.0.2.10", 4, {192, 0, 2, 10}},
        {"::", 16, {0}},
        {"::1", 16, {[15] = 1}},
        {"2001:db8::7", 16, {0x20, 1, 0xd, 0xb8, [15] = 7}},
        {"1:2:3:4:5:6:7:8", 16, {0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8}},
        {"::ffff:192.0.2.10", 16, {[10] = 0xff, [11] = 0xff, 192, 0, 2, 10}},
        {"2001:db8:::192.0.2.1", 16, {0x20, 1, 0xd, 0xb8, [12] = 192, 0, 2, 1}},
        {"1::", 16, {0, 1}},
    };
    uint8_t ip[16];
    size_t n;
    for (size_t i = 0; i < sizeof(good_ips) / sizeof(good_ips[0]); i++) {
        if (uri_host_ip(sv_of(good_ips[i].text), ip, &n) || n != good_ips[i].n ||
            memcmp(ip, good_ips[i].ip, n) != 0)
            fail_msg("%s", good_ips[i].text);
    }
    assert_int_equal(uri_host_ip(SV("example.test"), ip, &n), ERR_SYNTAX);
    assert_int_equal(uri_host_ip(SV("[::1]"), ip, &n), ERR_SYNTAX);
    assert_int_equal(uri_host_ip(SV(""), ip, &n), ERR_SYNTAX);
    assert_int_equal(uri_host_ip(SV_NONE, ip, &n), ERR_SYNTAX);
    assert_int_equal(uri_host_ip(SV("192.0.2.1 "), ip, &n), ERR_SYNTAX);
}

/* The short ways of reading take nothing that the grammar has not, and all addresses of it. */
static void usual_hosts_are_hosts(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "0",   "7",  "10", "99",  "100",  "199", "200", "249", "250", "255", "256", "260", "300",
        "999", "00", "01", "012", "1000", "",    "a",   "1a",  "-",   "2_5", "/",   "\xb2"};
    enum { PARTS = sizeof(parts) / sizeof(parts[0]), SLACK = 64 };
    char text[32 + SLACK];
    uint8_t ip[16];
    size_t n;
    for (unsigned i = 0; i < PARTS * PARTS * PARTS * PARTS; i++) {
        memset(text, ":5060"[i % 5], sizeof(text));
        int length =
            snprintf(text, 32, "%s.%s.%s.%s", parts[i % PARTS], parts[i / PARTS % PARTS],
                     parts[i / (PARTS * PARTS) % PARTS], parts[i / (PARTS * PARTS * PARTS)]);
        text[length] = ';';
        sv host = {text, (size_t)length};
        bool is_ip4 = uri_host_ip(host, ip, &n) == ERR_OK && n == 4;
        if (uri_is_usual_ip4(host) != is_ip4)
            fail_msg("%.*s", length, text);
    }
    static const char letters[] = "a1-._~"; /* plain octets */
    for (unsigned i = 0; i < 6 * 6 * 6 * 6 * 6 * 6 * 6; i++) {
        memset(text, '.', sizeof(text));
        unsigned length = 1 + i % 7, rest = i;
        for (unsigned k = 0; k < length; k++, rest /= 6)
            text[k] = letters[rest % 6];
        text[length] = ';';
        if (uri_is_usual_host(text, text + length) && !uri_is_host((sv){text, length}, false))
            fail_msg("%.*s", (int)length, text);
    }
    memcpy(text, "carrier-7.example.net;", 22);
    assert_true(uri_is_usual_host(text, text + 21));
    memset(text, 'a', 64);
    text[31] = '.';
    text[64] = ':';
    assert_true(uri_is_usual_host(text, text + 64));
    text[63] = '.';
    assert_false(uri_is_usual_host(text, text + 64));
}

static void usual_ports_are_ports(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        char text[16];
        uint16_t port = 0;
        int length = snprintf(text, sizeof(text), "%0*u;", (int)(i % 7), i / 2);
        const char *stop = uri_read_usual_port(text, &port);
        bool good = length - 1 <= 5 && i / 2 > 0 && i / 2 <= 65535;
        if ((stop == text + length - 1) != good || (good && port != i / 2))
            fail_msg("%s", text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_sip_uri_apart),
        cmocka_unit_test(user_part_may_hold_separators),
        cmocka_unit_test(hosts_and_ports_are_strict),
        cmocka_unit_test(parameters_and_headers),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(tel_uris),
        cmocka_unit_test(other_schemes_stay_opaque),
        cmocka_unit_test(print_and_parse_agree),
        cmocka_unit_test(copies_do_not_need_the_text),
        cmocka_unit_test(equality_of_rfc_3261),
        cmocka_unit_test(targets),
        cmocka_unit_test(canonical_users),
        cmocka_unit_test(addresses),
        cmocka_unit_test(usual_hosts_are_hosts),
        cmocka_unit_test(usual_ports_are_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
