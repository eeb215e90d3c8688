/* SPDX-License-Identifier: MIT */
/* Which part of a body is the session description, and another one in its place: RFC 3261 §7.4, §20.11,
 * §20.12, RFC 5621, RFC 2046 §5.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <stdio.h>

#include <cmocka.h>

#include "sipmsg/sipmsg.h"

#define HEAD                                                                                     \
    "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: " \
    "<sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n"
#define SDP   "v=0\r\ns=-\r\n"
#define MIXED "Content-Type: multipart/mixed;boundary=\"b 1\"\r\n"

struct fixture {
    struct arena arena;
    struct sipmsg m;
    struct sip_description d;
    struct sipedit e;
    struct buf b;
    char octets[16384 + BLOCK_SLACK], room[16384 + BLOCK_SLACK];
};

/* HEAD, head, body; @ in head: the length of body. */
static size_t put(char *out, size_t room, const char *head, const char *body)
{
    int at = (int)strcspn(head, "@"), n;
    if (head[at])
        n = snprintf(out, room, HEAD "%.*s%zu%s\r\n%s", at, head, strlen(body), head + at + 1,
                     body);
    else
        n = snprintf(out, room, HEAD "%s\r\n%s", head, body);
    assert_true(n > 0 && (size_t)n < room);
    return (size_t)n;
}

static void read_body(struct fixture *f, const char *head, const char *body)
{
    size_t n = put(f->octets, sizeof(f->octets) - BLOCK_SLACK, head, body);
    memset(f->octets + n, '\n', BLOCK_SLACK);
    arena_init(&f->arena, NULL, 0, 1 << 20);
    assert_int_equal(sipmsg_parse((sv){f->octets, n}, &f->arena, &f->m, NULL), ERR_OK);
    assert_int_equal(sipmsg_check(&f->m, NULL), ERR_OK);
    sipedit_init(&f->e, &f->m);
    buf_init(&f->b, f->room, sizeof(f->room) - BLOCK_SLACK);
    sipmsg_description(&f->m, &f->d);
}

static void holds(const char *head, const char *body, const char *want)
{
    struct fixture f;
    read_body(&f, head, body);
    if (f.d.why)
        fail_msg("%s: %s", body, f.d.why);
    if (!sv_eq(f.d.text, sv_of(want)) || sv_present(f.d.text) != (want != NULL))
        fail_msg("%s\n'" SV_FMT "'", body, SV_ARG(f.d.text));
    arena_done(&f.arena);
}

static void hides(const char *head, const char *body, const char *why)
{
    struct fixture f;
    read_body(&f, head, body);
    assert_false(sv_present(f.d.text));
    if (!f.d.why)
        fail_msg("nothing is said of %s", body);
    assert_string_equal(f.d.why, why);
    arena_done(&f.arena);
}

/* The message after another description was put in; head: behind those of HEAD. */
static void becomes(const char *head, const char *body, const char *text, const char *new_head,
                    const char *new_body)
{
    struct fixture f;
    struct sipmsg again;
    char want[16384];
    read_body(&f, head, body);
    assert_true(sv_present(f.d.text));
    sipedit_description(&f.e, &f.d, sv_of(text));
    assert_int_equal(sipedit_write(&f.e, &f.b), ERR_OK);
    put(want, sizeof(want), new_head, new_body);
    if (!sv_eq(buf_sv(&f.b), sv_of(want)))
        fail_msg(SV_FMT "\nnot\n%s", SV_ARG(buf_sv(&f.b)), want);
    assert_int_equal(sipmsg_parse(buf_sv(&f.b), &f.arena, &again, NULL), ERR_OK);
    assert_true(sv_eq(sipmsg_body(&again), sv_of(new_body)));
    arena_done(&f.arena);
}

static void the_body_itself(void **state)
{
    (void)state;
    holds("Content-Type: application/sdp\r\n", SDP, SDP);
    holds("c: Application / SDP ;charset=utf-8\r\nl: 10\r\n", SDP, SDP);
    holds("Content-Type: application/sdp\r\nContent-Disposition: Session;handling=required\r\n",
          SDP, SDP);
    holds("Content-Type: application/sdp\r\ne: identity\r\n", SDP, SDP);
    holds("", "", NULL);
    holds("Content-Type: application/sdp\r\n", "", NULL);
    holds("Content-Type: application/sdp2\r\n", SDP, NULL);
    holds("Content-Type: text/plain\r\n", SDP, NULL);
    /* RFC 3959: another session's */
    holds("Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n", SDP, NULL);
}

static void what_cannot_be_told(void **state)
{
    (void)state;
    hides("", SDP, "Body Without Content-Type");
    hides("Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n", "zip", "Body Is Encoded");
    hides("Content-Type: application/pkcs7-mime\r\n", "x", "Body Is Signed or Encrypted");
    hides("Content-Type: multipart/signed;boundary=b\r\n", "--b\r\n",
          "Body Is Signed or Encrypted");
    hides("Content-Type: multipart/mixed\r\n", "--b\r\n", "Malformed Multipart Body");
    hides("Content-Type: multipart/mixed;boundary=\"\"\r\n", "--b\r\n", "Malformed Multipart Body");
    hides("Content-Type: multipart/mixed;boundary=b\r\n", "--bb\r\n", "Malformed Multipart Body");
    hides(MIXED,
          "--b 1\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w"
          "\r\n--b 1--\r\n",
          "Body Is Encoded");
    hides(MIXED,
          "--b 1\r\nContent-Type: application/sdp\r\ncontent-type: text/plain\r\n\r\n" SDP
          "--b 1--\r\n",
          "Malformed Multipart Body");
    hides(MIXED,
          "--b 1\r\nContent-Type: application/sdp\r\n\r\n" SDP
          "\r\n--b 1\r\nContent-Type: application/sdp\r\n\r\n" SDP "\r\n--b 1--",
          "More Than One Session Description");
}

#define TEXT_PART "--b 1\r\nContent-Type: text/plain\r\n\r\n--b 2\r\nhello\r\n"
#define SDP_PART  "--b 1\r\ncontent-type: application/sdp\r\nX-Other: 1\r\n\r\n" SDP

static void a_part_of_it(void **state)
{
    (void)state;
    holds(MIXED, "preamble\r\n" TEXT_PART SDP_PART "\r\n--b 1--\r\nepilogue\r\n", SDP);
    holds(MIXED, TEXT_PART SDP_PART "\r\n--b 1-- \t\r\n", SDP);
    holds(MIXED, SDP_PART, SDP);                /* unterminated */
    holds(MIXED, "--b 1--\r\n" SDP_PART, NULL); /* an epilogue */
    holds(MIXED, TEXT_PART "--b 1--\r\n", NULL);
    holds(MIXED, "--b 1\nContent-Type: application/sdp\n\nv=0\n--b 1--\n", "v=0");
    holds(MIXED, "--b 1\r\nContent-Type: application/sdp\r\n--b 1--\r\n", NULL); /* no content */
    holds(MIXED,
          "--b 1\r\nContent-Type:\r\n application/sdp;\r\n\tcharset=x\r\n\r\n" SDP "\r\n--b 1",
          SDP);
    /* the early session's, beside the session's own */
    holds(MIXED,
          "--b 1\r\nContent-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=9"
          "\r\n" SDP_PART "\r\n--b 1--\r\n",
          SDP);
    holds("Content-Type: multipart/alternative;boundary=\"b 1\"\r\n"
          "Content-Disposition: early-session\r\n",
          SDP_PART "\r\n--b 1--\r\n", NULL);
}

#define INNER                                                                                 \
    "--b 1\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: " \
    "text/plain\r\n\r\nx\r\n--in\r\nContent-Type: application/sdp\r\n\r\n" SDP "\r\n--in--\r\n"

/* Nested as deep as allowed, and one more. */
static void nested(unsigned depth, char *body, size_t room, char *head, size_t head_room)
{
    size_t n = 0;
    snprintf(head, head_room, "Content-Type: multipart/mixed;boundary=x0\r\n");
    for (unsigned i = 1; i < depth; i++)
        n += (size_t)snprintf(body + n, room - n,
                              "--x%u\r\nContent-Type: multipart/mixed;boundary=x%u\r\n\r\n", i - 1,
                              i);
    n += (size_t)snprintf(body + n, room - n, "--x%u\r\nContent-Type: application/sdp\r\n\r\n" SDP,
                          depth - 1);
    for (unsigned i = depth; i-- > 0;)
        n += (size_t)snprintf(body + n, room - n, "\r\n--x%u--", i);
}

static void parts_in_parts(void **state)
{
    (void)state;
    char body[8192], head[128];
    size_t n = 0;
    holds(MIXED, TEXT_PART INNER "--b 1--\r\n", SDP);
    nested(SIPMSG_NESTING_MAX, body, sizeof(body), head, sizeof(head));
    holds(head, body, SDP);
    nested(SIPMSG_NESTING_MAX + 1, body, sizeof(body), head, sizeof(head));
    hides(head, body, "Too Many Body Parts");
    for (unsigned i = 0; i < SIPMSG_PARTS_MAX - 1; i++)
        n += (size_t)snprintf(body + n, sizeof(body) - n, "--b 1\r\n\r\n%u\r\n", i);
    snprintf(body + n, sizeof(body) - n, SDP_PART "\r\n--b 1--");
    holds(MIXED, body, SDP);
    snprintf(body + n, sizeof(body) - n, "--b 1\r\n\r\n\r\n" SDP_PART "\r\n--b 1--");
    hides(MIXED, body, "Too Many Body Parts");
}

#define NEW "v=1\r\nmore\r\n"

static void another_in_its_place(void **state)
{
    (void)state;
    becomes("Content-Type: application/sdp\r\nContent-Length: @\r\n", SDP, NEW,
            "Content-Type: application/sdp\r\nContent-Length: @\r\n", NEW);
    becomes("c: application/sdp\r\nl: \r\n 10\r\n", SDP, NEW,
            "c: application/sdp\r\nl: \r\n 11\r\n", NEW);
    becomes("Content-Type: application/sdp\r\n", SDP, NEW,
            "Content-Type: application/sdp\r\nContent-Length: @\r\n", NEW);
    becomes("l:@\r\nContent-Type: application/sdp\r\n", SDP, "", "l:@\r\n", "");
    becomes(MIXED, TEXT_PART SDP_PART "\r\n--b 1--\r\n", NEW, MIXED "Content-Length: @\r\n",
            TEXT_PART "--b 1\r\ncontent-type: application/sdp\r\nX-Other: 1\r\n\r\n" NEW
                      "\r\n--b 1--\r\n");
    becomes("Content-Length: @\r\n" MIXED,
            "--b 1\r\nContent-Type: application/sdp\r\nContent-Length: 10\r\nX: y\r\n\r\n" SDP
            "\r\n--b 1--\r\n",
            NEW, "Content-Length: @\r\n" MIXED,
            "--b 1\r\nContent-Type: application/sdp\r\nX: y\r\n\r\n" NEW "\r\n--b 1--\r\n");
}

static void it_goes(void **state)
{
    (void)state;
    /* with its part; a multipart body that holds nothing else goes whole */
    becomes("l: @\r\n" MIXED, TEXT_PART SDP_PART "\r\n--b 1--\r\n", "", "l: @\r\n" MIXED,
            TEXT_PART "--b 1--\r\n");
}

static void nothing_else_is_left(void **state)
{
    (void)state;
    becomes(MIXED, SDP_PART "\r\n--b 1--\r\n", "", "Content-Length: @\r\n", "");
    becomes(MIXED,
            "--b 1\r\nContent-Type: multipart/mixed;boundary=in\r\n\r\n--in\r\nContent-Type: "
            "application/sdp\r\n\r\n" SDP "\r\n--in--\r\n" TEXT_PART "--b 1--\r\n",
            "", MIXED "Content-Length: @\r\n", TEXT_PART "--b 1--\r\n");
}

static void what_ends_a_part_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    read_body(&f, MIXED, SDP_PART "\r\n--b 1--\r\n");
    sipedit_description(&f.e, &f.d, SV("v=0\r\n--b 1--\r\n"));
    assert_int_equal(sipedit_write(&f.e, &f.b), ERR_SYNTAX);
    arena_done(&f.arena);
    /* of a body alone nothing can end it */
    becomes("Content-Type: application/sdp\r\n", SDP, "--b\r\n",
            "Content-Type: application/sdp\r\nContent-Length: @\r\n", "--b\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_body_itself),      cmocka_unit_test(what_cannot_be_told),
        cmocka_unit_test(a_part_of_it),         cmocka_unit_test(parts_in_parts),
        cmocka_unit_test(another_in_its_place), cmocka_unit_test(it_goes),
        cmocka_unit_test(nothing_else_is_left), cmocka_unit_test(what_ends_a_part_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
