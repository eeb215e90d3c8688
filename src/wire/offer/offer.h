/* SPDX-License-Identifier: MIT */
/* offer/offer.h: two descriptions of one session, and what must stand between them.   layer: wire
 *
 * Spec    RFC 3264 (offer and answer), 8866, 4568, 6188 and 7714 (SDES), 5763/5764/8842 (DTLS-SRTP),
 *         8839 (ICE in SDP), 5761/8858 (rtcp-mux), 9143 (BUNDLE), 8643 (best-effort SRTP), 3551, 4733,
 *         7587, 4585, 3605, 3890 (bandwidth).
 * Shape   pure functions of what both sides said and of what is ours; each decision with its reason.
 *         offer_read      one description, in the terms below
 *         offer_pass      what one side (the caller) offered, as it is to be offered to the other (the callee)
 *         offer_answer    what that one answered, as it is to be answered to the first; and the plan
 *         offer_accept    an answer of our own, without another side
 *         offer_way       whether we are needed at all
 *         A description of ours has the m= lines of the offer, one for one. Nothing in it shows the other
 *         side's addresses, keys, fingerprints or ICE credentials.
 *         Caller is who offers, callee who answers: in a later offer, or one in a 200, that may be the called
 *         one. Reasons name them so.
 * Life    texts, candidates and fingerprints are views into the descriptions and the arena; the plan's too.
 * Limits  the OFFER_..._MAX. What is over them is counted in .lost and refused or left out with a reason; it
 *         never changes what the rest means.
 * Threads any. No globals. */
#ifndef OFFER_OFFER_H
#define OFFER_OFFER_H
#include "sdp/sdp.h"

enum {
    OFFER_MEDIA_MAX = 8,       /* m= lines; more are refused with port 0 */
    OFFER_CODECS_MAX = 24,     /* of an m= line; more are left out */
    OFFER_CRYPTOS_MAX = 8,     /* a=crypto of an m= line that we know; more are not looked at */
    OFFER_CANDIDATES_MAX = 32, /* of an m= line; more are not looked at */
    OFFER_FINGERPRINTS_MAX = 4,
    OFFER_REASONS_MAX = 24 /* more are not told */
};

/* ---- one description, read ---- */

enum offer_kind {
    OFFER_AUDIO, /* RTP */
    OFFER_VIDEO, /* RTP, any codec, not looked into */
    OFFER_TEXT,  /* RTP: real-time text */
    OFFER_T38,   /* udptl image */
    OFFER_OTHER  /* anything else (data channels, RTP over TCP, …): refused with port 0 */
};
enum offer_keying { OFFER_PLAIN, OFFER_SDES, OFFER_DTLS, OFFER_KEYINGS };

enum offer_codec_id {
    CODEC_OTHER, /* passes, cannot be transcoded */
    CODEC_PCMU,
    CODEC_PCMA,
    CODEC_G722,
    CODEC_OPUS,
    CODEC_L16,
    CODEC_CN,    /* RFC 3389 */
    CODEC_EVENT, /* RFC 4733 telephone-event */
    CODEC_RED,   /* these three belong to another one: pass with it or not at all */
    CODEC_RTX,
    CODEC_FEC
};
struct offer_codec {
    enum offer_codec_id id;
    uint8_t pt;
    uint16_t channels;
    uint32_t clock_hz;
    sv name, fmtp; /* encoding name as written; fmtp SV_NONE: none */
    sv params;     /* behind the clock rate in a=rtpmap ("2"), SV_NONE: none */
};
struct offer_ip {
    uint8_t ip[16];
    uint8_t n; /* 4 or 16; 0: a host name, 0.0.0.0, ::, or nothing: nothing can be sent there */
    uint16_t port;
};
/* SRTP keys as in a=crypto, RFC 4568 §6, 7714: master key and salt. */
enum offer_suite {
    SUITE_AES_CM_128_HMAC_SHA1_80,
    SUITE_AES_CM_128_HMAC_SHA1_32,
    SUITE_AES_256_CM_HMAC_SHA1_80,
    SUITE_AES_256_CM_HMAC_SHA1_32,
    SUITE_AEAD_AES_128_GCM,
    SUITE_AEAD_AES_256_GCM,
    SUITES
};
enum { OFFER_KEY_MAX = 46 };
struct offer_key {
    enum offer_suite suite;
    uint32_t tag;               /* of the a=crypto; in struct offer_ours not used */
    uint8_t key[OFFER_KEY_MAX]; /* master key, then salt */
    uint8_t key_n, salt_n;
};
/* How long suite's key and salt are. */
void offer_key_lengths(enum offer_suite suite, uint8_t *ret_key_n, uint8_t *ret_salt_n);
/* As in a=crypto. */
sv offer_suite_name(enum offer_suite suite);

/* a=rtcp-xr (RFC 3611 §5.1): it is there (then what is not named is not wanted); VoIP metrics; DLRR for who asks. */
enum offer_xr { OFFER_XR_SAID = 1, OFFER_XR_VOIP = 2, OFFER_XR_RTT = 4 };

struct offer_media {
    enum offer_kind kind;
    bool refused;             /* port 0, and no member of a bundle by bundle-only */
    bool feedback;            /* …/AVPF or …/SAVPF */
    bool secure;              /* the profile itself says SAVP or UDP/TLS: no plain RTP */
    bool dtls_only;           /* the profile says UDP/TLS */
    bool web;                 /* what browsers say: SRTP with feedback, a fingerprint and ICE */
    enum offer_keying keying; /* the strongest that it names and we know: DTLS, SDES, plain */
    enum sdp_direction direction;
    struct offer_ip rtp, rtcp; /* rtcp: a=rtcp, else the port above; with mux == rtp */
    bool hold;                 /* c=0.0.0.0 or ::, without ICE: it wants nothing (RFC 3264 §8.4) */
    bool mux, mux_only;
    bool bundle;         /* a member of the description's first BUNDLE group */
    uint8_t bundle_rank; /* its place in the group's list */
    /* Offered or answered: it shares the transport of the group's head, m= line bundle_with: the first in the list
     * with a port of its own. What a bundled line does not say itself is copied from there. */
    bool bundled;
    uint8_t bundle_with;
    sv mid;
    struct offer_codec codecs[OFFER_CODECS_MAX];
    unsigned codecs_n, codecs_lost;
    uint32_t ptime_us, maxptime_us; /* 0: not said */
    uint8_t xr;                     /* enum offer_xr */
    /* those a=crypto that we can do, in order: without MKI, KDR, … */
    struct offer_key cryptos[OFFER_CRYPTOS_MAX];
    unsigned cryptos_n, cryptos_lost;
    const struct sdp_fingerprint *fingerprints; /* at most OFFER_FINGERPRINTS_MAX */
    unsigned fingerprints_n;
    enum sdp_setup setup; /* when setup_said */
    bool setup_said;      /* else active in an offer and passive in an answer (RFC 4145 §4) */
    bool ice, ice_lite, trickle; /* ice: ufrag and pwd are there, and no a=ice-mismatch */
    sv ufrag, pwd;
    const struct sdp_candidate *candidates; /* UDP with an address, at most OFFER_CANDIDATES_MAX */
    unsigned candidates_n;
    bool end_of_candidates;
    /* the section itself: attributes that pass are copied from here */
    const struct sdp_media *text;
};
struct offer_session {
    struct offer_media media[OFFER_MEDIA_MAX];
    unsigned n, lost;
    const struct sdp *text;
};
/* Reads text's media; text was parsed by sdp_parse and outlives *ret.
 * What one may skip is skipped: a candidate or a=crypto that we do not understand (RFC 8839 §5.1, 4568 §5.1.2), a
 * payload type that nothing explains.
 * Errors: ERR_NOMEM (arena), ERR_SYNTAX with *reterr_fault (line 0): an attribute that decides is malformed
 * (rtpmap, fingerprint, setup, rtcp, ice-ufrag without ice-pwd). */
MUST_USE enum err offer_read(const struct sdp *text, struct arena *a, struct offer_session *ret,
                             struct sdp_fault *reterr_fault);

/* ---- what we want, and what is known of a side ---- */

enum offer_srtp { OFFER_SRTP_NEVER, OFFER_SRTP_PREFER, OFFER_SRTP_REQUIRE };
/* How a side is told of keys that the other one presses. In a policy: what is tried first; AUTO: events, if it takes
 * them, else INFO, else tones. */
enum offer_dtmf { OFFER_DTMF_AUTO, OFFER_DTMF_EVENTS, OFFER_DTMF_INFO, OFFER_DTMF_TONES };
/* What signalling knows of a side and its keys. */
struct offer_keys {
    bool takes_info; /* it understands INFO, it says */
    bool does_info;  /* it is known to take keys so: it has named the type, or sent some itself */
    bool gives_info; /* it sends keys so: they do not come in its sound */
};
struct offer_policy {
    enum offer_srtp srtp;
    enum offer_codec_id codecs[8]; /* media.codecs: order of preference of what we may add */
    unsigned codecs_n;
    bool transcode; /* media.transcode: auto */
    bool t38;
    enum offer_dtmf dtmf;      /* media.dtmf */
    struct offer_keys keys[2]; /* of who offers, and of who answers */
};
/* How a description is put to a side: the first that it does not refuse with 488 is the one. */
enum offer_profile {
    /* RTP/AVP with a=crypto and a=fingerprint (RFC 8643) unless never. A medium that was itself offered with ICE gets
     * ours, and so does a side that speaks ICE (ice_wanted). With require it is OFFER_SAVP. */
    OFFER_AVP,
    /* RTP/SAVP with both; ICE as above. */
    OFFER_SAVP,
    /* UDP/TLS/RTP/SAVP, fingerprint, ICE beside it. */
    OFFER_DTLS_AVP,
    /* UDP/TLS/RTP/SAVPF, ICE, BUNDLE, rtcp-mux alone, mid: what browsers need. */
    OFFER_WEB
};

/* What is ours toward one side, for each of its m= lines; made by the caller before. */
struct offer_ours_media {
    /* As the side is to be told. rtp.n 0: no resource, the line is refused. rtcp.n 0 or rtcp == rtp: there is no
     * port for RTCP alone: rtcp-mux, or none. In an offer to OFFER_WEB, the same rtp as that of an earlier line:
     * they are bundled already (RFC 9143 §7.5). */
    struct offer_ip rtp, rtcp;
    struct offer_key keys[SUITES]; /* one of each suite that may be offered; made of chance */
    unsigned keys_n;
    /* further candidates for RTP (another family): with rtcp-mux alone */
    const struct offer_ip *more;
    unsigned more_n;
};
struct offer_ours {
    struct offer_ours_media media[OFFER_MEDIA_MAX];
    uint64_t session_id, version; /* o= */
    sv fingerprint;               /* "sha-256 AB:…" of our DTLS certificate; n 0: no DTLS */
    sv ufrag, pwd;                /* ICE, of this side; n 0: no ICE */
    enum sdp_setup setup;         /* our role in DTLS once it is agreed on (SDP_ACTPASS: not yet) */
    bool ice_full;                /* not lite: no a=ice-lite (trunks, own user agent) */
    bool
        ice_wanted; /* in an offer: this side speaks ICE, so it is offered ours whatever the other side did */
};

/* ---- what comes out ---- */

enum { OFFER_NO_PT = 255 };
/* One direction's codecs of a relayed RTP stream: how a packet with this payload type goes on. What has no map is
 * not relayed. Several may have one `to`; none two of one `from`. */
struct offer_map {
    uint8_t from,
        to; /* payload types; to OFFER_NO_PT: there is none (an event becomes a tone, or INFO) */
    /* Else the payload passes as it is. Of events: to another clock rate, a tone, or INFO, which is no matter of
     * media.transcode. */
    bool transcode;
    /* As the side that sends, and the side that receives, have it; out's fmtp is what the receiver wishes. With
     * OFFER_NO_PT out is the codec that the tone or noise goes into. */
    struct offer_codec in, out;
};
/* What one side's transport of one m= line is, once answered. */
struct offer_leg {
    enum offer_keying keying;
    struct offer_key ours, theirs; /* SDES: with what we send; with what it sends */
    /* DTLS: theirs; any of them may be the certificate's */
    const struct sdp_fingerprint *fingerprints;
    unsigned fingerprints_n;
    bool dtls_client; /* we send the ClientHello */
    bool ice;         /* their credentials and candidates; else it has none, or we have not */
    bool ice_lite;    /* it is lite too: nobody checks unless we are full */
    sv ufrag, pwd;
    const struct sdp_candidate *candidates;
    unsigned candidates_n;
    bool mux;
    struct offer_ip rtp, rtcp; /* where its description says that it listens */
    bool send, receive;        /* we may send to it; it may send to us */
    /* It shares the transport of m= line bundle_with (mostly an earlier one), which is not bundled itself: keys, ICE
     * and addresses above are that one's. */
    bool bundled;
    uint8_t bundle_with;
    uint32_t ptime_us; /* what it wants to get; 0: not said (20 ms) */
    uint8_t xr;        /* what it wants of reports, where they are ours to write: enum offer_xr */
    /* telephone-event that it takes, OFFER_NO_PT: none; likewise comfort noise */
    uint8_t event_pt, cn_pt;
    uint32_t event_hz; /* of event_pt */
    /* How it gets keys; AUTO: there is no way but what passes. */
    enum offer_dtmf dtmf;
    bool
        digits; /* keys come for it from elsewhere too: what goes to it passes through where they are put in */
    bool listen; /* tones in the other side's sound are keys for it, and taken out */
};
struct offer_stream {
    enum offer_kind kind;
    bool refused;
    struct offer_leg leg[2];                   /* 0: who offered, 1: who answered */
    struct offer_map map[2][OFFER_CODECS_MAX]; /* [0]: from leg 0 to leg 1 */
    unsigned map_n[2];
    bool transcodes; /* any map does */
};
struct offer_plan {
    struct offer_stream streams[OFFER_MEDIA_MAX];
    unsigned n;
};

/* Why: one line for each decision ("callee: DTLS-SRTP, as UDP/TLS/RTP/SAVPF says"), for diagnosis and Warnings: no
 * quotes, no control octets. In the arena. */
struct offer_reasons {
    sv line[OFFER_REASONS_MAX];
    unsigned n;
};

/* The offer of one side as it is put to the other: m= lines one for one; its codecs in its order and with its
 * payload types, those of the policy behind them when transcode is on; attributes that pass (ptime, fmtp, rtcp-fb,
 * label, content, lang, …) as they are; what speaks of transport, keys, ICE, BUNDLE, header extensions and sources
 * as `profile` says.
 *   ret_text  in a
 *   ret_why   written on failure too: the last line says why
 * Errors: ERR_NOMEM; ERR_DENIED: policy (require, and a side that cannot; never, and one that must);
 * ERR_UNSUPPORTED: nothing of it can be relayed: 488 both; ERR_TOOBIG: over SDP_MAX. */
MUST_USE enum err offer_pass(const struct offer_session *offer, const struct offer_policy *p,
                             enum offer_profile profile, const struct offer_ours *ours,
                             struct arena *a, sv *ret_text, struct offer_reasons *ret_why);
/* The other side's answer (to ret_text above, read back as `passed`) as the first side is to hear it, and the plan.
 * The plan has passed.n streams; a refused one has nothing else to say.
 *   ret_why   as above
 * Errors: ERR_NOMEM; ERR_UNSUPPORTED: no codec both can be brought to: 488, the last reason names both lists;
 * ERR_DENIED: policy: 488; ERR_SYNTAX: the answer does not fit the offer (number of m= lines, keys missing): as
 * 502; ERR_TOOBIG. Sound decides: a line of anything else that cannot be is refused, and the call goes on. */
MUST_USE enum err offer_answer(const struct offer_session *offer,
                               const struct offer_session *passed,
                               const struct offer_session *answer, const struct offer_policy *p,
                               const struct offer_ours *ours_a, const struct offer_ours *ours_b,
                               struct arena *a, sv *ret_text, struct offer_plan *ret_plan,
                               struct offer_reasons *ret_why);
/* The answer that we give by ourselves (echo, announcement, …): one audio stream, codec by the policy's order among
 * those that it offered; all else is refused. leg[1] is not used; map[0] has what it may send, in == out and
 * to == from; the first is the codec. Errors as offer_answer. */
MUST_USE enum err offer_accept(const struct offer_session *offer, const struct offer_policy *p,
                               const struct offer_ours *ours, struct arena *a, sv *ret_text,
                               struct offer_plan *ret_plan, struct offer_reasons *ret_why);

/* ---- what it takes ---- */

/* Bits a second of one direction of a relayed session, headers included: of each line what its b=TIAS (RFC 3890) or b=AS
 * says; else by its kind: 80 kbit/s of sound (L16: what it is), 2 Mbit/s of video (or the session's b=), 4 of text, 64 of
 * fax. Together no more than the session's b= says, nor OFFER_BANDWIDTH_MAX. A line on hold takes what it had: it may
 * speak again.
 *   plan  what became of this offer: lines refused take nothing; NULL: nobody has answered yet */
#define OFFER_BANDWIDTH_MAX UINT64_C(1000000000000)
uint64_t offer_bandwidth(const struct offer_session *s, const struct offer_plan *plan);

/* ---- whether they need us at all ---- */

/* What signalling knows of a side: where its messages come from, and what it is. */
struct offer_party {
    struct offer_ip source; /* network address of its signalling; n 0: unknown */
    bool web;               /* reached by a WebSocket */
    bool local;             /* its source is in local_networks (or loopback) */
    bool nat;               /* its Contact names an address that its messages do not come from */
    bool ice; /* it speaks ICE: by its Contact (RFC 5768), or by a description of before */
};
enum offer_way { OFFER_DIRECT, OFFER_RELAY };
/* media.mode auto: may B hear A's offer as it is? Direct when both are alike enough: A offers nothing that only
 * some understand (no DTLS-only or WEB profile to a phone, no plain to a browser), its addresses are those it
 * signals from (no NAT), both stand in one kind of network, neither is web unless both are. Phones with ICE exist
 * that stay silent where the other side has none: so both have it, or neither.
 *   ret_why: the reason, static text */
enum offer_way offer_way(const struct offer_session *offer, const struct offer_party *from,
                         const struct offer_party *to, sv *ret_why);
/* The same of an offer that was not read: true: offer_way would say direct, if it can be read at all, and nothing in it
 * speaks of keys. False: it has to be read. Costs a pass over the text. */
bool offer_way_plain(sv text, const struct offer_party *from, const struct offer_party *to,
                     sv *ret_why);

#endif
