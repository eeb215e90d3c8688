/* SPDX-License-Identifier: MIT */
/* Session descriptions: what is read, what is refused and where, caps, printing, attribute readers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sdp/sdp.h"

#define HEAD "v=0\r\no=- 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"

static struct arena arena;
static struct sdp sdp;
static struct sdp_fault fault;
/* The text is a heap block of its own, so that reading beyond its end shows. */
static char *copy;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 4 << 20);
    fault = (struct sdp_fault){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    free(copy);
    copy = NULL;
    return 0;
}

static void assert_sv(sv got, const char *want)
{
    if (!sv_eq(got, sv_of(want)) || !sv_present(got))
        fail_msg("got \"" SV_FMT "\", want \"%s\"", SV_ARG(got), want);
}

static enum err parse(sv text)
{
    free(copy);
    copy = malloc(text.n ? text.n : 1);
    memcpy(copy, text.p, text.n);
    return sdp_parse((sv){copy, text.n}, &arena, &sdp, &fault);
}

static void accept(const char *text)
{
    enum err rc = parse(sv_of(text));
    if (rc)
        fail_msg("%s at line %u: %s\n%s", err_name(rc), (unsigned)fault.line, fault.why, text);
}

static void refuse(const char *text, enum err want, uint32_t line)
{
    fault = (struct sdp_fault){0};
    enum err rc = parse(sv_of(text));
    if (rc != want || fault.line != line || !fault.why)
        fail_msg("%s at line %u (%s), want %s at %u\n%s", err_name(rc), (unsigned)fault.line,
                 fault.why ? fault.why : "no reason", err_name(want), (unsigned)line, text);
}

static void assert_prints(const char *want)
{
    char mem[8192];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    sdp_print(&b, &sdp);
    assert_int_equal(b.rc, ERR_OK);
    assert_sv(buf_sv(&b), want);
}

/* ---- reading ---- */

static void reads_every_line(void **state)
{
    (void)state;
    accept("v=0\r\n"
           "o=jdoe 37243944001234567890123 3724394405 IN IP6 2001:db8::7\r\n"
           "s=Seminar\r\ni=All of it\r\nu=http://example.com/s\r\n"
           "e=j@example.com (Jane)\r\ne=x@example.com\r\np=+1 617 555-6011\r\n"
           "c=IN IP4 233.252.0.1/127/3\r\nb=CT:154\r\nb=X-YZ:128\r\n"
           "t=3724394400 3724398000\r\nt=3724484400 0\r\n"
           "r=7d 1h 0 25h\r\nr=604800 3600 0 90000\r\nz=3730928400 -1h 3749680800 0\r\n"
           "k=clear:secret\r\na=recvonly\r\na=tool:x y:z\r\n"
           "m=audio 49170/2 RTP/AVP 0 8\r\ni=left\r\nc=IN IP4 233.252.0.2/127\r\n"
           "c=IN IP4 233.252.0.3/127\r\nb=AS:64\r\nk=prompt\r\na=ptime:20\r\n"
           "m=video 0 RTP/SAVPF 99\r\nc=IN IP6 ff15::101/3\r\n");
    assert_sv(sdp.origin.username, "jdoe");
    assert_sv(sdp.origin.session_id, "37243944001234567890123");
    assert_sv(sdp.origin.version, "3724394405");
    assert_int_equal(sdp.origin.addr.ip_n, 16);
    assert_sv(sdp.name, "Seminar");
    assert_sv(sdp.info, "All of it");
    assert_sv(sdp.uri, "http://example.com/s");
    assert_int_equal(sdp.n_emails, 2);
    assert_sv(sdp.emails[1], "x@example.com");
    assert_int_equal(sdp.n_phones, 1);
    assert_sv(sdp.phones[0], "+1 617 555-6011");
    assert_sv(sdp.conn->address, "233.252.0.1");
    assert_sv(sdp.conn->scope, "127/3");
    assert_int_equal(sdp.conn->ttl, 127);
    assert_int_equal(sdp.conn->addresses, 3);
    assert_memory_equal(sdp.conn->ip, ((uint8_t[]){233, 252, 0, 1}), 4);
    assert_int_equal(sdp.n_bandwidths, 2);
    assert_sv(sdp.bandwidths[1].type, "X-YZ");
    assert_int_equal(sdp.bandwidths[1].value, 128);
    assert_int_equal(sdp.n_times, 2);
    assert_true(sdp.times[0].start == 3724394400 && sdp.times[0].stop == 3724398000);
    assert_int_equal(sdp.times[0].n_repeats, 0);
    const struct sdp_time *t = &sdp.times[1];
    assert_int_equal(t->n_repeats, 2);
    for (size_t i = 0; i < 2; i++) { /* RFC 8866 §5.10: the two notations mean the same */
        assert_int_equal(t->repeats[i].interval_s, 604800);
        assert_int_equal(t->repeats[i].duration_s, 3600);
        assert_int_equal(t->repeats[i].n_offsets, 2);
        assert_int_equal(t->repeats[i].offsets_s[1], 90000);
    }
    assert_int_equal(t->n_zones, 2);
    assert_true(t->zones[0].at == 3730928400 && t->zones[0].offset_s == -3600);
    assert_int_equal(t->zones[1].offset_s, 0);
    assert_int_equal(sdp.attrs.n, 2);
    assert_false(sv_present(sdp.attrs.v[0].value));
    assert_sv(sdp.attrs.v[1].value, "x y:z");
    assert_int_equal(sdp.n_media, 2);
    const struct sdp_media *m = &sdp.media[0];
    assert_sv(m->type, "audio");
    assert_int_equal(m->port, 49170);
    assert_int_equal(m->ports, 2);
    assert_sv(m->proto, "RTP/AVP");
    assert_int_equal(m->n_formats, 2);
    assert_sv(m->formats[1], "8");
    assert_sv(m->info, "left");
    assert_int_equal(m->n_conns, 2);
    assert_sv(m->conns[1].address, "233.252.0.3");
    assert_int_equal(m->bandwidths[0].value, 64);
    assert_int_equal(sdp.media[1].port, 0);
    assert_int_equal(sdp.media[1].conns[0].addresses, 3);
    assert_int_equal(sdp.media[1].conns[0].ip[0], 0xff);
}

/* RFC 5118 §4.8: each medium its own address and family; an empty s= */
static void reads_an_address_for_each_medium(void **state)
{
    (void)state;
    accept("v=0\r\no=bob 280744730 28977631 IN IP4 host.example.com\r\ns=\r\nt=0 0\r\n"
           "m=audio 22334 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n"
           "m=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:107 H263-1998/90000\r\n");
    assert_null(sdp.conn);
    assert_int_equal(sdp.origin.addr.ip_n, 0);
    const struct sdp_conn *c = sdp_conn_of(&sdp, &sdp.media[0]);
    assert_int_equal(c->ip_n, 4);
    assert_memory_equal(c->ip, ((uint8_t[]){192, 0, 2, 1}), 4);
    c = sdp_conn_of(&sdp, &sdp.media[1]);
    assert_int_equal(c->ip_n, 16);
    assert_memory_equal(c->ip, ((uint8_t[]){0x20, 1, 0xd, 0xb8, [15] = 1}), 16);
}

static void session_values_are_the_default(void **state)
{
    (void)state;
    accept(HEAD "a=sendonly\r\na=setup:passive\r\n"
                "m=audio 4 RTP/AVP 0\r\n"
                "m=video 4 RTP/AVP 31\r\nc=IN IP4 192.0.2.2\r\na=inactive\r\na=setup:active\r\n");
    assert_sv(sdp_conn_of(&sdp, &sdp.media[0])->address, "192.0.2.1");
    assert_sv(sdp_conn_of(&sdp, &sdp.media[1])->address, "192.0.2.2");
    assert_int_equal(sdp_direction_of(&sdp, &sdp.media[0]), SDP_SENDONLY);
    assert_int_equal(sdp_direction_of(&sdp, &sdp.media[1]), SDP_INACTIVE);
    assert_int_equal(sdp_direction_of(&sdp, NULL), SDP_SENDONLY);
    assert_sv(sdp_attr_of(&sdp, &sdp.media[0], SV("setup"))->value, "passive");
    assert_sv(sdp_attr_of(&sdp, &sdp.media[1], SV("setup"))->value, "active");
    assert_null(sdp_attr_of(&sdp, &sdp.media[1], SV("Setup")));
    accept(HEAD "m=audio 4 RTP/AVP 0\r\n");
    assert_int_equal(sdp_direction_of(&sdp, &sdp.media[0]), SDP_SENDRECV);
    assert_int_equal(sdp_direction_reverse(SDP_SENDONLY), SDP_RECVONLY);
    assert_int_equal(sdp_direction_reverse(SDP_RECVONLY), SDP_SENDONLY);
    assert_int_equal(sdp_direction_reverse(SDP_INACTIVE), SDP_INACTIVE);
    assert_sv(sdp_direction_name(SDP_RECVONLY), "recvonly");
}

/* One description in the ways peers write it; all print alike. */
static void messy_peers_have_one_reading(void **state)
{
    (void)state;
    static const char *const same[] = {
        "v=0\r\no=u 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=x\r\n"
        "m=audio 4000 RTP/AVP 0 8\r\nb=AS:64\r\na=sendrecv\r\n",
        "v=0\no=u 1 2 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\na=x\n"
        "m=audio 4000 RTP/AVP 0 8\nb=AS:64\na=sendrecv\n",
        "v=0\r\no=u 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.1\nt=0 0\na=x\r\n"
        "m=audio 4000 RTP/AVP 0 8\nb=AS:64\r\na=sendrecv",
        "v=0\no=u 1 2 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.1\na=x\nm=audio 4000 RTP/AVP 0 8\n"
        "a=sendrecv\nb=AS:64\n\r\n\n",
        "v=0 \no= u  1 2 IN IP4 192.0.2.9 \ns=\nt= 0  0 \na=x \nc=IN  IP4\t192.0.2.1 \n"
        "m=audio  4000 RTP/AVP  0 8  \nb=AS:64 \na=sendrecv \n"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        accept(same[i]);
        assert_prints(same[0]);
    }
    accept("v=0\r\no=My Desk Phone 12 13 IN IP4 192.0.2.9\r\ns= \r\n");
    assert_sv(sdp.origin.username, "My Desk Phone");
    assert_sv(sdp.name, " ");
    accept("v=0\r\no= 12 13 IN IP4 192.0.2.9\r\n");
    assert_sv(sdp.origin.username, "");
    accept(HEAD "m=video 0 RTP/AVP\r\n");
    assert_int_equal(sdp.media[0].n_formats, 0);
    accept("v=0\r\no=- 1 1 IN IP4 h\r\nm=audio 0 RTP/AVP 0\r\n");
    assert_null(sdp_conn_of(&sdp, &sdp.media[0]));
    accept("v=0\r\no=- 1 1 ATM NSAP 47.0091\r\nc=ATM NSAP 47/9:x\r\n");
    assert_sv(sdp.conn->address, "47/9:x");
    assert_int_equal(sdp.conn->ip_n, 0);
}

/* ---- refusing ---- */

static void refuses_what_has_no_one_reading(void **state)
{
    (void)state;
    refuse("", ERR_SYNTAX, 1);
    refuse("\r\n\r\n", ERR_SYNTAX, 1);
    refuse("o=- 1 1 IN IP4 h\r\nv=0\r\n", ERR_SYNTAX, 1);
    refuse("m=audio 4 RTP/AVP 0\r\n", ERR_SYNTAX, 1);
    refuse("v=1\r\no=- 1 1 IN IP4 h\r\n", ERR_SYNTAX, 1);
    refuse("v=0\r\ns=-\r\n", ERR_SYNTAX, 2);
    refuse("v=0\r\no=- 1 IN IP4 h\r\n", ERR_SYNTAX, 2);
    refuse("v=0\r\no=- a 1 IN IP4 h\r\n", ERR_SYNTAX, 2);
    refuse("v=0\r\no=- 1 -1 IN IP4 h\r\n", ERR_SYNTAX, 2);
    refuse("v=0\r\no=- 1 1 IN IP4 192.0.2.1/127\r\n", ERR_SYNTAX, 2);
    refuse(HEAD "v=0\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "o=- 1 2 IN IP4 192.0.2.9\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "s=again\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "c=IN IP4 192.0.2.2\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "i=a\r\ni=b\r\n", ERR_SYNTAX, 7);
    refuse(HEAD "u=a\r\nu=b\r\n", ERR_SYNTAX, 7);
    refuse(HEAD "k=a\r\nk=b\r\n", ERR_SYNTAX, 7);
    refuse(HEAD "m=audio 0 RTP/AVP 0\r\ni=a\r\ni=b\r\n", ERR_SYNTAX, 8);
    refuse(HEAD "y=0\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "A=x\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "a x\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "a\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "\r\na=x\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "i=a\rb\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "a=\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "a=:x\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "a=b c:x\r\n", ERR_SYNTAX, 6);
    refuse(HEAD "a=sendonly\r\na=x\r\na=recvonly\r\n", ERR_SYNTAX, 8);
    refuse(HEAD "z=1 1\r\n", ERR_SYNTAX, 6);
    refuse("v=0\r\no=- 1 1 IN IP4 h\r\nr=1 1 1\r\nt=0 0\r\n", ERR_SYNTAX, 3);
    refuse(HEAD "m=audio 4 RTP/AVP 0\r\nt=0 0\r\n", ERR_SYNTAX, 7);
    assert_int_equal(parse(SV(HEAD "i=a\0b\r\n")), ERR_SYNTAX);
    assert_int_equal(fault.line, 6);
}

static void refuses_broken_fields(void **state)
{
    (void)state;
    static const char *const lines[] = {"t=0",
                                        "t=0 0 0",
                                        "t=a 0",
                                        "t=-1 0",
                                        "b=AS",
                                        "b=AS:",
                                        "b=AS:x",
                                        "b=:1",
                                        "b=A S:1",
                                        "r=1 1",
                                        "r=1x 1 1",
                                        "r=d 1 1",
                                        "r=1 1 1\r\nz=1",
                                        "z=",
                                        "r=1 1 1\r\nz=1 h",
                                        "r=1 1 -1",
                                        "m=audio",
                                        "m=audio 4",
                                        "m=audio 4 RTP/AVP",
                                        "m=audio 4 RTP//AVP 0",
                                        "m=audio 4 RTP/ 0",
                                        "m=audio 4 /RTP 0",
                                        "m=audio a RTP/AVP 0",
                                        "m=audio -4 RTP/AVP 0",
                                        "m=audio 4/ RTP/AVP 0",
                                        "m=audio 4/a RTP/AVP 0",
                                        "m=au:dio 4 RTP/AVP 0",
                                        "m=audio 4 RTP/AVP 0;8"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, HEAD "%s\r\n", lines[i]);
        refuse(text, ERR_SYNTAX, strstr(lines[i], "\nz") ? 7 : 6);
    }
    static const char *const ranges[] = {"m=audio 65536 RTP/AVP 0",
                                         "m=audio 4/0 RTP/AVP 0",
                                         "b=AS:18446744073709551616",
                                         "t=18446744073709551616 0",
                                         "r=0 1 1",
                                         "r=106751991167301d 1 1"};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, HEAD "%s\r\n", ranges[i]);
        refuse(text, ERR_RANGE, 6);
    }
    refuse("v=0\r\no=- 1 1 IN IP4 h\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n", ERR_SYNTAX, 4);
}

static void refuses_broken_addresses(void **state)
{
    (void)state;
    static const char *const addresses[] = {"IN IP4",
                                            "IN IP4 192.0.2.301",
                                            "IN IP4 1.2.3",
                                            "IN IP4 2001:db8::1",
                                            "IN IP6 192.0.2.1",
                                            "IN IP6 2001:db8::g",
                                            "IN IP6 [2001:db8::1]",
                                            "IN IP4 a..b",
                                            "IN IP4 -/",
                                            "IN IP4 a b",
                                            "IN IP4 1.2.3.4/",
                                            "IN IP4 233.252.0.1/a",
                                            "IN IP4 233.252.0.1/1/",
                                            "IN IP4 233.252.0.1/1/1/1",
                                            "IN IP6 ff15::1/1/1",
                                            "IN IP4 h@st",
                                            "I(N IP4 1.2.3.4"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, HEAD "m=audio 4 RTP/AVP 0\r\nc=%s\r\n", addresses[i]);
        refuse(text, ERR_SYNTAX, 7);
    }
    refuse(HEAD "m=audio 4 RTP/AVP 0\r\nc=IN IP4 233.252.0.1/256\r\n", ERR_RANGE, 7);
    refuse(HEAD "m=audio 4 RTP/AVP 0\r\nc=IN IP4 233.252.0.1/1/0\r\n", ERR_RANGE, 7);
    struct sdp_conn c;
    assert_int_equal(sdp_conn_set(SV("2001:db8::5"), &c), ERR_OK);
    assert_sv(c.addrtype, "IP6");
    assert_int_equal(c.ip[15], 5);
    assert_int_equal(sdp_conn_set(SV("pbx.example.com."), &c), ERR_OK);
    assert_int_equal(c.ip_n, 0);
    assert_int_equal(sdp_conn_set(SV("192.0.2.1/1"), &c), ERR_SYNTAX);
    assert_int_equal(sdp_conn_set(SV(""), &c), ERR_SYNTAX);
}

/* HEAD, before, n times piece, after: fine with n == cap, too big at the line of cap + 1. */
static void cap(const char *before, const char *piece, size_t n, const char *after, uint32_t line)
{
    struct buf b;
    for (size_t extra = 0; extra < 2; extra++) {
        buf_init_heap(&b, 1 << 20);
        buf_str(&b, HEAD);
        buf_str(&b, before);
        for (size_t i = 0; i < n + extra; i++)
            buf_str(&b, piece);
        buf_str(&b, after);
        assert_int_equal(b.rc, ERR_OK);
        enum err rc = parse(buf_sv(&b));
        if (rc != (extra ? ERR_TOOBIG : ERR_OK) || (extra && fault.line != line))
            fail_msg("%zu of %s: %s at %u (%s)", n + extra, piece, err_name(rc),
                     (unsigned)fault.line, extra ? fault.why : "");
        buf_done(&b);
    }
}

static void caps_refuse_one_more(void **state)
{
    (void)state;
    cap("", "m=audio 4 RTP/AVP 0\r\n", SDP_MEDIA_MAX, "", 5 + SDP_MEDIA_MAX + 1);
    assert_int_equal(SDP_MEDIA_MAX, 32);
    cap("m=audio 4 RTP/AVP", " 0", SDP_FORMATS_MAX, "\r\n", 6);
    cap("", "a=x\r\n", SDP_ATTRS_MAX, "", 5 + SDP_ATTRS_MAX + 1);
    cap("m=audio 4 RTP/AVP 0\r\n", "a=x\r\n", SDP_ATTRS_MAX, "", 6 + SDP_ATTRS_MAX + 1);
    cap("", "b=AS:1\r\n", SDP_BANDWIDTHS_MAX, "", 5 + SDP_BANDWIDTHS_MAX + 1);
    cap("m=audio 4 RTP/AVP 0\r\n", "c=IN IP4 h\r\n", SDP_CONNS_MAX, "", 6 + SDP_CONNS_MAX + 1);
    cap("", "e=x\r\n", SDP_CONTACTS_MAX, "", 5 + SDP_CONTACTS_MAX + 1);
    cap("", "p=x\r\n", SDP_CONTACTS_MAX, "", 5 + SDP_CONTACTS_MAX + 1);
    cap("", "t=0 0\r\n", SDP_TIMES_MAX - 1, "", 5 + SDP_TIMES_MAX); /* HEAD has one */
    cap("", "r=1 1 1\r\n", SDP_REPEATS_MAX, "", 5 + SDP_REPEATS_MAX + 1);
    cap("r=1 1", " 1", SDP_OFFSETS_MAX, "\r\n", 6);
    cap("r=1 1 1\r\nz=", " 1 1", SDP_ZONES_MAX, "\r\n", 7);
}

static void caps_hold_for_the_whole(void **state)
{
    (void)state;
    struct buf b;
    buf_init_heap(&b, 1 << 20);
    buf_str(&b, HEAD);
    for (size_t media = 0; b.rc == ERR_OK && media < 20; media++) {
        buf_str(&b, "m=audio 4 RTP/AVP 0\r\n");
        for (size_t i = 0; i < 250; i++)
            buf_str(&b, "a=x\r\n");
    }
    assert_int_equal(parse(buf_sv(&b)), ERR_TOOBIG);
    assert_int_equal(fault.line, SDP_LINES_MAX + 1);
    buf_reset(&b);
    buf_str(&b, HEAD "i=");
    while (b.n < SDP_MAX)
        buf_char(&b, 'x');
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
    buf_char(&b, 'x');
    assert_int_equal(parse(buf_sv(&b)), ERR_TOOBIG);
    assert_int_equal(fault.line, 0);
    buf_done(&b);
    struct arena tight;
    arena_init(&tight, NULL, 0, 64);
    assert_int_equal(sdp_parse(SV(HEAD), &tight, &sdp, &fault), ERR_NOMEM);
    arena_done(&tight);
    assert_int_equal(sdp_parse(SV("x"), &arena, &sdp, NULL), ERR_SYNTAX);
}

/* Cut at every octet: read or refused, nothing beyond the text touched (each copy ends at its
 * block's end, for the sanitizer). What is cut inside its last line is never a different session.
 */
static void stands_being_cut_anywhere(void **state)
{
    (void)state;
    sv whole = SV(HEAD "b=AS:64\r\nr=7d 1h 0 25h\r\nz=1 -1h\r\na=group:BUNDLE 0\r\n"
                       "m=audio 4/2 RTP/AVP 0 8\r\nc=IN IP4 233.252.0.1/127/2\r\na=ptime:20\r\n");
    size_t read = 0;
    for (size_t n = 0; n < whole.n; n++)
        if (parse(sv_sub(whole, 0, n)) == ERR_OK) {
            read++;
            assert_true(sdp.n_media <= 1 && sdp.n_times == 1);
        }
    assert_true(read > 10);
}

/* ---- printing ---- */

static void prints_what_it_read(void **state)
{
    (void)state;
    const char *text =
        "v=0\r\no=jdoe 1 2 IN IP4 h.example.com\r\ns=x\r\ni=i\r\nu=u\r\ne=e\r\np=p\r\n"
        "c=IN IP4 233.252.0.1/127/3\r\nb=AS:1\r\nt=1 2\r\nr=604800 3600 0 90000\r\n"
        "z=5 -3600 6 0\r\nt=3 4\r\na=recvonly\r\na=empty:\r\na=tool: x\r\n"
        "m=audio 4/2 RTP/AVP 0 8\r\ni=m\r\nc=IN IP4 a.b\r\nc=IN IP6 ff15::1/3\r\nb=TIAS:5\r\n"
        "a=mid:1\r\nm=image 0 udptl t38\r\n";
    accept(text);
    assert_prints(text);
    /* RFC 8866 §5.12: "MUST discard it if it is received" */
    accept(HEAD "k=prompt\r\n");
    assert_prints(HEAD);
}

static enum err print_with(const struct sdp *s)
{
    char mem[1024];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    sdp_print(&b, s);
    return b.rc;
}

static void prints_nothing_that_starts_a_line(void **state)
{
    (void)state;
    accept(HEAD "m=audio 4 RTP/AVP 0\r\na=x:y\r\n");
    assert_int_equal(print_with(&sdp), ERR_OK);
    struct sdp bad = sdp;
    bad.name = SV("x\r\na=y");
    assert_int_equal(print_with(&bad), ERR_SYNTAX);
    bad = sdp;
    bad.origin.session_id = SV("1 2");
    assert_int_equal(print_with(&bad), ERR_SYNTAX);
    bad = sdp;
    bad.attrs = (struct sdp_attrs){&(struct sdp_attr){SV("a:b"), SV_NONE}, 1};
    assert_int_equal(print_with(&bad), ERR_SYNTAX);
    bad.attrs = (struct sdp_attrs){&(struct sdp_attr){SV("a"), SV("b\nc=x")}, 1};
    assert_int_equal(print_with(&bad), ERR_SYNTAX);
    bad = sdp;
    struct sdp_media m = sdp.media[0];
    m.formats = &SV("0 8");
    bad.media = &m;
    assert_int_equal(print_with(&bad), ERR_SYNTAX);
    char mem[16];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    sdp_print(&b, &sdp);
    assert_int_equal(b.rc, ERR_TOOBIG);
}

/* What code builds from nothing: defaults for what the grammar demands. */
static void prints_what_is_built(void **state)
{
    (void)state;
    struct sdp_conn c;
    assert_int_equal(sdp_conn_set(SV("192.0.2.1"), &c), ERR_OK);
    struct sdp_media m = {.type = SV("audio"),
                          .port = 4000,
                          .ports = 1,
                          .proto = SV("RTP/AVP"),
                          .formats = &SV("0"),
                          .n_formats = 1};
    sdp = (struct sdp){
        .origin = {SV("-"), SV("1"), SV("2"), c}, .conn = &c, .media = &m, .n_media = 1};
    assert_prints("v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
                  "m=audio 4000 RTP/AVP 0\r\n");
}

/* ---- attribute readers ---- */

static void reads_rtpmap(void **state)
{
    (void)state;
    struct sdp_rtpmap map;
    assert_int_equal(sdp_rtpmap_read(SV("96 opus/48000/2"), &map), ERR_OK);
    assert_int_equal(map.pt, 96);
    assert_sv(map.encoding, "opus");
    assert_int_equal(map.clock_hz, 48000);
    assert_int_equal(map.channels, 2);
    assert_int_equal(sdp_rtpmap_read(SV(" 8 PCMA/8000 "), &map), ERR_OK);
    assert_int_equal(map.channels, 1);
    assert_false(sv_present(map.params));
    assert_int_equal(sdp_rtpmap_read(SV("128 x/1"), &map), ERR_RANGE);
    assert_int_equal(sdp_rtpmap_read(SV("96 x/0"), &map), ERR_RANGE);
    assert_int_equal(sdp_rtpmap_read(SV("96 x/4294967296"), &map), ERR_RANGE);
    static const char *const bad[] = {
        "", "96", "96 x", "96 x/", "96 /8000", "96 x/8000/", "96 x/8000k", "96 x/8000 y", "a x/1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sdp_rtpmap_read(sv_of(bad[i]), &map), ERR_SYNTAX);
    assert_int_equal(sdp_rtpmap_read(SV_NONE, &map), ERR_SYNTAX);
}

static void finds_formats(void **state)
{
    (void)state;
    accept(HEAD "m=audio 4 RTP/AVP 0 8 96 97 98 9\r\na=rtpmap:96 opus/48000/2\r\n"
                "a=fmtp:96 minptime=10; useinbandfec=1;;dtx\r\na=fmtp:101 0-15\r\n"
                "a=rtpmap:97 A/8000\r\na=rtpmap:97 a/8000/1\r\n"
                "a=rtpmap:98 A/8000\r\na=rtpmap:98 B/8000\r\n");
    const struct sdp_media *m = &sdp.media[0];
    struct sdp_rtpmap map;
    assert_int_equal(sdp_rtpmap_find(m, 96, &map), ERR_OK);
    assert_sv(map.encoding, "opus");
    assert_int_equal(sdp_rtpmap_find(m, 0, &map), ERR_OK);
    assert_sv(map.encoding, "PCMU");
    assert_int_equal(sdp_rtpmap_find(m, 9, &map), ERR_OK);
    assert_int_equal(map.clock_hz, 8000); /* RFC 3551 §4.5.2: G722 says 8000 */
    assert_int_equal(sdp_rtpmap_find(m, 97, &map), ERR_OK);
    assert_sv(map.encoding, "A");
    assert_int_equal(sdp_rtpmap_find(m, 98, &map), ERR_SYNTAX);
    assert_int_equal(sdp_rtpmap_find(m, 99, &map), ERR_NOTFOUND);
    sv params = sdp_fmtp_find(m, SV("96")), name, value;
    assert_true(sdp_fmtp_next(&params, &name, &value));
    assert_sv(name, "minptime");
    assert_sv(value, "10");
    assert_true(sdp_fmtp_next(&params, &name, &value));
    assert_sv(name, "useinbandfec");
    assert_true(sdp_fmtp_next(&params, &name, &value));
    assert_sv(name, "dtx");
    assert_false(sv_present(value));
    assert_false(sdp_fmtp_next(&params, &name, &value));
    assert_sv(sdp_fmtp_find(m, SV("101")), "0-15");
    assert_false(sv_present(sdp_fmtp_find(m, SV("9"))));
    const struct sdp_attr *first = sdp_attr_find(&m->attrs, SV("fmtp"));
    assert_sv(sdp_attr_next(&m->attrs, first, SV("fmtp"))->value, "101 0-15");
}

static void reads_times_and_rtcp(void **state)
{
    (void)state;
    uint32_t us;
    assert_int_equal(sdp_ptime_read(SV("20"), &us), ERR_OK);
    assert_int_equal(us, 20000);
    assert_int_equal(sdp_ptime_read(SV("2.5"), &us), ERR_OK);
    assert_int_equal(us, 2500);
    assert_int_equal(sdp_ptime_read(SV("0.12345"), &us), ERR_OK);
    assert_int_equal(us, 123);
    assert_int_equal(sdp_ptime_read(SV("0"), &us), ERR_RANGE);
    assert_int_equal(sdp_ptime_read(SV("4294968"), &us), ERR_RANGE);
    assert_int_equal(sdp_ptime_read(SV("20."), &us), ERR_SYNTAX);
    assert_int_equal(sdp_ptime_read(SV("20 30"), &us), ERR_SYNTAX);
    assert_int_equal(sdp_ptime_read(SV("-20"), &us), ERR_SYNTAX);
    struct sdp_rtcp rtcp;
    assert_int_equal(sdp_rtcp_read(SV("53020"), &rtcp), ERR_OK);
    assert_true(rtcp.port == 53020 && !rtcp.has_addr);
    assert_int_equal(sdp_rtcp_read(SV("53020 IN IP6 2001:db8::1"), &rtcp), ERR_OK);
    assert_true(rtcp.has_addr && rtcp.addr.ip_n == 16);
    assert_int_equal(sdp_rtcp_read(SV("65536"), &rtcp), ERR_RANGE);
    assert_int_equal(sdp_rtcp_read(SV("1 IN IP4"), &rtcp), ERR_SYNTAX);
    assert_int_equal(sdp_rtcp_read(SV("1 IN IP4 192.0.2.1 x"), &rtcp), ERR_SYNTAX);
}

static void reads_keys_and_fingerprints(void **state)
{
    (void)state;
    struct sdp_crypto c;
    assert_int_equal(
        sdp_crypto_read(SV("1 AES_CM_128_HMAC_SHA1_80  inline:abc|2^20 KDR=1 WSH=64"), &c), ERR_OK);
    assert_int_equal(c.tag, 1);
    assert_sv(c.suite, "AES_CM_128_HMAC_SHA1_80");
    assert_sv(c.key_params, "inline:abc|2^20");
    assert_sv(c.session_params, "KDR=1 WSH=64");
    assert_int_equal(sdp_crypto_read(SV("999999999 S inline:a"), &c), ERR_OK);
    assert_int_equal(sdp_crypto_read(SV("1000000000 S inline:a"), &c), ERR_RANGE);
    assert_int_equal(sdp_crypto_read(SV("1 S"), &c), ERR_SYNTAX);
    assert_int_equal(sdp_crypto_read(SV("1 S inline"), &c), ERR_SYNTAX);
    struct sdp_fingerprint fp;
    assert_int_equal(sdp_fingerprint_read(SV("SHA-1 4A:ad:00"), &fp), ERR_OK);
    assert_sv(fp.hash, "SHA-1");
    assert_int_equal(fp.n, 3);
    assert_memory_equal(fp.digest, "\x4a\xad\x00", 3);
    static const char *const bad[] = {"sha-1",    "sha-1 4",     "sha-1 4A:", "sha-1 4A-AD",
                                      "sha-1 4G", "sha-1 4A AD", "sha-1 "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sdp_fingerprint_read(sv_of(bad[i]), &fp), ERR_SYNTAX);
    char mem[512];
    for (size_t octets = SDP_DIGEST_MAX; octets <= SDP_DIGEST_MAX + 1; octets++) {
        struct buf b;
        buf_init(&b, mem, sizeof mem);
        buf_str(&b, "sha-512 00");
        for (size_t i = 1; i < octets; i++)
            buf_str(&b, ":FF");
        assert_int_equal(sdp_fingerprint_read(buf_sv(&b), &fp),
                         octets > SDP_DIGEST_MAX ? ERR_SYNTAX : ERR_OK);
    }
    enum sdp_setup role;
    assert_int_equal(sdp_setup_read(SV("actpass"), &role), ERR_OK);
    assert_int_equal(role, SDP_ACTPASS);
    assert_int_equal(sdp_setup_read(SV("both"), &role), ERR_SYNTAX);
}

static void reads_candidates(void **state)
{
    (void)state;
    struct sdp_candidate c;
    assert_int_equal(sdp_candidate_read(SV("2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr "
                                           "203.0.113.141 rport 8998 generation 0 ufrag x"),
                                        &c),
                     ERR_OK);
    assert_sv(c.foundation, "2");
    assert_int_equal(c.component, 1);
    assert_sv(c.transport, "UDP");
    assert_int_equal(c.priority, 1694498815);
    assert_int_equal(c.ip_n, 4);
    assert_int_equal(c.ip[3], 3);
    assert_int_equal(c.port, 45664);
    assert_sv(c.type, "srflx");
    assert_sv(c.rel_address, "203.0.113.141");
    assert_int_equal(c.rel_port, 8998);
    assert_sv(c.extensions, "generation 0 ufrag x");
    assert_int_equal(
        sdp_candidate_read(SV("1 256 TCP 1 2001:db8::9 9 typ host tcptype active"), &c), ERR_OK);
    assert_int_equal(c.ip_n, 16);
    assert_false(sv_present(c.rel_address));
    assert_sv(c.extensions, "tcptype active");
    assert_int_equal(sdp_candidate_read(SV("1 1 udp 1 a1b2.local 9 typ host"), &c), ERR_OK);
    assert_int_equal(c.ip_n, 0);
    static const char *const range[] = {
        "1 0 UDP 1 192.0.2.3 9 typ host", "1 257 UDP 1 192.0.2.3 9 typ host",
        "1 1 UDP 0 192.0.2.3 9 typ host", "1 1 UDP 2147483648 192.0.2.3 9 typ host",
        "1 1 UDP 1 192.0.2.3 65536 typ host"};
    for (size_t i = 0; i < sizeof range / sizeof range[0]; i++)
        assert_int_equal(sdp_candidate_read(sv_of(range[i]), &c), ERR_RANGE);
    static const char *const bad[] = {
        "",
        "1 1 UDP 1 192.0.2.3 9",
        "1 1 UDP 1 192.0.2.3 9 typ",
        "1 1 UDP 1 192.0.2.3 9 host",
        "1 1 UDP 1 192.0.2.300 9 typ host",
        "1 1 UDP 1 192.0.2.3 9 typ srflx raddr",
        "123456789012345678901234567890123 1 UDP 1 192.0.2.3 9 typ host"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sdp_candidate_read(sv_of(bad[i]), &c), ERR_SYNTAX);
}

static void reads_ice_groups_and_sources(void **state)
{
    (void)state;
    sv ufrag, pwd;
    accept(HEAD "a=ice-ufrag:sess\r\na=ice-pwd:x9cml/YzichV2+XlhiMu8g\r\n"
                "m=audio 4 RTP/AVP 0\r\na=ice-ufrag:F7gI\r\na=ice-pwd:y9cml/YzichV2+XlhiMu8g\r\n"
                "m=audio 4 RTP/AVP 0\r\n"
                "m=audio 4 RTP/AVP 0\r\na=ice-ufrag:F7gI\r\n"
                "m=audio 4 RTP/AVP 0\r\na=ice-ufrag:F7g\r\na=ice-pwd:y9cml/YzichV2+XlhiMu8g\r\n"
                "m=audio 4 RTP/AVP 0\r\na=ice-ufrag:F7gI\r\na=ice-pwd:y9cml/YzichV2+Xlhi-u8g\r\n");
    assert_int_equal(sdp_ice_of(&sdp, &sdp.media[0], &ufrag, &pwd), ERR_OK);
    assert_sv(ufrag, "F7gI");
    assert_sv(pwd, "y9cml/YzichV2+XlhiMu8g");
    assert_int_equal(sdp_ice_of(&sdp, &sdp.media[1], &ufrag, &pwd), ERR_OK);
    assert_sv(ufrag, "sess");
    for (size_t i = 2; i < 5; i++)
        assert_int_equal(sdp_ice_of(&sdp, &sdp.media[i], &ufrag, &pwd), ERR_SYNTAX);
    accept(HEAD "m=audio 4 RTP/AVP 0\r\na=rtcp-mux\r\n");
    assert_int_equal(sdp_ice_of(&sdp, &sdp.media[0], &ufrag, &pwd), ERR_NOTFOUND);
    assert_non_null(sdp_attr_find(&sdp.media[0].attrs, SV("rtcp-mux")));
    struct sdp_group g;
    assert_int_equal(sdp_group_read(SV("BUNDLE 0  audio-1 "), &g), ERR_OK);
    assert_sv(g.semantics, "BUNDLE");
    sv tag;
    assert_true(sdp_word_next(&g.tags, &tag));
    assert_sv(tag, "0");
    assert_true(sdp_word_next(&g.tags, &tag));
    assert_sv(tag, "audio-1");
    assert_false(sdp_word_next(&g.tags, &tag));
    assert_int_equal(sdp_group_read(SV(" "), &g), ERR_SYNTAX);
    struct sdp_ssrc s;
    assert_int_equal(sdp_ssrc_read(SV("4294967295 cname:a b:c"), &s), ERR_OK);
    assert_int_equal(s.ssrc, UINT32_MAX);
    assert_sv(s.name, "cname");
    assert_sv(s.value, "a b:c");
    assert_int_equal(sdp_ssrc_read(SV("4294967296 cname:a"), &s), ERR_RANGE);
    assert_int_equal(sdp_ssrc_read(SV("1"), &s), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_every_line, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_an_address_for_each_medium, setup, teardown),
        cmocka_unit_test_setup_teardown(session_values_are_the_default, setup, teardown),
        cmocka_unit_test_setup_teardown(messy_peers_have_one_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_has_no_one_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_broken_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_broken_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(caps_refuse_one_more, setup, teardown),
        cmocka_unit_test_setup_teardown(caps_hold_for_the_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(stands_being_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(prints_what_it_read, setup, teardown),
        cmocka_unit_test_setup_teardown(prints_nothing_that_starts_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(prints_what_is_built, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_rtpmap, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_formats, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_times_and_rtcp, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_keys_and_fingerprints, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_candidates, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_ice_groups_and_sources, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
