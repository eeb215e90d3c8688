/* SPDX-License-Identifier: MIT */
/* DTLS-SRTP between two of our machines: keys, fingerprints, profiles, ends, memory. */
#include "dtls_rig.h"
#include <malloc.h>
#include "mem/mem.h"

static void go(void)
{
    dtls_start(way.ends[A].d, way.now);
    run(&way, 5 * USEC_S);
}

static void keys_are_the_same_on_both_sides(void **state)
{
    (void)state;
    way_init(&way, 1);
    both_trust(&way);
    assert_int_equal(dtls_state(way.ends[A].d), DTLS_NEW);
    assert_true(dtls_deadline(way.ends[B].d) == USEC_NEVER);
    go();
    assert_keyed(&way);
    assert_int_equal(way.ends[A].keys.suite, DTLS_AEAD_AES_128_GCM);
    assert_int_equal(way.ends[A].sent, 2);
    assert_int_equal(way.ends[B].sent, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dtls_state(way.ends[i].d), DTLS_KEYED);
        assert_true(dtls_deadline(way.ends[i].d) <= way.now + DTLS_SETTLE);
        assert_int_equal(way.ends[i].big, 0);
    }
    way_done(&way);
}

static void client_is(int me, unsigned suites)
{
    end_init(&way, me, me == A ? alice : bob,
             &(struct dtls_config){.client = me == A, .suites = suites});
}

static void each_profile_has_keys_of_its_length(void **state)
{
    (void)state;
    static const size_t lengths[DTLS_SUITES][2] = {{16, 12}, {32, 12}, {16, 14}, {16, 14}};
    for (unsigned i = 0; i < DTLS_SUITES; i++)
        for (int one_side = 0; one_side < 2; one_side++) {
            way_init(&way, i);
            dtls_free(way.ends[one_side].d);
            client_is(one_side, 1u << i);
            both_trust(&way);
            go();
            assert_keyed(&way);
            assert_int_equal(way.ends[A].keys.suite, i);
            assert_int_equal(dtls_suites[i].key_n, lengths[i][0]);
            assert_int_equal(dtls_suites[i].salt_n, lengths[i][1]);
            way_done(&way);
        }
}

static void without_a_common_profile_there_are_no_keys(void **state)
{
    (void)state;
    way_init(&way, 1);
    way_done(&way);
    client_is(A, 1u << DTLS_AES128_CM_SHA1_80);
    client_is(B, 1u << DTLS_AEAD_AES_256_GCM);
    both_trust(&way);
    go();
    assert_true(way.ends[B].failed && !way.ends[B].keyed);
    assert_int_equal(way.ends[B].why, DTLS_WHY_PROFILE);
    /* the alert is in the clear: believed when nothing else comes */
    assert_true(way.ends[A].failed);
    assert_int_equal(way.ends[A].why, DTLS_WHY_REFUSED);
    assert_non_null(strstr(way.ends[A].text, "handshake failure"));
    way_done(&way);
}

/* ---- fingerprints ---- */

static void keys_wait_for_the_fingerprints(void **state)
{
    (void)state;
    struct print p, q;
    print_of(alice, &p);
    print_of(bob, &q);
    for (int late = 0; late < 2; late++) {
        struct end *e = &way.ends[late];
        way_init(&way, 1);
        assert_int_equal(trust(&way.ends[!late], late == A ? alice : bob), ERR_OK);
        assert_false(dtls_matches(e->d, &p.f, 1));
        go();
        assert_true(way.ends[!late].keyed);
        assert_false(e->keyed || e->failed);
        assert_int_equal(dtls_state(e->d), DTLS_HELD);
        run(&way, DTLS_SETTLE);
        assert_true(dtls_deadline(e->d) == USEC_NEVER); /* as long as a phone rings */
        assert_true(dtls_matches(e->d, late == A ? &q.f : &p.f, 1));
        assert_false(dtls_matches(e->d, late == A ? &p.f : &q.f, 1));
        assert_int_equal(trust(e, late == A ? bob : alice), ERR_OK);
        assert_true(e->keyed); /* at once */
        assert_keyed(&way);
        way_done(&way);
    }
}

/* RFC 5763 §5: the certificate MUST match. */
static void a_wrong_fingerprint_gives_no_keys(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 2; wrong++) {
        struct end *e = &way.ends[wrong], *o = &way.ends[!wrong];
        way_init(&way, 1);
        assert_int_equal(trust(e, wrong == A ? alice : bob), ERR_OK); /* its own */
        assert_int_equal(trust(o, wrong == A ? alice : bob), ERR_OK);
        go();
        assert_true(e->failed && !e->keyed);
        assert_int_equal(e->why, DTLS_WHY_FINGERPRINT);
        assert_true(o->failed && !o->keyed);
        assert_int_equal(o->why, DTLS_WHY_REFUSED);
        assert_non_null(strstr(o->text, "bad certificate")); /* RFC 8122 §6.2 */
        assert_int_equal(dtls_state(e->d), DTLS_OVER);
        assert_int_equal(trust(e, wrong == A ? bob : alice), ERR_STATE);
        way_done(&way);
    }
}

static void a_wrong_fingerprint_that_comes_late_gives_no_keys(void **state)
{
    (void)state;
    way_init(&way, 1);
    assert_int_equal(trust(&way.ends[A], bob), ERR_OK);
    go();
    assert_int_equal(trust(&way.ends[B], bob), ERR_OK);
    assert_true(way.ends[B].failed && !way.ends[B].keyed);
    assert_int_equal(way.ends[B].why, DTLS_WHY_FINGERPRINT);
    run(&way, 5 * USEC_S);
    assert_true(way.ends[A].closed); /* it was told */
    way_done(&way);
}

/* When only the flight with the certificate has come. */
static bool lose_from_b(struct way *w, int from, sv octets)
{
    (void)octets;
    return !(from == B && w->ends[B].sent > 1);
}

static void a_wrong_fingerprint_ends_a_running_handshake(void **state)
{
    (void)state;
    way_init(&way, 1);
    way.tap = lose_from_b;
    dtls_start(way.ends[A].d, way.now);
    run(&way,
        500 * USEC_MS); /* the client has the server's certificate, and waits for its Finished */
    assert_int_equal(dtls_state(way.ends[A].d), DTLS_SHAKING);
    assert_int_equal(trust(&way.ends[A], alice), ERR_OK);
    assert_true(way.ends[A].failed);
    assert_int_equal(way.ends[A].why, DTLS_WHY_FINGERPRINT);
    way_done(&way);
}

enum { RIGHT, WRONG, SHORT };
static struct dtls_fingerprint print_with(sv hash, size_t n, int what, struct print *p)
{
    print_of(alice, p);
    if (what == WRONG)
        p->digest[n - 1] ^= 1; /* its last bit */
    return (struct dtls_fingerprint){hash, p->digest, n};
}

/* RFC 8122 §5: the strongest kind that was offered counts; md5 and sha-1 never do. */
static void the_strongest_hash_counts(void **state)
{
    (void)state;
    static const struct {
        struct {
            sv hash;
            size_t n;
            int what;
        } f[3];
        size_t n;
        enum err rc;
        bool keyed;
    } rows[] = {
        {{{SV("sha-256"), 32, RIGHT}}, 1, ERR_OK, true},
        {{{SV("SHA-256"), 32, RIGHT}}, 1, ERR_OK, true},
        {{{SV("sha-256"), 32, WRONG}}, 1, ERR_OK, false},
        {{{SV("sha-1"), 20, RIGHT}}, 1, ERR_UNSUPPORTED, false},
        {{{SV("md5"), 16, RIGHT}}, 1, ERR_UNSUPPORTED, false},
        {{{SV("sha-224"), 28, RIGHT}}, 1, ERR_UNSUPPORTED, false},
        {{{SV("sha-256"), 31, RIGHT}}, 1, ERR_UNSUPPORTED, false},
        {{{SV("sha-1"), 20, WRONG}, {SV("sha-256"), 32, RIGHT}}, 2, ERR_OK, true},
        {{{SV("sha-256"), 32, WRONG}, {SV("sha-256"), 32, RIGHT}}, 2, ERR_OK, true},
        {{{SV("sha-256"), 32, RIGHT}, {SV("sha-512"), 64, WRONG}}, 2, ERR_OK, false},
        {{{SV("sha-512"), 64, WRONG}, {SV("sha-256"), 32, RIGHT}}, 2, ERR_OK, false},
        {{{SV("sha-384"), 48, WRONG}, {SV("sha-256"), 32, RIGHT}}, 2, ERR_OK, false},
        {{{SV("sha-256"), 32, RIGHT}}, 0, ERR_UNSUPPORTED, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct dtls_fingerprint f[3];
        struct print p[3];
        way_init(&way, i);
        assert_int_equal(trust(&way.ends[A], bob), ERR_OK);
        for (size_t k = 0; k < rows[i].n; k++)
            f[k] = print_with(rows[i].f[k].hash, rows[i].f[k].n, rows[i].f[k].what, &p[k]);
        assert_int_equal(dtls_trust(way.ends[B].d, f, rows[i].n, way.now), rows[i].rc);
        go();
        if (way.ends[B].keyed != rows[i].keyed ||
            way.ends[B].failed != (!rows[i].rc && !rows[i].keyed))
            fail_msg("row %zu", i);
        way_done(&way);
    }
    assert_true(dtls_hash_accepted(SV("Sha-384")));
    assert_false(dtls_hash_accepted(SV("sha-1")));
}

/* A certificate's SHA-384 and SHA-512, as OpenSSL's own tool would print them. */
static const char pem_cert[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIC/TCCAeWgAwIBAgIUVNIr99H+9rCQV4tSC5Xsm2V2N00wDQYJKoZIhvcNAQEL\n"
                               "BQAwDjEMMAoGA1UEAwwDcnRwMB4XDTI2MTEyMzE3MTcxNVoXDTM2MTEyMDE3MTcx\n"
                               "NVowDjEMMAoGA1UEAwwDcnRwMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKC\n"
                               "AQEAldKjS8c0IMWdIzSoE9yPzVS2sI6uzLCPK+NVh+VEM1O3AckDV2kyEYtKaU1Q\n"
                               "sBjUPJZKdI4Ip1iVNBcr1uuAEhvdRuft6NqXxsIwVNmRNror+V2YMX3T59Y6EXyW\n"
                               "Sv3yXa8toNzSSWdkn3lS3oic6QuSWBA5m14MjV6rc/FrnT6o4fxIR+1XBxVz2Jmn\n"
                               "S9/4iBGsHxzX4/u5hnuj5Ar0osuRSSdPmZA6AXqvpNcmOqbOs84MX09Fqxoqm5Of\n"
                               "R5nDOuADGoqtx1xWNHPX8fVPpFV2LgfqklVTzEw24EGh/nAkFLAMDmFYTMunkC1B\n"
                               "932ypNxJ4+inmtllP4I3LR0ldwIDAQABo1MwUTAdBgNVHQ4EFgQUBPyWVlQMhPC9\n"
                               "Dr33gWMj0GG4Wn0wHwYDVR0jBBgwFoAUBPyWVlQMhPC9Dr33gWMj0GG4Wn0wDwYD\n"
                               "VR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOCAQEAaJUXvQOFeJTLFBTHqMtQ\n"
                               "hOiJVuDCTjJwy2zh88h0OAaOeJ5FnhxbeqAsRKNSVJUWxfKfbNcEiIdVydEZiL4/\n"
                               "Qj1ZM9zeguoRDP0dw7dKospE0tDPsPmfR7O+7PJvZOX5r4RFE242BqJ1xue/n3mO\n"
                               "B6OPhh8LbdKzANUSCw+JZjyESLN6lDH0WoruMgM+n9lFE5A8+JLipvAtDReNGxm5\n"
                               "7ixkpIKy7zWBLzaUhkkmiGepUDe4EBkcnXOPELBL2PRIHshuz28exN8VWkFl4ogA\n"
                               "rhTtCRbsJTFXvArC8z/9Pyn+eAKx9K2zMaYnISRlU1iNJmqNdwoZqDgq3Lp3Zg2h\n"
                               "sA==\n"
                               "-----END CERTIFICATE-----\n";
static const char pem_key[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCV0qNLxzQgxZ0j\n"
                              "NKgT3I/NVLawjq7MsI8r41WH5UQzU7cByQNXaTIRi0ppTVCwGNQ8lkp0jginWJU0\n"
                              "FyvW64ASG91G5+3o2pfGwjBU2ZE2uiv5XZgxfdPn1joRfJZK/fJdry2g3NJJZ2Sf\n"
                              "eVLeiJzpC5JYEDmbXgyNXqtz8WudPqjh/EhH7VcHFXPYmadL3/iIEawfHNfj+7mG\n"
                              "e6PkCvSiy5FJJ0+ZkDoBeq+k1yY6ps6zzgxfT0WrGiqbk59HmcM64AMaiq3HXFY0\n"
                              "c9fx9U+kVXYuB+qSVVPMTDbgQaH+cCQUsAwOYVhMy6eQLUH3fbKk3Enj6Kea2WU/\n"
                              "gjctHSV3AgMBAAECggEAHr0Wr8dxFIA22zBEg76u6kvFJ7g+eNSIq1J7C+Sn93fn\n"
                              "hkA9pUN5+EuButUYBukxMjULlZpGgD8WbZeLcQ7kOdLptVCEaU/f7/GLhP0WZAoS\n"
                              "V5kyToUoYtp7E3diRoSPo1T7oZNsuY6zAF0d+XZB6zZqkhLSHuRO4vpXZvRTRfFy\n"
                              "y+BiHNacxJyLsgNQ7pKfNkzEEFurZMF+yeQOK5lSIGne8sTg0mWW9ilEw/JwF8Ay\n"
                              "L9DlgJF6v4urtq/habUDR5ro5kHK80rH197aAgEu9qSomHyuMdPckumnUv+y7mlU\n"
                              "HBPDlIWARluAS6BbDJaHp0PAmscvMhit0L5cCyjboQKBgQDEyv4Hf05UJdhl0CmJ\n"
                              "mznu7yuTSl+bpPlEPCiLAwF0Cp8H+yPINVmrI1/RlKZFoul/He3sFesSwJkz1Jsv\n"
                              "11R/jVCgXR+08jB9Cj/VRHXXIrZuAFDNCHTQdWZBZ4mIm02ffCWRo6GqykoA5Ekv\n"
                              "1VtgufU0eed1+D93f1cfLwe/CQKBgQDC5gCJt+QXuTF5IuvQbnBjrD4z/1qUUCC9\n"
                              "MZiDPPe5mkSwqltYVy655peOV6QQL9tHlrsNB39S2Bqfr3vhJeVJ1bqiCrQY6Xjb\n"
                              "5OM18+uEsdXhDOfXsYPv7IDbTKSkfCW04/AxEqc3ZM9HuI79vlbJhnat3ocxE+Lt\n"
                              "JwOq8hJgfwKBgQCvC/1QP+41rYBCeBoqm9e5cCcrmhFXSjSrfHN3y5GkXbo+CCc4\n"
                              "9DOxpgKaUwZflNzrxHyY7pouEQF1eB0ePgScfOAF9S+57WAyKUbEdmP3nJn3WPKG\n"
                              "nooBzxvI+8b7q2EthumIFaw9VjjjeCydjsP8Uw0Iw5KefdY+fhfJ1jSmuQKBgAna\n"
                              "+5f7NouEj93iSC5oB0LjCNo0RW5OhvlKMr4gLR6zkFmmo6vZ7MD1yiAmimNPKDV8\n"
                              "h8Tm5idYSjBc/VSrR+bt6dwb0nOYCsaD0oF97iDtpTUWI/siPNu7B+EPBRxUMsvs\n"
                              "4s54dQA2Fs03pfNq1pSmOgYcxJVUvhrj6CmSyB8dAoGBAL2OgUKyqDEhB7DgHcs4\n"
                              "JZHm9lGZlo9AVA4m2nv/Z15P7k+vswNg40bU7+JpGfmcJrdVLhAzl2tfdBlRUfKm\n"
                              "TomUL+598s/5tjNHIvxZTlBLLBn2S++vNwGxCc9dnE+BDINmqrHak6ybnzLJudtC\n"
                              "KP8hUYgvRMIZPkFMZO0pD1/I\n"
                              "-----END PRIVATE KEY-----\n";
static const char pem_256[] = "af13e2de124bac2150948140b60f6cc6aff1d1b258c91713ae46eec69d4ce5a1";
static const char pem_384[] = "c617bb7041a520d1744c40301a688732510941a3816fe3bafc7d52a69864d6110746"
                              "3da28ef78336caef09e5ee1942c2";
static const char pem_512[] = "7d3c9c3962d05bedc5b93dc139de7d1103dd05ffbe16bb92bea81e246a2f5882a321"
                              "51225317e99ab69e5c4a47f64b07de72688655bc2d2c836e1838fdb3b360";

static void a_given_certificate_has_the_fingerprints_of_the_tool(void **state)
{
    (void)state;
    static const struct {
        const char *hash, *hex;
    } rows[] = {{"sha-256", pem_256}, {"sha-384", pem_384}, {"sha-512", pem_512}};
    struct dtls_shared_config c = {.certificate = sv_of(pem_cert), .key = sv_of(pem_key)};
    struct dtls_shared *given, *mine = bob;
    uint8_t digest[64];
    assert_int_equal(dtls_shared_new(&c, &given), ERR_OK);
    bob = given; /* an RSA key: the server signs with it */
    for (size_t i = 0; i < 3; i++)
        for (int good = 0; good < 2; good++) {
            struct dtls_fingerprint f = {.hash = sv_of(rows[i].hash), .digest = digest};
            assert_int_equal(crypto_unhex(sv_of(rows[i].hex), digest, sizeof(digest), &f.n),
                             ERR_OK);
            digest[0] ^= (uint8_t)!good;
            way_init(&way, i);
            assert_int_equal(dtls_trust(way.ends[A].d, &f, 1, way.now), ERR_OK);
            assert_int_equal(trust(&way.ends[B], alice), ERR_OK);
            go();
            assert_int_equal(way.ends[A].keyed, good);
            way_done(&way);
        }
    bob = mine;
    dtls_shared_free(given);
    c.key = SV("no key");
    assert_int_equal(dtls_shared_new(&c, &given), ERR_SYNTAX);
    c.certificate = SV("");
    assert_int_equal(dtls_shared_new(&c, &given), ERR_SYNTAX);
}

/* RFC 8842 §4: other fingerprints are another association. */
static void a_description_may_come_again(void **state)
{
    (void)state;
    way_init(&way, 1);
    both_trust(&way);
    assert_int_equal(trust(&way.ends[B], bob), ERR_OK); /* changed before it counts */
    assert_int_equal(trust(&way.ends[B], alice), ERR_OK);
    go();
    assert_keyed(&way);
    assert_int_equal(trust(&way.ends[A], bob), ERR_OK);
    assert_int_equal(trust(&way.ends[A], alice), ERR_AUTH);
    assert_int_equal(dtls_state(way.ends[A].d), DTLS_KEYED);
    way_done(&way);
}

/* ---- ends ---- */

static void what_one_side_closes_is_closed_on_the_other(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        way_init(&way, 1);
        both_trust(&way);
        go();
        assert_keyed(&way);
        dtls_close(way.ends[who].d);
        dtls_close(way.ends[who].d);
        run(&way, 5 * USEC_S);
        assert_true(way.ends[!who].closed);
        assert_false(way.ends[who].closed);
        assert_int_equal(dtls_state(way.ends[!who].d), DTLS_OVER);
        assert_true(dtls_deadline(way.ends[!who].d) == USEC_NEVER);
        way_done(&way);
    }
}

/* What it says then was written before OpenSSL went. */
static void what_is_settled_can_still_be_closed(void **state)
{
    (void)state;
    for (int timed = 0; timed < 2; timed++) {
        way_init(&way, 1);
        dtls_settle(way.ends[A].d); /* too early: nothing */
        both_trust(&way);
        go();
        assert_keyed(&way);
        unsigned sent = way.ends[A].sent;
        if (timed)
            way.now += DTLS_SETTLE, dtls_timer(way.ends[A].d, way.now);
        else
            dtls_settle(way.ends[A].d);
        assert_true(dtls_deadline(way.ends[A].d) == USEC_NEVER);
        assert_int_equal(way.ends[A].sent, sent);
        assert_int_equal(dtls_state(way.ends[A].d), DTLS_KEYED);
        assert_int_equal(trust(&way.ends[A], bob), ERR_OK);
        assert_int_equal(trust(&way.ends[A], alice), ERR_AUTH);
        dtls_close(way.ends[A].d);
        assert_int_equal(way.ends[A].sent, sent + 1);
        run(&way, USEC_S);
        assert_int_equal(way.ends[B].closed, !timed); /* the other one has settled by then too */
        way_done(&way);
    }
}

static void nothing_is_told_after_close(void **state)
{
    (void)state;
    way_init(&way, 1);
    both_trust(&way);
    dtls_start(way.ends[A].d, way.now);
    run(&way, 30 * USEC_MS);
    dtls_close(way.ends[A].d);
    dtls_close(way.ends[B].d);
    unsigned sent = way.ends[A].sent + way.ends[B].sent;
    run(&way, 60 * USEC_S);
    for (int i = 0; i < 2; i++) {
        assert_false(way.ends[i].keyed || way.ends[i].failed || way.ends[i].closed);
        dtls_start(way.ends[i].d, way.now);
        dtls_timer(way.ends[i].d, way.now);
    }
    assert_int_equal(way.ends[A].sent + way.ends[B].sent, sent);
    assert_int_equal(trust(&way.ends[A], bob), ERR_STATE);
    way_done(&way);
}

static void a_callback_may_free(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++)
        for (int wrong = 0; wrong < 2; wrong++) {
            way_init(&way, 1);
            way.ends[A].free_in_callback = way.ends[B].free_in_callback = true;
            if (!late)
                assert_int_equal(trust(&way.ends[B], wrong ? bob : alice), ERR_OK);
            assert_int_equal(trust(&way.ends[A], bob), ERR_OK);
            go();
            if (late)
                assert_int_equal(trust(&way.ends[B], wrong ? bob : alice), ERR_OK);
            run(&way, 60 * USEC_S);
            assert_null(way.ends[B].d);
            assert_int_equal(way.ends[B].failed, wrong);
            assert_null(way.ends[A].d);
            way_done(&way);
        }
    way_init(&way, 1); /* on_closed */
    both_trust(&way);
    go();
    way.ends[A].free_in_callback = true;
    dtls_close(way.ends[B].d);
    run(&way, USEC_S);
    assert_true(way.ends[A].closed && !way.ends[A].d);
    way_done(&way);
}

static void a_machine_is_started_once(void **state)
{
    (void)state;
    way_init(&way, 1);
    both_trust(&way);
    dtls_start(way.ends[B].d, way.now); /* a server waits */
    assert_int_equal(way.ends[B].sent, 0);
    assert_true(dtls_deadline(way.ends[B].d) == way.now + DTLS_GIVE_UP);
    go();
    dtls_start(way.ends[A].d, way.now);
    assert_int_equal(way.ends[A].sent, 2);
    assert_keyed(&way);
    way_done(&way);
    way_init(&way, 1);
    dtls_start(way.ends[B].d, way.now);
    run(&way, 40 * USEC_S); /* nobody comes */
    assert_int_equal(way.ends[B].why, DTLS_WHY_SILENT);
    assert_int_equal(way.ends[B].octets_sent, 0);
    way_done(&way);
}

static void handshakes_are_counted(void **state)
{
    (void)state;
    static struct stats stats;
    memset(&stats, 0, sizeof(stats));
    for (int wrong = 0; wrong < 2; wrong++) {
        way_init(&way, 1);
        dtls_free(way.ends[B].d);
        end_init(&way, B, bob, &(struct dtls_config){.stats = &stats});
        both_trust(&way);
        if (wrong)
            assert_int_equal(trust(&way.ends[B], bob), ERR_OK);
        go();
        way_done(&way);
    }
    assert_int_equal(stat_get(&stats, STAT_DTLS_HANDSHAKES), 1);
    assert_int_equal(stat_get(&stats, STAT_DTLS_FAILURES), 1);
}

static void without_memory_there_is_an_error(void **state)
{
    (void)state;
    struct dtls *d;
    struct dtls_shared *s;
    mem_fail_after(1);
    assert_int_equal(dtls_new(alice, &(struct dtls_config){0}, &user, NULL, &d), ERR_NOMEM);
    mem_fail_after(1);
    assert_int_equal(dtls_shared_new(&(struct dtls_shared_config){0}, &s), ERR_NOMEM);
    mem_fail_after(0);
    way_init(&way, 1);
    struct print p;
    print_of(bob, &p);
    mem_fail_after(1);
    assert_int_equal(dtls_trust(way.ends[A].d, &p.f, 1, way.now), ERR_NOMEM);
    mem_fail_after(0);
    way_done(&way);
    uint8_t long_peer[DTLS_PEER_MAX + 1] = {0};
    sv peer = {(char *)long_peer, sizeof(long_peer)};
    assert_int_equal(dtls_new(alice, &(struct dtls_config){.peer = peer}, &user, NULL, &d),
                     ERR_TOOBIG);
}

/* ---- memory ---- */

enum { MANY = 50 };
static struct way many[MANY];

static size_t used(void)
{
    mem_tidy();
    return mallinfo2().uordblks;
}

/* What is asserted is loose: figures are for people, but growth by a buffer of OpenSSL's is seen. */
static void a_leg_costs_what_the_header_says(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++) /* what is made once */
        way_init(&many[i], (uint64_t)i), both_trust(&many[i]);
    run(&many[0], 0);
    size_t none = used();
    for (int i = 0; i < MANY; i++) {
        dtls_start(many[i].ends[A].d, many[i].now);
        run(&many[i], 10 * USEC_MS);
    }
    size_t hello = used();
    for (int i = 0; i < MANY; i++)
        run(&many[i], 25 * USEC_MS);
    size_t flight = used();
    for (int i = 0; i < MANY; i++)
        run(&many[i], 5 * USEC_S);
    size_t keyed = used();
    for (int i = 0; i < MANY; i++) {
        dtls_settle(many[i].ends[A].d);
        dtls_settle(many[i].ends[B].d);
    }
    size_t settled = used();
    printf("octets: client that has sent its ClientHello %zu; of client and server: in the "
           "handshake %zu, keyed %zu, settled %zu\n",
           (hello - none) / MANY, (flight - none) / MANY, (keyed - none) / MANY,
           (settled - none) / MANY);
    for (int i = 0; i < MANY; i++) {
        assert_keyed(&many[i]);
        way_done(&many[i]);
    }
    size_t after = used();
    printf("left: %zd\n", (ssize_t)(after - none) / MANY);
#ifndef __SANITIZE_ADDRESS__
    assert_true((flight - none) / MANY < 100 * 1024);
    assert_true((keyed - none) / MANY < 100 * 1024);
    assert_true(settled < none + (size_t)MANY * 2048);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_the_same_on_both_sides),
        cmocka_unit_test(each_profile_has_keys_of_its_length),
        cmocka_unit_test(without_a_common_profile_there_are_no_keys),
        cmocka_unit_test(keys_wait_for_the_fingerprints),
        cmocka_unit_test(a_wrong_fingerprint_gives_no_keys),
        cmocka_unit_test(a_wrong_fingerprint_that_comes_late_gives_no_keys),
        cmocka_unit_test(a_wrong_fingerprint_ends_a_running_handshake),
        cmocka_unit_test(the_strongest_hash_counts),
        cmocka_unit_test(a_given_certificate_has_the_fingerprints_of_the_tool),
        cmocka_unit_test(a_description_may_come_again),
        cmocka_unit_test(what_one_side_closes_is_closed_on_the_other),
        cmocka_unit_test(what_is_settled_can_still_be_closed),
        cmocka_unit_test(nothing_is_told_after_close),
        cmocka_unit_test(a_callback_may_free),
        cmocka_unit_test(a_machine_is_started_once),
        cmocka_unit_test(handshakes_are_counted),
        cmocka_unit_test(without_memory_there_is_an_error),
        cmocka_unit_test(a_leg_costs_what_the_header_says),
    };
    return cmocka_run_group_tests(tests, rig_start, rig_end);
}
