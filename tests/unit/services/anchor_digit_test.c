/* SPDX-License-Identifier: MIT */
/* anchor_digit_test.c: keys that phones press in calls whose media passes through the server. */
#include "anchor_rig.h"
#include "codec/codec.h"
#include "dtmf/dtmf.h"
#include "tones/tones.h"

/* An INFO of a side with this body. */
static const char *info(struct media_rig *m, int from, const char *call, const char *heard,
                        unsigned cseq, const char *type, const char *body)
{
    char *out = scratch();
    const char *rq = from == ALICE ? inside(m, from, "INFO", BOB_AT, DIALOG, call, heard, cseq)
                                   : inside(m, from, "INFO", ALICE_AT, REVERSED, call, heard, cseq);
    const char *end = strstr(rq, "Content-Length: 0\r\n\r\n");
    assert_non_null(end);
    snprintf(out, MESSAGE, "%.*sContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", (int)(end - rq),
             rq, type, strlen(body), body);
    return out;
}

/* A call that stands; its 200 as alice heard it. */
static void begin(struct media_rig *m, const char *call, char ok[static MESSAGE])
{
    invite(m, call, sdp("192.0.2.11", "0", ""));
    snprintf(ok, MESSAGE, "%s", answer(m, sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, ok, 1));
    rig_clear(m->r);
}

static void a_malformed_key_is_answered_here(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    begin(m, "d1", ok);
    say(m->r, ALICE,
        info(m, ALICE, "d1", ok, 2, "application/dtmf-relay", "Signal=5\r\nDuration=x\r\n"));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 400 Malformed Key: Line 2 of the Body"), 1);
    say(m->r, BOB, info(m, BOB, "d1", ok, 2, "application/dtmf-relay;x=y", "Duration=100\r\n"));
    assert_int_equal(heard(m->r, BOB, "SIP/2.0 400 Malformed Key: No Signal in the Body"), 1);
    say(m->r, BOB, info(m, BOB, "d1", ok, 3, "application/dtmf", "Q"));
    assert_int_equal(heard(m->r, BOB, "SIP/2.0 400 Malformed Key: Line 1 of the Body"), 1);
    assert_int_equal(heard(m->r, BOB, "INFO"), 0);
    assert_int_equal(heard(m->r, ALICE, "INFO"), 0);
    hang_up(m, "d1", ok);
}

static void other_packages_pass_untouched(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    begin(m, "d2", ok);
    say(m->r, ALICE, info(m, ALICE, "d2", ok, 2, "application/media_control+xml", "<x/>"));
    const char *rq = find_raw(m->r, BOB, "INFO");
    assert_string_equal(body_of(rq), "<x/>");
    say(m->r, BOB, reply(rq, 415, NULL, ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 415 "), 1);
    hang_up(m, "d2", ok);
}

/* ---- keys by each way, to each way ---- */

enum way { EVENTS, BY_INFO, TONES, WAYS };
static const char *const way_name[] = {"events", "INFO", "tones"};
enum { FRAME = 160, KEY_MS = 100, EVENT = 101 };

/* What a phone of this kind says of itself. */
static const char *said_by(enum way w, const char *ip)
{
    return w == EVENTS ? sdp(ip, "0 101", "a=rtpmap:101 telephone-event/8000\r\n")
                       : sdp(ip, "0", "");
}
static const char *headers_of(enum way w, const char *contact)
{
    char *out = scratch();
    snprintf(out, MESSAGE, "%s%s", contact,
             w == BY_INFO ? "Allow: INVITE, ACK, BYE, INFO\r\n"
                            "Accept: application/sdp, application/dtmf-relay\r\n"
                          : "Allow: INVITE, ACK, BYE\r\n");
    return out;
}

struct phones {
    struct media_rig *m;
    const char *call;
    uint16_t port; /* where alice sends to */
    uint16_t seq;
    uint32_t ts;
    unsigned cseq, answered;
    struct codec_encoder *e;
    char ok[MESSAGE];
    char info[64];   /* keys that bob got by INFO */
    int says;        /* to it */
    unsigned number; /* the last CSeq that he saw */
    unsigned lose;   /* of events: each nth is lost; 0: none */
    unsigned sent;
    bool coded;  /* what he hears is PCMA, which nobody listens to here */
    char within; /* said by INFO behind the second packet of its event; 0: not */
};

static unsigned cseq_of(const char *message)
{
    unsigned number = 0;
    const char *at = strstr(message, "\r\nCSeq: ");
    assert_non_null(at);
    assert_int_equal(sscanf(at + 8, "%u ", &number), 1);
    return number;
}

/* bob says this, and his headers `to`. */
static void connect_with(struct phones *p, struct media_rig *m, const char *call, enum way from,
                         const char *media, enum way to)
{
    struct codec_wish wish = {.fec = false};
    *p = (struct phones){.m = m, .call = call, .seq = 100, .ts = 5000, .cseq = 1, .says = 200};
    assert_int_equal(codec_encoder_new(&codec_pcmu, 8000, &wish, &p->e), ERR_OK);
    struct binding b = binding_of(m->r, BOB_AT, BOB);
    rig_bind(m->r, "bob@example.com", &b, 1); /* time passes */
    rig_clear(m->r);
    m->port[BOB].n = 0;
    say(m->r, ALICE,
        with(request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, call,
                     headers_of(from, CONTACT)),
             said_by(from, "192.0.2.11")));
    const char *ok =
        reply(find_raw(m->r, BOB, "INVITE"), 200, "b", headers_of(to, "Contact: <" BOB_AT ">\r\n"));
    p->coded = strstr(media, "RTP/AVP 8 ") != NULL;
    say(m->r, BOB, with(ok, media));
    snprintf(p->ok, MESSAGE, "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    p->port = our_port(p->ok);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, p->ok, 1));
    rig_clear(m->r);
}

/* bob's description says `media`. */
static void connect_as(struct phones *p, struct media_rig *m, const char *call, enum way from,
                       enum way media, enum way to)
{
    connect_with(p, m, call, from, said_by(media, "192.0.2.12"), to);
}

static void connect(struct phones *p, struct media_rig *m, const char *call, enum way from,
                    enum way to)
{
    connect_as(p, m, call, from, to, to);
}

/* What has come for bob by INFO is answered and noted. */
static void bob_answers(struct phones *p)
{
    struct rig *r = p->m->r;
    for (; p->says && p->answered < r->peer[BOB].n; p->answered++) {
        const char *rq = r->peer[BOB].raw[p->answered], *signal = strstr(rq, "\r\n\r\nSignal=");
        if (strncmp(rq, "INFO ", 5) != 0)
            continue;
        assert_non_null(strstr(rq, "\r\nContent-Type: application/dtmf-relay\r\n"));
        assert_non_null(signal);
        size_t n = strlen(p->info);
        p->info[n] = signal[11];
        p->info[n + 1] = 0;
        unsigned number = cseq_of(rq);
        assert_true(number > p->number);
        p->number = number;
        say(r, BOB, reply(rq, p->says, NULL, ""));
    }
}

static void send_rtp(struct phones *p, uint8_t pt, bool marker, uint32_t ts, const void *payload,
                     size_t n)
{
    uint8_t octets[RTP_HEADER + FRAME];
    struct addr to = address(SERVER_IP, p->port);
    rtpmsg_put_header(octets, marker, pt, p->seq++, ts, 77);
    memcpy(octets + RTP_HEADER, payload, n);
    sv piece = {(const char *)octets, RTP_HEADER + n};
    if (!p->lose || ++p->sent % p->lose != 0)
        assert_int_equal(udp_send(p->m->port[ALICE].udp, NULL, &to, &piece, 1), ERR_OK);
    rig_run(p->m->r, 20 * USEC_MS);
    p->ts += FRAME;
    bob_answers(p);
}

/* A frame of sound with what this generator says in it. */
static void sound(struct phones *p, struct tones *t)
{
    int16_t pcm[FRAME] = {0};
    uint8_t payload[FRAME];
    size_t n;
    tones_make(t, pcm, FRAME);
    assert_int_equal(codec_encode(p->e, pcm, FRAME, payload, sizeof(payload), &n), ERR_OK);
    send_rtp(p, 0, false, p->ts, payload, n);
}

static void silence(struct phones *p, unsigned frames)
{
    struct tones none;
    tones_silence(&none, 8000);
    for (unsigned i = 0; i < frames; i++)
        sound(p, &none);
}

static void press_info(struct phones *p, char key);

static void press_event(struct phones *p, char key)
{
    unsigned n = 0;
    struct dtmf_tx tx;
    struct dtmf_out o;
    uint8_t event, payload[DTMF_EVENT];
    assert_true(dtmf_of_char(key, &event));
    dtmf_tx_init(&tx, 8000, 20);
    assert_int_equal(dtmf_tx_play(&tx, event, 10, KEY_MS), ERR_OK);
    while (dtmf_tx_busy(&tx)) {
        if (!dtmf_tx_tick(&tx, p->ts, &o))
            break;
        dtmf_put(payload, &o.event);
        send_rtp(p, EVENT, o.marker, o.ts, payload, sizeof(payload));
        if (++n == 2 && p->within)
            press_info(p, p->within);
    }
}

static void press_tone(struct phones *p, char key)
{
    struct tones t;
    assert_true(tones_digit(&t, 8000, key, KEY_MS, 7));
    for (unsigned i = 0; i < KEY_MS / 20; i++)
        sound(p, &t);
}

static void press_info(struct phones *p, char key)
{
    char body[64];
    snprintf(body, sizeof(body), "Signal=%c\r\nDuration=%d\r\n", key, KEY_MS);
    unsigned before = heard(p->m->r, ALICE, "SIP/2.0 200 ");
    say(p->m->r, ALICE,
        info(p->m, ALICE, p->call, p->ok, ++p->cseq, "application/dtmf-relay", body));
    bob_answers(p);
    rig_run(p->m->r, USEC_MS);
    assert_int_equal(heard(p->m->r, ALICE, "SIP/2.0 200 "), before + 1);
}

static void press(struct phones *p, enum way w, char key)
{
    if (w == EVENTS)
        press_event(p, key);
    else if (w == TONES)
        press_tone(p, key);
    else
        press_info(p, key);
    silence(p, 15);
}

/* In the order of their numbers: two that leave at once may change places on their way. */
static void sort(struct media_port *port)
{
    for (unsigned i = 1; i < port->n; i++) {
        for (unsigned k = i; k > 0 && rtpmsg_seq(port->kept[k]) < rtpmsg_seq(port->kept[k - 1]);
             k--) {
            uint8_t octets[sizeof(port->kept[k])];
            uint32_t n = port->length[k];
            memcpy(octets, port->kept[k], sizeof(octets));
            memcpy(port->kept[k], port->kept[k - 1], sizeof(octets));
            memcpy(port->kept[k - 1], octets, sizeof(octets));
            port->length[k] = port->length[k - 1];
            port->length[k - 1] = n;
        }
    }
}

/* Keys that bob got as events, and those that one hears in his sound. */
static void heard_by_bob(struct phones *p, char events[static 64], char tones[static 64])
{
    struct media_port *port = &p->m->port[BOB];
    struct dtmf_rx rx = {0};
    struct tones_detector *d;
    struct codec_decoder *decoder;
    unsigned e = 0, t = 0;
    uint16_t last = 0;
    assert_int_equal(codec_decoder_new(&codec_pcmu, 8000, &decoder), ERR_OK);
    assert_int_equal(tones_detector_new(8000, &d), ERR_OK);
    assert_in_range(port->n, 1, HEARD_MAX);
    sort(port);
    for (unsigned i = 0; i < port->n; i++) {
        struct rtpmsg m;
        assert_int_equal(rtpmsg_parse((sv){(const char *)port->kept[i], port->length[i]}, &m),
                         ERR_OK);
        assert_true(p->coded || m.ssrc == 77); /* it is alice's stream */
        assert_true(i == 0 || (uint16_t)(m.seq - last) <= 5 + p->lose);
        assert_true(i == 0 || m.seq != last);
        last = m.seq;
        if (m.pt == EVENT) {
            struct dtmf_news news[DTMF_NEWS_MAX * DTMF_EVENTS_MAX];
            unsigned n = dtmf_rx_payload(&rx, m.ts, m.marker, m.payload, (usec)i * 20000, news);
            for (unsigned k = 0; k < n; k++) {
                if (news[k].what == DTMF_ENDED)
                    events[e++] = dtmf_char(news[k].event);
            }
            continue;
        }
        int16_t pcm[CODEC_SAMPLES_MAX];
        struct tones_news news[TONES_NEWS_MAX];
        size_t n;
        assert_int_equal(m.pt, p->coded ? 8 : 0);
        if (p->coded)
            continue;
        assert_int_equal(codec_decode(decoder, m.payload, pcm, sizeof(pcm) / sizeof(*pcm), &n),
                         ERR_OK);
        unsigned got = tones_detect(d, pcm, n, news);
        for (unsigned k = 0; k < got; k++) {
            if (news[k].down)
                tones[t++] = news[k].digit;
        }
    }
    events[e] = tones[t] = 0;
    tones_detector_free(d);
    codec_decoder_free(decoder);
}

static void over(struct phones *p)
{
    codec_encoder_free(p->e);
    p->m->r->set->media.dtmf = MEDIA_DTMF_AUTO;
    rig_clear(p->m->r);
    hang_up(p->m, p->call, p->ok);
    /* hers go on above ours */
    assert_true(cseq_of(find_raw(p->m->r, BOB, "BYE")) > p->number);
}

static const char keys[] = "15#*09D";

/* Each key once, in order, by this way and by no other: how often it is not so. */
static unsigned check(struct phones *p, const char *what, enum way to)
{
    unsigned wrong = 0;
    char events[64], tones[64];
    heard_by_bob(p, events, tones);
    const char *got[WAYS] = {events, p->info, tones};
    for (int w = 0; w < WAYS; w++) {
        if (strcmp(got[w], w == (int)to ? keys : "") == 0)
            continue;
        print_error("%s: by %s \"%s\" came\n", what, way_name[w], got[w]);
        wrong++;
    }
    return wrong;
}

static void each_key_comes_once_by_each_way(void **state)
{
    unsigned wrong = 0;
    for (int from = 0; from < WAYS; from++) {
        for (int to = 0; to < WAYS; to++) {
            static struct phones p;
            char what[64];
            snprintf(what, sizeof(what), "%s to %s", way_name[from], way_name[to]);
            connect(&p, *state, "d3", (enum way)from, (enum way)to);
            silence(&p, 5);
            for (const char *k = keys; *k; k++)
                press(&p, (enum way)from, *k);
            silence(&p, 20);
            wrong += check(&p, what, (enum way)to);
            over(&p);
        }
    }
    assert_int_equal(wrong, 0);
}

static void lost_events_are_made_good(void **state)
{
    unsigned wrong = 0;
    for (unsigned lose = 4; lose < 20; lose += 5) {
        for (int to = 0; to < WAYS; to++) {
            static struct phones p;
            char what[64];
            snprintf(what, sizeof(what), "events, each %u. lost, to %s", lose, way_name[to]);
            connect(&p, *state, "d4", EVENTS, (enum way)to);
            silence(&p, 5);
            p.lose = lose;
            for (const char *k = keys; *k; k++)
                press(&p, EVENTS, *k);
            silence(&p, 20);
            wrong += check(&p, what, (enum way)to);
            over(&p);
        }
    }
    assert_int_equal(wrong, 0);
}

static void who_refuses_info_gets_tones(void **state)
{
    static struct phones p;
    for (int from = 0; from < TONES; from++) {
        connect(&p, *state, "d5", (enum way)from, BY_INFO);
        p.says = 415;
        silence(&p, 5);
        if (from == BY_INFO) { /* hers goes to him as it is, and she hears of it */
            say(p.m->r, ALICE,
                info(p.m, ALICE, p.call, p.ok, ++p.cseq, "application/dtmf-relay", "Signal=1\r\n"));
            bob_answers(&p);
            rig_run(p.m->r, USEC_MS);
            assert_int_equal(heard(p.m->r, ALICE, "SIP/2.0 415 "), 1);
            silence(&p, 15);
        }
        for (const char *k = keys + (from == BY_INFO); *k; k++)
            press(&p, (enum way)from, *k);
        silence(&p, 20);
        assert_string_equal(p.info, "1"); /* it was tried once */
        p.info[0] = 0;
        assert_int_equal(check(&p, way_name[from], TONES), 0);
        over(&p);
    }
}

static void keys_that_wait_for_a_refusal_are_not_lost(void **state)
{
    static struct phones p;
    char events[64], tones[64];
    connect(&p, *state, "d8", EVENTS, BY_INFO);
    silence(&p, 5);
    p.says = 0;
    for (const char *k = "15#"; *k; k++)
        press(&p, EVENTS, *k);
    const char *first = find_raw(p.m->r, BOB, "INFO");
    assert_non_null(strstr(first, "\r\n\r\nSignal=1\r\n")); /* the others wait for its answer */
    for (unsigned i = 0; i < p.m->r->peer[BOB].n; i++)
        assert_null(strstr(p.m->r->peer[BOB].raw[i], "Signal=5"));
    say(p.m->r, BOB, reply(first, 415, NULL, ""));
    silence(&p, 60);
    heard_by_bob(&p, events, tones);
    assert_string_equal(tones, "15#");
    assert_string_equal(events, "");
    over(&p);
}

/* Some phones send events and INFO for one press. */
static void who_says_a_key_twice_is_heard_once(void **state)
{
    for (int to = 0; to < WAYS; to++) {
        for (int other = 0; other < WAYS; other += TONES) {
            static struct phones p;
            connect(&p, *state, "d6", other == TONES ? BY_INFO : EVENTS, (enum way)to);
            if (other == TONES && to != EVENTS) { /* nobody listens there: what passes, passes */
                over(&p);
                continue;
            }
            silence(&p, 5);
            for (const char *k = keys; *k; k++) {
                if (other == EVENTS)
                    press_event(&p, *k);
                else
                    press_tone(&p, *k);
                silence(&p, 1);
                press(&p, BY_INFO, *k);
                if (other == TONES)
                    break; /* from now on it is known that she gives INFO */
            }
            silence(&p, 20);
            if (other == TONES) {
                char events[64], tones[64];
                heard_by_bob(&p, events, tones);
                assert_string_equal(events, "1");
                assert_string_equal(tones, "");
            } else {
                assert_int_equal(check(&p, way_name[to], (enum way)to), 0);
            }
            over(&p);
        }
    }
}

/* The same, INFO first, or while the event is on. */
static void who_says_a_key_by_info_first_is_heard_once(void **state)
{
    unsigned wrong = 0;
    for (int to = 0; to < WAYS; to++) {
        for (unsigned gap = 0; gap < 40; gap += 6) { /* frames between the two */
            static struct phones p;
            char what[64];
            snprintf(what, sizeof(what), "INFO, and events %u ms later, to %s", gap * 20,
                     way_name[to]);
            connect(&p, *state, "d9", EVENTS, (enum way)to);
            silence(&p, 5);
            for (const char *k = keys; *k; k++) {
                press_info(&p, *k);
                silence(&p, gap);
                press_event(&p, *k);
                silence(&p, 25);
            }
            silence(&p, 20);
            wrong += check(&p, what, (enum way)to);
            over(&p);
        }
    }
    assert_int_equal(wrong, 0);
}

static void who_says_a_key_by_info_within_its_event_is_heard_once(void **state)
{
    unsigned wrong = 0;
    for (int to = 0; to < WAYS; to++) {
        static struct phones p;
        const char *media =
            to == EVENTS ? sdp("192.0.2.12", "8 101", "a=rtpmap:101 telephone-event/8000\r\n")
                         : said_by((enum way)to, "192.0.2.12");
        connect_with(&p, *state, "da", EVENTS, media, (enum way)to);
        silence(&p, 5);
        for (const char *k = keys; *k; k++) {
            p.within = *k;
            press_event(&p, *k);
            silence(&p, 15);
        }
        silence(&p, 20);
        wrong += check(&p, way_name[to], (enum way)to);
        over(&p);
    }
    assert_int_equal(wrong, 0);
}

/* The second of them is another press. */
static void a_key_pressed_twice_is_heard_twice(void **state)
{
    for (int to = 0; to < WAYS; to++) {
        static struct phones p;
        char events[64], tones[64];
        connect(&p, *state, "db", EVENTS, (enum way)to);
        silence(&p, 5);
        for (unsigned i = 0; i < 2; i++) {
            press_info(&p, '5');
            silence(&p, 1);
            press_event(&p, '5');
            silence(&p, 8);
        }
        silence(&p, 30);
        heard_by_bob(&p, events, tones);
        const char *got[WAYS] = {events, p.info, tones};
        for (int w = 0; w < WAYS; w++)
            assert_string_equal(got[w], w == to ? "55" : "");
        over(&p);
    }
}

static void media_dtmf_is_followed(void **state)
{
    static const struct {
        enum settings_dtmf dtmf;
        bool events, info; /* bob's */
        enum way to;
    } rows[] = {
        {MEDIA_DTMF_AUTO, true, true, EVENTS},    {MEDIA_DTMF_AUTO, false, true, BY_INFO},
        {MEDIA_DTMF_AUTO, false, false, TONES},   {MEDIA_DTMF_RFC4733, true, true, EVENTS},
        {MEDIA_DTMF_RFC4733, false, true, TONES}, {MEDIA_DTMF_INFO, true, true, BY_INFO},
        {MEDIA_DTMF_INFO, true, false, EVENTS},   {MEDIA_DTMF_INFO, false, false, TONES},
        {MEDIA_DTMF_INBAND, true, true, TONES},   {MEDIA_DTMF_INBAND, false, true, TONES},
    };
    struct media_rig *m = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int from = 0; from < TONES; from++) { /* tones of hers are in what passes anyway */
            static struct phones p;
            char what[64];
            snprintf(what, sizeof(what), "row %zu, %s", i, way_name[from]);
            m->r->set->media.dtmf = rows[i].dtmf;
            connect_as(&p, m, "d7", (enum way)from, rows[i].events ? EVENTS : TONES,
                       rows[i].info ? BY_INFO : TONES);
            silence(&p, 5);
            for (const char *k = keys; *k; k++)
                press(&p, (enum way)from, *k);
            silence(&p, 20);
            assert_int_equal(check(&p, what, rows[i].to), 0);
            over(&p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_malformed_key_is_answered_here, setup, teardown),
        cmocka_unit_test_setup_teardown(other_packages_pass_untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(each_key_comes_once_by_each_way, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_events_are_made_good, setup, teardown),
        cmocka_unit_test_setup_teardown(who_refuses_info_gets_tones, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_that_wait_for_a_refusal_are_not_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(who_says_a_key_twice_is_heard_once, setup, teardown),
        cmocka_unit_test_setup_teardown(who_says_a_key_by_info_first_is_heard_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_says_a_key_by_info_within_its_event_is_heard_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_pressed_twice_is_heard_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(media_dtmf_is_followed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
