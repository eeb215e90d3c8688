/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "sock/addr.h"

static const char *printed(void (*print)(struct buf *, const struct addr *), const struct addr *a)
{
    static char text[80];
    struct buf b;
    buf_init(&b, text, sizeof(text));
    print(&b, a);
    buf_char(&b, 0);
    assert_int_equal(b.rc, ERR_OK);
    return text;
}

static struct addr ip(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(text), 0, &a), ERR_OK);
    return a;
}

static void text_is_rfc5952(void **state)
{
    static const struct {
        const char *in, *out;
    } row[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:DB8::1", "2001:db8::1"},
        {"2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
        {"0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"},
        {"::ffff:192.0.2.7", "192.0.2.7"},
        {"::ffff:c000:207", "192.0.2.7"},
        {"[2001:db8::2]", "2001:db8::2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct addr a = ip(row[i].in);
        assert_string_equal(printed(addr_print_ip, &a), row[i].out);
        struct addr again = ip(row[i].out);
        assert_true(addr_equal(&a, &again));
    }
}

static void bad_text_is_refused(void **state)
{
    static const char *const bad[] = {
        "",          "1.2.3",         "1.2.3.4.5",  "1.2.3.256",   "01.2.3.4",
        "1.2.3.4 ",  "0x7f.0.0.1",    "2130706433", ":::",         "1::2::3",
        "12345::",   "[1.2.3.4]",     "[::1",       "::1]",        "[]",
        "fe80::1%1", "1:2:3:4:5:6:7", "g::",        "host.example"};
    struct addr a;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(addr_parse_ip(sv_of(bad[i]), 0, &a), ERR_SYNTAX);
    assert_int_equal(addr_parse_ip((sv){"1.2.3.4\0", 8}, 0, &a), ERR_SYNTAX);
}

static void port_follows_host(void **state)
{
    struct addr a;
    (void)state;
    assert_int_equal(addr_parse(SV("192.0.2.1:5060"), &a), ERR_OK);
    assert_int_equal(a.port, 5060);
    assert_string_equal(printed(addr_print, &a), "192.0.2.1:5060");
    assert_int_equal(addr_parse(SV("[2001:db8::1]:65535"), &a), ERR_OK);
    assert_int_equal(a.port, 65535);
    assert_string_equal(printed(addr_print, &a), "[2001:db8::1]:65535");
    assert_string_equal(printed(addr_print_host, &a), "[2001:db8::1]");
    assert_int_equal(addr_parse(SV("192.0.2.1:65536"), &a), ERR_RANGE);
    assert_int_equal(addr_parse(SV("192.0.2.1"), &a), ERR_SYNTAX);
    assert_int_equal(addr_parse(SV("192.0.2.1:"), &a), ERR_SYNTAX);
    assert_int_equal(addr_parse(SV(":5060"), &a), ERR_SYNTAX);
    assert_int_equal(addr_parse(SV("2001:db8::1:5060"), &a), ERR_SYNTAX);
    assert_int_equal(addr_parse(SV(""), &a), ERR_SYNTAX);
}

static void classes(void **state)
{
    static const struct {
        const char *text;
        enum addr_class is;
    } row[] = {
        {"8.8.8.8", ADDR_GLOBAL},
        {"192.0.2.1", ADDR_GLOBAL},
        {"10.255.0.1", ADDR_PRIVATE},
        {"11.0.0.1", ADDR_GLOBAL},
        {"172.16.0.1", ADDR_PRIVATE},
        {"172.31.255.255", ADDR_PRIVATE},
        {"172.32.0.1", ADDR_GLOBAL},
        {"192.168.1.1", ADDR_PRIVATE},
        {"100.64.0.1", ADDR_PRIVATE},
        {"100.128.0.1", ADDR_GLOBAL},
        {"127.8.9.1", ADDR_LOOPBACK},
        {"169.254.169.254", ADDR_LINK_LOCAL},
        {"224.0.1.75", ADDR_MULTICAST},
        {"239.1.1.1", ADDR_MULTICAST},
        {"255.255.255.255", ADDR_MULTICAST},
        {"250.1.1.1", ADDR_SPECIAL},
        {"0.0.0.0", ADDR_SPECIAL},
        {"0.1.2.3", ADDR_SPECIAL},
        {"::", ADDR_SPECIAL},
        {"::1", ADDR_LOOPBACK},
        {"::127.0.0.1", ADDR_SPECIAL},
        {"::ffff:127.0.0.1", ADDR_LOOPBACK},
        {"64:ff9b::127.0.0.1", ADDR_LOOPBACK},
        {"64:ff9b::8.8.8.8", ADDR_GLOBAL},
        {"2002:7f00:1::", ADDR_LOOPBACK},
        {"2002:a00:1::", ADDR_PRIVATE},
        {"fe80::1", ADDR_LINK_LOCAL},
        {"febf::1", ADDR_LINK_LOCAL},
        {"fd00::1", ADDR_PRIVATE},
        {"fc00::1", ADDR_PRIVATE},
        {"ff02::1", ADDR_MULTICAST},
        {"2001:db8::1", ADDR_GLOBAL},
        {"2001:0:1::1", ADDR_SPECIAL},
        {"2a00::1", ADDR_GLOBAL},
        {"100::1", ADDR_SPECIAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct addr a = ip(row[i].text);
        if (addr_class(&a) != row[i].is)
            print_error("class of %s\n", row[i].text);
        assert_int_equal(addr_class(&a), row[i].is);
    }
    assert_int_equal(addr_class(&(struct addr){0}), ADDR_SPECIAL);
}

static void equality_and_key(void **state)
{
    struct addr a = ip("192.0.2.1"), b = ip("192.0.2.1"), six = ip("c000:201::");
    uint8_t ka[ADDR_KEY], kb[ADDR_KEY];
    (void)state;
    b.port = 5060;
    assert_true(addr_equal_ip(&a, &b));
    assert_false(addr_equal(&a, &b));
    assert_false(addr_equal_ip(&a, &six)); /* the same octets of another family */
    addr_key(&a, ka);
    addr_key(&b, kb);
    assert_memory_not_equal(ka, kb, ADDR_KEY);
    b.port = 0;
    addr_key(&b, kb);
    assert_memory_equal(ka, kb, ADDR_KEY);
    addr_key(&six, kb);
    assert_memory_not_equal(ka, kb, ADDR_KEY);
    struct addr any4 = ip("0.0.0.0"), any6 = ip("::");
    assert_true(addr_is_any(&any4) && addr_is_any(&any6));
    assert_false(addr_is_any(&a));
}

static bool net_has(const char *net, const char *text)
{
    struct addr_net n;
    struct addr a = ip(text);
    assert_int_equal(addr_net_parse(sv_of(net), &n), ERR_OK);
    return addr_net_has(&n, &a);
}

static void nets(void **state)
{
    struct addr_net n;
    (void)state;
    assert_true(net_has("10.0.0.0/8", "10.1.2.3"));
    assert_false(net_has("10.0.0.0/8", "11.1.2.3"));
    assert_true(net_has("172.16.0.0/12", "172.31.0.1"));
    assert_false(net_has("172.16.0.0/12", "172.32.0.1"));
    assert_true(net_has("0.0.0.0/0", "8.8.8.8"));
    assert_false(net_has("0.0.0.0/0", "::1"));
    assert_true(net_has("fc00::/7", "fdff::1"));
    assert_false(net_has("fc00::/7", "fe00::1"));
    assert_true(net_has("192.0.2.1", "192.0.2.1"));
    assert_false(net_has("192.0.2.1", "192.0.2.2"));
    assert_true(net_has("::ffff:10.0.0.0/104", "10.9.9.9"));
    assert_true(net_has("10.0.0.0/8", "::ffff:10.1.1.1"));
    assert_int_equal(addr_net_parse(SV("10.0.0.1/8"), &n), ERR_RANGE);
    assert_int_equal(addr_net_parse(SV("10.0.0.0/33"), &n), ERR_RANGE);
    assert_int_equal(addr_net_parse(SV("fc00::/129"), &n), ERR_RANGE);
    assert_int_equal(addr_net_parse(SV("::ffff:10.0.0.0/95"), &n), ERR_RANGE);
    assert_int_equal(addr_net_parse(SV("10.0.0.0/"), &n), ERR_SYNTAX);
    assert_int_equal(addr_net_parse(SV("10.0.0.0/-1"), &n), ERR_SYNTAX);
    assert_int_equal(addr_net_parse(SV("/8"), &n), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_rfc5952),   cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(port_follows_host), cmocka_unit_test(classes),
        cmocka_unit_test(equality_and_key),  cmocka_unit_test(nets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
