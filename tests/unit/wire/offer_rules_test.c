/* SPDX-License-Identifier: MIT */
/* The rules of the media decision one by one: codecs, directions, what passes. */
#include "offer_rules.h"

/* ---- codecs toward the callee ---- */

static void codecs_are_appended_with_free_numbers(void **state)
{
    (void)state;
    pass(HEAD "m=audio 4000 RTP/AVP 0 96 97\na=rtpmap:96 speex/8000\na=rtpmap:97 CN/16000\n"
              "m=video 4002 RTP/AVP 98\na=rtpmap:98 H264/90000\n",
         OFFER_AVP);
    assert_holds(passed, "m=audio 30000 RTP/AVP 0 96 97 127 9 8 101 126\r\n");
    assert_holds(passed, "a=rtpmap:127 opus/48000/2\r\na=fmtp:127 useinbandfec=1\r\n");
    assert_holds(passed, "a=rtpmap:101 telephone-event/48000\r\na=fmtp:101 0-16\r\n");
    assert_holds(passed, "a=rtpmap:126 telephone-event/8000\r\na=fmtp:126 0-16\r\n");
    assert_holds(passed, "m=video 30004 RTP/AVP 98\r\n");
}

static void a_static_number_that_means_something_else_is_not_taken(void **state)
{
    (void)state;
    pass(HEAD "m=audio 4000 RTP/AVP 0 8\na=rtpmap:8 speex/8000\na=rtpmap:101 x/8000\n" EVENTS,
         OFFER_AVP);
    assert_holds(passed, "a=rtpmap:8 speex/8000\r\n");
    assert_lacks(passed, "a=rtpmap:8 PCMA");
    assert_holds(passed, " PCMA/8000\r\n");
}

static void nothing_is_appended_that_could_not_be_brought_back(void **state)
{
    (void)state;
    pass(HEAD "m=audio 4000 RTP/AVP 18\n", OFFER_AVP);
    assert_holds(passed, "m=audio 30000 RTP/AVP 18\r\n");
    policy.transcode = false;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP);
    assert_holds(passed, "m=audio 30000 RTP/AVP 0\r\n");
}

static void events_that_are_there_are_left_alone(void **state)
{
    (void)state;
    pass(HEAD "m=audio 4000 RTP/AVP 0 101\n" EVENTS, OFFER_AVP);
    assert_lacks(passed, "telephone-event/48000");
    policy.codecs_n = 0;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP);
    assert_lacks(passed, "telephone-event/48000");
    assert_holds(passed, "telephone-event/8000");
}

/* RFC 3551 §6: 10 has two channels, and is said here in words. */
static void a_static_number_is_said_whole(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 10\n", OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 10\n");
    assert_holds(passed, "a=rtpmap:10 L16/44100/2\r\n");
    assert_map(0, 10, 10, false);
}

static void numbers_run_out(void **state)
{
    (void)state;
    char text[4096];
    size_t n =
        (size_t)snprintf(text, sizeof text, HEAD "m=audio 4000 RTP/AVP 0\nm=video 4 RTP/AVP");
    for (int pt = 96; pt < 128; pt++)
        n += (size_t)snprintf(text + n, sizeof text - n, " %d", pt);
    for (int pt = 96; pt < 128; pt++)
        n += (size_t)snprintf(text + n, sizeof text - n, "\na=rtpmap:%d V%d/90000", pt, pt);
    snprintf(text + n, sizeof text - n, "\n");
    pass(text, OFFER_AVP);
    assert_holds(passed, "a=rtpmap:63 opus/48000/2\r\n");
    assert_holds(passed,
                 "m=video 30004 RTP/AVP 96 97 98 99 100 101 102 103 104 105 106 107 108 109 "
                 "110 111 112 113 114 115 116 117 118 119\r\n");
    bool told = false;
    for (unsigned i = 0; i < why.n; i++)
        told = told || holds(why.line[i], "the last 8 of its codecs");
    assert_true(told);
}

static void what_repairs_goes_with_what_it_repairs(void **state)
{
    (void)state;
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof text, HEAD "m=video 4 RTP/AVP 97");
    for (int pt = 98; pt < 122; pt++)
        n += (size_t)snprintf(text + n, sizeof text - n, " %d", pt);
    n += (size_t)snprintf(text + n, sizeof text - n, "\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=121");
    for (int pt = 98; pt < 122; pt++)
        n += (size_t)snprintf(text + n, sizeof text - n, "\na=rtpmap:%d V%d/90000", pt, pt);
    snprintf(text + n, sizeof text - n, "\n");
    pass(text, OFFER_AVP);
    assert_lacks(passed, "rtx"); /* 121 is the one that is left out */
}

/* ---- maps ---- */

#define OPUS "a=rtpmap:111 opus/48000/2\na=rtpmap:110 telephone-event/48000\n"

static void the_callee_may_number_as_it_likes(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 111 0 110\n" OPUS, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 96 0 97\na=rtpmap:96 opus/48000/2\na=fmtp:96 usedtx=1\n"
                "a=rtpmap:97 telephone-event/48000\n");
    assert_holds(answered, "m=audio 30000 RTP/AVP 111 0 110\r\n");
    assert_holds(answered, "a=fmtp:111 usedtx=1\r\n");
    assert_map(0, 111, 96, false);
    assert_map(0, 110, 97, false);
    assert_map(1, 111, 111, false); /* as it was told */
    assert_map(1, 96, 111, false);  /* as it may take it */
    assert_map(1, 97, 110, false);
    assert_int_equal(plan.streams[0].leg[0].event_pt, 110);
    assert_int_equal(plan.streams[0].leg[1].event_pt, 97);
    assert_false(plan.streams[0].transcodes);
}

static void what_was_told_goes_before_what_may_be(void **state)
{
    (void)state; /* numbers exchanged: by RFC 3264 it sends with ours */
    answer(HEAD "m=audio 4000 RTP/AVP 96 97\na=rtpmap:96 opus/48000/2\na=rtpmap:97 iLBC/8000\n",
           OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 97 96\na=rtpmap:97 opus/48000/2\na=rtpmap:96 iLBC/8000\n");
    assert_map(0, 96, 97, false);
    assert_map(0, 97, 96, false);
    assert_map(1, 96, 96, false);
    assert_map(1, 97, 97, false);
}

static void the_callee_orders_what_both_have(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 0 8 18 101\n" EVENTS, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 18 0 3 101\n" EVENTS);
    assert_holds(answered, "m=audio 30000 RTP/AVP 18 0 101\r\n");
    assert_map(1, 18, 18, false);
    assert_null(map_of(1, 3)); /* never offered */
    assert_null(map_of(0, 8)); /* not taken */
}

static void one_codec_answered_twice_is_one(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0 105\na=rtpmap:105 PCMU/8000\n");
    assert_holds(answered, "m=audio 30000 RTP/AVP 0\r\n");
    assert_int_equal(plan.streams[0].map_n[0], 1);
}

static void nothing_in_common_is_transcoded(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 18 0 8 101\na=ptime:20\n" EVENTS, OFFER_AVP,
           HEAD
           "m=audio 5000 RTP/AVP 96 101 102\na=rtpmap:96 opus/48000/2\na=fmtp:96 cbr=1\n" EVENTS
           "a=ptime:60\nb=AS:30\n");
    assert_holds(answered, "m=audio 30000 RTP/AVP 0 101\r\n"); /* its first that we can */
    assert_holds(answered, "a=fmtp:101 0-16\r\n");
    assert_lacks(answered, "ptime");
    assert_map(0, 0, 96, true);
    assert_map(1, 96, 0, true);
    assert_map(0, 101, 101, false);
    assert_map(1, 101, 101, false);
    assert_true(sv_eq(map_of(0, 0)->out.fmtp, SV("cbr=1"))); /* what it wishes */
    assert_int_equal(plan.streams[0].leg[1].ptime_us, 60000);
    assert_int_equal(plan.streams[0].leg[0].ptime_us, 20000);
    assert_true(plan.streams[0].transcodes);
    assert_holds(why.line[0], "caller PCMU/8000, callee opus/48000");
}

static void what_was_appended_is_transcoded_beside_what_passes(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 8 0 101\na=rtpmap:101 telephone-event/48000\n");
    assert_holds(answered, "m=audio 30000 RTP/AVP 0\r\n");
    assert_map(0, 0, 0, false);
    assert_map(1, 0, 0, false);
    assert_map(1, 8, 0, true);
    assert_map(1, 101, OFFER_NO_PT, true); /* the caller has no events: a tone */
    assert_int_equal(map_of(1, 101)->out.id, CODEC_PCMU);
    assert_int_equal(plan.streams[0].leg[0].event_pt, OFFER_NO_PT);
}

static void events_go_by_their_clock(void **state)
{
    (void)state;
    static const char offer[] =
        HEAD "m=audio 4000 RTP/AVP 111 110 126\n" OPUS "a=rtpmap:126 telephone-event/8000\n";
    answer(offer, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 111 126 110\n" OPUS "a=rtpmap:126 telephone-event/8000\n");
    assert_map(0, 110, 110, false);
    assert_map(0, 126, 126, false);
    assert_int_equal(plan.streams[0].leg[0].event_pt, 110);
    answer(offer, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0 126\na=rtpmap:126 telephone-event/8000\n");
    assert_holds(answered, "m=audio 30000 RTP/AVP 111 110\r\n"); /* the one of opus' clock */
    assert_map(0, 110, 126, true);
    assert_map(1, 126, 110, true);
    answer(offer, OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_map(0, 110, OFFER_NO_PT, true);
    assert_int_equal(map_of(0, 110)->out.id, CODEC_PCMU);
    assert_int_equal(plan.streams[0].leg[1].event_pt, OFFER_NO_PT);
}

/* Who has events, who takes INFO: how the callee, then the caller, gets keys. */
static void keys_go_as_they_are_taken(void **state)
{
    static const char events[] = HEAD "m=audio 4000 RTP/AVP 0 101\n" EVENTS;
    static const char none[] = HEAD "m=audio 4000 RTP/AVP 0\n";
    static const char foreign[] = HEAD "m=audio 4000 RTP/AVP 18 101\n" EVENTS;
    static const char foreign_none[] = HEAD "m=audio 4000 RTP/AVP 18\n";
    static const struct {
        const char *offer, *answer;
        bool info[2], never;
        enum offer_dtmf want, caller, callee;
        bool told; /* the caller is answered with events */
    } rows[] = {
        {events, events, {0}, 0, OFFER_DTMF_AUTO, OFFER_DTMF_EVENTS, OFFER_DTMF_EVENTS, true},
        {events, none, {0}, 0, OFFER_DTMF_AUTO, OFFER_DTMF_EVENTS, OFFER_DTMF_TONES, true},
        {events, none, {0, 1}, 0, OFFER_DTMF_AUTO, OFFER_DTMF_EVENTS, OFFER_DTMF_INFO, true},
        {none, events, {1, 0}, 0, OFFER_DTMF_AUTO, OFFER_DTMF_INFO, OFFER_DTMF_EVENTS, false},
        {none, none, {0}, 0, OFFER_DTMF_AUTO, OFFER_DTMF_TONES, OFFER_DTMF_TONES, false},
        {events, events, {1, 1}, 0, OFFER_DTMF_INFO, OFFER_DTMF_INFO, OFFER_DTMF_INFO, true},
        {events, events, {0, 1}, 0, OFFER_DTMF_TONES, OFFER_DTMF_TONES, OFFER_DTMF_TONES, true},
        {events, none, {0, 1}, 0, OFFER_DTMF_EVENTS, OFFER_DTMF_EVENTS, OFFER_DTMF_TONES, true},
        {events, none, {0}, 1, OFFER_DTMF_AUTO, OFFER_DTMF_AUTO, OFFER_DTMF_AUTO, false},
        {events, none, {0, 1}, 1, OFFER_DTMF_AUTO, OFFER_DTMF_EVENTS, OFFER_DTMF_INFO, true},
        /* of sound that is not ours there are no tones */
        {foreign, foreign, {0}, 0, OFFER_DTMF_TONES, OFFER_DTMF_EVENTS, OFFER_DTMF_EVENTS, true},
        {foreign, foreign_none, {0}, 0, OFFER_DTMF_AUTO, OFFER_DTMF_AUTO, OFFER_DTMF_AUTO, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        policy.dtmf = rows[i].want;
        policy.transcode = !rows[i].never;
        for (int side = 0; side < 2; side++)
            policy.keys[side].takes_info = rows[i].info[side];
        answer(rows[i].offer, OFFER_AVP, rows[i].answer);
        const struct offer_leg *leg = plan.streams[0].leg;
        bool told = strstr(answered.p, "telephone-event") != NULL;
        if (leg[0].dtmf != rows[i].caller || leg[1].dtmf != rows[i].callee || told != rows[i].told)
            fail_msg("row %zu: caller %d, callee %d, told %d", i, leg[0].dtmf, leg[1].dtmf, told);
        assert_false(leg[0].digits || leg[1].digits);
        if (rows[i].told && rows[i].callee != OFFER_DTMF_EVENTS) {
            assert_map(0, 101, OFFER_NO_PT, true); /* taken out of what passes */
            assert_true(plan.streams[0].transcodes);
        } else if (rows[i].told) {
            assert_map(0, 101, 101, false);
            assert_int_equal(leg[1].event_hz, 8000);
        }
    }
}

/* Where keys by INFO are put in, and where tones are listened for. */
static void keys_come_from_elsewhere_too(void **state)
{
    static const char events[] = HEAD "m=audio 4000 RTP/AVP 0 101\n" EVENTS;
    static const char none[] = HEAD "m=audio 4000 RTP/AVP 0\n";
    (void)state;
    answer(none, OFFER_AVP, events);
    assert_true(plan.streams[0].leg[1].listen); /* the caller may send tones */
    assert_false(plan.streams[0].leg[0].listen);
    policy.keys[0].gives_info = true; /* no, it sends INFO */
    answer(none, OFFER_AVP, events);
    assert_true(plan.streams[0].leg[1].digits && !plan.streams[0].leg[1].listen);
    policy.keys[0].gives_info = false;
    answer(events, OFFER_AVP, events);
    assert_false(plan.streams[0].leg[1].listen);
    policy.keys[1].takes_info = true; /* who might take INFO may want the tones */
    answer(none, OFFER_AVP, none);
    assert_false(plan.streams[0].leg[1].listen);
    policy.keys[1].does_info = true;
    answer(none, OFFER_AVP, none);
    assert_true(plan.streams[0].leg[1].listen && !plan.streams[0].leg[0].listen);
    /* decoding what passes is for G.711 */
    answer(HEAD "m=audio 4000 RTP/AVP 9\n", OFFER_AVP, HEAD "m=audio 4000 RTP/AVP 9\n");
    assert_false(plan.streams[0].leg[1].listen);
    answer(HEAD "m=audio 4000 RTP/AVP 9\n", OFFER_AVP, events); /* what is decoded anyway */
    assert_true(plan.streams[0].leg[1].listen);
}

static void noise_passes_to_who_has_it(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 0 13\n", OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0 13\n");
    assert_map(0, 13, 13, false);
    assert_int_equal(plan.streams[0].leg[0].cn_pt, 13);
    answer(HEAD "m=audio 4000 RTP/AVP 0 13\n", OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_holds(answered, "RTP/AVP 0\r\n");
    assert_int_equal(plan.streams[0].leg[1].cn_pt, OFFER_NO_PT);
    answer(HEAD "m=audio 4000 RTP/AVP 0 13\n", OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 8 13\n"); /* transcoded: decoded */
    assert_map(1, 13, OFFER_NO_PT, true);
}

static void red_passes_with_the_same_numbers_only(void **state)
{
    (void)state;
    static const char offer[] =
        HEAD "m=audio 4000 RTP/AVP 111 63\na=rtpmap:111 opus/48000/2\na=rtpmap:63 red/48000/2\n"
             "a=fmtp:63 111/111\n";
    answer(offer, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 111 63\na=rtpmap:111 opus/48000/2\na=rtpmap:63 red/48000/2\n"
                "a=fmtp:63 111/111\n");
    assert_map(0, 63, 63, false);
    answer(offer, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 96 97\na=rtpmap:96 opus/48000/2\na=rtpmap:97 red/48000/2\n"
                "a=fmtp:97 96/96\n");
    assert_null(map_of(0, 63));
    assert_null(map_of(1, 97));
    assert_lacks(answered, "red");
    answer(offer, OFFER_AVP, /* red alone is nothing: transcoded is refused, so is red */
           HEAD "m=audio 5000 RTP/AVP 0 63\na=rtpmap:63 red/48000/2\na=fmtp:63 111/111\n");
    assert_lacks(answered, "red");
}

#define VIDEO                                                                          \
    "a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\n" \
    "a=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\n"                                        \
    "a=rtpmap:98 H264/90000\na=fmtp:98 profile-level-id=42e01f\n"                      \
    "a=rtpmap:99 rtx/90000\na=fmtp:99 apt=98\na=rtpmap:100 red/90000\na=rtpmap:101 ulpfec/90000\n"

static void formats_of_one_name_are_told_apart(void **state)
{
    (void)state;
    static const char offer[] = HEAD "m=video 4000 RTP/AVP 96 97 98 99 100 101\n" VIDEO;
    answer(offer, OFFER_AVP,
           HEAD "m=video 5000 RTP/AVP 96 97\na=rtpmap:96 H264/90000\n"
                "a=fmtp:96 profile-level-id=42E015;packetization-mode=0\na=rtpmap:97 rtx/90000\n"
                "a=fmtp:97 apt=96\n");
    assert_map(0, 98, 96,
               false); /* mode 0 is the other one, whatever its number; the level may differ */
    assert_map(1, 98, 98, false);
    assert_holds(answered, "m=video 30000 RTP/AVP 98\r\n"); /* no repair: its number is another */
    assert_holds(answered, "a=fmtp:98 profile-level-id=42E015;packetization-mode=0\r\n");
    answer(offer, OFFER_AVP, HEAD "m=video 5000 RTP/AVP 96 97 100 101\n" VIDEO);
    assert_holds(answered, "m=video 30000 RTP/AVP 96 97 100 101\r\n");
    answer(offer, OFFER_AVP, /* within red the number of the other would be wrong */
           HEAD "m=video 5000 RTP/AVP 105 100 101\na=rtpmap:105 H264/90000\n"
                "a=fmtp:105 packetization-mode=1;profile-level-id=42e01f\na=rtpmap:100 red/90000\n"
                "a=rtpmap:101 ulpfec/90000\n");
    assert_holds(answered, "m=video 30000 RTP/AVP 96\r\n");
    answer(offer, OFFER_AVP, /* patient: the number decides where nothing else does */
           HEAD
           "m=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 profile-level-id=640028\n");
    assert_map(0, 96, 96, false);
}

static void no_way_out_names_both_lists(void **state)
{
    (void)state;
    assert_int_equal(try_answer(HEAD "m=audio 4000 RTP/AVP 18 101\n" EVENTS, OFFER_AVP,
                                HEAD "m=audio 5000 RTP/AVP 3 101\n" EVENTS),
                     ERR_UNSUPPORTED);
    assert_holds(last_why(), "caller offers G729/8000; callee answers GSM/8000");
    policy.transcode = false;
    assert_int_equal(
        try_answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 8\n"),
        ERR_UNSUPPORTED);
    assert_holds(last_why(), "transcoding is off");
}

/* Of anything but sound the line alone is refused. */
static void video_that_cannot_be_leaves_the_call(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 31\n", OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 34\n");
    assert_holds(answered, "m=video 0 RTP/AVP 31\r\n");
    assert_true(plan.streams[1].refused && !plan.streams[0].refused);
    assert_int_equal(
        try_answer(HEAD "m=video 4002 RTP/AVP 31\n", OFFER_AVP, HEAD "m=video 5002 RTP/AVP 34\n"),
        ERR_UNSUPPORTED);
}

/* ---- directions ---- */

static void directions_are_those_of_rfc_3264(void **state)
{
    (void)state;
    static const struct {
        const char *offered, *c, *answered, *c_answered;
        const char *passed, *heard;
        bool to_caller, to_callee;
    } rows[] = {
        {"sendrecv", "", "sendrecv", "", "sendrecv", "sendrecv", true, true},
        {"sendonly", "", "recvonly", "", "sendonly", "recvonly", false, true},
        {"sendonly", "", "sendrecv", "", "sendonly", "recvonly", false, true}, /* it may not */
        {"sendonly", "", "sendonly", "", "sendonly", "inactive", false, false},
        {"recvonly", "", "sendonly", "", "recvonly", "sendonly", true, false},
        {"inactive", "", "sendrecv", "", "inactive", "inactive", false, false},
        {"sendrecv", "", "sendonly", "", "sendrecv", "sendonly", true, false},
        {"sendrecv", "c=IN IP4 0.0.0.0\n", "sendrecv", "", "sendonly", "recvonly", false, true},
        {"recvonly", "c=IN IP4 0.0.0.0\n", "sendrecv", "", "inactive", "inactive", false, false},
        {"inactive", "c=IN IP6 ::\n", "inactive", "", "inactive", "inactive", false, false},
        {"sendrecv", "", "sendrecv", "c=IN IP4 0.0.0.0\n", "sendrecv", "sendonly", true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char offer[512], reply[512], want[64];
        snprintf(offer, sizeof offer, HEAD "m=audio 4000 RTP/AVP 0\n%sa=%s\n", rows[i].c,
                 rows[i].offered);
        snprintf(reply, sizeof reply, HEAD "m=audio 5000 RTP/AVP 0\n%sa=%s\n", rows[i].c_answered,
                 rows[i].answered);
        answer(offer, OFFER_AVP, reply);
        snprintf(want, sizeof want, "a=%s\r\n", rows[i].passed);
        assert_holds(passed, want);
        assert_holds(passed, "c=IN IP4 203.0.113.2\r\n"); /* ours, whatever it says */
        snprintf(want, sizeof want, "a=%s\r\n", rows[i].heard);
        assert_holds(answered, want);
        const struct offer_leg *leg = plan.streams[0].leg;
        assert_true(leg[0].send == rows[i].to_caller && leg[1].receive == rows[i].to_caller);
        assert_true(leg[0].receive == rows[i].to_callee && leg[1].send == rows[i].to_callee);
    }
}

/* ---- what passes, and what does not ---- */

static void attributes_pass_unless_they_are_of_one_side(void **state)
{
    (void)state;
    pass(HEAD
         "b=AS:500\na=charset:utf-8\na=tool:x\na=x-session:1\na=ice-options:trickle\n"
         "m=audio 4000 RTP/AVP 0\ni=title\nb=TIAS:64000\na=ptime:30\na=label:7\n"
         "a=content:main\na=lang:de\na=x-unknown:some thing\na=silenceSupp:off - - - -\n"
         "a=candidate:1 1 UDP 9 192.0.2.1 4000 typ host\na=remote-candidates:1 192.0.2.7 9\n"
         "a=identity:abc\na=zrtp-hash:1.10 abc\na=key-mgmt:mikey abc\na=tls-id:abc123abc123abc123\n"
         "a=connection:new\na=ssrc:5 cname:x\na=msid:a b\na=extmap:1 urn:x\na=rtcp-rsize\n"
         "a=alt:1 1 : 9 9 192.0.2.1 9\na=x-nat:here 192.0.2.1\na=x-six:[2001:db8::9]:4\n"
         "a=x-pair:192.0.2.1:4000\na=x-version:1.2.3\na=x-time:10:20\n",
         OFFER_AVP);
    static const char *const stay[] = {"192.0.2",    "2001",     "tool", "trickle",  "title",
                                       "candidate",  "identity", "zrtp", "key-mgmt", "tls-id",
                                       "connection", "ssrc",     "msid", "extmap",   "rsize"};
    static const char *const go[] = {"b=AS:500\r\nt=0 0\r\n",
                                     "a=charset:utf-8\r\n",
                                     "a=x-session:1\r\n",
                                     "b=TIAS:64000\r\n",
                                     "a=ptime:30\r\n",
                                     "a=label:7\r\n",
                                     "a=content:main\r\n",
                                     "a=lang:de\r\n",
                                     "a=x-unknown:some thing\r\n",
                                     "a=silenceSupp:off - - - -\r\n",
                                     "a=x-version:1.2.3\r\n",
                                     "a=x-time:10:20\r\n",
                                     "o=- 77 3 IN IP4 203.0.113.2\r\ns=-\r\n"};
    for (size_t i = 0; i < sizeof stay / sizeof stay[0]; i++)
        assert_lacks(passed, stay[i]);
    for (size_t i = 0; i < sizeof go / sizeof go[0]; i++)
        assert_holds(passed, go[i]);
}

#define WEB_AUDIO                                                                      \
    "UDP/TLS/RTP/SAVPF 0\na=mid:0\na=extmap:1 urn:one\na=ssrc:5 cname:x\na=msid:a b\n" \
    "a=rtcp-rsize\na=rtcp-fb:0 transport-cc\na=rtcp-fb:0 nack\n" WEB_TAIL

static void sources_and_extensions_pass_between_browsers(void **state)
{
    (void)state;
    static const char offer[] =
        HEAD "a=extmap-allow-mixed\nm=audio 9 " WEB_AUDIO "a=extmap:2 urn:two\n";
    static const char reply[] = HEAD "m=audio 9 " WEB_AUDIO "a=extmap:3 urn:three\n";
    static const char *const all[] = {"a=extmap:1 urn:one\r\n", "a=ssrc:5 cname:x\r\n",
                                      "a=msid:a b\r\n",         "a=rtcp-rsize\r\n",
                                      "a=rtcp-fb:0 nack\r\n",   "a=rtcp-fb:0 transport-cc\r\n"};
    policy.transcode = false;
    answer(offer, OFFER_WEB, reply);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_holds(passed, all[i]);
        assert_holds(answered, all[i]);
    }
    assert_holds(passed, "a=extmap-allow-mixed\r\n");
    assert_lacks(answered, "urn:three"); /* not offered */
    pass(offer, OFFER_AVP);
    assert_lacks(passed, "urn:");
    assert_lacks(passed, "rtcp-fb");
    pass(HEAD "m=audio 4000 RTP/AVP 0\na=ssrc:5 cname:x\na=extmap:1 urn:one\n", OFFER_WEB);
    assert_lacks(passed, "ssrc");
    assert_lacks(passed, "extmap");
    answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_WEB, reply);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_lacks(answered, all[i]);
}

static void extensions_are_so_many(void **state)
{
    (void)state;
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, HEAD "m=audio 9 " WEB_AUDIO);
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "a=extmap:%d urn:x\n", 100 + i);
    pass(text, OFFER_WEB);
    assert_holds(passed, "a=extmap:130 urn:x\r\n"); /* the first is urn:one */
    assert_lacks(passed, "a=extmap:131 ");
}

/* Of our offer and our answer, which is read with the same bounds as theirs. */
static void what_passes_leaves_room_for_ours(void **state)
{
    (void)state;
    static const struct {
        const char *session, *line;
    } rows[] = {
        {"a=x\n", ""}, {"", "a=x\n"}, {"", "a=rtcp-fb:* nack\n"}, {"", "a=rtcp-fb:0 nack\n"}};
    char text[8192];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = (size_t)snprintf(text, sizeof text, HEAD);
        for (int k = 0; k < SDP_ATTRS_MAX; k++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", rows[i].session);
        n += (size_t)snprintf(text + n, sizeof text - n, "m=audio 4000 RTP/AVPF 0\n");
        if (rows[i].session[0])
            n += (size_t)snprintf(text + n, sizeof text - n, WEB_TAIL);
        for (int k = 0; k < SDP_ATTRS_MAX; k++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", rows[i].line);
        for (enum offer_profile profile = OFFER_AVP; profile <= OFFER_WEB; profile++) {
            pass(text, profile);
            world_read(passed);
            if (profile == OFFER_AVP)
                answer(text, profile, text);
        }
    }
}

static void feedback_of_video_follows_its_number(void **state)
{
    (void)state;
    answer(HEAD "m=video 4000 RTP/AVPF 96\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 nack pli\n"
                "a=rtcp-fb:* ccm fir\na=rtcp-fb:96 transport-cc\na=rtcp-fb:97 nack\n",
           OFFER_AVP,
           HEAD "m=video 5000 RTP/AVP 105\na=rtpmap:105 VP8/90000\na=rtcp-fb:105 nack pli\n"
                "a=imageattr:105 send *\n");
    assert_holds(passed, "a=rtcp-fb:96 nack pli\r\na=rtcp-fb:* ccm fir\r\n");
    assert_lacks(passed, "transport-cc");
    assert_lacks(passed, "97");
    assert_holds(answered, "a=rtcp-fb:96 nack pli\r\n");
    assert_lacks(answered, "imageattr");
    answer(HEAD "m=video 4000 RTP/AVP 96\na=rtpmap:96 VP8/90000\n", OFFER_AVP,
           HEAD "m=video 5000 RTP/AVP 96\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 nack pli\n");
    assert_lacks(answered, "rtcp-fb"); /* not offered */
}

static void fax_passes_where_it_may(void **state)
{
    (void)state;
    static const char offer[] = HEAD "m=audio 0 RTP/AVP 0\nm=image 4000 udptl t38\n"
                                     "a=T38FaxVersion:0\na=T38FaxUdpEC:t38UDPRedundancy\n";
    static const char reply[] =
        HEAD "m=audio 0 RTP/AVP 0\nm=image 5000 udptl t38\na=T38FaxVersion:3\n";
    answer(offer, OFFER_AVP, reply);
    assert_holds(passed, "m=audio 0 RTP/AVP 0\r\nm=image 30004 udptl t38\r\na=T38FaxVersion:0\r\n"
                         "a=T38FaxUdpEC:t38UDPRedundancy\r\n");
    assert_holds(answered, "m=image 30004 udptl t38\r\na=T38FaxVersion:3\r\n");
    assert_int_equal(plan.streams[1].kind, OFFER_T38);
    assert_true(plan.streams[1].leg[0].send && plan.streams[1].leg[0].receive);
    assert_int_equal(plan.streams[1].leg[1].rtp.port, 5000);
    assert_int_equal(try_pass(offer, OFFER_WEB), ERR_UNSUPPORTED);
    policy.srtp = OFFER_SRTP_REQUIRE;
    assert_int_equal(try_pass(offer, OFFER_AVP), ERR_UNSUPPORTED);
    policy = world_policy;
    policy.t38 = false;
    assert_int_equal(try_pass(offer, OFFER_AVP), ERR_UNSUPPORTED);
}

static void lines_stay_one_for_one(void **state)
{
    (void)state;
    char text[2048] = HEAD;
    for (int i = 0; i < 12; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "m=audio %d RTP/AVP 0\n",
                 i == 1 ? 0 : 4000);
    pass(text, OFFER_AVP);
    struct offer_session *s = world_read(passed);
    assert_int_equal(s->text->n_media, 12);
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(s->text->media[i].port == 0, i == 1 || i >= OFFER_MEDIA_MAX);
    assert_holds(why.line[why.n - 2], "the last 4 of its media");
    /* each its own address; what we refused stays refused, whatever is answered */
    ours[0]->media[1].rtp = world_ip("2001:db8::a", 30004);
    ours[1]->media[1].rtp = world_ip("2001:db8::b", 30004);
    ours[1]->media[2].rtp.n = 0;
    answer(HEAD "m=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 0\nm=video 4004 RTP/AVP 31\n",
           OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\nm=audio 5002 RTP/AVP 0\nm=video 5004 RTP/AVP 31\n");
    assert_holds(passed, "\r\nc=IN IP6 2001:db8::b\r\n");
    assert_holds(answered, "\r\nc=IN IP6 2001:db8::a\r\n");
    assert_holds(answered, "m=video 0 RTP/AVP 31\r\n");
    assert_true(plan.streams[2].refused);
    /* closing all is no failure */
    pass(HEAD "m=audio 0 RTP/AVP 0\n", OFFER_AVP);
    assert_holds(passed, "m=audio 0 RTP/AVP 0\r\n");
    assert_int_equal(try_pass(HEAD "m=audio 4000 TCP/RTP/AVP 0\n", OFFER_AVP), ERR_UNSUPPORTED);
}

/* RFC 3264 §6 */
static void the_times_are_the_offers(void **state)
{
    (void)state;
    answer("v=0\no=- 1 2 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.1\nt=5 9\nt=11 0\nm=audio 4 "
           "RTP/AVP 0\n",
           OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_holds(passed, "\r\nt=0 0\r\n");
    assert_holds(answered, "\r\nt=5 9\r\nt=11 0\r\nm=audio");
}

static void an_answer_that_does_not_fit_is_none(void **state)
{
    (void)state;
    static const char *const replies[] = {
        HEAD "m=audio 5000 RTP/AVP 0\nm=audio 5000 RTP/AVP 0\n",
        HEAD "m=video 5000 RTP/AVP 31\n",
        HEAD,
    };
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++)
        assert_int_equal(try_answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP, replies[i]),
                         ERR_SYNTAX);
    answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP, HEAD "m=audio 0 RTP/AVP 0\n");
    assert_true(plan.streams[0].refused);
    assert_holds(answered, "m=audio 0 RTP/AVP 0\r\n");
}

/* ---- an answer of our own ---- */

static void we_answer_by_the_policys_order(void **state)
{
    (void)state;
    static const char offer[] =
        HEAD "m=video 4002 RTP/AVP 31\nm=audio 4000 RTP/AVP 18 0 9 101\n" EVENTS
             "a=sendonly\nm=audio 4004 RTP/AVP 0\n";
    assert_int_equal(try_accept(offer), ERR_OK);
    world_read(answered);
    assert_holds(answered, "m=video 0 RTP/AVP 31\r\nm=audio 30004 RTP/AVP 9 101\r\n");
    assert_holds(answered, "a=recvonly\r\n");
    assert_holds(answered, "m=audio 0 RTP/AVP 0\r\n");
    assert_int_equal(plan.streams[1].map[0][0].from, 9);
    assert_int_equal(plan.streams[1].leg[0].event_pt, 101);
    assert_true(plan.streams[1].leg[0].receive && !plan.streams[1].leg[0].send);
    assert_true(plan.streams[0].refused && plan.streams[2].refused);
    assert_int_equal(try_accept(HEAD "m=audio 4 RTP/AVP 0\nc=IN IP4 0.0.0.0\n"), ERR_OK);
    assert_holds(answered, "a=recvonly\r\n");
    policy.codecs_n = 0;
    assert_int_equal(try_accept(offer), ERR_OK);
    assert_holds(answered, "m=audio 30004 RTP/AVP 0 101\r\n");
    assert_int_equal(try_accept(HEAD "m=audio 4000 RTP/AVP 18\n"), ERR_UNSUPPORTED);
    assert_holds(last_why(), "G729/8000");
    assert_int_equal(try_accept(HEAD "m=video 4000 RTP/AVP 31\n"), ERR_UNSUPPORTED);
    assert_int_equal(try_accept(HEAD "m=message 4000 TCP/MSRP *\n"), ERR_UNSUPPORTED);
}

/* ---- ICE ---- */

static void who_speaks_ice_is_offered_it(void **state)
{
    (void)state;
    static const char plain[] = HEAD "m=audio 4000 RTP/AVP 0\n";
    static const char ice[] = HEAD "m=audio 4000 RTP/AVP 0\n" ICE;
    const struct {
        const char *offer;
        enum offer_profile profile;
        bool wanted, offered;
    } rows[] = {
        {plain, OFFER_AVP, false, false}, {plain, OFFER_AVP, true, true},
        {plain, OFFER_SAVP, true, true},  {ice, OFFER_AVP, false, true},
        {plain, OFFER_WEB, false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ours[1]->ice_wanted = rows[i].wanted;
        pass(rows[i].offer, rows[i].profile);
        const struct offer_media *m = &world_read(passed)->media[0];
        assert_int_equal(m->ice, rows[i].offered);
        assert_int_equal(m->candidates_n > 0, rows[i].offered);
    }
    /* what it answers is its own affair: the caller has none */
    ours[1]->ice_wanted = true;
    answer(plain, OFFER_AVP, ice);
    assert_true(plan.streams[0].leg[1].ice);
    assert_false(plan.streams[0].leg[0].ice);
    assert_false(world_read(answered)->media[0].ice);
}

/* ---- memory ---- */

/* Whatever the arena has, it is a result or ERR_NOMEM. */
static void memory_may_end_anywhere(void **state)
{
    (void)state;
    const struct client *c = &clients[1];
    for (size_t cap = 0; cap < 60000; cap += 500) {
        struct arena small;
        struct sdp sdp, back;
        struct sdp_fault fault;
        static struct offer_session o, p, b;
        sv text;
        arena_init(&small, NULL, 0, cap);
        enum err rc = sdp_parse(sv_of(c->offer), &small, &sdp, &fault);
        if (rc == ERR_OK)
            rc = offer_read(&sdp, &small, &o, &fault);
        if (rc == ERR_OK)
            rc = offer_pass(&o, &policy, OFFER_WEB, ours[1], &small, &text, &why);
        if (rc == ERR_OK)
            rc = sdp_parse(text, &small, &back, &fault);
        if (rc == ERR_OK)
            rc = offer_read(&back, &small, &p, &fault);
        if (rc == ERR_OK)
            rc = offer_read(world_read(client_answer(c, &p))->text, &small, &b, &fault);
        if (rc == ERR_OK)
            rc = offer_answer(&o, &p, &b, &policy, ours[0], ours[1], &small, &text, &plan, &why);
        if (rc == ERR_OK)
            rc = offer_accept(&o, &policy, ours[0], &small, &text, &plan, &why);
        assert_true(rc == ERR_NOMEM || (rc == ERR_OK && cap > 10000));
        assert_true(rc == ERR_OK || cap < 59000);
        arena_done(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(codecs_are_appended_with_free_numbers),
        TEST(a_static_number_that_means_something_else_is_not_taken),
        TEST(nothing_is_appended_that_could_not_be_brought_back),
        TEST(events_that_are_there_are_left_alone),
        TEST(a_static_number_is_said_whole),
        TEST(numbers_run_out),
        TEST(what_repairs_goes_with_what_it_repairs),
        TEST(the_callee_may_number_as_it_likes),
        TEST(what_was_told_goes_before_what_may_be),
        TEST(the_callee_orders_what_both_have),
        TEST(one_codec_answered_twice_is_one),
        TEST(nothing_in_common_is_transcoded),
        TEST(what_was_appended_is_transcoded_beside_what_passes),
        TEST(events_go_by_their_clock),
        TEST(keys_go_as_they_are_taken),
        TEST(keys_come_from_elsewhere_too),
        TEST(noise_passes_to_who_has_it),
        TEST(red_passes_with_the_same_numbers_only),
        TEST(formats_of_one_name_are_told_apart),
        TEST(no_way_out_names_both_lists),
        TEST(video_that_cannot_be_leaves_the_call),
        TEST(directions_are_those_of_rfc_3264),
        TEST(attributes_pass_unless_they_are_of_one_side),
        TEST(sources_and_extensions_pass_between_browsers),
        TEST(extensions_are_so_many),
        TEST(what_passes_leaves_room_for_ours),
        TEST(feedback_of_video_follows_its_number),
        TEST(fax_passes_where_it_may),
        TEST(lines_stay_one_for_one),
        TEST(the_times_are_the_offers),
        TEST(an_answer_that_does_not_fit_is_none),
        TEST(we_answer_by_the_policys_order),
        TEST(who_speaks_ice_is_offered_it),
        TEST(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
