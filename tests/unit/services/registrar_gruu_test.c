/* SPDX-License-Identifier: MIT */
/* Addresses of one phone: RFC 5627 §5 (registrar), §6.1 (who is meant). */
#include "registrar_run.h"
#include <stdlib.h>
#include "crypto/crypto.h"
#include "sim/sim.h"

#define ONE "+sip.instance=\"<urn:uuid:F81d4fae-7dec>\""
#define OB  "Supported: gruu, path, outbound\r\n"
#define TCP "SIP/2.0/TCP " PEER ":5070"

/* An endpoint, for its secret alone. */
struct endpoint {
    struct sim *sim;
    struct sim_host *host;
    struct loop_group *group;
    struct settings *set;
    struct sip_shared *shared;
    struct sip *sip;
};

static const struct sip_user nobody = {0};

static void endpoint_new(struct endpoint *e, const char *secret)
{
    struct addr ip = address("192.0.2.1", 0);
    assert_int_equal(crypto_start(), ERR_OK);
    assert_int_equal(sim_new(1, &e->sim), ERR_OK);
    assert_int_equal(sim_host_new(e->sim, "a", &ip, 1, &e->host), ERR_OK);
    assert_int_equal(sim_process(e->host, 1, &e->group), ERR_OK);
    assert_int_equal(settings_default(SV("example.com"), &e->set), ERR_OK);
    assert_int_equal(sip_shared_new((const uint8_t *)secret, e->group, &e->set->sip, &e->shared),
                     ERR_OK);
    assert_int_equal(sip_new(e->group->loop[0], e->shared, &nobody, NULL, &e->sip), ERR_OK);
}

static void endpoint_free(struct endpoint *e)
{
    sim_process_stop(e->host);
    sip_free(e->sip);
    sip_shared_free(e->shared);
    settings_unref(e->set);
    sim_process_free(e->host);
    sim_free(e->sim);
}

static const char secret[] = "thirty-two octets for one test.";

static void begin_gruu(struct fixture *f, struct endpoint *e)
{
    endpoint_new(e, secret);
    begin(f);
    f->lim.outbound = true;
    f->flow.transport = SIP_T_TCP;
    f->flow.conn = 5;
}

/* The quoted value of a parameter in the nth line that has it; "": none. */
static const char *quoted(const char *text, const char *name)
{
    static char mem[4][512];
    static unsigned turn;
    char *out = mem[turn++ % 4], look[32];
    snprintf(look, sizeof(look), ";%s=\"", name);
    const char *p = strstr(text, look);
    out[0] = 0;
    if (p)
        snprintf(out, sizeof(mem[0]), "%.*s", (int)strcspn(p + strlen(look), "\""),
                 p + strlen(look));
    return out;
}

static const char *answer(struct fixture *f, struct endpoint *e)
{
    f->in.sip = e->sip;
    f->in.chance += 1000;
    return headers(f, e->set);
}

static enum err resolve(struct fixture *f, struct endpoint *e, const char *text,
                        struct registrar_gruu *ret)
{
    struct uri u;
    if (uri_parse(sv_of(text), &u, NULL))
        fail_msg("%s is no URI", text);
    return registrar_gruu_read(e->sip, &u, &f->keep, ret);
}

/* How many bindings it means; -1: it is none of ours. */
static int meant(struct fixture *f, struct endpoint *e, const char *text)
{
    struct registrar_gruu g;
    struct binding b[64];
    if (resolve(f, e, text, &g))
        return -1;
    if (g.temporary)
        assert_true(sv_eq(g.user, SV("a")) && sv_eq(g.domain, SV("example.com")));
    memcpy(b, f->result.bindings, f->result.n * sizeof(*b));
    return (int)registrar_gruu_bindings(&g, b, f->result.n);
}

static void a_phone_that_asks_is_given_both(void **state)
{
    (void)state;
    struct fixture f;
    struct endpoint e;
    begin_gruu(&f, &e);
    apply_via(&f, TCP, "c1", 1,
              "Contact: <sip:a@x.invalid>;" ONE
              ";pub-gruu=\"sip:evil@x\";temp-gruu=\"sip:y@x\"\r\n");
    const char *text = answer(&f, &e);
    assert_null(strstr(text, "gruu")); /* it did not ask, and what it says itself is ignored */
    apply_via(&f, TCP, "c1", 1,
              OB "Contact: <sip:a@x.invalid>;" ONE "\r\nContact: <sip:b@x.invalid>\r\n");
    text = answer(&f, &e);
    assert_string_equal(quoted(text, "pub-gruu"), "sip:a@example.com;gr=urn:uuid:F81d4fae-7dec");
    const char *temp = quoted(text, "temp-gruu");
    assert_int_equal(strncmp(temp, "sip:tgruu.", 10), 0);
    assert_non_null(strstr(temp, "@example.com;gr"));
    assert_null(strstr(temp, "F81d4fae"));
    assert_null(strstr(strstr(text, "sip:b@x.invalid"), "gruu")); /* no instance, no GRUU */
    assert_null(strstr(text, "Require"));                         /* §5.2 */
    assert_int_equal(meant(&f, &e, temp), 1);
    assert_int_equal(meant(&f, &e, quoted(text, "pub-gruu")), 1);
    /* §5.2: the most recently created, and another one each time; the first still holds */
    text = answer(&f, &e);
    assert_string_not_equal(quoted(text, "temp-gruu"), temp);
    assert_int_equal(meant(&f, &e, quoted(text, "temp-gruu")), 1);
    assert_int_equal(meant(&f, &e, temp), 1);
    /* RFC 5630 §5.2.1: a sips Contact gets a sips GRUU. */
    f.flow.transport = SIP_T_TLS;
    apply_uri(&f, "sips:example.com", TCP, "c1", 1, OB "Contact: <sips:a@x.invalid>;" ONE "\r\n");
    text = answer(&f, &e);
    assert_int_equal(strncmp(quoted(text, "pub-gruu"), "sips:a@", 7), 0);
    assert_int_equal(strncmp(quoted(text, "temp-gruu"), "sips:tgruu.", 11), 0);
    done(&f);
    endpoint_free(&e);
}

static void what_ends_a_temporary_one(void **state)
{
    (void)state;
    struct fixture f;
    struct endpoint e;
    char first[512], second[512], third[512];
    begin_gruu(&f, &e);
#define FLOW(id) OB "Contact: <sip:a@x.invalid>;" ONE ";reg-id=" id "\r\n"
    apply_via(&f, TCP, "c1", 1, FLOW("1"));
    snprintf(first, sizeof(first), "%s", quoted(answer(&f, &e), "temp-gruu"));
    keep(&f);
    /* refreshed, and another flow beside it (its own Call-ID): all of them hold, for both */
    apply_via(&f, TCP, "c1", 2, FLOW("1"));
    keep(&f);
    apply_via(&f, TCP, "c2", 1, FLOW("2"));
    snprintf(second, sizeof(second), "%s", quoted(answer(&f, &e), "temp-gruu"));
    keep(&f);
    assert_int_equal(meant(&f, &e, first), 2);
    assert_int_equal(meant(&f, &e, second), 2);
    /* §5.1: the flow comes with another Call-ID: those of before are no more, for no flow */
    apply_via(&f, TCP, "c3", 1, FLOW("1"));
    snprintf(third, sizeof(third), "%s", quoted(answer(&f, &e), "temp-gruu"));
    keep(&f);
    assert_int_equal(meant(&f, &e, first), 0);
    assert_int_equal(meant(&f, &e, second), 0);
    assert_int_equal(meant(&f, &e, third), 2);
    /* §5.3: with the last binding they are gone, and do not come back; the public one does */
    apply_via(&f, TCP, "c9", 1, "Contact: *\r\nExpires: 0\r\n");
    keep(&f);
    assert_int_equal(meant(&f, &e, third), 0);
    apply_via(&f, TCP, "c3", 2, FLOW("1"));
    assert_int_equal(meant(&f, &e, third), 0);
    assert_int_equal(meant(&f, &e, "sip:a@example.com;gr=urn:uuid:f81d4fae-7dec"), 1);
    keep(&f);
    /* Without flows: any binding of the phone with another Call-ID ends them. */
    apply_via(&f, TCP, "d1", 1, OB "Contact: <sip:p@x.invalid>;+sip.instance=\"<urn:p>\"\r\n");
    const char *text = strstr(answer(&f, &e), "sip:p@x.invalid");
    snprintf(first, sizeof(first), "%s", quoted(text, "temp-gruu"));
    keep(&f);
    assert_int_equal(meant(&f, &e, first), 1);
    apply_via(&f, TCP, "d2", 1, OB "Contact: <sip:p2@x.invalid>;+sip.instance=\"<urn:p>\"\r\n");
    assert_int_equal(meant(&f, &e, first), 0);
    done(&f);
    endpoint_free(&e);
}

static void another_process_with_the_same_secret_knows_them(void **state)
{
    (void)state;
    struct fixture f;
    struct endpoint e, same, other;
    begin_gruu(&f, &e);
    endpoint_new(&same, secret);
    endpoint_new(&other, "another thirty-two octets......");
    apply_via(&f, TCP, "c1", 1, FLOW("1"));
    const char *temp = quoted(answer(&f, &e), "temp-gruu");
    assert_int_equal(meant(&f, &same, temp), 1);
    assert_int_equal(meant(&f, &other, temp), -1);
    done(&f);
    endpoint_free(&other);
    endpoint_free(&same);
    endpoint_free(&e);
}

static void nobody_else_makes_one(void **state)
{
    (void)state;
    struct fixture f;
    struct endpoint e;
    struct registrar_gruu g;
    char temp[512], bent[512];
    begin_gruu(&f, &e);
    apply_via(&f, TCP, "c1", 1, FLOW("1"));
    snprintf(temp, sizeof(temp), "%s", quoted(answer(&f, &e), "temp-gruu"));
    size_t at = strlen("sip:tgruu."), n = strcspn(temp, "@") - at;
    for (size_t i = 0; i < n; i++) {
        memcpy(bent, temp, sizeof(bent));
        bent[at + i] = bent[at + i] == 'A' ? 'B' : 'A';
        /* the last character may have bits that say nothing */
        if (i + 1 < n || n % 4 == 0)
            assert_int_equal(resolve(&f, &e, bent, &g), ERR_DENIED);
    }
    static const struct {
        const char *uri;
        enum err rc;
    } cases[] = {
        {"sip:a@example.com", ERR_NOTFOUND},
        {"sip:a@example.com;transport=tcp", ERR_NOTFOUND},
        {"tel:+1;gr=x", ERR_NOTFOUND},
        {"sip:a@example.com;gr", ERR_DENIED},
        {"sip:tgruu.@example.com;gr", ERR_DENIED},
        {"sip:tgruu.AAAA@example.com;gr", ERR_DENIED},
        {"sip:tgruu.AAAA@example.com;gr=urn:x", ERR_DENIED},
        {"sip:tgruu.!!!!@example.com;gr", ERR_DENIED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (resolve(&f, &e, cases[i].uri, &g) != cases[i].rc)
            fail_msg("%s", cases[i].uri);
    assert_int_equal(meant(&f, &e, "sip:a@example.com;gr=urn:uuid:other"), 0);
    done(&f);
    endpoint_free(&e);
}

/* §5.1: two of one phone look no more alike than two of two phones. */
static void temporary_ones_say_nothing_of_each_other(void **state)
{
    (void)state;
    struct fixture f;
    struct endpoint e;
    char one[512];
    begin_gruu(&f, &e);
    apply_via(&f, TCP, "c1", 1, FLOW("1"));
    snprintf(one, sizeof(one), "%s", quoted(answer(&f, &e), "temp-gruu"));
    const char *two = quoted(answer(&f, &e), "temp-gruu");
    size_t at = strlen("sip:tgruu."), n = strcspn(one, "@") - at, same = 0;
    assert_int_equal(strlen(one), strlen(two));
    for (size_t i = 0; i < n; i++)
        same += one[at + i] == two[at + i];
    assert_true(same < n / 4);
    done(&f);
    endpoint_free(&e);
}

static void odd_instances_survive_the_uri(void **state)
{
    (void)state;
    struct fixture f;
    struct endpoint e;
    begin_gruu(&f, &e);
    apply_via(&f, TCP, "c1", 1,
              OB "Contact: <sip:a@x.invalid>;+sip.instance=\"<urn:a%b@c;d=\\\"e>\"\r\n");
    const char *pub = quoted(answer(&f, &e), "pub-gruu");
    assert_string_equal(pub, "sip:a@example.com;gr=urn:a%25b%40c%3Bd%3D%22e");
    assert_int_equal(meant(&f, &e, pub), 1);
    assert_int_equal(meant(&f, &e, "sip:a@example.com;gr=urn:a%25b%40c%3Bd%3D%22f"), 0);
    done(&f);
    endpoint_free(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_phone_that_asks_is_given_both),
        cmocka_unit_test(what_ends_a_temporary_one),
        cmocka_unit_test(another_process_with_the_same_secret_knows_them),
        cmocka_unit_test(nobody_else_makes_one),
        cmocka_unit_test(temporary_ones_say_nothing_of_each_other),
        cmocka_unit_test(odd_instances_survive_the_uri),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
