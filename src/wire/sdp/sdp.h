/* SPDX-License-Identifier: MIT */
/* sdp/sdp.h: session descriptions: parse, print, typed attributes.              layer: wire
 *
 * Spec    RFC 8866. Attributes with a reader: RFC 8866 §6, 3605 (rtcp), 4145 (setup), 4568
 *         (crypto), 5576 (ssrc), 5888 (group), 8122 (fingerprint), 8839 (ice-*, candidate). All
 *         others stay name and value.
 * Shape   a struct sdp is views into its text, in arrays of the arena; the order of media, formats
 *         and attributes is kept. What is printed parses to an equal description.
 * Reading is patient where one reading remains: lines may end in LF alone, stand in any order
 *         within their section (v= first, r= and z= behind their t=), have blanks between and
 *         behind fields; s= and t= may be absent. Refused: unknown type letters (RFC 8866 §5), a
 *         second o=, s=, i=, u=, c= where one is allowed, directions that differ, bare CR, NUL.
 *         k= is checked for its place and discarded (RFC 8866 §5.12: MUST).
 * Life    valid while the text and the arena are.
 * Limits  the SDP_..._MAX below; beyond them ERR_TOOBIG, never a shortened description.
 * Threads any. No globals.
 */
#ifndef SDP_SDP_H
#define SDP_SDP_H
#include "mem/arena.h"
#include "str/buf.h"

enum {
    SDP_MAX = 65535,        /* octets */
    SDP_LINES_MAX = 4096,   /* lines */
    SDP_MEDIA_MAX = 32,     /* media descriptions */
    SDP_FORMATS_MAX = 64,   /* formats of an m= line */
    SDP_ATTRS_MAX = 256,    /* a= of a section (the session, or one media description) */
    SDP_BANDWIDTHS_MAX = 8, /* b= of a section */
    SDP_CONNS_MAX = 8,      /* c= of a media description */
    SDP_CONTACTS_MAX = 8,   /* e=, and p= */
    SDP_TIMES_MAX = 16,     /* t= */
    SDP_REPEATS_MAX = 16,   /* r= of a t= */
    SDP_OFFSETS_MAX = 32,   /* offsets of an r= */
    SDP_ZONES_MAX = 32,     /* adjustments of a z= */
    SDP_DIGEST_MAX = 64     /* octets of a fingerprint */
};

/* c=, and the address part of o= and a=rtcp. For nettype IN with addrtype IP4 or IP6 the address is
 * a literal of that family (in ip) or a host name (ip_n == 0). For other types it is opaque. */
struct sdp_conn {
    sv nettype, addrtype;
    sv address;     /* without scope */
    sv scope;       /* behind '/': "ttl[/addresses]" (IP4), "addresses" (IP6); p == NULL absent */
    uint8_t ip[16]; /* network order */
    uint8_t ip_n;   /* 0, 4 or 16 */
    uint8_t ttl;    /* IP4 with a scope */
    uint32_t addresses; /* contiguous multicast addresses; 1 without */
};

struct sdp_origin {
    sv username;            /* may be empty or contain blanks: read from the right */
    sv session_id, version; /* digits, of any length */
    struct sdp_conn addr;   /* no scope */
};

struct sdp_bandwidth {
    sv type;        /* CT, AS, TIAS, RS, RR, … */
    uint64_t value; /* kbit/s for CT and AS; bit/s for TIAS, RS, RR */
};

/* All times are seconds; absolute ones count from 1900-01-01T00:00:00Z, 0 = unbounded. */
struct sdp_repeat {
    uint64_t interval_s, duration_s;
    const uint64_t *offsets_s;
    size_t n_offsets;
};
struct sdp_zone {
    uint64_t at;
    int64_t offset_s;
};
struct sdp_time {
    uint64_t start, stop;
    const struct sdp_repeat *repeats;
    size_t n_repeats;
    const struct sdp_zone *zones;
    size_t n_zones;
};

struct sdp_attr {
    sv name;
    sv value; /* p == NULL: a property attribute (a=name) */
};
struct sdp_attrs {
    const struct sdp_attr *v;
    size_t n;
};

struct sdp_media {
    sv type;        /* audio, video, text, image, application, message, … */
    uint16_t port;  /* 0: refused or disabled */
    uint32_t ports; /* "port/ports"; 1 without */
    sv proto;       /* RTP/AVP, … */
    const sv *formats;
    size_t n_formats; /* 0 only with port 0 */
    sv info;          /* p == NULL absent */
    const struct sdp_conn *conns;
    size_t n_conns; /* 0: the session's holds */
    const struct sdp_bandwidth *bandwidths;
    size_t n_bandwidths;
    struct sdp_attrs attrs;
};

struct sdp {
    struct sdp_origin origin;
    sv name;      /* absent or empty s= reads as "-" */
    sv info, uri; /* p == NULL absent */
    const sv *emails;
    size_t n_emails;
    const sv *phones;
    size_t n_phones;
    const struct sdp_conn *conn; /* NULL absent */
    const struct sdp_bandwidth *bandwidths;
    size_t n_bandwidths;
    const struct sdp_time *times; /* at least one: absent t= reads as 0 0 */
    size_t n_times;
    struct sdp_attrs attrs;
    const struct sdp_media *media;
    size_t n_media;
};

/* Where and why a description was refused. */
struct sdp_fault {
    uint32_t line;   /* 1 first; 0: the whole */
    const char *why; /* static text, fit for a Warning */
};

/* ---- whole descriptions ---- */

/* Parse all of text.
 *   ret_sdp       views into text, arrays in a
 *   reterr_fault  optional
 * Errors: ERR_SYNTAX, ERR_RANGE (a number), ERR_TOOBIG, ERR_NOMEM.                  RFC 8866 §9 */
MUST_USE enum err sdp_parse(sv text, struct arena *a, struct sdp *ret_sdp,
                            struct sdp_fault *reterr_fault);

/* s with CRLF line ends, in the order of RFC 8866 §9. Views are checked: one that would start
 * another line or field makes b fail with ERR_SYNTAX. n_times == 0 prints t=0 0, an empty name s=-.
 */
void sdp_print(struct buf *b, const struct sdp *s);

/* Media's first c=, else the session's; NULL: none (only for port 0). */
const struct sdp_conn *sdp_conn_of(const struct sdp *s, const struct sdp_media *m);
/* For an address from nettype IN: fills all of *ret_conn, addrtype by its form.
 * Errors: ERR_SYNTAX: neither an IP literal nor a host name. */
MUST_USE enum err sdp_conn_set(sv address, struct sdp_conn *ret_conn);

/* ---- attributes by name (case-significant) ---- */

/* The first behind `after` (NULL: from the start) called name; NULL: no more. */
const struct sdp_attr *sdp_attr_next(const struct sdp_attrs *l, const struct sdp_attr *after,
                                     sv name);
const struct sdp_attr *sdp_attr_find(const struct sdp_attrs *l, sv name);
/* Media's first, else the session's first: for attributes whose session value is the default of all
 * media (setup, fingerprint, ice-options, ptime, …). m may be NULL. */
const struct sdp_attr *sdp_attr_of(const struct sdp *s, const struct sdp_media *m, sv name);
/* Takes the next blank-separated word from *rest (a group's tags, ice-options, …); false at the
 * end. */
bool sdp_word_next(sv *rest, sv *ret_word);

enum sdp_direction { SDP_SENDRECV, SDP_SENDONLY, SDP_RECVONLY, SDP_INACTIVE, SDP_DIRECTIONS };
/* Media's, else the session's, else sendrecv. m may be NULL.                      RFC 8866 §6.7 */
enum sdp_direction sdp_direction_of(const struct sdp *s, const struct sdp_media *m);
/* The attribute's name. */
sv sdp_direction_name(enum sdp_direction d);
/* What d is seen from the other side: sendonly becomes recvonly and back.          RFC 3264 §6.1 */
enum sdp_direction sdp_direction_reverse(enum sdp_direction d);

/* ---- typed readers: value is the attribute's; views into it ----
 * Errors of all: ERR_SYNTAX (also for an absent value), ERR_RANGE (a number). */

struct sdp_rtpmap {
    uint8_t pt;  /* 0..127 */
    sv encoding; /* compare without case (RFC 4855 §3) */
    uint32_t clock_hz;
    uint16_t channels; /* 1 when absent */
    sv params; /* behind the second '/', p == NULL absent; channels is its reading for audio */
};
MUST_USE enum err sdp_rtpmap_read(sv value, struct sdp_rtpmap *ret_map);
/* What payload type pt means in m: its a=rtpmap, else the static assignment of RFC 3551 §6.
 * Errors: ERR_NOTFOUND, ERR_SYNTAX (also: two a=rtpmap of pt that differ), ERR_RANGE. */
MUST_USE enum err sdp_rtpmap_find(const struct sdp_media *m, uint8_t pt,
                                  struct sdp_rtpmap *ret_map);

struct sdp_fmtp {
    sv format, params;
};
MUST_USE enum err sdp_fmtp_read(sv value, struct sdp_fmtp *ret_fmtp);
/* Parameters of a format in m; SV_NONE: no a=fmtp. */
sv sdp_fmtp_find(const struct sdp_media *m, sv format);
/* Takes the next of "name=value;name=value" from *rest; *ret_value absent for a bare name. False at
 * the end. */
bool sdp_fmtp_next(sv *rest, sv *ret_name, sv *ret_value);

/* a=ptime, a=maxptime: RFC 8866 §6.4 allows fractions of a millisecond. Never 0. */
MUST_USE enum err sdp_ptime_read(sv value, uint32_t *ret_us);

struct sdp_rtcp {
    uint16_t port;
    bool has_addr;
    struct sdp_conn addr;
};
MUST_USE enum err sdp_rtcp_read(sv value, struct sdp_rtcp *ret_rtcp); /* RFC 3605 §2.1 */

struct sdp_crypto {
    uint32_t tag;
    sv suite;
    sv key_params;     /* "inline:…[;inline:…]" */
    sv session_params; /* blank-separated; n == 0 none */
};
MUST_USE enum err sdp_crypto_read(sv value, struct sdp_crypto *ret_crypto); /* RFC 4568 §9.1 */

struct sdp_fingerprint {
    sv hash; /* compare without case */
    uint8_t digest[SDP_DIGEST_MAX];
    uint8_t n;
};
MUST_USE enum err sdp_fingerprint_read(sv value, struct sdp_fingerprint *ret_fp); /* RFC 8122 §5 */

enum sdp_setup { SDP_ACTIVE, SDP_PASSIVE, SDP_ACTPASS, SDP_HOLDCONN };
MUST_USE enum err sdp_setup_read(sv value, enum sdp_setup *ret_setup); /* RFC 4145 §4 */

struct sdp_candidate {
    sv foundation;
    uint16_t component; /* 1..256 */
    sv transport;       /* UDP, TCP, … as received */
    uint32_t priority;  /* 1..2^31-1 */
    sv address;
    uint8_t ip[16],
        ip_n; /* as in struct sdp_conn; ip_n == 0: a name, to be ignored (RFC 8839 §5.1) */
    uint16_t port;
    sv type;        /* host, srflx, prflx, relay, … */
    sv rel_address; /* p == NULL absent */
    uint16_t rel_port;
    sv extensions; /* name value pairs, blank-separated; n == 0 none */
};
MUST_USE enum err sdp_candidate_read(sv value, struct sdp_candidate *ret_candidate);

/* ice-ufrag and ice-pwd of m, both from m or both from the session. Errors: ERR_NOTFOUND,
 * ERR_SYNTAX (also: one without the other), ERR_TOOBIG (over 256). RFC 8839 §5.4 */
MUST_USE enum err sdp_ice_of(const struct sdp *s, const struct sdp_media *m, sv *ret_ufrag,
                             sv *ret_pwd);

struct sdp_group {
    sv semantics; /* BUNDLE, LS, … */
    sv tags;      /* for sdp_word_next; n == 0 none */
};
MUST_USE enum err sdp_group_read(sv value, struct sdp_group *ret_group); /* RFC 5888 §5 */

struct sdp_ssrc {
    uint32_t ssrc;
    sv name, value; /* the source's attribute; value.p == NULL absent */
};
MUST_USE enum err sdp_ssrc_read(sv value, struct sdp_ssrc *ret_ssrc); /* RFC 5576 §4.1 */

#endif
