/* SPDX-License-Identifier: MIT */
/* The snapshot: its defaults, its references, whose domain a host is. */
#include "rig.h"

static void test_default(void **state)
{
    (void)state;
    struct settings *s;
    size_t live = mem_live();
    assert_int_equal(settings_default(SV("Example.COM"), &s), ERR_OK);
    assert_true(sv_eq(s->domains[0].name, SV("example.com")));
    assert_true(sv_eq(s->domains[0].realm, SV("example.com")));
    assert_int_equal(s->domains_n, 1);
    assert_int_equal(s->authenticate, SETTINGS_AUTH_ALL);
    assert_int_equal(s->strangers, SETTINGS_STRANGERS_REFUSE);
    assert_true(s->ringing > 3 * USEC_MIN); /* RFC 3261 §16.6 step 11 */
    assert_true(s->calls_max > 0 && s->breadth > 0 && s->contacts > 0 && s->sip.transactions > 0);
    assert_true(s->min_se >= 90 * USEC_S && s->session_timer >= s->min_se); /* RFC 4028 §4 */
    assert_true(s->outbound && s->keepalive > 0 && s->sip.handshake > 0);
    assert_int_equal(s->sip.zones, 1);
    assert_true(sv_eq(s->sip.zone[0].name, SV("default")));
    assert_ptr_equal(settings_ref(s), s);
    settings_unref(s);
    assert_int_equal(s->domains_n, 1); /* one reference is left */
    settings_unref(s);
    settings_unref(NULL);
    assert_int_equal(mem_live(), live);
}

static void test_domain(void **state)
{
    (void)state;
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    static const struct {
        const char *host;
        uint16_t port;
        bool ours;
    } domains[] = {{"example.com", 0, true},
                   {"EXAMPLE.com.", 0, true},
                   {"alias.Example.NET", 0, true},
                   {"192.0.2.1", 0, true},
                   {"192.0.2.1", 5060, true},
                   {"192.0.2.1", 5061, false},
                   {"example.co", 0, false},
                   {"xexample.com", 0, false},
                   {"example.com..", 0, false},
                   {".", 0, false},
                   {"", 0, false},
                   {"192.0.2.2", 0, false}};
    for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
        const struct settings_domain *d =
            settings_domain_of(r->set, r->sip, sv_of(domains[i].host), domains[i].port);
        if ((d != NULL) != domains[i].ours)
            fail_msg("%s:%u", domains[i].host, domains[i].port);
        if (d)
            assert_true(sv_eq(d->name, SV("example.com")));
    }
    assert_null(settings_domain_of(r->set, NULL, SV("192.0.2.1"), 0));
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
