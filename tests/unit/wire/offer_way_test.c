/* SPDX-License-Identifier: MIT */
/* Whether two sides need us between them. */
#include "offer_rules.h"

static void the_way_is_direct_between_alike_neighbours(void **state)
{
    (void)state;
    static const char plain[] = HEAD "m=audio 4000 RTP/AVP 0\n";
    static const char web[] =
        HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\nc=IN IP4 0.0.0.0\n" WEB_TAIL
             "a=candidate:1 1 UDP 9 192.0.2.1 5 typ srflx raddr 0.0.0.0 rport 0\n";
    struct offer_party a = {.source = world_ip("192.0.2.1", 5060)};
    struct offer_party b = {.source = world_ip("192.0.2.2", 5060)};
    struct offer_party at_nat = {.source = world_ip("192.0.2.3", 5060)};
    struct offer_party six = {.source = world_ip("2001:db8::1", 5060)};
    struct offer_party near = {.source = world_ip("192.0.2.1", 5060), .local = true};
    struct offer_party tab = {.source = world_ip("192.0.2.1", 443), .web = true};
    struct offer_party moved = {.source = world_ip("192.0.2.2", 5060), .nat = true};
    struct offer_party unknown = {0};
    struct offer_party checks = {.source = world_ip("192.0.2.2", 5060), .ice = true};
    static const char ice[] = HEAD "m=audio 4000 RTP/AVP 0\n" ICE;
    static const char fax[] = HEAD "m=image 4000 udptl t38\n";
    static const char secure[] = HEAD "m=audio 4000 RTP/SAVP 0\n" CRYPTO("1", CM80, KEY_A);
    const struct {
        const char *offer;
        const struct offer_party *from, *to;
        enum offer_way way;
    } rows[] = {
        {plain, &a, &b, OFFER_DIRECT},
        {plain, &at_nat, &b, OFFER_RELAY},
        {plain, &a, &moved, OFFER_RELAY},
        {plain, &a, &six, OFFER_RELAY},
        {plain, &near, &b, OFFER_RELAY},
        {plain, &near, &near, OFFER_DIRECT},
        {plain, &a, &tab, OFFER_RELAY},
        {plain, &a, &unknown, OFFER_RELAY},
        {plain, &tab, &tab, OFFER_RELAY},
        {secure, &a, &b, OFFER_RELAY},
        {plain, &a, &checks, OFFER_RELAY},
        {ice, &a, &b, OFFER_RELAY},
        {ice, &a, &checks, OFFER_DIRECT},
        {fax, &a, &checks, OFFER_DIRECT},
        {web, &tab, &tab, OFFER_DIRECT},
        {web, &tab, &b, OFFER_RELAY},
        {HEAD "m=audio 0 RTP/AVP 0\n", &at_nat, &b, OFFER_DIRECT},
        {HEAD "m=audio 9 RTP/AVP 0\nc=IN IP4 0.0.0.0\n", &a, &b, OFFER_RELAY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sv text = SV_NONE;
        enum offer_way way =
            offer_way(world_read(sv_of(rows[i].offer)), rows[i].from, rows[i].to, &text);
        if (way != rows[i].way)
            fail_msg("row %zu: " SV_FMT, i, SV_ARG(text));
        assert_true(sv_starts(text, way == OFFER_DIRECT ? SV("direct: ") : SV("relayed: ")));
        bool plainly = offer_way_plain(sv_of(rows[i].offer), rows[i].from, rows[i].to, &text);
        assert_int_equal(plainly, rows[i].offer == plain && way == OFFER_DIRECT);
    }
}

/* What is plain at first sight, and what has to be read. */
static void most_need_not_be_read(void **state)
{
    (void)state;
    struct offer_party a = {.source = world_ip("192.0.2.1", 5060)};
    struct offer_party b = {.source = world_ip("192.0.2.2", 5060)};
    static const struct {
        const char *offer;
        bool plain;
    } rows[] = {
        {HEAD "m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=fmtp:101 0-15\r\n", true},
        {HEAD "m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVPF 96\na=rtcp-fb:96 nack\n", true},
        {"v=0\ns=-\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.1\n", true},
        {"v=0\ns=-\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\n"
         "m=video 4002 RTP/AVP 96\n",
         false},
        {"v=0\ns=-\nm=audio 4000 RTP/AVP 0\n", false},
        {HEAD, false},
        {"", false},
        {HEAD "m=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.9\n", false},
        {"v=0\nc=IN IP4 192.0.2.11\nm=audio 4000 RTP/AVP 0\n", false},
        {"v=0\nc=IN IP4 192.0.2.1/127\nm=audio 4000 RTP/AVP 0\n", false},
        {"v=0\nc=IN IP4 192.0.2\nm=audio 4000 RTP/AVP 0\n", false},
        {"v=0\nc=IN IP6 ::1\nm=audio 4000 RTP/AVP 0\n", false},
        {HEAD "m=audio 0 RTP/AVP 0\n", false},
        {HEAD "m=audio 4000 RTP/SAVP 0\n", false},
        {HEAD "m=audio 4000 UDP/TLS/RTP/SAVPF 0\n", false},
        {HEAD "m=audio  RTP/AVP 0\n", false},
        {HEAD "m=image 4000 udptl t38\n", false},
        {HEAD "m=audio 4000 RTP/AVP 0\na=crypto:1 x\n", false},
        {HEAD "m=audio 4000 RTP/AVP 0\na=candidate:1 x\n", false},
        {HEAD "a=ice-ufrag:abcd\nm=audio 4000 RTP/AVP 0\n", false},
        {HEAD "a=fingerprint:sha-256 00\nm=audio 4000 RTP/AVP 0\n", false},
        {HEAD "m=audio 4000 RTP/AVP 0\nno line\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sv text;
        if (offer_way_plain(sv_of(rows[i].offer), &a, &b, &text) != rows[i].plain)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_way_is_direct_between_alike_neighbours),
        TEST(most_need_not_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
