/* SPDX-License-Identifier: MIT */
/* tests/unit/wire/offer_world.h: what clients say, how they answer, what is ours between them; and what holds for every
 * description of ours. */
#ifndef OFFER_WORLD_H
#define OFFER_WORLD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "offer/offer.h"

#define KEY_A "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0"
#define KEY_B "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw"
#define PRINT_A                                                                                  \
    "7A:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:7A:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:" \
    "EE:FF"

static struct arena world;
static struct sdp_fault world_fault;

static inline int world_setup(void **state)
{
    (void)state;
    arena_init(&world, NULL, 0, 64 << 20);
    return 0;
}

static inline int world_teardown(void **state)
{
    (void)state;
    arena_done(&world);
    return 0;
}

static inline bool holds(sv text, const char *needle)
{
    return memmem(text.p, text.n, needle, strlen(needle)) != NULL;
}

#define assert_holds(text, needle)                                   \
    do {                                                             \
        if (!holds(text, needle))                                    \
            fail_msg("no \"%s\" in\n" SV_FMT, needle, SV_ARG(text)); \
    } while (0)
#define assert_lacks(text, needle)                                \
    do {                                                          \
        if (holds(text, needle))                                  \
            fail_msg("\"%s\" in\n" SV_FMT, needle, SV_ARG(text)); \
    } while (0)

static inline struct offer_session *world_read(sv text)
{
    struct sdp *sdp = ARENA_NEW(&world, struct sdp);
    struct offer_session *s = arena_calloc(&world, 1, sizeof *s);
    enum err rc = sdp_parse(text, &world, sdp, &world_fault);
    if (rc == ERR_OK)
        rc = offer_read(sdp, &world, s, &world_fault);
    if (rc)
        fail_msg("%s at line %u: %s\n" SV_FMT, err_name(rc), (unsigned)world_fault.line,
                 world_fault.why ? world_fault.why : "", SV_ARG(text));
    return s;
}

/* ---- what is ours ---- */

static inline struct offer_ip world_ip(const char *text, uint16_t port)
{
    struct sdp_conn c;
    struct offer_ip ip = {.port = port};
    assert_int_equal(sdp_conn_set(sv_of(text), &c), ERR_OK);
    memcpy(ip.ip, c.ip, c.ip_n);
    ip.n = c.ip_n;
    return ip;
}

/* Ports 30000 and up at this address; keys that begin with `mark`. */
static inline struct offer_ours *world_ours(const char *address, char mark)
{
    struct offer_ours *o = ARENA_NEW(&world, struct offer_ours);
    for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++) {
        struct offer_ours_media *m = &o->media[i];
        m->rtp = world_ip(address, (uint16_t)(30000 + 4 * i));
        m->rtcp = world_ip(address, (uint16_t)(30001 + 4 * i));
        for (enum offer_suite s = 0; s < SUITES; s++) {
            struct offer_key *k = &m->keys[m->keys_n++];
            k->suite = s;
            offer_key_lengths(s, &k->key_n, &k->salt_n);
            memset(k->key, mark, sizeof k->key);
        }
    }
    o->session_id = 77;
    o->version = 3;
    o->fingerprint = SV("sha-256 0F:0F:0F:0F");
    o->ufrag = SV("ours");
    o->pwd = SV("ourspasswordourspasswo");
    o->setup = SDP_ACTPASS;
    return o;
}

static const struct offer_policy world_policy = {
    .srtp = OFFER_SRTP_PREFER,
    .codecs = {CODEC_OPUS, CODEC_G722, CODEC_PCMA, CODEC_PCMU},
    .codecs_n = 4,
    .transcode = true,
    .t38 = true,
};

/* ---- clients ---- */

struct client {
    const char *name;
    const char *offer;
    enum offer_profile profile; /* by which it is reached */
    /* How it answers: */
    const char *codecs; /* what it has, in its order: "opus/48000 PCMU/8000"; of each medium */
    enum offer_keying keying;
    bool ice, mux, video;
    bool renumbers; /* dynamic payload types of its own */
    const char *address;
};

#define ICE_A     "a=ice-ufrag:fragA\na=ice-pwd:passwordApasswordApasswA\n"
#define PRINTED_A "a=fingerprint:sha-256 " PRINT_A "\n"

static const struct client clients[] = {
    {.name = "browser",
     .profile = OFFER_WEB,
     .codecs = "opus/48000 red/48000 G722/8000 PCMU/8000 PCMA/8000 telephone-event/48000 "
               "telephone-event/8000",
     .keying = OFFER_DTLS,
     .ice = true,
     .mux = true,
     .address = "198.51.100.11",
     .offer = "v=0\n"
              "o=- 4611731400430051336 2 IN IP4 127.0.0.1\n"
              "s=-\n"
              "t=0 0\n"
              "a=group:BUNDLE 0\n"
              "a=extmap-allow-mixed\n"
              "a=msid-semantic: WMS 5f4e\n"
              "m=audio 51110 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\n"
              "c=IN IP4 198.51.100.11\n"
              "a=rtcp:9 IN IP4 0.0.0.0\n"
              "a=candidate:2999745851 1 udp 2122260223 198.51.100.11 51110 typ host generation 0 "
              "network-id 1\n" ICE_A "a=ice-options:trickle\n" PRINTED_A "a=setup:actpass\n"
              "a=mid:0\n"
              "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n"
              "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\n"
              "a=sendrecv\n"
              "a=msid:5f4e 9a1b\n"
              "a=rtcp-mux\n"
              "a=rtcp-rsize\n"
              "a=rtpmap:111 opus/48000/2\n"
              "a=rtcp-fb:111 transport-cc\n"
              "a=fmtp:111 minptime=10;useinbandfec=1\n"
              "a=rtpmap:63 red/48000/2\n"
              "a=fmtp:63 111/111\n"
              "a=rtpmap:9 G722/8000\n"
              "a=rtpmap:0 PCMU/8000\n"
              "a=rtpmap:8 PCMA/8000\n"
              "a=rtpmap:13 CN/8000\n"
              "a=rtpmap:110 telephone-event/48000\n"
              "a=rtpmap:126 telephone-event/8000\n"
              "a=ssrc:2342342342 cname:Zy3k\n"
              "a=ssrc:2342342342 msid:5f4e 9a1b\n"},
    {.name = "browser with a camera",
     .profile = OFFER_WEB,
     .codecs = "opus/48000 PCMU/8000 telephone-event/8000 VP8/90000 rtx/90000 H264/90000",
     .keying = OFFER_DTLS,
     .ice = true,
     .mux = true,
     .video = true,
     .address = "198.51.100.12",
     .offer = "v=0\n"
              "o=- 881 2 IN IP4 127.0.0.1\n"
              "s=-\n"
              "t=0 0\n"
              "a=group:BUNDLE a v d\n"
              "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 126\n"
              "c=IN IP4 0.0.0.0\n"
              "a=rtcp:9 IN IP4 0.0.0.0\n" ICE_A PRINTED_A "a=setup:actpass\n"
              "a=mid:a\n"
              "a=rtcp-mux\n"
              "a=rtpmap:111 opus/48000/2\n"
              "a=fmtp:111 minptime=10;useinbandfec=1\n"
              "a=rtpmap:126 telephone-event/8000\n"
              "a=candidate:1 1 udp 2122260223 198.51.100.12 51111 typ host\n"
              "m=video 0 UDP/TLS/RTP/SAVPF 96 97 102 103\n"
              "c=IN IP4 0.0.0.0\n"
              "a=bundle-only\n"
              "a=mid:v\n"
              "a=rtcp-mux\n"
              "a=rtcp-rsize\n"
              "a=rtpmap:96 VP8/90000\n"
              "a=rtcp-fb:96 nack pli\n"
              "a=rtcp-fb:96 transport-cc\n"
              "a=rtcp-fb:96 ccm fir\n"
              "a=rtpmap:97 rtx/90000\n"
              "a=fmtp:97 apt=96\n"
              "a=rtpmap:102 H264/90000\n"
              "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\n"
              "a=rtpmap:103 rtx/90000\n"
              "a=fmtp:103 apt=102\n"
              "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\n"
              "c=IN IP4 0.0.0.0\n"
              "a=bundle-only\n"
              "a=mid:d\n"
              "a=sctp-port:5000\n"},
    {.name = "plain phone",
     .profile = OFFER_AVP,
     .codecs = "PCMU/8000 PCMA/8000 telephone-event/8000",
     .keying = OFFER_PLAIN,
     .address = "198.51.100.21",
     .offer = "v=0\n"
              "o=- 20518 0 IN IP4 198.51.100.21\n"
              "s=-\n"
              "c=IN IP4 198.51.100.21\n"
              "t=0 0\n"
              "a=tool:phone 1.2.3\n"
              "m=audio 21000 RTP/AVP 0 8 101\n"
              "b=AS:125\n"
              "a=rtpmap:0 PCMU/8000\n"
              "a=rtpmap:8 PCMA/8000\n"
              "a=rtpmap:101 telephone-event/8000\n"
              "a=fmtp:101 0-15\n"
              "a=rtcp:21001\n"
              "a=sendrecv\n"
              "a=label:1\n"
              "a=ptime:20\n"},
    {.name = "phone with best-effort SDES",
     .profile = OFFER_AVP,
     .codecs = "opus/48000 G722/8000 PCMA/8000 telephone-event/8000",
     .keying = OFFER_SDES,
     .renumbers = true,
     .address = "198.51.100.22",
     .offer = "v=0\n"
              "o=user 1 1 IN IP4 198.51.100.22\n"
              "s=call\n"
              "c=IN IP4 198.51.100.22\n"
              "t=0 0\n"
              "m=audio 22000 RTP/AVP 96 9 8 97\n"
              "a=rtpmap:96 opus/48000/2\n"
              "a=rtpmap:97 telephone-event/8000\n"
              "a=fmtp:97 0-16\n"
              "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A "\n"
              "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:" KEY_A "\n"},
    {.name = "desk phone that wants SDES",
     .profile = OFFER_SAVP,
     .codecs = "G722/8000 PCMU/8000 PCMA/8000 G729/8000 telephone-event/8000",
     .keying = OFFER_SDES,
     .address = "198.51.100.23",
     .offer = "v=0\n"
              "o=- 20080 20080 IN IP4 198.51.100.23\n"
              "s=SDP data\n"
              "c=IN IP4 198.51.100.23\n"
              "t=0 0\n"
              "m=audio 23000 RTP/SAVP 9 0 8 18 101\n"
              "a=rtpmap:9 G722/8000\n"
              "a=rtpmap:0 PCMU/8000\n"
              "a=rtpmap:8 PCMA/8000\n"
              "a=rtpmap:18 G729/8000\n"
              "a=fmtp:18 annexb=no\n"
              "a=rtpmap:101 telephone-event/8000\n"
              "a=fmtp:101 0-15\n"
              "a=ptime:20\n"
              "a=sendrecv\n"
              "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A "|2^20\n"
              "a=crypto:8 AES_CM_128_HMAC_SHA1_32 inline:" KEY_A "\n"},
    {.name = "phone with DTLS and no ICE",
     .profile = OFFER_DTLS_AVP,
     .codecs = "opus/48000 PCMU/8000 telephone-event/8000",
     .keying = OFFER_DTLS,
     .mux = true,
     .address = "198.51.100.24",
     .offer = "v=0\n"
              "o=- 551 1 IN IP4 198.51.100.24\n"
              "s=-\n"
              "c=IN IP4 198.51.100.24\n"
              "t=0 0\n"
              "m=audio 24000 UDP/TLS/RTP/SAVP 96 0 8 101\n"
              "a=rtpmap:96 opus/48000/2\n"
              "a=fmtp:96 stereo=1;sprop-stereo=1\n"
              "a=rtpmap:101 telephone-event/8000\n"
              "a=rtcp-mux\n"
              "a=setup:actpass\n"

     PRINTED_A "a=ssrc:77 cname:sip:alice@198.51.100.24\n"},
    {.name = "phone with ICE and plain RTP",
     .profile = OFFER_AVP,
     .codecs = "opus/48000 speex/16000 PCMU/8000 telephone-event/8000 telephone-event/48000 "
               "H264/90000",
     .keying = OFFER_PLAIN,
     .ice = true,
     .video = true,
     .address = "198.51.100.25",
     .offer = "v=0\n"
              "o=alice 3811 2250 IN IP4 198.51.100.25\n"
              "s=Talk\n"
              "c=IN IP4 198.51.100.25\n"
              "t=0 0\n" ICE_A "a=rtcp-xr:rcvr-rtt=all:10000\n"
              "a=record:off\n"
              "m=audio 25000 RTP/AVPF 96 97 0 98 99\n"
              "a=rtpmap:96 opus/48000/2\n"
              "a=fmtp:96 useinbandfec=1\n"
              "a=rtpmap:97 speex/16000\n"
              "a=fmtp:97 vbr=on\n"
              "a=rtpmap:98 telephone-event/48000\n"
              "a=rtpmap:99 telephone-event/8000\n"
              "a=candidate:1 1 UDP 2130706303 198.51.100.25 25000 typ host\n"
              "a=candidate:1 2 UDP 2130706302 198.51.100.25 25001 typ host\n"
              "a=rtcp-fb:* trr-int 1000\n"
              "m=video 25002 RTP/AVPF 96\n"
              "a=rtpmap:96 H264/90000\n"
              "a=fmtp:96 profile-level-id=42801F\n"
              "a=rtcp-fb:96 nack pli\n"
              "a=candidate:1 1 UDP 2130706303 198.51.100.25 25002 typ host\n"},
    {.name = "trunk",
     .profile = OFFER_AVP,
     .codecs = "PCMA/8000 telephone-event/8000",
     .keying = OFFER_PLAIN,
     .address = "198.51.100.26",
     .offer = "v=0\n"
              "o=- 1702 1702 IN IP4 198.51.100.26\n"
              "s=Trunk\n"
              "c=IN IP4 198.51.100.26\n"
              "t=0 0\n"
              "m=audio 26000 RTP/AVP 8 101\n"
              "a=rtpmap:8 PCMA/8000\n"
              "a=rtpmap:101 telephone-event/8000\n"
              "a=fmtp:101 0-16\n"
              "a=ptime:20\n"
              "a=maxptime:150\n"
              "a=sendrecv\n"},
    {.name = "border controller",
     .profile = OFFER_SAVP,
     .codecs = "PCMU/8000 PCMA/8000 telephone-event/8000 CN/8000",
     .keying = OFFER_SDES,
     .ice = true,
     .mux = true,
     .address = "198.51.100.27",
     .offer = "v=0\n"
              "o=- 96 0 IN IP4 198.51.100.27\n"
              "s=session\n"
              "b=CT:10000000\n"
              "t=0 0\n"
              "a=ice-lite\n"
              "m=audio 27000 RTP/SAVP 104 9 0 8 13 101\n"
              "c=IN IP4 198.51.100.27\n"
              "a=rtcp:27001\n" ICE_A "a=candidate:1 1 UDP 2130706431 198.51.100.27 27000 typ host\n"
              "a=candidate:1 2 UDP 2130705918 198.51.100.27 27001 typ host\n"
              "a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:" KEY_A "|2^31|1:1\n"
              "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A "|2^31\n"
              "a=rtcp-mux\n"
              "a=rtpmap:104 SILK/16000\n"
              "a=rtpmap:101 telephone-event/8000\n"
              "a=fmtp:101 0-16\n"
              "a=x-mediasettings:a\n"
              "a=x-bypassid:198.51.100.27;9\n"},
    {.name = "phone with IPv6",
     .profile = OFFER_AVP,
     .codecs = "G722/8000 telephone-event/8000",
     .keying = OFFER_PLAIN,
     .address = "2001:db8:1::28",
     .offer = "v=0\n"
              "o=- 28 0 IN IP6 2001:db8:1::28\n"
              "s=-\n"
              "c=IN IP6 2001:db8:1::28\n"
              "t=0 0\n"
              "m=audio 28000 RTP/AVP 9 8 120\n"
              "a=rtpmap:120 telephone-event/8000\n"
              "a=fmtp:120 0-16\n"},
    {.name = "phone with GCM",
     .profile = OFFER_SAVP,
     .codecs = "PCMU/8000",
     .keying = OFFER_SDES,
     .address = "198.51.100.29",
     .offer = "v=0\n"
              "o=- 29 0 IN IP4 198.51.100.29\n"
              "s=-\n"
              "c=IN IP4 198.51.100.29\n"
              "t=0 0\n"
              "m=audio 29000 RTP/SAVP 0\n"
              "a=crypto:3 AEAD_AES_128_GCM inline:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMg==\n"},
};
enum { CLIENTS = sizeof clients / sizeof clients[0] };

/* ---- how they answer ---- */

static inline void say(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void say(struct buf *b, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    buf_str(b, line);
    buf_str(b, "\r\n");
}

/* Payload types of the medium that c takes, each with its rtpmap behind; number by number, or its own numbers. */
static inline void answer_codecs(const struct client *c, const struct offer_media *m, bool maps,
                                 struct buf *b)
{
    char want[64];
    unsigned next = 105;
    for (const char *p = c->codecs; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        for (unsigned i = 0; i < m->codecs_n; i++) {
            const struct offer_codec *k = &m->codecs[i];
            snprintf(want, sizeof want, SV_FMT "/%u", SV_ARG(k->name), (unsigned)k->clock_hz);
            if (strlen(want) != n || strncasecmp(want, p, n) != 0)
                continue;
            unsigned pt = c->renumbers && k->pt >= 96 ? next++ : k->pt;
            if (!maps) {
                buf_printf(b, " %u", pt);
                continue;
            }
            say(b, "a=rtpmap:%u %s%s", pt, want, k->channels == 2 ? "/2" : "");
            if (k->fmtp.n > 0)
                say(b, "a=fmtp:%u " SV_FMT, pt, SV_ARG(k->fmtp));
        }
        p += n;
    }
}

static inline bool has_any(const struct client *c, const struct offer_media *m)
{
    char mem[4096];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    answer_codecs(c, m, false, &b);
    return b.n > 0;
}

static inline bool answer_keys(const struct client *c, const struct offer_media *m, struct buf *b)
{
    if (c->keying == OFFER_DTLS && m->fingerprints_n > 0) {
        say(b, "a=setup:active");
        say(b, "a=fingerprint:sha-256 %s", PRINT_A);
        return true;
    }
    for (unsigned i = 0; c->keying == OFFER_SDES && i < m->cryptos_n; i++)
        if (m->cryptos[i].suite == SUITE_AES_CM_128_HMAC_SHA1_80) {
            say(b, "a=crypto:%u AES_CM_128_HMAC_SHA1_80 inline:%s", (unsigned)m->cryptos[i].tag,
                KEY_B);
            return true;
        }
    return !m->secure;
}

/* What c answers to our offer. */
static inline sv client_answer(const struct client *c, const struct offer_session *o)
{
    char *mem = arena_alloc(&world, 16384);
    struct buf b, keys;
    char key_mem[1024];
    bool first = true;
    buf_init(&b, mem, 16384);
    const char *family = strchr(c->address, ':') ? "IP6" : "IP4";
    say(&b, "v=0\r\no=bob 9 9 IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0", family, c->address, family,
        c->address);
    bool group = sdp_attr_find(&o->text->attrs, SV("group")) && c->profile == OFFER_WEB;
    if (group) {
        buf_str(&b, "a=group:BUNDLE");
        for (unsigned i = 0; i < o->n; i++)
            if (o->media[i].bundle && !o->media[i].refused && has_any(c, &o->media[i]) &&
                (c->video || o->media[i].kind == OFFER_AUDIO))
                buf_printf(&b, " " SV_FMT, SV_ARG(o->media[i].mid));
        buf_str(&b, "\r\n");
    }
    for (unsigned i = 0; i < o->n; i++) {
        const struct offer_media *m = &o->media[i];
        const struct sdp_media *t = m->text;
        buf_init(&keys, key_mem, sizeof key_mem);
        bool takes = !m->refused && m->kind <= OFFER_VIDEO && has_any(c, m) &&
                     (c->video || m->kind == OFFER_AUDIO) && answer_keys(c, m, &keys);
        buf_printf(&b, "m=" SV_FMT " %u " SV_FMT, SV_ARG(t->type), takes ? 40000 + 2 * i : 0,
                   SV_ARG(t->proto));
        if (!takes) {
            say(&b, " " SV_FMT, SV_ARG(t->formats[0]));
            continue;
        }
        answer_codecs(c, m, false, &b);
        buf_str(&b, "\r\n");
        answer_codecs(c, m, true, &b);
        buf_put(&b, buf_sv(&keys));
        if (group)
            say(&b, "a=mid:" SV_FMT, SV_ARG(m->mid));
        if (c->mux && m->mux)
            say(&b, "a=rtcp-mux");
        if (c->ice && m->ice && (first || !group || !m->bundle)) {
            say(&b, "a=ice-ufrag:fragB\r\na=ice-pwd:passwordBpasswordBpasswB");
            say(&b, "a=candidate:1 1 UDP 2130706431 %s %u typ host", c->address, 40000 + 2 * i);
        }
        first = false;
    }
    assert_int_equal(b.rc, ERR_OK);
    return buf_sv(&b);
}

#endif
