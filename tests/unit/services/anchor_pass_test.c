/* SPDX-License-Identifier: MIT */
/* anchor_pass_test.c: what a relayed call carries besides sound: fax by T.38, in place of the sound and back, and real-time
 * text. Whole server, real packets. */
#include "anchor_rig.h"

/* A description of these m= lines and what follows them, version v. */
static const char *lines(const char *ip, unsigned v, const char *media)
{
    char *out = scratch();
    snprintf(out, MESSAGE, "v=0\r\no=- 1 %u IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n%s", v, ip,
             ip, media);
    return out;
}

/* The port of the line of this type, 0 when it is refused. */
static uint16_t port_of(const char *message, const char *type)
{
    unsigned port = 0;
    const char *line = strstr(body_of(message), type);
    assert_non_null(line);
    assert_int_equal(sscanf(line + strlen(type), "%u ", &port), 1);
    return (uint16_t)port;
}

static void send_octets(struct media_rig *m, int from, uint16_t port, const char *octets, size_t n)
{
    struct addr to = address(SERVER_IP, port);
    sv piece = {octets, n};
    assert_int_equal(udp_send(m->port[from].udp, NULL, &to, &piece, 1), ERR_OK);
    rig_run(m->r, 20 * USEC_MS);
}

/* What from sends arrives there as it is, and nobody else gets it. */
static void crosses(struct media_rig *m, int from, int to, uint16_t port, const char *octets,
                    size_t n)
{
    unsigned before = m->port[to].n;
    send_octets(m, from, port, octets, n);
    assert_int_equal(m->port[to].n, before + 1);
    assert_int_equal(m->port[to].size, n);
    assert_memory_equal(m->port[to].last, octets, n);
    assert_int_equal(m->port[STRANGER].n, 0);
}

/* One side offers anew, the other answers; what it then hears, as it came. */
static void again(struct media_rig *m, int from, unsigned cseq, const char *call, const char *ok,
                  const char *media, char passed[static MESSAGE], char agreed[static MESSAGE])
{
    int to = from == ALICE ? BOB : ALICE;
    const char *ip[] = {[ALICE] = "192.0.2.11", [BOB] = "192.0.2.12"};
    rig_clear(m->r);
    const char *rq = from == ALICE ? inside(m, ALICE, "INVITE", BOB_AT, DIALOG, call, ok, cseq)
                                   : inside(m, BOB, "INVITE", ALICE_AT, REVERSED, call, ok, cseq);
    say(m->r, from, with(rq, lines(ip[from], cseq, media)));
    snprintf(passed, MESSAGE, "%s", find_raw(m->r, to, "INVITE"));
    const char *contact = to == ALICE ? CONTACT : "Contact: <" BOB_AT ">\r\n";
    const char *answer = lines(ip[to], cseq, media);
    say(m->r, to, with(reply(passed, 200, NULL, contact), answer));
    snprintf(agreed, MESSAGE, "%s", find_raw(m->r, from, "SIP/2.0 200 "));
    say(m->r, from,
        from == ALICE ? inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, ok, cseq)
                      : inside(m, BOB, "ACK", ALICE_AT, REVERSED, call, ok, cseq));
}

#define T38                                                                                   \
    "a=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxRateManagement:transferredTCF\r\n" \
    "a=T38FaxMaxDatagram:272\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"

/* UDPTL: a sequence number, a primary packet (t30 indicator: cng), redundancy of none. */
static const char page[] = {0x00, 0x01, 0x01, 0x02, 0x00, 0x00};

static void fax_takes_the_place_of_sound_and_gives_it_back(void **state)
{
    struct media_rig *m = *state;
    static char ok[MESSAGE], passed[MESSAGE], agreed[MESSAGE];
    invite(m, "f1", sdp("192.0.2.11", "0", ""));
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE"));
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    uint16_t at_alice = our_port(ok);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "f1", ok, 1));
    say_rtp(m, ALICE, at_alice, 0, 1);
    say_rtp(m, BOB, at_bob, 0, 1);
    assert_true(m->port[ALICE].n == 1 && m->port[BOB].n == 1);
    /* bob's is a fax: instead of sound, as phones do, in the same line; and as others do, in another one */
    static const char *const fax[] = {"m=image 4000 udptl t38\r\n" T38,
                                      "m=audio 0 RTP/AVP 0\r\nm=image 4000 udptl t38\r\n" T38};
    for (unsigned i = 0; i < 2; i++) {
        unsigned v = 2 + 2 * i;
        again(m, BOB, v, "f1", ok, fax[i], passed, agreed);
        assert_non_null(strstr(body_of(passed), " udptl t38\r\n"));
        assert_non_null(strstr(body_of(passed), "a=T38FaxMaxDatagram:272\r\n"));
        assert_non_null(strstr(body_of(agreed), "a=T38FaxUdpEC:t38UDPRedundancy\r\n"));
        assert_null(strstr(body_of(passed), "192.0.2.12"));
        assert_null(strstr(body_of(agreed), "192.0.2.11"));
        uint16_t fax_alice = port_of(passed, "m=image "), fax_bob = port_of(agreed, "m=image ");
        assert_in_range(fax_alice, 20000, 20099);
        assert_in_range(fax_bob, 20000, 20099);
        crosses(m, ALICE, BOB, fax_alice, page, sizeof(page));
        crosses(m, BOB, ALICE, fax_bob, page, sizeof(page));
        unsigned before = m->port[BOB].n; /* whom nobody knows is not heard */
        send_octets(m, STRANGER, fax_alice, page, sizeof(page));
        assert_int_equal(m->port[BOB].n, before);
        /* and back */
        const char *sound =
            i ? "m=audio 4000 RTP/AVP 0\r\nm=image 0 udptl t38\r\n" : "m=audio 4000 RTP/AVP 0\r\n";
        again(m, BOB, v + 1, "f1", ok, sound, passed, agreed);
        at_alice = port_of(passed, "m=audio ");
        at_bob = port_of(agreed, "m=audio ");
        unsigned alice = m->port[ALICE].n, bob = m->port[BOB].n;
        say_rtp(m, ALICE, at_alice, 0, (uint16_t)(v + 1));
        say_rtp(m, BOB, at_bob, 0, (uint16_t)(v + 1));
        assert_int_equal(m->port[ALICE].n, alice + 1);
        assert_int_equal(m->port[BOB].n, bob + 1);
        assert_int_equal(rtpmsg_pt(m->port[BOB].last), 0);
    }
    hang_up(m, "f1", ok);
}

static void fax_that_is_not_wanted_is_refused(void **state)
{
    struct media_rig *m = *state;
    m->r->set->media.t38 = false;
    invite(m, "f2", lines("192.0.2.11", 1, "m=image 4000 udptl t38\r\n" T38));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 488 "), 1);
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

/* RFC 4103: text in RTP, and its redundancy, which names it by number. */
static void text_passes_as_it_is(void **state)
{
    struct media_rig *m = *state;
    static const char media[] = "m=audio 4000 RTP/AVP 0\r\nm=text 4000 RTP/AVP 98 99\r\n"
                                "a=rtpmap:98 t140/1000\r\na=rtpmap:99 red/1000\r\n"
                                "a=fmtp:99 98/98/98\r\na=fmtp:98 cps=30\r\n";
    static char ok[MESSAGE], rq[MESSAGE];
    invite(m, "t1", lines("192.0.2.11", 1, media));
    snprintf(rq, sizeof(rq), "%s", find_raw(m->r, BOB, "INVITE"));
    assert_non_null(strstr(body_of(rq), " 98 99\r\n"));
    assert_non_null(strstr(body_of(rq), "a=fmtp:99 98/98/98\r\n"));
    snprintf(ok, sizeof(ok), "%s", answer(m, lines("192.0.2.12", 1, media)));
    assert_non_null(strstr(body_of(ok), "a=rtpmap:99 red/1000\r\n"));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "t1", ok, 1));
    uint16_t at_alice = port_of(ok, "m=text "), at_bob = port_of(rq, "m=text ");
    uint8_t p[40] = {0};
    /* "hi", with what was said before as redundancy: one block of one octet, 300 ms ago */
    static const uint8_t red[] = {0x80 | 98, 0x04, 0xb0, 0x01, 98, 'o', 'h', 'i'};
    for (uint16_t seq = 1; seq < 4; seq++) {
        rtpmsg_put_header(p, seq == 1, 99, seq, 300u * seq, 55);
        memcpy(p + RTP_HEADER, red, sizeof(red));
        crosses(m, ALICE, BOB, at_alice, (const char *)p, RTP_HEADER + sizeof(red));
        rtpmsg_put_header(p, seq == 1, 98, seq, 300u * seq, 56);
        memcpy(p + RTP_HEADER, "\xc3\xa9", 2);
        crosses(m, BOB, ALICE, at_bob, (const char *)p, RTP_HEADER + 2);
    }
    say_rtp(m, ALICE, port_of(ok, "m=audio "), 0, 1); /* beside the sound */
    assert_int_equal(rtpmsg_pt(m->port[BOB].last), 0);
    hang_up(m, "t1", ok);
}

/* What we cannot read may mean something to its receiver; but not where it would undo what is wanted, or what is agreed on. */
static void what_cannot_be_read_undoes_nothing(void **state)
{
    struct media_rig *m = *state;
    static const char odd[] = "m=audio 4000 RTP/AVP 0\r\na=setup:nonsense\r\n";
    m->r->set->media.mode = MEDIA_AUTO;
    invite(m, "u1", lines("192.0.2.11", 1, odd));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 1);
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    m->r->set->media.srtp = MEDIA_SRTP_REQUIRE;
    invite(m, "u2", lines("192.0.2.11", 1, odd));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 488 "), 1);
    m->r->set->media.srtp = MEDIA_SRTP_PREFER;
    m->r->set->media.mode = MEDIA_ALWAYS;
    static char ok[MESSAGE];
    static const char media[] = "m=audio 4000 RTP/AVP 0\r\n";
    invite(m, "u3", lines("192.0.2.11", 1, media));
    snprintf(ok, sizeof(ok), "%s", answer(m, lines("192.0.2.12", 1, media)));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "u3", ok, 1));
    m->r->set->media.mode = MEDIA_AUTO;
    rig_clear(m->r);
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "u3", ok, 2), lines("192.0.2.11", 2, odd)));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 488 "), 1);
    say_rtp(m, ALICE, port_of(ok, "m=audio "), 0, 1);
    assert_int_equal(rtpmsg_pt(m->port[BOB].last), 0);
    hang_up(m, "u3", ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fax_takes_the_place_of_sound_and_gives_it_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(fax_that_is_not_wanted_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(text_passes_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_undoes_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
