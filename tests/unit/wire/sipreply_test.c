/* SPDX-License-Identifier: MIT */
/* Responses built from requests, good and broken. RFC 3261 §8.2.6, §18.2.1; RFC 3581 §4; RFC 5118
 * §4.5; threat D13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mem/mem.h"
#include "sipmsg/sipmsg.h"

#define START "INVITE sip:nils@example.test SIP/2.0\r\n"
#define REST                    \
    "From: <sip:a@b>;tag=1\r\n" \
    "To: <sip:c@d>\r\n"         \
    "Call-ID: x\r\n"            \
    "CSeq: 1 INVITE\r\n"

static char octets[8192 + BLOCK_SLACK];

/* A copy with the slack that a message needs behind it. */
static sv request_of(const char *text)
{
    size_t n = strlen(text);
    assert_true(n + BLOCK_SLACK <= sizeof(octets));
    memcpy(octets, text, n);
    memset(octets + n, '\n', BLOCK_SLACK);
    return (sv){octets, n};
}

static void answers(const char *request, const struct sip_reply *r, const char *want)
{
    static char room[8192 + BLOCK_SLACK];
    struct arena arena;
    struct sipmsg m, again;
    struct buf b;
    arena_init(&arena, NULL, 0, 1 << 20);
    enum err ignored = sipmsg_parse(request_of(request), &arena, &m, NULL);
    (void)ignored; /* refused ones are answered as well */
    buf_init(&b, room, sizeof(room) - BLOCK_SLACK);
    enum err rc = sipmsg_reply(&b, &m, r);
    if (rc || !sv_eq(buf_sv(&b), sv_of(want)))
        fail_msg("%s\n" SV_FMT "\nnot\n%s", err_name(rc), SV_ARG(buf_sv(&b)), want);
    assert_int_equal(sipmsg_parse(buf_sv(&b), &arena, &again, NULL), ERR_OK);
    arena_done(&arena);
}

static void copies_what_the_rfc_names(void **state)
{
    (void)state;
    static const char request[] =
        START "v: SIP/2.0/UDP p;branch=z9hG4bK2, SIP/2.0/UDP q\r\nRecord-Route: <sip:p;lr>\r\n"
              "Subject: no\r\nTimestamp: 54\r\nVIA:SIP/2.0/TCP h\r\n" REST "\r\n";
    answers(request, &(struct sip_reply){.status = 100},
            "SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK2, SIP/2.0/UDP q\r\nVia: "
            "SIP/2.0/TCP h\r\n" REST "Timestamp: 54\r\nContent-Length: 0\r\n\r\n");
    answers(request,
            &(struct sip_reply){.status = 200,
                                .reason = SV("Fine"),
                                .to_tag = SV("t7"),
                                .record_route = true,
                                .headers = SV("Contact: <sip:n@h>\r\nX: a\r\n b\r\n"),
                                .content_type = SV("text/plain"),
                                .body = SV("body")},
            "SIP/2.0 200 Fine\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK2, SIP/2.0/UDP q\r\nVia: "
            "SIP/2.0/TCP h\r\n"
            "Record-Route: <sip:p;lr>\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=t7\r\nCall-ID: "
            "x\r\n"
            "CSeq: 1 INVITE\r\nContact: <sip:n@h>\r\nX: a\r\n b\r\nContent-Type: "
            "text/plain\r\nContent-Length: 4\r\n\r\nbody");
}

static void to_keeps_its_tag(void **state)
{
    (void)state;
    static const struct {
        const char *to, *want;
    } all[] = {{"<sip:c@d>;tag=2", "<sip:c@d>;tag=2"},
               {"sip:c@d", "sip:c@d;tag=t7"},
               {"sip:c@d;x=y", "sip:c@d;x=y;tag=t7"},
               {"<sip:c@d;tag=2>", "<sip:c@d;tag=2>;tag=t7"},
               {"\"a\r\n b\" <sip:c@d>", "\"a\r\n b\" <sip:c@d>;tag=t7"},
               {"\"open <sip:c@d>", "\"open <sip:c@d>"}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char request[256], want[256];
        struct buf r, w;
        buf_init(&r, request, sizeof(request));
        buf_printf(&r, START "To: %s\r\n\r\n", all[i].to);
        buf_char(&r, '\0');
        buf_init(&w, want, sizeof(want));
        buf_printf(&w, "SIP/2.0 480 Temporarily Unavailable\r\nTo: %s\r\nContent-Length: 0\r\n\r\n",
                   all[i].want);
        buf_char(&w, '\0');
        answers(request, &(struct sip_reply){.status = 480, .to_tag = SV("t7")}, want);
    }
}

static void only_the_topmost_via_learns_the_source(void **state)
{
    (void)state;
    static const struct {
        const char *via, *want;
    } all[] = {
        {"SIP/2.0/UDP h;rport;branch=z9", "SIP/2.0/UDP h;rport=7;branch=z9;received=192.0.2.9"},
        {"SIP/2.0/UDP h;rport=1;branch=z9", "SIP/2.0/UDP h;rport=7;branch=z9;received=192.0.2.9"},
        {"SIP/2.0/UDP h;branch=z9", "SIP/2.0/UDP h;branch=z9;received=192.0.2.9"},
        {"SIP/2.0/UDP h", "SIP/2.0/UDP h;received=192.0.2.9"},
        {"SIP/2.0/UDP h;received=10.0.0.1;rport", "SIP/2.0/UDP h;received=192.0.2.9;rport=7"},
        {"SIP/2.0/UDP h;received=[2001:db8::1];x", "SIP/2.0/UDP h;received=192.0.2.9;x"},
        {"SIP/2.0/UDP h;rport, SIP/2.0/UDP q;rport;received=192.0.2.1",
         "SIP/2.0/UDP h;rport=7;received=192.0.2.9, SIP/2.0/UDP q;rport;received=192.0.2.1"},
        {"SIP / 2.0\r\n /UDP h ;\r\n rport = 9 ; Received\r\n =\r\n 10.0.0.1 ,\r\n SIP/2.0/UDP q",
         "SIP / 2.0\r\n /UDP h ;\r\n rport=7 ; Received\r\n =\r\n 192.0.2.9 ,\r\n SIP/2.0/UDP q"},
        {"broken;rport", "broken;rport"},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char request[512], want[512];
        struct buf r, w;
        buf_init(&r, request, sizeof(request));
        buf_printf(&r, START "Via: %s\r\nVia: SIP/2.0/UDP last;rport\r\n\r\n", all[i].via);
        buf_char(&r, '\0');
        buf_init(&w, want, sizeof(want));
        buf_printf(&w,
                   "SIP/2.0 400 Bad Request\r\nVia: %s\r\nVia: SIP/2.0/UDP "
                   "last;rport\r\nContent-Length: 0\r\n\r\n",
                   all[i].want);
        buf_char(&w, '\0');
        answers(request,
                &(struct sip_reply){.status = 400, .received = SV("192.0.2.9"), .rport = 7}, want);
    }
    /* RFC 3581 §4: rport without a value to give stays */
    answers(START "Via: SIP/2.0/UDP h;rport\r\n\r\n",
            &(struct sip_reply){.status = 400, .received = SV("2001:db8::9")},
            "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP "
            "h;rport;received=2001:db8::9\r\nContent-Length: 0\r\n\r\n");
}

static void refused_requests_are_answered(void **state)
{
    (void)state;
    answers(START "Via: SIP/2.0/UDP h\r\nbroken line\r\n" REST "To: <sip:other@d>\r\nl: -1\r\n\r\n",
            &(struct sip_reply){
                .status = 400, .reason = SV("Header field given twice"), .to_tag = SV("t")},
            "SIP/2.0 400 Header field given twice\r\nVia: SIP/2.0/UDP h\r\nFrom: "
            "<sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=t\r\n"
            "Call-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
    answers("INVITE sip:a@b SIP/7.0\r\nVia: SIP/7.0/UDP h\r\n", &(struct sip_reply){.status = 505},
            "SIP/2.0 505 Version Not Supported\r\nVia: SIP/7.0/UDP h\r\nContent-Length: 0\r\n\r\n");
    answers("", &(struct sip_reply){.status = 400},
            "SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

/* However a line is written, and wherever the message breaks off. */
static void lines_of_any_form_are_whole(void **state)
{
    (void)state;
    static const char *const vias[] = {"Via: SIP/2.0/UDP h",   "Via :SIP/2.0/UDP h",
                                       "Via:SIP/2.0/UDP h",    "v: SIP/2.0/UDP h",
                                       "VIA:\t SIP/2.0/UDP h", "Via:\r\n SIP/2.0/UDP h"};
    static const char *const ends[] = {"\r\n",       " \r\n",  "  \r\n",
                                       " \r\n \r\n", "\r\nTo", "\t\r\n\r\n"};
    for (size_t i = 0; i < sizeof(vias) / sizeof(vias[0]); i++) {
        for (size_t k = 0; k < sizeof(ends) / sizeof(ends[0]); k++) {
            char request[256];
            struct buf r;
            buf_init(&r, request, sizeof(request));
            buf_printf(&r, START "%s%s", vias[i], ends[k]);
            buf_char(&r, '\0');
            answers(request, &(struct sip_reply){.status = 400},
                    "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP h\r\nContent-Length: 0\r\n\r\n");
        }
    }
}

static void texts_cannot_split_the_response(void **state)
{
    (void)state;
    static const struct sip_reply evil[] = {
        {.status = 200, .reason = {"a\r\nX: y", 7}},
        {.status = 200, .reason = {"a\r\n b", 5}},
        {.status = 200, .to_tag = {"a\r\nX: y", 7}},
        {.status = 200, .to_tag = {"a;b", 3}},
        {.status = 200, .to_tag = {"", 0}},
        {.status = 200, .received = {"h\r\n", 3}},
        {.status = 200, .received = {"example.test", 12}},
        {.status = 200, .headers = {"X: y", 4}},
        {.status = 200, .headers = {"X: y\n", 5}},
        {.status = 200, .headers = {"X: y\r\n\r\n", 8}},
        {.status = 200, .headers = {"X y\r\n", 5}},
        {.status = 200, .headers = {" y: a\r\n", 7}},
        {.status = 200, .headers = {"X: y\rz\r\n", 8}},
        {.status = 200, .headers = {"X: \0\r\n", 6}},
        {.status = 200, .headers = {"X: a\tb\r\n c\r\nZ: \x7f\r\n", 18}},
        {.status = 200, .content_type = {"a/b\r\nX: y", 9}},
    };
    struct arena arena;
    struct sipmsg m;
    struct buf b;
    char room[1024];
    arena_init(&arena, NULL, 0, 1 << 20);
    assert_int_equal(sipmsg_parse(request_of(START REST "\r\n"), &arena, &m, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof(evil) / sizeof(evil[0]); i++) {
        buf_init(&b, room, sizeof(room));
        if (sipmsg_reply(&b, &m, &evil[i]) != ERR_SYNTAX || b.n)
            fail_msg("taken: %zu", i);
    }
    buf_init(&b, room, sizeof(room));
    assert_int_equal(sipmsg_reply(&b, &m, &(struct sip_reply){.status = 99}), ERR_STATE);
    buf_init(&b, room, 100);
    assert_int_equal(sipmsg_reply(&b, &m, &(struct sip_reply){.status = 200}), ERR_TOOBIG);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_what_the_rfc_names),
        cmocka_unit_test(to_keeps_its_tag),
        cmocka_unit_test(only_the_topmost_via_learns_the_source),
        cmocka_unit_test(refused_requests_are_answered),
        cmocka_unit_test(lines_of_any_form_are_whole),
        cmocka_unit_test(texts_cannot_split_the_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
