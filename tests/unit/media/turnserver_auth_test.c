/* SPDX-License-Identifier: MIT */
/* turnserver_auth_test.c: who is let in: long-term credentials (RFC 8489 §9.2), nonces, names that end. */
#include "turn_world.h"

#define PEER ip("203.0.113.7", 40000)

static bool has_challenge(const struct world *w)
{
    return stunmsg_has(&w->m, STUN_REALM) && stunmsg_has(&w->m, STUN_NONCE) &&
           stunmsg_has(&w->m, STUN_PASSWORD_ALGORITHMS);
}

static void a_stranger_is_challenged_and_nothing_is_kept_of_him(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    uint32_t features;
    struct stun_attr a;
    (void)state;
    size_t live = mem_live();
    challenge(&c);
    assert_true(has_challenge(w));
    assert_true(stun_nonce_features((sv){c.nonce, c.nonce_n}, &features));
    assert_int_equal(features, STUN_PASSWORD_ALGORITHMS_BIT);
    assert_true(stunmsg_find(&w->m, STUN_REALM, &a));
    assert_true(sv_eq(a.value, REALM));
    assert_int_equal(stunmsg_integrity(&w->m), STUN_UNSIGNED);
    assert_false(stunmsg_has(&w->m, STUN_USERNAME));
    assert_int_equal(mem_live(), live);
    assert_int_equal(refused(w, STAT_TURN_UNAUTHENTICATED), 1);
    /* D15: what it is answered is short */
    assert_in_range(w->answer_n, 1, 120);
    world_free(w);
}

static void no_two_ports_have_one_nonce(void **state)
{
    struct world *w = world_new();
    struct client a = client_at(w, "192.0.2.77", 5000), b = client_at(w, "192.0.2.77", 5001);
    struct client far = client_at(w, "192.0.2.78", 5000);
    (void)state;
    challenge(&a);
    challenge(&b);
    challenge(&far);
    assert_memory_not_equal(a.nonce, b.nonce, a.nonce_n);
    assert_memory_not_equal(a.nonce, far.nonce, a.nonce_n);
    /* a NAT that changes the port costs nothing; another address does */
    memcpy(b.nonce, a.nonce, a.nonce_n);
    assert_int_equal(allocate(&b), 0);
    memcpy(far.nonce, a.nonce, a.nonce_n);
    assert_int_equal(allocate(&far), 438);
    take_nonce(&far);
    assert_int_equal(allocate(&far), 0);
    world_free(w);
}

static void a_nonce_grows_stale_within_the_hour(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    (void)state;
    assert_int_equal(refresh(&c, 3600), 0);
    pass(w, TURNSERVER_NONCE_LIFE - 2 * USEC_S);
    assert_int_equal(refresh(&c, 3600), 0);
    pass(w, 2 * USEC_S);
    assert_int_equal(refresh(&c, 3600), 438);
    assert_true(has_challenge(w));
    assert_int_equal(refused(w, STAT_TURN_STALE_NONCE), 1);
    take_nonce(&c);
    assert_int_equal(refresh(&c, 3600), 0);
    /* changed by an octet anywhere, or cut, it is nobody's */
    for (size_t i = 0; i < c.nonce_n; i++) {
        c.nonce[i] ^= 1;
        assert_int_equal(refresh(&c, 3600), 438);
        c.nonce[i] ^= 1;
    }
    c.nonce_n--;
    assert_int_equal(refresh(&c, 3600), 438);
    world_free(w);
}

static void all_three_ways_to_sign_are_taken_and_answered_in_kind(void **state)
{
    static const enum sign ways[] = {SIGN_MD5, SIGN_SHA256, SIGN_MD5_LISTED};
    static const enum stun_integrity answers[] = {STUN_SHA1, STUN_SHA256, STUN_SHA256};
    struct world *w = world_new();
    (void)state;
    for (uint16_t i = 0; i < 3; i++) {
        struct client c = client_at(w, "192.0.2.77", (uint16_t)(5000 + i));
        uint8_t key[STUN_KEY_MAX];
        c.sign = ways[i];
        challenge(&c);
        assert_int_equal(allocate(&c), 0);
        assert_int_equal(stunmsg_integrity(&w->m), answers[i]);
        size_t n = stun_key(ways[i] == SIGN_SHA256 ? STUN_ALGORITHM_SHA256 : STUN_ALGORITHM_MD5,
                            (sv){c.user, c.user_n}, REALM, (sv){c.password, c.password_n}, key);
        assert_int_equal(stunmsg_verify(&w->m, (sv){(char *)key, n}, 32), ERR_OK);
        assert_int_equal(allocate(&c), 437); /* a refusal is signed, too */
        assert_int_equal(stunmsg_verify(&w->m, (sv){(char *)key, n}, 32), ERR_OK);
    }
    world_free(w);
}

/* §9.2.1: who takes the better algorithm out of what he passes on is found out. */
static void algorithms_must_be_those_that_were_offered(void **state)
{
    static const uint16_t md5[] = {STUN_ALGORITHM_MD5}, sha[] = {STUN_ALGORITHM_SHA256};
    static const uint16_t swapped[] = {STUN_ALGORITHM_MD5, STUN_ALGORITHM_SHA256};
    static const uint16_t both[] = {STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5}, odd[] = {9};
    static const struct {
        const uint16_t *list, *one;
        size_t list_n, one_n;
    } cases[] = {
        {md5, md5, 1, 1},  {sha, sha, 1, 1},  {swapped, sha, 2, 1}, {both, odd, 2, 1},
        {NULL, sha, 0, 1}, {NULL, md5, 0, 1}, {both, NULL, 2, 0},   {both, both, 2, 2},
    };
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    uint8_t key[STUN_KEY_MAX];
    (void)state;
    challenge(&c);
    size_t n = stun_key(STUN_ALGORITHM_SHA256, (sv){c.user, c.user_n}, REALM,
                        (sv){c.password, c.password_n}, key);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(&c, STUN_ALLOCATE);
        stunmsg_put_transport(&c.o, 17);
        stunmsg_put(&c.o, STUN_USERNAME, (sv){c.user, c.user_n});
        stunmsg_put(&c.o, STUN_REALM, REALM);
        stunmsg_put(&c.o, STUN_NONCE, (sv){c.nonce, c.nonce_n});
        if (cases[i].list)
            stunmsg_put_algorithms(&c.o, STUN_PASSWORD_ALGORITHMS, cases[i].list, cases[i].list_n);
        if (cases[i].one)
            stunmsg_put_algorithms(&c.o, STUN_PASSWORD_ALGORITHM, cases[i].one, cases[i].one_n);
        stunmsg_put_integrity(&c.o, STUN_SHA256, (sv){(char *)key, n});
        c.sign = UNSIGNED;
        if (ask(&c) != 400)
            fail_msg("case %zu", i);
        assert_false(stunmsg_has(&w->m, STUN_NONCE) || stunmsg_has(&w->m, STUN_REALM));
    }
    world_free(w);
}

static void what_belongs_to_a_signature_must_be_there(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    challenge(&c);
    c.sign = UNSIGNED;
    for (unsigned without = 0; without < 3; without++) {
        begin(&c, STUN_ALLOCATE);
        stunmsg_put_transport(&c.o, 17);
        if (without != 0)
            stunmsg_put(&c.o, STUN_USERNAME, (sv){c.user, c.user_n});
        if (without != 1)
            stunmsg_put(&c.o, STUN_REALM, REALM);
        if (without != 2)
            stunmsg_put(&c.o, STUN_NONCE, (sv){c.nonce, c.nonce_n});
        stunmsg_put_integrity(&c.o, STUN_SHA1, SV("any"));
        assert_int_equal(ask(&c), 400);
    }
    world_free(w);
}

static void whoever_is_not_proved_gets_nothing(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000), right = c;
    (void)state;
    challenge(&right);
    c = right;
    c.password[0] ^= 1; /* wrong password */
    assert_int_equal(allocate(&c), 401);
    assert_true(has_challenge(w));
    c = right;
    c.user[0]++; /* a name that ends later than the one that was given out */
    assert_int_equal(allocate(&c), 401);
    c = right;
    c.user[c.user_n - 1] = 'u'; /* another account */
    assert_int_equal(allocate(&c), 401);
    static const char *const names[] = {"alice@example.test",
                                        ":alice@example.test",
                                        "1:",
                                        "1",
                                        "99999999999:alice@example.test",
                                        "-1:alice@example.test",
                                        "0x7fffffff:alice@example.test"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        c = right;
        c.user_n = strlen(names[i]);
        memcpy(c.user, names[i], c.user_n);
        assert_int_equal(allocate(&c), 401);
        pass(w, USEC_S);
    }
    begin(&c, STUN_ALLOCATE); /* the realm of another */
    stunmsg_put_transport(&c.o, 17);
    stunmsg_put(&c.o, STUN_USERNAME, (sv){right.user, right.user_n});
    stunmsg_put(&c.o, STUN_REALM, SV("example.org"));
    stunmsg_put(&c.o, STUN_NONCE, (sv){right.nonce, right.nonce_n});
    stunmsg_put_integrity(&c.o, STUN_SHA1, SV("any"));
    c.sign = UNSIGNED;
    assert_int_equal(ask(&c), 401);
    begin(&c, STUN_ALLOCATE); /* an anonymous name, which we do not offer */
    stunmsg_put_transport(&c.o, 17);
    stunmsg_put(&c.o, STUN_USERHASH, SV("0123456789abcdef0123456789abcdef"));
    stunmsg_put(&c.o, STUN_REALM, REALM);
    stunmsg_put(&c.o, STUN_NONCE, (sv){right.nonce, right.nonce_n});
    stunmsg_put_integrity(&c.o, STUN_SHA1, SV("any"));
    assert_int_equal(ask(&c), 401);
    assert_int_equal(w->opened, 0);
    assert_int_equal(allocate(&right), 0);
    /* a message that was changed on its way */
    struct addr peer = PEER;
    begin(&right, STUN_CREATE_PERMISSION);
    put_peer(&right, &peer);
    size_t at = right.b.n - 1;
    sign(&right);
    right.mem[at] ^= 1;
    unsigned before = w->answers;
    deliver(&right);
    assert_int_equal(code_of(&right, before), 401);
    world_free(w);
}

static void a_name_ends(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000), late;
    struct addr peer = PEER;
    (void)state;
    login(&c, ACCOUNT, 60);
    challenge(&c);
    assert_int_equal(allocate(&c), 0);
    pass(w, 59 * USEC_S);
    late = c;
    late.tuple.client.port++;
    assert_int_equal(allocate(&late), 0);
    pass(w, USEC_S);
    late.tuple.client.port++;
    assert_int_equal(allocate(&late), 401);
    assert_true(has_challenge(w));
    assert_int_equal(stunmsg_integrity(&w->m), STUN_UNSIGNED);
    assert_int_equal(refused(w, STAT_TURN_EXPIRED), 1);
    /* what stands goes on: a call may be longer than a name */
    assert_int_equal(refresh(&c, 600), 0);
    assert_int_equal(permit(&c, &peer), 0);
    /* but not longer than its account */
    w->no_account = true;
    assert_int_equal(refresh(&c, 600), 401);
    assert_int_equal(permit(&c, &peer), 401);
    world_free(w);
}

/* This many were counted as wrong and as expired, and one more of them was told of than before. */
static void assert_told(struct world *w, enum turnserver_wrong why, unsigned wrong,
                        unsigned expired)
{
    assert_int_equal(refused(w, STAT_TURN_WRONG_CREDENTIALS), wrong);
    assert_int_equal(refused(w, STAT_TURN_EXPIRED), expired);
    assert_int_equal(w->wrongs, 1);
    assert_int_equal(w->wrong, why);
    w->wrongs = 0;
}

/* A first request has no credentials by design (RFC 8489 §9.2.4), and is no guess. */
static void wrong_credentials_are_told_from_none(void **state)
{
    struct world *w = world_new();
    struct client right = client_at(w, "192.0.2.77", 5000), c;
    (void)state;
    challenge(&right);
    assert_int_equal(refused(w, STAT_TURN_WRONG_CREDENTIALS), 0);
    assert_int_equal(w->wrongs, 0);
    c = right;
    c.password[0] ^= 1;
    assert_int_equal(allocate(&c), 401);
    assert_told(w, TURNSERVER_WRONG_PASSWORD, 1, 0);
    assert_true(addr_equal(&w->wrong_from, &c.tuple.client));
    assert_int_equal(w->wrong_user_n, c.user_n);
    assert_memory_equal(w->wrong_user, c.user, c.user_n);
    c = right; /* an account's own name and password are nothing here */
    c.user_n = ACCOUNT.n;
    memcpy(c.user, ACCOUNT.p, ACCOUNT.n);
    assert_int_equal(allocate(&c), 401);
    assert_told(w, TURNSERVER_WRONG_USER, 2, 0);
    w->no_account = true;
    assert_int_equal(allocate(&right), 401);
    assert_told(w, TURNSERVER_WRONG_USER, 3, 0);
    w->no_account = false;
    c = right;
    login(&c, ACCOUNT, 1);
    pass(w, USEC_S);
    assert_int_equal(allocate(&c), 401);
    assert_told(w, TURNSERVER_WRONG_EXPIRED, 3, 1);
    assert_int_equal(refused(w, STAT_TURN_UNAUTHENTICATED), 1);
    assert_int_equal(allocate(&right), 0);
    world_free(w);
}

/* Whose address a datagram bears has not sent it for that: of who shows no nonce of this address nothing is said. */
static void who_was_not_challenged_is_not_told_of(void **state)
{
    struct world *w = world_new();
    struct client near = client_at(w, "192.0.2.77", 5000), far = client_at(w, "192.0.2.78", 5000);
    (void)state;
    challenge(&near);
    memcpy(far.nonce, near.nonce, near.nonce_n);
    far.nonce_n = near.nonce_n;
    assert_int_equal(allocate(&far), 438); /* a nonce is no credential */
    assert_int_equal(refused(w, STAT_TURN_WRONG_CREDENTIALS), 0);
    far.password[0] ^= 1;
    assert_int_equal(allocate(&far), 401);
    assert_int_equal(refused(w, STAT_TURN_WRONG_CREDENTIALS), 1);
    assert_int_equal(w->wrongs, 0);
    take_nonce(&far);
    assert_int_equal(allocate(&far), 401);
    assert_told(w, TURNSERVER_WRONG_PASSWORD, 2, 0);
    /* nor of what is not even answered */
    for (unsigned i = 0; i < 2 * TURNSERVER_ANSWERS_A_SECOND; i++)
        allocate(&far);
    assert_in_range(w->wrongs, 1, TURNSERVER_ANSWERS_A_SECOND);
    assert_int_equal(w->wrongs + 2, refused(w, STAT_TURN_WRONG_CREDENTIALS));
    world_free(w);
}

static void nobody_takes_anothers_allocation(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000), thief = c;
    struct addr peer = PEER;
    (void)state;
    login(&thief, SV("bob@example.test"), 600);
    assert_int_equal(refresh(&thief, 0), 441);
    assert_int_equal(permit(&thief, &peer), 441);
    assert_int_equal(bind_channel(&thief, 0x4000, &peer), 441);
    assert_int_equal(allocate(&thief), 437);
    assert_int_equal(refused(w, STAT_TURN_WRONG_CREDENTIALS), 3);
    /* the same account with a later name is another name (§5) */
    thief = c;
    login(&thief, ACCOUNT, 1000);
    assert_int_equal(refresh(&thief, 0), 441);
    assert_int_equal(w->open, 1);
    world_free(w);
}

static void a_source_is_answered_so_often(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    unsigned answered = 0;
    (void)state;
    c.sign = UNSIGNED;
    for (unsigned i = 0; i < 10 * TURNSERVER_ANSWERS_A_SECOND; i++, c.tuple.client.port++) {
        begin(&c, i % 2 ? STUN_BINDING : STUN_ALLOCATE);
        answered += ask(&c) >= 0;
    }
    assert_int_equal(answered, TURNSERVER_ANSWERS_A_SECOND);
    assert_int_equal(refused(w, STAT_TURN_RATE), 9 * TURNSERVER_ANSWERS_A_SECOND);
    pass(w, USEC_S);
    begin(&c, STUN_ALLOCATE);
    assert_int_equal(ask(&c), 401);
    /* who has proved himself is not rationed */
    struct client good = client_at(w, "192.0.2.77", 6000);
    challenge(&good);
    assert_int_equal(allocate(&good), 0);
    for (unsigned i = 0; i < 10 * TURNSERVER_ANSWERS_A_SECOND; i++)
        assert_int_equal(refresh(&good, 600), 0);
    world_free(w);
}

static void credentials_are_for_an_hour_and_of_this_installation(void **state)
{
    struct world *w = world_new(), *other = world_new();
    char user_mem[TURNSERVER_USER_MAX + 1], password_mem[64], long_name[400];
    struct buf user, password;
    (void)state;
    buf_init(&user, user_mem, sizeof(user_mem));
    buf_init(&password, password_mem, sizeof(password_mem));
    assert_int_equal(turnserver_credential(w->shared, ACCOUNT, w->wall, 0, &user, &password),
                     ERR_RANGE);
    assert_int_equal(turnserver_credential(w->shared, ACCOUNT, w->wall, 3601, &user, &password),
                     ERR_RANGE);
    memset(long_name, 'a', sizeof(long_name));
    assert_int_equal(turnserver_credential(w->shared, (sv){long_name, sizeof(long_name)}, w->wall,
                                           60, &user, &password),
                     ERR_TOOBIG);
    buf_reset(&user);
    buf_reset(&password);
    assert_int_equal(turnserver_credential(w->shared, ACCOUNT, w->wall, 3600, &user, &password),
                     ERR_OK);
    assert_true(sv_eq(buf_sv(&user), SV("1790003600:alice@example.test")));
    assert_int_equal(password.n, TURNSERVER_PASSWORD_LEN);
    /* another secret, another password */
    static const uint8_t secret[32] = "another one";
    struct turnserver_shared *sh;
    char mem[64];
    struct buf b, u;
    assert_int_equal(turnserver_shared_new(secret, REALM, w->ports, &sh), ERR_OK);
    buf_init(&b, mem, sizeof(mem));
    buf_init(&u, long_name, sizeof(long_name));
    assert_int_equal(turnserver_credential(sh, ACCOUNT, w->wall, 3600, &u, &b), ERR_OK);
    assert_true(sv_eq(buf_sv(&u), buf_sv(&user)));
    assert_false(sv_eq(buf_sv(&b), buf_sv(&password)));
    turnserver_shared_free(sh);
    world_free(w);
    world_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stranger_is_challenged_and_nothing_is_kept_of_him),
        cmocka_unit_test(no_two_ports_have_one_nonce),
        cmocka_unit_test(a_nonce_grows_stale_within_the_hour),
        cmocka_unit_test(all_three_ways_to_sign_are_taken_and_answered_in_kind),
        cmocka_unit_test(algorithms_must_be_those_that_were_offered),
        cmocka_unit_test(what_belongs_to_a_signature_must_be_there),
        cmocka_unit_test(whoever_is_not_proved_gets_nothing),
        cmocka_unit_test(a_name_ends),
        cmocka_unit_test(wrong_credentials_are_told_from_none),
        cmocka_unit_test(who_was_not_challenged_is_not_told_of),
        cmocka_unit_test(nobody_takes_anothers_allocation),
        cmocka_unit_test(a_source_is_answered_so_often),
        cmocka_unit_test(credentials_are_for_an_hour_and_of_this_installation),
    };
    return cmocka_run_group_tests(tests, world_start, NULL);
}
