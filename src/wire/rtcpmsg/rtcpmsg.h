/* SPDX-License-Identifier: MIT */
/* rtcpmsg/rtcpmsg.h: RTCP: compound packets, reports, feedback, extended reports.    layer: wire
 *
 * Spec    RFC 3550 §6, A.2; 4585 §6 and 5104 §4 (feedback), 5506 (reduced size), 3611 (XR).
 * Shape   a datagram is checked once (rtcpmsg_check), then its packets are walked in place; each struct that
 *         a reader fills holds numbers in host order and views into the datagram. Nothing is kept for each
 *         packet, block or item, so nothing is capped. A packet's borders are the datagram's; a length in a
 *         header only ever narrows them, and each reader checks its own part again: none relies on
 *         rtcpmsg_check having been called.
 *         Printers append to a buf; what is printed parses to the same.
 * Life    views are valid while the datagram is.
 * Limits  when printing: 31 report blocks or SSRCs in one packet, 255 octets of text.
 * Errors  ERR_SYNTAX: it is of another type, or a length does not fit.
 * Threads any. No globals. */
#ifndef RTCPMSG_RTCPMSG_H
#define RTCPMSG_RTCPMSG_H
#include "clock/clock.h"
#include "str/buf.h"

enum { RTCP_HEADER = 4, RTCP_COUNT_MAX = 31, RTCP_TEXT_MAX = 255 };

/* IANA "RTCP Control Packet Types"; others are walked over. */
enum rtcp_type {
    RTCP_SR = 200,
    RTCP_RR,
    RTCP_SDES,
    RTCP_BYE,
    RTCP_APP,
    RTCP_RTPFB, /* RFC 4585 §6.1: transport layer feedback */
    RTCP_PSFB,  /* payload-specific feedback */
    RTCP_XR     /* RFC 3611 */
};

/* ---- the compound packet ---- */

/* One packet of it. */
struct rtcpmsg {
    uint8_t type;
    uint8_t count; /* five bits: blocks, chunks, SSRCs; FMT of feedback; subtype of APP */
    sv body;       /* behind the 4 octets of header, without padding */
    size_t at;     /* of its header, in the datagram */
};
/* A walk; zero before the first. */
struct rtcp_walk {
    size_t at;
};
/* The next packet; false: no more, or what follows is not version 2 or does not fit. */
bool rtcpmsg_next(sv datagram, struct rtcp_walk *w, struct rtcpmsg *ret_msg);

enum rtcp_form {
    RTCP_COMPOUND, /* begins with SR or RR (RFC 3550 §6.1) */
    RTCP_REDUCED   /* need not (RFC 5506 §3.4.3): where a=rtcp-rsize was agreed */
};
/* The packets fill the datagram exactly, all are version 2, only the last one is padded (A.2).
 * Of SRTCP only what was decrypted. Errors: ERR_SYNTAX. */
MUST_USE enum err rtcpmsg_check(sv datagram, enum rtcp_form form);
/* SSRC of who sends it: the first word of each body but SDES and BYE, whose first one it is; 0: has none. */
uint32_t rtcpmsg_sender(const struct rtcpmsg *m);

/* ---- SR, RR: RFC 3550 §6.4 ---- */

struct rtcp_sender {
    uint64_t ntp; /* 32 bits of seconds since 1900, 32 of fraction; 0: no wall clock */
    uint32_t ts;  /* the same instant on the stream's clock */
    uint32_t packets, octets;
};
struct rtcp_block {
    uint32_t ssrc;      /* of the stream reported on */
    uint8_t fraction;   /* lost since the last report, of 256 */
    int32_t lost;       /* 24 bits, signed: duplicates count as received */
    uint32_t highest;   /* sequence number, cycles above */
    uint32_t jitter;    /* units of the stream's clock */
    uint32_t lsr, dlsr; /* middle 32 bits of the last SR's ntp, 0: none; units of 1/65536 s since */
};
struct rtcp_report {
    uint32_t ssrc;
    bool has_sender; /* SR */
    struct rtcp_sender sender;
    unsigned blocks;
    sv block_octets; /* see rtcpmsg_block() */
    sv extension;    /* of a profile, behind the blocks */
};
MUST_USE enum err rtcpmsg_report(const struct rtcpmsg *m, struct rtcp_report *ret_report);
/* i below r->blocks. */
struct rtcp_block rtcpmsg_block(const struct rtcp_report *r, unsigned i);

/* ---- SDES: §6.5 ---- */

enum rtcp_sdes_type {
    RTCP_SDES_END,
    RTCP_SDES_CNAME,
    RTCP_SDES_NAME,
    RTCP_SDES_EMAIL,
    RTCP_SDES_PHONE,
    RTCP_SDES_LOC,
    RTCP_SDES_TOOL,
    RTCP_SDES_NOTE,
    RTCP_SDES_PRIV
};
struct rtcp_item {
    uint32_t ssrc;
    uint8_t type;
    sv text; /* any octets: nobody has checked that it is UTF-8 */
};
/* A walk; zero before the first. */
struct rtcp_sdes_walk {
    size_t at;
    unsigned chunks; /* passed */
    bool within;
    uint32_t ssrc;
};
/* The next item of all chunks; false: no more, or what follows does not fit. */
bool rtcpmsg_sdes_next(const struct rtcpmsg *m, struct rtcp_sdes_walk *w,
                       struct rtcp_item *ret_item);
/* The CNAME of a source. */
bool rtcpmsg_cname(const struct rtcpmsg *m, uint32_t ssrc, sv *ret_cname);

/* ---- BYE, APP: §6.6, §6.7 ---- */

struct rtcp_bye {
    unsigned n;
    sv ssrcs;  /* see rtcpmsg_bye_ssrc() */
    sv reason; /* p == NULL: none */
};
MUST_USE enum err rtcpmsg_bye(const struct rtcpmsg *m, struct rtcp_bye *ret_bye);
/* i below n. */
uint32_t rtcpmsg_bye_ssrc(const struct rtcp_bye *bye, unsigned i);

struct rtcp_app {
    uint32_t ssrc;
    sv name; /* 4 octets */
    sv data;
};
MUST_USE enum err rtcpmsg_app(const struct rtcpmsg *m, struct rtcp_app *ret_app);

/* ---- feedback: RFC 4585 §6, 5104 §4 ---- */

enum rtcp_fb {
    RTCP_FB_OTHER, /* passes */
    RTCP_FB_NACK,  /* RTPFB 1 */
    RTCP_FB_TMMBR, /* RTPFB 3 */
    RTCP_FB_TMMBN, /* RTPFB 4 */
    RTCP_FB_TWCC,  /* RTPFB 15: transport-wide congestion control; only named */
    RTCP_FB_PLI,   /* PSFB 1 */
    RTCP_FB_SLI,   /* PSFB 2; only named */
    RTCP_FB_RPSI,  /* PSFB 3; only named */
    RTCP_FB_FIR,   /* PSFB 4 */
    RTCP_FB_REMB /* PSFB 15 that begins with "REMB": receiver's estimate of bandwidth; only named */
};
struct rtcp_feedback {
    enum rtcp_fb kind;
    uint32_t sender, media; /* media: 0 where entries name the streams (5104 §4.3.1.2) */
    sv fci;
    unsigned n; /* entries of fci, where the kind has entries that are read here */
};
/* Errors: ERR_SYNTAX; also when NACK, TMMBR, TMMBN or FIR have no whole number of entries or none (a TMMBN
 * may have none), or a PLI has any. */
MUST_USE enum err rtcpmsg_feedback(const struct rtcpmsg *m, struct rtcp_feedback *ret_fb);

struct rtcp_nack {
    uint16_t seq;
    uint16_t following; /* bit i: seq + i + 1 is missing too */
};
struct rtcp_fir {
    uint32_t ssrc;
    uint8_t seq;
};
struct rtcp_tmmb {
    uint32_t ssrc;
    uint64_t bits_per_s; /* at most UINT64_MAX */
    uint16_t overhead;
};
/* i below fb->n, of a feedback of that kind (TMMBN as TMMBR). */
struct rtcp_nack rtcpmsg_nack(const struct rtcp_feedback *fb, unsigned i);
struct rtcp_fir rtcpmsg_fir(const struct rtcp_feedback *fb, unsigned i);
struct rtcp_tmmb rtcpmsg_tmmb(const struct rtcp_feedback *fb, unsigned i);

/* ---- extended reports: RFC 3611 ---- */

enum rtcp_xr_type { /* others, and the run-length ones, are walked over */
                    RTCP_XR_RRTR = 4,
                    RTCP_XR_DLRR,
                    RTCP_XR_SUMMARY,
                    RTCP_XR_VOIP
};
struct rtcp_xr_block {
    uint8_t type, specific; /* "type-specific" */
    sv body;                /* behind the 4 octets of header */
};
/* A walk; zero before the first. */
struct rtcp_xr_walk {
    size_t at;
};
/* The next block of an XR packet; false: no more, or what follows does not fit. */
bool rtcpmsg_xr_next(const struct rtcpmsg *m, struct rtcp_xr_walk *w,
                     struct rtcp_xr_block *ret_block);

/* §4.4. Errors: ERR_SYNTAX. */
MUST_USE enum err rtcpmsg_xr_rrtr(const struct rtcp_xr_block *x, uint64_t *ret_ntp);
/* §4.5: lrr is of the receiver named's last RRTR, dlrr the time since in 1/65536 s. */
struct rtcp_dlrr {
    uint32_t ssrc, lrr, dlrr;
};
/* How many sub-blocks; 0: it is another block, or has none. */
unsigned rtcpmsg_xr_dlrrs(const struct rtcp_xr_block *x);
/* i below that. */
struct rtcp_dlrr rtcpmsg_xr_dlrr(const struct rtcp_xr_block *x, unsigned i);

/* §4.6. */
enum rtcp_hops { RTCP_HOPS_NONE, RTCP_HOPS_TTL, RTCP_HOPS_LIMIT };
struct rtcp_summary {
    bool has_lost, has_duplicates, has_jitter;
    enum rtcp_hops hops;
    uint32_t ssrc;
    uint16_t begin_seq, end_seq; /* end: one beyond the last */
    uint32_t lost, duplicates;
    uint32_t jitter_min, jitter_max, jitter_mean, jitter_dev;
    uint8_t hops_min, hops_max, hops_mean, hops_dev;
};
/* Errors: ERR_SYNTAX; also ("MUST ignore") when a field that is not reported is not 0. */
MUST_USE enum err rtcpmsg_xr_summary(const struct rtcp_xr_block *x, struct rtcp_summary *ret);

/* §4.7, as it is on the wire. */
enum {
    RTCP_VOIP_UNKNOWN = 127, /* of levels, RERL, R factors, MOS */
    RTCP_VOIP_GMIN = 16      /* recommended */
};
struct rtcp_voip {
    uint32_t ssrc;
    uint8_t loss_rate, discard_rate, burst_density, gap_density; /* of 256 */
    uint16_t burst_ms, gap_ms, round_trip_ms, end_system_ms;
    int8_t signal_dbm, noise_dbm;
    uint8_t rerl_db, gmin;
    uint8_t r_factor, ext_r_factor; /* 0 to 100 */
    uint8_t mos_lq, mos_cq;         /* ten times: 10 to 50 */
    uint8_t rx_config;
    uint16_t jb_nominal_ms, jb_max_ms, jb_abs_max_ms;
};
/* Values that must not be sent (§4.7.5: R over 100, MOS outside 10 to 50) are read as RTCP_VOIP_UNKNOWN.
 * Errors: ERR_SYNTAX; also when Gmin is 0, which "MUST NOT be". */
MUST_USE enum err rtcpmsg_xr_voip(const struct rtcp_xr_block *x, struct rtcp_voip *ret);

/* ---- time ---- */

/* Wall time as an NTP timestamp (RFC 3550 §4). */
uint64_t rtcpmsg_ntp(usec wall);
/* Its middle 32 bits, as in LSR and LRR. */
static inline uint32_t rtcpmsg_ntp_middle(uint64_t ntp)
{
    return (uint32_t)(ntp >> 16);
}
/* Units of 1/65536 s, as in DLSR, from a duration and back; a duration under 0 is 0, over 18 hours the
 * largest. */
uint32_t rtcpmsg_units(usec duration);
usec rtcpmsg_usec(uint32_t units);

/* ---- printing ----
 * Each appends one packet to b. Errors are b's: ERR_TOOBIG (no room; more than 31 of what is counted; text over
 * 255 octets), ERR_SYNTAX (no entry where one must be). A failed one leaves what was there. */

void rtcpmsg_put_sr(struct buf *b, uint32_t ssrc, const struct rtcp_sender *sender,
                    const struct rtcp_block *blocks, unsigned n);
void rtcpmsg_put_rr(struct buf *b, uint32_t ssrc, const struct rtcp_block *blocks, unsigned n);
/* SDES with one chunk with one item. */
void rtcpmsg_put_cname(struct buf *b, uint32_t ssrc, sv cname);
/* reason: p == NULL: none. */
void rtcpmsg_put_bye(struct buf *b, const uint32_t *ssrcs, unsigned n, sv reason);
void rtcpmsg_put_pli(struct buf *b, uint32_t sender, uint32_t media);
void rtcpmsg_put_nack(struct buf *b, uint32_t sender, uint32_t media, const struct rtcp_nack *nacks,
                      unsigned n);
void rtcpmsg_put_fir(struct buf *b, uint32_t sender, const struct rtcp_fir *firs, unsigned n);

/* An XR packet being built, from where b stands now; its lengths are right after each call. */
struct rtcp_xr {
    struct buf *b;
    size_t at;
};
struct rtcp_xr rtcpmsg_xr_begin(struct buf *b, uint32_t ssrc);
void rtcpmsg_xr_put_rrtr(const struct rtcp_xr *x, uint64_t ntp);
void rtcpmsg_xr_put_dlrr(const struct rtcp_xr *x, const struct rtcp_dlrr *dlrrs, unsigned n);
void rtcpmsg_xr_put_voip(const struct rtcp_xr *x, const struct rtcp_voip *v);

#endif
