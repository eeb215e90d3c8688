/* SPDX-License-Identifier: MIT */
/* offer/offer_priv.h: what the parts of the module share.                        layer: wire */
#ifndef OFFER_OFFER_PRIV_H
#define OFFER_OFFER_PRIV_H
#include "offer/offer.h"

/* ---- offer_codec.c: what a codec is ---- */

/* Fills c->id from its name and clock rate. */
void offer_codec_identify(struct offer_codec *c);
/* Carries the medium itself: no event, noise, repair. */
bool offer_codec_is_main(const struct offer_codec *c);
/* We can decode and encode it. */
bool offer_codec_can(const struct offer_codec *c);
/* Same encoding, clock rate and channels. */
bool offer_codec_same_name(const struct offer_codec *a, const struct offer_codec *b);
/* The one of the list that is c by name and, best of these, by fmtp and payload type; NULL: none. */
const struct offer_codec *offer_codec_find(const struct offer_codec *list, unsigned n,
                                           const struct offer_codec *c);
/* The one with this payload type; NULL: none. */
const struct offer_codec *offer_codec_pt(const struct offer_codec *list, unsigned n, unsigned pt);

/* ---- offer_key.c: a=crypto ---- */

/* The value of an a=crypto as a key of ours to use. Errors: ERR_SYNTAX, ERR_RANGE: malformed; ERR_UNSUPPORTED: a suite,
 * MKI or session parameter that we do not do. */
MUST_USE enum err offer_key_read(sv value, struct offer_key *ret_key);

/* ---- offer_why.c: reasons ---- */

struct offer_why {
    struct arena *arena;
    struct offer_reasons *reasons;
    enum err rc; /* ERR_NOMEM sticks */
    /* Of the lines: whether there was sound to be had, whether some is, how the last line that could not be failed. */
    unsigned wanted, kept, sound_wanted, sound_kept;
    enum err failed, sound_failed;
    sv failed_why;
};
/* One line that is not refused already has come out with rc. */
void offer_line_done(struct offer_why *w, enum offer_kind kind, enum err rc);
/* What becomes of the whole: sound that cannot be ends it, and so does it when nothing is left; the reason stands last.
 */
MUST_USE enum err offer_lines_done(struct offer_why *w);
void offer_because(struct offer_why *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "opus/48000, PCMA/8000" of the main codecs, in the arena. */
sv offer_codec_names(struct offer_why *w, const struct offer_codec *list, unsigned n);

/* ---- offer_match.c: which codecs of both sides meet ---- */

/* One codec that the answer took of the offer: as the caller has it (NULL: we added it), as the callee was offered it,
 * as it answered it. */
struct offer_pair {
    const struct offer_codec *a, *p, *b;
};
struct offer_match {
    struct offer_pair pair[OFFER_CODECS_MAX]; /* in the callee's order */
    unsigned n;
    bool common;  /* a main codec passes as it is */
    bool aligned; /* every pair has the same payload type on both sides */
    /* What the caller hears, with the callee's payload types beside it (OFFER_NO_PT: it has none). */
    struct offer_codec list[OFFER_CODECS_MAX];
    uint8_t source_pt[OFFER_CODECS_MAX];
    unsigned list_n;
    struct offer_codec best_a, best_b; /* what is transcoded to, when can_a and can_b */
    bool can_a, can_b;
};
/* The payload types that c's fmtp names (apt=96, 111/111), at most max. */
unsigned offer_codec_refers(const struct offer_codec *c, uint8_t *ret_pts, unsigned max);
/* False: no codec both can be brought to. */
bool offer_match(const struct offer_media *offer, const struct offer_media *passed,
                 const struct offer_media *answer, const struct offer_policy *p,
                 struct offer_match *ret);
/* Maps, events, keys and noise of the stream. */
void offer_match_maps(const struct offer_match *m, const struct offer_policy *p,
                      struct offer_stream *s);
/* The list's event or noise (id) for the clock rate of its first main codec, else any; NULL: none. */
const struct offer_codec *offer_companion(const struct offer_codec *list, unsigned n,
                                          enum offer_codec_id id);

/* ---- offer_keys.c: who keys how ---- */

struct offer_keyed {
    enum offer_keying keying;
    struct offer_key ours, theirs; /* SDES */
    enum sdp_setup setup;          /* DTLS: our role */
};
/* How an offered line is answered. Errors: ERR_DENIED, with a reason. */
MUST_USE enum err offer_key_caller(struct offer_why *w, const struct offer_media *m,
                                   enum offer_srtp srtp, const struct offer_ours *ours,
                                   const struct offer_ours_media *mine, struct offer_keyed *ret);
/* What an answer chose of what it was offered. Errors: ERR_DENIED, ERR_SYNTAX: it is none; with a reason. */
MUST_USE enum err offer_key_callee(struct offer_why *w, const struct offer_media *passed,
                                   const struct offer_media *answer, enum offer_srtp srtp,
                                   const struct offer_ours *ours,
                                   const struct offer_ours_media *mine, struct offer_keyed *ret);

/* ---- what is to be written ---- */

/* One m= line as it is to be written. */
struct offer_line {
    const struct sdp_media *like; /* type; of a refused one also profile and formats */
    bool refused;
    enum offer_kind kind;
    sv proto;
    struct offer_ip rtp, rtcp; /* rtcp.n 0: no port of its own */
    const struct offer_ip *more;
    unsigned more_n;
    struct offer_codec codecs[OFFER_CODECS_MAX];
    uint8_t source_pt[OFFER_CODECS_MAX]; /* of the same in `from`, OFFER_NO_PT: it is not there */
    unsigned codecs_n;
    enum sdp_direction direction;
    const struct offer_key *cryptos[SUITES];
    uint32_t tags[SUITES];
    unsigned cryptos_n;
    bool dtls;
    enum sdp_setup setup;
    bool ice, mux, mux_only;
    sv mid;       /* n 0: none */
    bool grouped; /* in the BUNDLE group */
    bool bundled; /* shares the transport of the group's head, which says it for both */
    /* attributes that pass: */
    const struct sdp_media *from;    /* NULL: none */
    const struct offer_media *limit; /* header extensions must be here too; NULL: any */
    bool feedback;                   /* rtcp-fb passes */
    bool web;     /* header extensions and sources pass: browsers on both sides */
    bool aligned; /* attributes that name payload types pass */
    bool remade;  /* transcoded: its times and bandwidth are not the source's */
};
struct offer_draft {
    const struct offer_ours *ours;
    const struct sdp *like; /* m= lines beyond n are refused like these */
    const struct sdp *from; /* attributes and bandwidth of the session; NULL: none */
    bool answer;            /* its times are those of the offer (RFC 3264 §6) */
    struct offer_line *lines;
    unsigned n;
};

/* ---- offer_attrs.c: what passes of the other side's attributes ---- */

void offer_put_passing(struct buf *b, const struct offer_line *l);
void offer_put_session_passing(struct buf *b, const struct sdp *from, bool web);
void offer_put_bandwidths(struct buf *b, const struct sdp_bandwidth *v, size_t n);
void offer_put_codecs(struct buf *b, const struct offer_line *l);

/* ---- offer_print.c: the text ---- */

/* Errors: ERR_NOMEM, ERR_TOOBIG. */
MUST_USE enum err offer_print(const struct offer_draft *d, struct arena *a, sv *ret_text);
bool offer_ip_equal(const struct offer_ip *a, const struct offer_ip *b); /* with the port */
/* The key's of the suite; NULL: none. */
const struct offer_key *offer_key_of(const struct offer_ours_media *mine, enum offer_suite suite);

/* ---- offer_plain.c ---- */
/* Plain RTP at this address (IPv4) alone. False: that is not said by the first look. */
bool offer_is_plain(sv text, const struct offer_ip *at);

#endif
