/* SPDX-License-Identifier: MIT */
/* Digest: RFC 7616's examples, nonces, counts, replays, malformed credentials, a client's
 * answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "auth/auth.h"
#include "auth/auth_priv.h"

static const usec now = 1767225600 * USEC_S;
static const uint8_t secret[32] = "another thirty-two octets of key";

struct fixture {
    struct auth_verifier *v;
    struct arena arena;
    struct auth_ha1 ha1;
    struct addr source;
    uint64_t chance;
    char nonce[64], text[8192 + BLOCK_SLACK], line[4096];
    struct sipmsg msg;
    enum auth_algorithm algorithm;
};

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof(f));
    assert_int_equal(crypto_start(), ERR_OK);
    arena_init(&f.arena, NULL, 0, 1 << 22);
    assert_int_equal(auth_verifier_new(secret, 8, &f.v), ERR_OK);
    assert_int_equal(addr_parse_ip(SV("192.0.2.9"), 5070, &f.source), ERR_OK);
    auth_ha1(SV("alice"), SV("example.com"), SV("secret"), &f.ha1);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    auth_verifier_free(f->v);
    arena_done(&f->arena);
    return 0;
}

/* A request with these lines. */
static struct sipmsg *request(struct fixture *f, const char *method, const char *uri,
                              const char *lines)
{
    int n = snprintf(f->text, sizeof(f->text) - BLOCK_SLACK,
                     "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1\r\n"
                     "From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n"
                     "Call-ID: 1\r\nCSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
                     method, uri, method, lines);
    assert_true(n > 0 && (size_t)n < sizeof(f->text) - BLOCK_SLACK);
    assert_int_equal(sipmsg_parse((sv){f->text, (size_t)n}, &f->arena, &f->msg, NULL), ERR_OK);
    return &f->msg;
}

/* The nonce of a fresh challenge, in f->nonce; the lines in f->line. */
static void challenge(struct fixture *f, sv realm, const struct addr *source, usec at,
                      const struct auth_policy *policy, sv agent, bool stale)
{
    struct buf b;
    buf_init(&b, f->line, sizeof(f->line) - 1);
    auth_challenge(f->v, &b, policy, false, realm, source, agent, at, ++f->chance, stale);
    assert_int_equal(b.rc, ERR_OK);
    f->line[b.n] = 0;
    const char *at_nonce = strstr(f->line, "nonce=\"");
    assert_non_null(at_nonce);
    snprintf(f->nonce, sizeof(f->nonce), "%.*s", (int)strcspn(at_nonce + 7, "\""), at_nonce + 7);
}

static const struct auth_policy automatic = {.mode = AUTH_MODE_AUTO};

static void fresh(struct fixture *f)
{
    challenge(f, SV("example.com"), &f->source, now, &automatic, SV_NONE, false);
}

struct creds {
    const char *user, *realm, *uri, *method, *password, *nc;
    enum auth_algorithm algorithm;
};
static const struct creds good = {
    "alice", "example.com", "sip:bob@example.com", "INVITE", "secret", "00000001", AUTH_MD5};

/* The Authorization line that a client with these would send for f->nonce. */
static const char *authorization(struct fixture *f, const struct creds *c)
{
    static char mem[2048];
    char response[2 * SHA256_LEN];
    struct auth_ha1 ha1;
    auth_ha1(sv_of(c->user), sv_of(c->realm), sv_of(c->password), &ha1);
    struct auth_claim claim = {.nonce = sv_of(f->nonce),
                               .uri = sv_of(c->uri),
                               .cnonce = SV("c"),
                               .nc_text = sv_of(c->nc),
                               .algorithm = c->algorithm};
    size_t n = auth_response(&claim, &ha1, sv_of(c->method), response);
    snprintf(mem, sizeof(mem),
             "Authorization: Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", "
             "response=\"%.*s\", algorithm=%s, cnonce=\"c\", qop=auth, nc=%s\r\n",
             c->user, c->realm, f->nonce, c->uri, (int)n, response,
             c->algorithm == AUTH_MD5 ? "MD5" : "SHA-256", c->nc);
    return mem;
}

static enum auth_verdict verdict_at(struct fixture *f, const struct creds *c, const char *uri,
                                    const struct auth_ha1 *ha1, const struct addr *source, usec at)
{
    struct auth_claim claim;
    struct sipmsg *m = request(f, "INVITE", uri, authorization(f, c));
    assert_int_equal(auth_read(m, false, SV("example.com"), &claim), ERR_OK);
    return auth_verify(f->v, m, &claim, ha1, source, at);
}

static enum auth_verdict verdict(struct fixture *f, const struct creds *c)
{
    return verdict_at(f, c, "sip:bob@example.com", &f->ha1, &f->source, now);
}

/* RFC 7616 §3.9.1. */
static void test_vectors(void **state)
{
    (void)state;
    struct auth_ha1 ha1;
    char mem[2 * SHA256_LEN];
    auth_ha1(SV("Mufasa"), SV("http-auth@example.org"), SV("Circle of Life"), &ha1);
    struct auth_claim c = {.nonce = SV("7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"),
                           .uri = SV("/dir/index.html"),
                           .cnonce = SV("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"),
                           .nc_text = SV("00000001"),
                           .algorithm = AUTH_MD5};
    size_t n = auth_response(&c, &ha1, SV("GET"), mem);
    assert_true(sv_eq((sv){mem, n}, SV("8ca523f5e9506fed4657c9700eebdbec")));
    c.algorithm = AUTH_SHA256;
    n = auth_response(&c, &ha1, SV("GET"), mem);
    assert_true(sv_eq((sv){mem, n},
                      SV("753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1")));
}

/* What is remembered of the request before is not taken for this one's: every ordered pair of requests that
 * differ in one thing gives what each gives after a stranger's. */
static void test_requests_in_turn(void **state)
{
    static const char long_uri[] =
        "sip:an.example.of.a.domain.that.nobody.has.and.whose.name.is.longer."
        "than.what.is.remembered.of.a.request.uri.example.com";
    static const struct {
        const char *method, *uri;
        enum auth_algorithm algorithm;
    } request[] = {
        {"REGISTER", "sip:a.example", AUTH_MD5},    {"REGISTER", "sip:b.example", AUTH_MD5},
        {"REGISTER", "sip:a.example", AUTH_SHA256}, {"REGISTEr", "sip:a.example", AUTH_MD5},
        {"REGISTER:", "ip:a.example", AUTH_MD5},    {"REGISTER", "sip:a.exampl", AUTH_MD5},
        {"REGISTER", long_uri, AUTH_MD5},           {"", "", AUTH_MD5},
    };
    enum { REQUESTS = sizeof request / sizeof request[0] };
    struct auth_ha1 ha1;
    char alone[REQUESTS][2 * SHA256_LEN], got[2 * SHA256_LEN];
    size_t n[REQUESTS];
    (void)state;
    auth_ha1(SV("alice"), SV("example"), SV("secret"), &ha1);
    struct auth_claim c = {.nonce = SV("n"), .nc_text = SV("00000001"), .cnonce = SV("c")};
    for (size_t i = 0; i < REQUESTS; i++) {
        c.uri = SV("sip:stranger");
        c.algorithm = AUTH_MD5;
        (void)auth_response(&c, &ha1, SV("BYE"), got);
        c.uri = sv_of(request[i].uri);
        c.algorithm = request[i].algorithm;
        n[i] = auth_response(&c, &ha1, sv_of(request[i].method), alone[i]);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(alone[i], alone[k], 2 * MD5_LEN);
    }
    for (size_t i = 0; i < REQUESTS * REQUESTS * 2; i++) {
        size_t r = i % 2 ? i / 2 % REQUESTS : i / 2 / REQUESTS;
        c.uri = sv_of(request[r].uri);
        c.algorithm = request[r].algorithm;
        assert_int_equal(auth_response(&c, &ha1, sv_of(request[r].method), got), n[r]);
        assert_memory_equal(got, alone[r], n[r]);
    }
}

static void test_verdicts(void **state)
{
    struct fixture *f = *state;
    fresh(f);
    assert_int_equal(verdict(f, &good), AUTH_OK);
    struct creds c = good;
    c.algorithm = AUTH_SHA256; /* one nonce is good for every algorithm */
    c.nc = "00000002";
    assert_int_equal(verdict(f, &c), AUTH_OK);
    fresh(f);
    c = good;
    c.password = "Secret";
    assert_int_equal(verdict(f, &c), AUTH_WRONG);
    c = good;
    c.method = "REGISTER"; /* of another request */
    assert_int_equal(verdict(f, &c), AUTH_WRONG);
    c = good;
    c.uri = "sip:carol@example.com";
    assert_int_equal(verdict(f, &c), AUTH_WRONG);
    /* §22.4: what phones write differently. */
    c.uri = "sip:bob@EXAMPLE.com:5060;transport=udp";
    assert_int_equal(verdict(f, &c), AUTH_OK);
    /* Numbers are compared whole. */
    fresh(f);
    c.uri = "tel:+1900";
    assert_int_equal(verdict_at(f, &c, "tel:+1800", &f->ha1, &f->source, now), AUTH_WRONG);
    assert_int_equal(verdict_at(f, &c, "tel:+1-900", &f->ha1, &f->source, now), AUTH_OK);
    c.uri = "sip:bob@example.com";
    assert_int_equal(verdict_at(f, &c, "tel:+1800", &f->ha1, &f->source, now), AUTH_WRONG);
    /* Nobody; an account without a password in this algorithm. */
    fresh(f);
    assert_int_equal(verdict_at(f, &good, "sip:bob@example.com", NULL, &f->source, now),
                     AUTH_WRONG);
    struct auth_ha1 part = f->ha1;
    part.has_md5 = false;
    assert_int_equal(verdict_at(f, &good, "sip:bob@example.com", &part, &f->source, now),
                     AUTH_WRONG);
    /* The nobody's hash is all zeros: it must open nothing, nor an account that has none. */
    memset(&part, 0, sizeof(part));
    assert_int_equal(verdict_at(f, &good, "sip:bob@example.com", &part, &f->source, now),
                     AUTH_WRONG);
    /* None of these used up the nonce. */
    assert_int_equal(verdict(f, &good), AUTH_OK);
}

/* Whoever knows the zero HA1 of the user that does not exist is still nobody. */
static void test_nobody(void **state)
{
    struct fixture *f = *state;
    static const struct auth_ha1 zero;
    char response[2 * SHA256_LEN], line[1024];
    struct auth_claim claim;
    fresh(f);
    for (int a = 0; a < AUTH_ALGORITHMS; a++) {
        struct auth_claim c = {.nonce = sv_of(f->nonce),
                               .uri = SV("sip:bob@example.com"),
                               .cnonce = SV("c"),
                               .nc_text = SV("00000001"),
                               .algorithm = (enum auth_algorithm)a};
        size_t n = auth_response(&c, &zero, SV("INVITE"), response);
        snprintf(line, sizeof(line),
                 "Authorization: Digest username=\"x\", realm=\"example.com\", nonce=\"%s\", "
                 "uri=\"sip:bob@example.com\", response=\"%.*s\", algorithm=%s, cnonce=\"c\", "
                 "qop=auth, nc=00000001\r\n",
                 f->nonce, (int)n, response, a == AUTH_MD5 ? "MD5" : "SHA-256");
        struct sipmsg *m = request(f, "INVITE", "sip:bob@example.com", line);
        assert_int_equal(auth_read(m, false, SV("example.com"), &claim), ERR_OK);
        assert_int_equal(auth_verify(f->v, m, &claim, NULL, &f->source, now), AUTH_WRONG);
        assert_int_equal(auth_verify(f->v, m, &claim, &zero, &f->source, now), AUTH_WRONG);
    }
}

static void test_nonce_bound(void **state)
{
    struct fixture *f = *state;
    struct addr other = f->source, port = f->source;
    other.ip[3]++;
    port.port++;
    const char *uri = "sip:bob@example.com";
    fresh(f);
    assert_int_equal(verdict_at(f, &good, uri, &f->ha1, &other, now), AUTH_STALE);
    assert_int_equal(verdict_at(f, &good, uri, &f->ha1, &f->source, now + AUTH_NONCE_LIFE + 1),
                     AUTH_STALE);
    assert_int_equal(verdict_at(f, &good, uri, &f->ha1, &f->source, now - AUTH_NONCE_LIFE - 1),
                     AUTH_STALE);
    assert_int_equal(verdict_at(f, &good, uri, &f->ha1, &port, now + AUTH_NONCE_LIFE), AUTH_OK);
    challenge(f, SV("other.example"), &f->source, now, &automatic, SV_NONE, false);
    assert_int_equal(verdict(f, &good), AUTH_STALE);
    /* Each octet of it counts; a wrong password never learns that the nonce was stale. */
    fresh(f);
    struct creds wrong = good;
    wrong.password = "x";
    assert_int_equal(verdict_at(f, &wrong, uri, &f->ha1, &other, now), AUTH_WRONG);
    for (size_t i = 0; f->nonce[i]; i++) {
        char was = f->nonce[i];
        f->nonce[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(verdict(f, &good), AUTH_STALE);
        f->nonce[i] = was;
    }
    static const char *const strange[] = {"", "x", "7ypf/xlj9XXwfDPEoM4URrv", "%00", "===="};
    for (size_t i = 1; i < sizeof(strange) / sizeof(strange[0]); i++) {
        snprintf(f->nonce, sizeof(f->nonce), "%s", strange[i]);
        assert_int_equal(verdict(f, &good), AUTH_STALE);
    }
}

static void test_counts(void **state)
{
    struct fixture *f = *state;
    struct creds c = good;
    fresh(f);
    static const struct {
        const char *nc;
        enum auth_verdict v;
    } steps[] = {{"00000001", AUTH_OK},    {"00000001", AUTH_STALE}, {"00000002", AUTH_OK},
                 {"00000010", AUTH_OK},    {"0000000f", AUTH_STALE}, {"00000010", AUTH_STALE},
                 {"00000011", AUTH_OK},    {"FFFFFFFF", AUTH_OK},    {"ffffffff", AUTH_STALE},
                 {"fffffffe", AUTH_STALE}, {"00000001", AUTH_STALE}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        c.nc = steps[i].nc;
        if (verdict(f, &c) != steps[i].v)
            fail_msg("step %zu", i);
    }
    /* A wrong password raises no count. */
    fresh(f);
    c.password = "x";
    c.nc = "00000009";
    assert_int_equal(verdict(f, &c), AUTH_WRONG);
    assert_int_equal(verdict(f, &good), AUTH_OK);
}

/* A table of eight entries under a hundred nonces: whatever is pushed out never counts again. */
static void test_eviction(void **state)
{
    struct fixture *f = *state;
    static char nonces[100][64];
    const char *uri = "sip:bob@example.com";
    unsigned taken = 0, again = 0;
    for (int i = 0; i < 100; i++) {
        challenge(f, SV("example.com"), &f->source, now + i, &automatic, SV_NONE, false);
        memcpy(nonces[i], f->nonce, sizeof(f->nonce));
        taken += verdict_at(f, &good, uri, &f->ha1, &f->source, now + 100) == AUTH_OK;
    }
    assert_int_equal(taken, 100);
    struct creds next = good;
    next.nc = "00000002";
    for (int i = 0; i < 100; i++) {
        memcpy(f->nonce, nonces[i], sizeof(f->nonce));
        assert_int_equal(verdict_at(f, &good, uri, &f->ha1, &f->source, now + 100), AUTH_STALE);
        again += verdict_at(f, &next, uri, &f->ha1, &f->source, now + 100) == AUTH_OK;
    }
    assert_int_equal(again, 8);
    /* Used in the other order: an old nonce comes late, and is refused rather than doubted. */
    challenge(f, SV("example.com"), &f->source, now + 5, &automatic, SV_NONE, false);
    assert_int_equal(verdict_at(f, &good, uri, &f->ha1, &f->source, now + 100), AUTH_STALE);
}

/* What auth_read says to odd credentials; %s: a nonce of ours. */
static void test_read(void **state)
{
    struct fixture *f = *state;
#define REST "nonce=\"n\", uri=\"sip:x\", response=\"00\", cnonce=\"c\""
#define HEAD "Authorization: Digest username=\"a\", realm=\"example.com\", " REST
    static const struct {
        const char *lines;
        enum err rc;
    } table[] = {
        {"", ERR_NOTFOUND},
        {HEAD ", qop=auth, nc=00000001\r\n", ERR_OK},
        {HEAD ", qop=\"auth\", nc=00000001\r\n", ERR_OK},
        {HEAD ", QOP=AUTH, NC=0000000a, ALGORITHM=md5\r\n", ERR_OK},
        {HEAD ", qop=auth, nc=00000001, algorithm=\"SHA-256\"\r\n", ERR_OK},
        {HEAD ", qop=auth, nc=00000001, opaque=\"x\", odd=token\r\n", ERR_OK},
        {HEAD ",\r\n qop=auth,\r\n\tnc=00000001\r\n", ERR_OK},
        {HEAD ", qop=auth, nc=00000001, userhash=false\r\n", ERR_OK},
        {HEAD ", qop=auth, nc=00000001, userhash=true\r\n", ERR_UNSUPPORTED},
        {HEAD ", qop=auth, nc=00000001, username*=UTF-8''x\r\n", ERR_UNSUPPORTED},
        {HEAD "\r\n", ERR_UNSUPPORTED},
        {HEAD ", qop=auth-int, nc=00000001\r\n", ERR_UNSUPPORTED},
        {HEAD ", qop=auth, nc=00000001, algorithm=MD5-sess\r\n", ERR_UNSUPPORTED},
        {HEAD ", qop=auth, nc=00000001, algorithm=SHA-512-256\r\n", ERR_UNSUPPORTED},
        {HEAD ", qop=auth, nc=00000000\r\n", ERR_SYNTAX},
        {HEAD ", qop=auth, nc=1\r\n", ERR_SYNTAX},
        {HEAD ", qop=auth, nc=000000001\r\n", ERR_SYNTAX},
        {HEAD ", qop=auth, nc=0000000g\r\n", ERR_SYNTAX},
        {HEAD ", qop=auth\r\n", ERR_SYNTAX},
        {HEAD ", qop=auth, nc=00000001, nc=00000002\r\n", ERR_SYNTAX},
        {HEAD ", qop=auth, nc=00000001, realm=\"other\"\r\n", ERR_SYNTAX},
        {HEAD ", qop=auth, nc=00000001, username=\"b\"\r\n", ERR_SYNTAX},
        {"Authorization: Digest realm=\"example.com\", " REST ", qop=auth, nc=00000001\r\n",
         ERR_SYNTAX},
        {"Authorization: Digest username=\"\", realm=\"example.com\", " REST
         ", qop=auth, nc=00000001\r\n",
         ERR_SYNTAX},
        {"Authorization: Digest username=\"a\", realm=\"example.com\", nonce=\"\", uri=\"x\", "
         "response=\"0\", cnonce=\"c\", qop=auth, nc=00000001\r\n",
         ERR_SYNTAX},
        {"Authorization: Digest username=\"a\", realm=\"example.com\", nonce=\"n\", uri=\"x\", "
         "response=\"0\", qop=auth, nc=00000001\r\n",
         ERR_SYNTAX},
        {"Authorization: Digest username=\"a\", realm=\"EXAMPLE.com\", " REST "\r\n", ERR_NOTFOUND},
        {"Authorization: Digest username=\"a, realm=\"example.com\"\r\n", ERR_SYNTAX},
        {"Authorization: Digest username=\"a\\\r\n", ERR_SYNTAX},
        {"Authorization: Digest ,,=,\r\n", ERR_SYNTAX},
        {"Authorization: Digest =\r\n", ERR_SYNTAX},
        {"Authorization: Basic QWxhZGRpbg==\r\n", ERR_UNSUPPORTED},
        {"Authorization: Digest realm=\"else.where\", nonce=\"n\"\r\n" HEAD
         ", qop=auth, nc=00000001\r\n",
         ERR_OK},
        {"Authorization: Basic x=y\r\n" HEAD ", qop=auth, nc=00000001\r\n", ERR_OK},
        {HEAD ", qop=auth, nc=00000001, algorithm=SHA-512-256\r\n" HEAD
              ", qop=auth, nc=00000002\r\n",
         ERR_OK},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct auth_claim c;
        struct sipmsg *m = request(f, "INVITE", "sip:bob@example.com", table[i].lines);
        enum err rc = auth_read(m, false, SV("example.com"), &c);
        if (rc != table[i].rc)
            fail_msg("case %zu: %d: %s", i, rc, table[i].lines);
        assert_int_equal(auth_read(m, true, SV("example.com"), &c), ERR_NOTFOUND);
    }
    struct auth_claim c;
    struct sipmsg *m =
        request(f, "INVITE", "sip:x",
                "Proxy-Authorization: Digest username=\"a\\\"b\", realm=\"example.com\", " REST
                ", qop=auth, nc=000000fF, algorithm=SHA-256\r\n");
    assert_int_equal(auth_read(m, true, SV("example.com"), &c), ERR_OK);
    assert_true(sv_eq(c.username, SV("a\"b")));
    assert_int_equal(c.nc, 255);
    assert_int_equal(c.algorithm, AUTH_SHA256);
}

/* The value of cnonce as the readers of sipmsg see it; absent: they refuse the credentials. */
static sv cnonce_of(struct sipmsg *m)
{
    struct sip_auth auth;
    sv name, value, found = SV_NONE;
    enum err rc;
    if (sip_auth_parse(sipmsg_value(m, SIP_H_AUTHORIZATION), &auth))
        return SV_NONE;
    while (sip_auth_param_next(&auth.params, &name, &value, &rc)) {
        if (sv_eq(name, SV("cnonce")) && sip_unquote(m->arena, value, &found))
            return SV_NONE;
    }
    return rc ? SV_NONE : found;
}

/* Values of every length with an odd octet at every place are read as sipmsg reads them. */
static void test_read_odd_octets(void **state)
{
    struct fixture *f = *state;
    static const char *const odd[] = {"x", " ", "\"", "\\",   "\\\"", ",",        "=",
                                      "~", "!", "\t", "\x80", "\xff", "\xc3\xa9", "\", x=\""};
    for (size_t o = 0; o < sizeof(odd) / sizeof(odd[0]); o++) {
        for (int n = 0; n < 20; n++) {
            for (int at = 0; at <= n; at++) {
                char lines[256];
                snprintf(
                    lines, sizeof(lines),
                    "Authorization: Digest username=\"a\", realm=\"example.com\", nonce=\"n\", "
                    "uri=\"x\", response=\"0\", cnonce=\"%.*s%s%.*s\", qop=auth, nc=00000001\r\n",
                    at, "abcdefghijklmnopqrst", odd[o], n - at, "abcdefghijklmnopqrst");
                struct auth_claim c;
                arena_reset(&f->arena);
                struct sipmsg *m = request(f, "INVITE", "sip:bob@example.com", lines);
                sv want = cnonce_of(m);
                if (auth_read(m, false, SV("example.com"), &c))
                    assert_int_equal(want.n, 0);
                else
                    assert_true(sv_eq(c.cnonce, want));
            }
        }
    }
}

/* Cut at every octet, and every octet replaced: nothing worse than an error. */
static void test_read_mutations(void **state)
{
    struct fixture *f = *state;
    char line[2048];
    static const char odd[] = "\",=\\ ;x%";
    fresh(f);
    snprintf(line, sizeof(line), "%s", authorization(f, &good));
    size_t n = strlen(line) - 2, from = strlen("Authorization: ");
    unsigned right = 0;
    for (size_t i = from; i < n; i++) {
        for (size_t k = 0; k < sizeof(odd); k++) {
            char changed[2048];
            struct auth_claim c;
            memcpy(changed, line, n + 3);
            if (odd[k])
                changed[i] = odd[k];
            else
                memcpy(changed + i, "\r\n", 3);
            if (strcmp(changed, line) == 0)
                continue;
            arena_reset(&f->arena);
            struct sipmsg *m = request(f, "INVITE", "sip:bob@example.com", changed);
            if (auth_read(m, false, SV("example.com"), &c) == ERR_OK &&
                auth_verify(f->v, m, &c, &f->ha1, &f->source, now) == AUTH_OK)
                right++;
        }
    }
    assert_in_range(right, 0, 1); /* a blank may be written otherwise */
}

static void test_challenge(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *agent;
        bool sha256;
    } agents[] = {{"", false},
                  {"baresip v1.0.0 (x86_64/linux)", false},
                  {"baresip v3.0.0", true},
                  {"Linphone/4.4.0", true},
                  {"Linphone/3.12", false},
                  {"LinphoneAndroid/5.0.1 (x)", true},
                  {"linphone/4", true},
                  {"Linphonee/9.0", false},
                  {"PJSUA v2.10 Linux", true},
                  {"PJSUA v2.9", false},
                  {"Grandstream", false},
                  {"PJSUA v99999999999999999999.1", true},
                  {"baresip", false},
                  {"Tandem", true}};
    for (size_t i = 0; i < sizeof(agents) / sizeof(agents[0]); i++) {
        challenge(f, SV("example.com"), &f->source, now, &automatic, sv_of(agents[i].agent), false);
        if ((strstr(f->line, "algorithm=SHA-256") != NULL) != agents[i].sha256 ||
            (strstr(f->line, "algorithm=MD5") != NULL) == agents[i].sha256)
            fail_msg("%s", agents[i].agent);
        assert_null(strstr(f->line + 1, "WWW-Authenticate"));
        assert_null(strstr(f->line, "stale"));
    }
    struct auth_policy both = {AUTH_MODE_LIST, {AUTH_SHA256, AUTH_MD5}, 2};
    challenge(f, SV("a\"b"), &f->source, now, &both, SV_NONE, true);
    assert_non_null(strstr(f->line, "realm=\"a\\\"b\""));
    const char *second = strstr(f->line, "\r\nWWW-Authenticate: Digest");
    assert_non_null(second);
    assert_true(strstr(f->line, "SHA-256") < second && strstr(second, "algorithm=MD5"));
    assert_non_null(strstr(second, ", stale=true\r\n"));
    assert_true(strstr(f->line, ", stale=true\r\n") < second);
    /* Two challenges are never the same. */
    char was[64];
    fresh(f);
    memcpy(was, f->nonce, sizeof(was));
    fresh(f);
    assert_string_not_equal(was, f->nonce);

    assert_true(auth_allows(&both, AUTH_MD5) && auth_allows(&automatic, AUTH_MD5) &&
                auth_allows(&automatic, AUTH_SHA256));
    struct auth_policy only = {AUTH_MODE_LIST, {AUTH_SHA256}, 1};
    assert_true(auth_allows(&only, AUTH_SHA256));
    assert_false(auth_allows(&only, AUTH_MD5));
}

/* A response with these lines. */
static struct sipmsg *response(struct fixture *f, unsigned status, const char *lines)
{
    int n = snprintf(f->text, sizeof(f->text) - BLOCK_SLACK,
                     "SIP/2.0 %u No\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1\r\n"
                     "From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>;tag=2\r\n"
                     "Call-ID: 1\r\nCSeq: 1 INVITE\r\n%sContent-Length: 0\r\n\r\n",
                     status, lines);
    assert_int_equal(sipmsg_parse((sv){f->text, (size_t)n}, &f->arena, &f->msg, NULL), ERR_OK);
    return &f->msg;
}

static const char *answer(struct fixture *f, unsigned status, const char *lines, enum err want)
{
    struct buf b;
    buf_init(&b, f->line, sizeof(f->line) - 1);
    enum err rc = auth_answer(&b, response(f, status, lines), SV("INVITE"),
                              SV("sip:bob@example.com"), SV("alice"), SV("secret"), SV("c"), 1);
    if (rc != want)
        fail_msg("%d: %s", rc, lines);
    f->line[b.n] = 0;
    return f->line;
}

static void test_client(void **state)
{
    struct fixture *f = *state;
    char lines[4096], mine[4096];
    struct auth_policy both = {AUTH_MODE_LIST, {AUTH_MD5, AUTH_SHA256}, 2};
    /* Our own challenge, answered and taken; the stronger one of two. */
    challenge(f, SV("example.com"), &f->source, now, &both, SV_NONE, false);
    memcpy(lines, f->line, sizeof(lines));
    snprintf(mine, sizeof(mine), "%s", answer(f, 401, lines, ERR_OK));
    assert_non_null(strstr(mine, "algorithm=SHA-256"));
    struct auth_claim c;
    struct sipmsg *m = request(f, "INVITE", "sip:bob@example.com", mine);
    assert_int_equal(auth_read(m, false, SV("example.com"), &c), ERR_OK);
    assert_int_equal(auth_verify(f->v, m, &c, &f->ha1, &f->source, now), AUTH_OK);

    static const struct {
        unsigned status;
        const char *lines;
        enum err rc;
        const char *has;
    } table[] = {
        {401, "", ERR_NOTFOUND, NULL},
        {401, "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n", ERR_NOTFOUND,
         NULL},
        {407, "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n", ERR_OK,
         "Proxy-Authorization: Digest username=\"alice\", realm=\"r\", nonce=\"n\""},
        {401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int, auth\"\r\n",
         ERR_OK, "algorithm=MD5"},
        {401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"\r\n",
         ERR_NOTFOUND, NULL},
        {401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n", ERR_NOTFOUND, NULL},
        {401, "WWW-Authenticate: Digest realm=\"r\", qop=\"auth\"\r\n", ERR_NOTFOUND, NULL},
        {401, "WWW-Authenticate: Digest nonce=\"n\", qop=\"auth\"\r\n", ERR_NOTFOUND, NULL},
        {401, "WWW-Authenticate: Basic realm=\"r\"\r\n", ERR_NOTFOUND, NULL},
        {401,
         "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", "
         "algorithm=SHA-512-256\r\n"
         "WWW-Authenticate: Digest realm=\"s\", nonce=\"m\", qop=\"auth\", algorithm=MD5\r\n",
         ERR_OK, "realm=\"s\", nonce=\"m\""},
        {401, "WWW-Authenticate: Digest realm=\"a\\\"b\", nonce=\"n\\\\\", qop=\"auth\"\r\n",
         ERR_OK, "realm=\"a\\\"b\", nonce=\"n\\\\\""},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *line = answer(f, table[i].status, table[i].lines, table[i].rc);
        if (table[i].has && !strstr(line, table[i].has))
            fail_msg("case %zu: %s", i, line);
    }
    /* From what is stored: its realm alone (D4), in the algorithms that it has. */
    struct auth_ha1 md5 = f->ha1;
    md5.has_sha256 = false;
    struct buf b;
    buf_init(&b, f->line, sizeof(f->line) - 1);
    m = response(f, 401, lines);
    assert_int_equal(auth_answer_ha1(&b, m, SV("INVITE"), SV("sip:x"), SV("alice"), SV("other"),
                                     &md5, SV("c"), 1),
                     ERR_NOTFOUND);
    assert_int_equal(b.n, 0);
    assert_int_equal(auth_answer_ha1(&b, m, SV("INVITE"), SV("sip:bob@example.com"), SV("alice"),
                                     SV("example.com"), &md5, SV("c"), 0x1a),
                     ERR_OK);
    f->line[b.n] = 0;
    assert_non_null(strstr(f->line, "algorithm=MD5"));
    assert_non_null(strstr(f->line, "nc=0000001a\r\n"));
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_vectors),        T(test_requests_in_turn), T(test_verdicts), T(test_nobody),
        T(test_nonce_bound),    T(test_counts),           T(test_eviction), T(test_read),
        T(test_read_mutations), T(test_challenge),        T(test_client),   T(test_read_odd_octets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
