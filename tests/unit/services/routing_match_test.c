/* SPDX-License-Identifier: MIT */
/* Routes: what matches, what does not, and that the first one wins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "routing/routing_match.h"

static struct addr ip(sv text)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(text, 0, &a), ERR_OK);
    return a;
}

static struct routing_facts alice_calls_bob(void)
{
    return (struct routing_facts){
        .method = SV("INVITE"),
        .source = ip(SV("192.0.2.10")),
        .account_user = SV("alice"),
        .account_domain = SV("example.com"),
        .user = SV("bob"),
        .domain = SV("example.com"),
        .domain_ours = true,
    };
}

static void an_empty_when_takes_everything(void **state)
{
    (void)state;
    struct settings_when w = {0};
    struct routing_facts f = alice_calls_bob();
    assert_true(routing_when(&w, &f));
    w.never = true;
    assert_false(routing_when(&w, &f));
}

static void every_word_of_from(void **state)
{
    (void)state;
    struct addr_net net;
    assert_int_equal(addr_net_parse(SV("192.0.2.0/28"), &net), ERR_OK);
    const struct {
        struct settings_source source;
        bool alice, stranger;
    } table[] = {
        {{.kind = FROM_ACCOUNTS}, true, false},
        {{.kind = FROM_ACCOUNT, .user = SV("alice")}, true, false},
        {{.kind = FROM_ACCOUNT, .user = SV("alice"), .domain = SV("example.com")}, true, false},
        {{.kind = FROM_ACCOUNT, .user = SV("alice"), .domain = SV("other.com")}, false, false},
        {{.kind = FROM_ACCOUNT, .user = SV("bob")}, false, false},
        {{.kind = FROM_STRANGERS}, false, true},
        {{.kind = FROM_NETWORK, .network = net}, true, false},
        {{.kind = FROM_TLS, .name = SV("edge.example.net")}, false, false},
    };
    struct routing_facts alice = alice_calls_bob();
    struct routing_facts stranger = alice_calls_bob();
    stranger.account_user = SV("");
    stranger.source = ip(SV("192.0.2.99"));
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct settings_when w = {.from = {table[i].source}, .from_n = 1};
        assert_int_equal(routing_when(&w, &alice), table[i].alice);
        assert_int_equal(routing_when(&w, &stranger), table[i].stranger);
    }
}

static void a_list_means_any_and_all_fields_must_hold(void **state)
{
    (void)state;
    struct routing_facts f = alice_calls_bob();
    struct settings_when w = {
        .user = {SV("carol"), SV("bo*")},
        .user_n = 2,
        .domain = {SV("else.where"), SV("local")},
        .domain_n = 2,
        .method = {SV("MESSAGE"), SV("INVITE")},
        .method_n = 2,
        .zones = 1u << 3 | 1u << 0,
    };
    assert_true(routing_when(&w, &f));
    f.zone = 1;
    assert_false(routing_when(&w, &f));
    f.zone = 3;
    assert_true(routing_when(&w, &f));
    f.method = SV("invite"); /* methods are case-sensitive */
    assert_false(routing_when(&w, &f));
    f.method = SV("MESSAGE");
    f.user = SV("b");
    assert_false(routing_when(&w, &f));
    f.user = SV("bo");
    assert_true(routing_when(&w, &f));
    f.domain_ours = false;
    assert_false(routing_when(&w, &f));
    f.domain = SV("else.where");
    assert_true(routing_when(&w, &f));
}

static void the_first_route_wins_and_not_turns_round(void **state)
{
    (void)state;
    struct settings_route routes[3] = {
        {.when = {.user = {SV("bob")}, .user_n = 1},
         .unless = {.method = {SV("INVITE")}, .method_n = 1},
         .has_unless = true},
        {.when = {.user = {SV("bob")}, .user_n = 1}},
        {.when = {.from_n = 0}},
    };
    struct settings set = {.routes = routes, .routes_n = 3};
    struct routing_facts f = alice_calls_bob();
    assert_ptr_equal(routing_match(&set, &f), &routes[1]);
    f.method = SV("MESSAGE");
    assert_ptr_equal(routing_match(&set, &f), &routes[0]);
    f.user = SV("carol");
    assert_ptr_equal(routing_match(&set, &f), &routes[2]);
    set.routes_n = 2;
    assert_null(routing_match(&set, &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_when_takes_everything),
        cmocka_unit_test(every_word_of_from),
        cmocka_unit_test(a_list_means_any_and_all_fields_must_hold),
        cmocka_unit_test(the_first_route_wins_and_not_turns_round),
    };
    return cmocka_run_group_tests_name("routing_match", tests, NULL, NULL);
}
