/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg.h: a SIP message is its octets and an index.                    layer: wire
 *
 * Spec    RFC 3261 §7, §20, §25.1; strictness as RFC 4475 and 5118 advise.
 * Shape   pass one (sipmsg_parse) finds lines, names and framing and refuses what cannot have one
 *         reading (D12): duplicate single headers, bare CR or LF, NUL outside a body, names without
 *         colon. Typed values are parsed on first use, into the message's arena, and remembered.
 * Life    everything points into the octets, which must outlive the message and be followed by
 *         BLOCK_SLACK readable octets (mem/mem.h). Nobody writes into them.
 * Limits  SIPMSG_HEADERS_MAX fields, header section below 64 KiB, SIPMSG_LIST_MAX values of a name;
 *         SIPMSG_PARTS_MAX parts of a body, multipart in multipart SIPMSG_NESTING_MAX deep.
 * Threads one message, one thread at a time.
 */
#ifndef SIPMSG_SIPMSG_H
#define SIPMSG_SIPMSG_H
#include "mem/arena.h"
#include "octets/octets.h"
#include "str/buf.h"
#include "uri/uri.h"

enum { SIPMSG_PARTS_MAX = 32, SIPMSG_NESTING_MAX = 4 };
enum { SIPMSG_HEADERS_MAX = 512, SIPMSG_SECTION_MAX = 65535, SIPMSG_LIST_MAX = 256 };
enum { SIPMSG_NONE = 0xffff };

enum sip_method {
    SIP_EXTENSION, /* any other token */
#define X(id, name, what) SIP_##id,
#include "sipmsg/methods.def"
#undef X
    SIP_METHODS
};

enum sip_header {
    SIP_H_OTHER,
#define X(id, name, compact, kind, rfc) SIP_H_##id,
#include "sipmsg/headers.def"
#undef X
    SIP_HEADERS
};

enum sip_transport {
    SIP_T_NONE,
    SIP_T_UDP,
    SIP_T_TCP,
    SIP_T_TLS,
    SIP_T_WS,
    SIP_T_WSS,
    SIP_T_OTHER
};

/* One header field. Its line runs from `name` to the next field's name (or the blank line). */
struct sipmsg_field {
    uint16_t name, value; /* offsets from the start of the message */
    uint16_t value_n;     /* without blanks and folds at either end; folds inside remain */
    uint16_t next;        /* next field with the same id, or SIPMSG_NONE */
    uint8_t name_n;
    uint8_t id;     /* enum sip_header */
    uint16_t flags; /* SIPMSG_FOLDED */
};
enum { SIPMSG_FOLDED = 1 };

struct sip_via {
    enum sip_transport transport;
    sv transport_text, host; /* host without brackets */
    uint16_t port;           /* 0 = absent */
    bool host_ip6;
    sv branch, received, maddr; /* addresses without brackets */
    bool rport;                 /* ;rport present */
    uint16_t rport_value;       /* 0 = no value */
    sv rport_text;              /* ";rport" ends where it begins: empty, or '=' and the value */
    sv params;                  /* all of them, behind the first ';' */
    sv text;                    /* the whole value */
};

/* name-addr or addr-spec with header parameters: From, To, Contact, Route, Record-Route, Path,
 * Reply-To, … */
struct sip_addr {
    sv display; /* as received, quotes included; p == NULL absent */
    struct uri uri;
    sv params; /* header parameters behind the URI, without the first ';' */
    sv tag;    /* From, To: p == NULL absent */
    bool star; /* Contact: * */
    bool bracketed;
    sv text;
};

struct sip_cseq {
    uint32_t number; /* below 2^31 */
    enum sip_method method;
    sv method_text;
};

/* credentials or challenge: scheme SP auth-param *(, auth-param) */
struct sip_auth {
    sv scheme; /* "Digest" */
    sv params; /* behind it */
};

/* One value of a list header. */
struct sip_item {
    sv text;        /* blanks trimmed */
    uint16_t field; /* index of its field */
    uint16_t pos;   /* ordinal within the field, 0 first */
    bool only;      /* the field has no other value */
};

/* The lists that every message is asked for: Contact, Route, Record-Route, Path, in this order; and the
 * numbers: Max-Forwards, Expires, Content-Length. */
enum { SIPMSG_LISTS = 4, SIPMSG_NUMBERS = 3 };
struct sip_addrs {
    const struct sip_addr *addrs; /* NULL: not read yet, or not good */
    size_t n;
};

/* Typed values that were read and are good; NULL: not read yet, or not good. */
struct sipmsg_known {
    const struct uri *uri;
    const struct sip_via *via, *vias; /* topmost; all */
    size_t vias_n;
    const struct sip_addr *from, *to;
    const struct sip_cseq *cseq;
    sv call_id;
    struct sip_addrs lists[SIPMSG_LISTS];
    int64_t numbers[SIPMSG_NUMBERS]; /* below 0: not read yet, or not good */
};

struct sipmsg {
    sv text;          /* start line, header section, body: exactly this message's octets */
    uint32_t body_at; /* offset of the body; body is [body_at, text.n) */
    bool request;
    enum sip_method method;   /* requests; for responses the CSeq's method is in sipmsg_cseq */
    sv method_text, uri_text; /* requests */
    uint16_t status;          /* responses: 100..699 */
    sv reason;
    struct sipmsg_field *fields;
    uint16_t count;
    struct arena *arena;
    struct sipmsg_known known;
    struct sipmsg_memo *memo;    /* where typed values are kept */
    struct octet_map map;        /* of the header section */
    uint16_t first[SIP_HEADERS]; /* field of each id, or SIPMSG_NONE */
};

/* Where and why a message was refused. */
struct sipmsg_fault {
    uint32_t at;     /* offset of the offending octet */
    uint16_t status; /* what a server answers to a request: 400, 413, 414, 505, …; 0: nothing */
    const char *why; /* static text, fit for a reason phrase or a Warning */
};

/* ---- pass one ---- */

/* Pass one over a whole message (a datagram, or a stream's frame).
 *   text        all octets received; those beyond Content-Length are ignored (RFC 3261 §18.3)
 *   ret_msg     filled also on failure as far as the message could be read (method, the fields
 *               seen), so that a request can be answered if it has Via, From, To, Call-ID, CSeq
 *   reterr      optional
 * Errors: ERR_SYNTAX, ERR_TOOBIG, ERR_RANGE, ERR_NOMEM. Checked here: start line, version (505),
 * line ends, names, duplicates of ONE headers, Content-Length (form, range, what is there). */
MUST_USE enum err sipmsg_parse(sv text, struct arena *a, struct sipmsg *ret_msg,
                               struct sipmsg_fault *reterr);

/* Typed check of all that a server acts on: Request-URI, every Via, From, To, Call-ID, CSeq (and
 * its method against the start line), Max-Forwards, Expires, Contact, Route, Record-Route, Require
 * lists, Content-Type; for a request the six mandatory fields of §8.1.1 (Max-Forwards may be
 * missing: RFC 2543). Errors: ERR_SYNTAX, ERR_RANGE, ERR_TOOBIG, ERR_NOMEM. */
MUST_USE enum err sipmsg_check(struct sipmsg *m, struct sipmsg_fault *reterr);

/* Framing of a stream: how many octets the first message in text takes.
 *   resume      in/out, 0 at a new message, else untouched by the caller: scanning continues there,
 *               so that pieces are not rescanned
 *   ret_n       length of the message; leading CRLFs are counted by sipmsg_skip_crlf, not here
 * Errors: ERR_MORE; ERR_SYNTAX (no or bad Content-Length, which RFC 3261 §18.3 demands; bare
 * control characters); ERR_TOOBIG (header section over SIPMSG_SECTION_MAX, or the message over
 * max). After an error other than MORE the stream cannot be framed any more. */
MUST_USE enum err sipmsg_frame(sv text, size_t max, size_t *resume, size_t *ret_n,
                               struct sipmsg_fault *reterr);
/* Octets of leading CR LF pairs (RFC 3261 §7.5, keep-alives of RFC 5626 §3.5.1). */
size_t sipmsg_skip_crlf(sv text);

/* ---- names ---- */
sv sip_method_name(enum sip_method m);
enum sip_method sip_method_of(sv token); /* case sensitive (RFC 3261 §7.1) */
sv sip_header_name(enum sip_header h);
enum sip_header sip_header_of(sv name);  /* any case, compact forms; the whole name is compared */
const char *sip_reason(uint16_t status); /* default phrase; "Unknown" class phrase otherwise */
sv sip_transport_name(enum sip_transport t); /* "UDP"; SIP_T_OTHER: empty */
enum sip_transport sip_transport_of(sv token);

/* ---- bodies ---- */

/* The session description in a body: all of it, or its one application/sdp part whose disposition is
 * the session (RFC 3261 §20.11, RFC 5621). Views into the body. */
struct sip_description {
    sv text;         /* SV_NONE: there is none, or none that can be exchanged */
    const char *why; /* there may be one, which cannot be told or exchanged: encoded, signed, two of
                      * them, a malformed or too rich multipart body; static text. NULL: no such thing */
    sv part;   /* what else goes with it: its part, delimiter included; SV_NONE: the whole body */
    sv length; /* the Content-Length line in its part's header; SV_NONE: none */
};
void sipmsg_description(const struct sipmsg *m, struct sip_description *ret);

/* ---- access: raw ---- */
static inline bool sipmsg_has(const struct sipmsg *m, enum sip_header h)
{
    return m->first[h] != SIPMSG_NONE;
}
static inline sv sipmsg_field_value(const struct sipmsg *m, uint16_t field)
{
    return (sv){m->text.p + m->fields[field].value, m->fields[field].value_n};
}
/* Value of the first field h; absent: SV_NONE. */
static inline sv sipmsg_value(const struct sipmsg *m, enum sip_header h)
{
    return sipmsg_has(m, h) ? sipmsg_field_value(m, m->first[h]) : SV_NONE;
}
/* First field of an unlisted name; absent: SV_NONE. */
sv sipmsg_value_named(const struct sipmsg *m, sv name);
static inline sv sipmsg_body(const struct sipmsg *m)
{
    return sv_sub(m->text, m->body_at, m->text.n);
}
/* Walk of all values of a LIST header over all its fields, commas inside quotes and <> respected.
 * Start with *it = (struct sip_walk){.m = m, .id = h}. False: end. A broken list ends with it->rc
 * set. */
struct sip_walk {
    const struct sipmsg *m;
    enum sip_header id;
    bool begun;
    uint16_t field, pos;
    size_t at;
    size_t count;
    enum err rc;
};
bool sipmsg_next(struct sip_walk *it, struct sip_item *ret_item);
/* Number of values. */
size_t sipmsg_count(const struct sipmsg *m, enum sip_header h);

/* ---- access: typed; remembered in the message; result valid as long as it ---- */
/* What is not known yet is read by these; see below. */
MUST_USE enum err sipmsg_read_uri(struct sipmsg *m, const struct uri **ret_uri);
MUST_USE enum err sipmsg_read_via(struct sipmsg *m, const struct sip_via **ret_via);
MUST_USE enum err sipmsg_read_vias(struct sipmsg *m, const struct sip_via **ret_vias,
                                   size_t *ret_n);
MUST_USE enum err sipmsg_read_from(struct sipmsg *m, const struct sip_addr **ret_addr);
MUST_USE enum err sipmsg_read_to(struct sipmsg *m, const struct sip_addr **ret_addr);
MUST_USE enum err sipmsg_read_cseq(struct sipmsg *m, const struct sip_cseq **ret_cseq);
MUST_USE enum err sipmsg_read_call_id(struct sipmsg *m, sv *ret_call_id);
MUST_USE enum err sipmsg_read_number(struct sipmsg *m, enum sip_header h, uint32_t *ret_value);
MUST_USE enum err sipmsg_read_addrs(struct sipmsg *m, enum sip_header h, struct sip_addrs *ret);

/* Errors of all: ERR_NOTFOUND (absent), ERR_SYNTAX, ERR_RANGE, ERR_NOMEM. */
#define SIPMSG_KNOWN(value, ret, read) \
    if (value) {                       \
        *(ret) = (value);              \
        return ERR_OK;                 \
    }                                  \
    return read
/* Request-URI */
MUST_USE static inline enum err sipmsg_uri(struct sipmsg *m, const struct uri **ret_uri)
{
    SIPMSG_KNOWN(m->known.uri, ret_uri, sipmsg_read_uri(m, ret_uri));
}
/* The topmost. */
MUST_USE static inline enum err sipmsg_via(struct sipmsg *m, const struct sip_via **ret_via)
{
    SIPMSG_KNOWN(m->known.via, ret_via, sipmsg_read_via(m, ret_via));
}
MUST_USE static inline enum err sipmsg_from(struct sipmsg *m, const struct sip_addr **ret_addr)
{
    SIPMSG_KNOWN(m->known.from, ret_addr, sipmsg_read_from(m, ret_addr));
}
MUST_USE static inline enum err sipmsg_to(struct sipmsg *m, const struct sip_addr **ret_addr)
{
    SIPMSG_KNOWN(m->known.to, ret_addr, sipmsg_read_to(m, ret_addr));
}
MUST_USE static inline enum err sipmsg_cseq(struct sipmsg *m, const struct sip_cseq **ret_cseq)
{
    SIPMSG_KNOWN(m->known.cseq, ret_cseq, sipmsg_read_cseq(m, ret_cseq));
}
#undef SIPMSG_KNOWN
MUST_USE static inline enum err sipmsg_call_id(struct sipmsg *m, sv *ret_call_id)
{
    if (!m->known.call_id.p)
        return sipmsg_read_call_id(m, ret_call_id);
    *ret_call_id = m->known.call_id;
    return ERR_OK;
}
/* Delta-seconds or plain numbers: Max-Forwards, Expires, Min-Expires, Content-Length, … Values over
 * 2^32-1: ERR_RANGE. */
MUST_USE static inline enum err sipmsg_number(struct sipmsg *m, enum sip_header h,
                                              uint32_t *ret_value)
{
    const unsigned i = (unsigned)h - SIP_H_MAX_FORWARDS;
    if (i >= SIPMSG_NUMBERS || m->known.numbers[i] < 0)
        return sipmsg_has(m, h) ? sipmsg_read_number(m, h, ret_value) : ERR_NOTFOUND;
    *ret_value = (uint32_t)m->known.numbers[i];
    return ERR_OK;
}
/* All values of an address list: Contact, Route, Record-Route, Path, P-Asserted-Identity. */
MUST_USE static inline enum err sipmsg_addrs(struct sipmsg *m, enum sip_header h,
                                             const struct sip_addr **ret_addrs, size_t *ret_n)
{
    const unsigned list = (unsigned)h - SIP_H_CONTACT;
    struct sip_addrs found = {NULL, 0};
    if (!sipmsg_has(m, h))
        return ERR_NOTFOUND;
    if (list < SIPMSG_LISTS)
        found = m->known.lists[list];
    if (!found.addrs) {
        enum err rc = sipmsg_read_addrs(m, h, &found);
        if (rc)
            return rc;
    }
    *ret_addrs = found.addrs;
    *ret_n = found.n;
    return ERR_OK;
}
/* All Vias, topmost first. */
MUST_USE static inline enum err sipmsg_vias(struct sipmsg *m, const struct sip_via **ret_vias,
                                            size_t *ret_n)
{
    if (!m->known.vias)
        return sipmsg_read_vias(m, ret_vias, ret_n);
    *ret_vias = m->known.vias;
    *ret_n = m->known.vias_n;
    return ERR_OK;
}
/* true when list header h holds token (option tags: any case). */
bool sipmsg_lists(const struct sipmsg *m, enum sip_header h, sv token);

/* ---- value parsers, also on their own ---- */
MUST_USE enum err sip_via_parse(sv value, struct sip_via *ret_via);
/* Contact's '*' is accepted when star_ok. In the addr-spec form ';' and '?' end the URI (RFC 3261
 * §20). */
MUST_USE enum err sip_addr_parse(sv value, bool star_ok, struct sip_addr *ret_addr);
MUST_USE enum err sip_cseq_parse(sv value, struct sip_cseq *ret_cseq);
MUST_USE enum err sip_auth_parse(sv value, struct sip_auth *ret_auth);
/* ";name=value" lists: *rest starts at the params; values keep their quotes. Blanks and folds
 * skipped. False: end or error (*ret_rc). */
bool sip_param_next(sv *rest, sv *ret_name, sv *ret_value, enum err *ret_rc);
/* Value of one; absent: false; flag: p set, n == 0. */
bool sip_param(sv params, sv name, sv *ret_value);
/* A feature tag that is there and is no number, no string and not FALSE (RFC 3840 §9): "+sip.ice". */
bool sip_feature(sv params, sv name);
/* "name=value, name=value" of challenges and credentials. */
bool sip_auth_param_next(sv *rest, sv *ret_name, sv *ret_value, enum err *ret_rc);
/* quoted (with its quotes), or something unquoted → octets, escapes undone; folds become one SP. A view into
 * quoted where there is nothing to undo. Errors: ERR_SYNTAX, ERR_NOMEM. */
MUST_USE enum err sip_unquote(struct arena *a, sv quoted, sv *ret_text);
bool sip_is_token(sv s);

/* ---- editing: an edit list over the received octets (RFC 3261 §16.6, §16.7) ---- */
enum { SIPEDIT_MAX = 96 };
struct sipedit_cut {
    uint32_t from, to; /* octets of the original that go; from == to: pure insertion */
    sv text;           /* what comes instead */
    uint32_t order;    /* of the call */
    bool line;         /* text is a line that still needs its CR LF */
    bool item;         /* values of a list go, with their commas */
};
struct sipedit {
    const struct sipmsg *m;
    struct sipedit_cut cuts[SIPEDIT_MAX];
    unsigned n;
    uint32_t order;
    sv body; /* new body; p == NULL: the old one stays */
    char status[4], length[12];
    enum err rc; /* sticky */
};
void sipedit_init(struct sipedit *e, const struct sipmsg *m);
/* Texts given must live until sipedit_write. Text that could start a line of its own (CR or LF
 * outside a fold, other control octets outside a quoted string) is refused: ERR_SYNTAX, sticky.
 * More than SIPEDIT_MAX cuts: ERR_TOOBIG. (D13) */
void sipedit_uri(struct sipedit *e, sv uri_text); /* new Request-URI */
void sipedit_status(struct sipedit *e, uint16_t status, sv reason);
void sipedit_value(struct sipedit *e, uint16_t field, sv value); /* whole value of a field */
void sipedit_cut(struct sipedit *e, sv span, sv text);           /* span: a view into m->text */
/* A whole line before the first field h; without one, before the first field of all. line without
 * CRLF: "Via: …". Lines at one place come out in the order of the calls. */
void sipedit_line_first(struct sipedit *e, enum sip_header h, sv line);
void sipedit_line_last(struct sipedit *e, sv line);        /* at the end of the header section */
void sipedit_remove(struct sipedit *e, enum sip_header h); /* all fields h */
void sipedit_remove_field(struct sipedit *e, uint16_t field);
/* One value, with its comma or, when it is the last one left, its line. */
void sipedit_remove_item(struct sipedit *e, const struct sip_item *item);
/* Replaces body and Content-Length; Content-Type too when given; without type and body it goes. */
void sipedit_body(struct sipedit *e, sv content_type, sv body);
/* Another description where d, found in the same message, stands: Content-Length follows, the rest of the
 * body stays as it is. text empty: the description goes, with its part; a body that holds nothing else
 * goes whole. Errors: ERR_SYNTAX, sticky: text could end its part. */
void sipedit_description(struct sipedit *e, const struct sip_description *d, sv text);
/* The edited message. Without an edit the very octets; with one, Content-Length is added when
 * missing, since the message may go out over a stream. Errors: sticky ones; ERR_STATE (two cuts
 * overlap); those of b. */
MUST_USE enum err sipedit_write(const struct sipedit *e, struct buf *b);

/* ---- building ---- */
struct sip_reply {
    uint16_t status;
    sv reason;   /* SV_NONE: default */
    sv to_tag;   /* added when To has none; SV_NONE: none (100) */
    sv received; /* ;received= of the topmost Via, in place of one it has; SV_NONE: left as it is */
    uint16_t rport;    /* value for its ;rport when that is present; 0: leave */
    bool record_route; /* copy Record-Route (dialog-making 1xx and 2xx) */
    sv headers;        /* whole lines with CRLF */
    sv content_type, body;
};
/* A response to req by RFC 3261 §8.2.6: Via, From, To, Call-ID, CSeq copied, Timestamp for 100. req
 * may be one that sipmsg_parse refused; missing fields are left out, and those that cannot be read
 * are copied as they are. Errors: ERR_SYNTAX (a text that would break the response), those of b. */
MUST_USE enum err sipmsg_reply(struct buf *b, const struct sipmsg *req, const struct sip_reply *r);

#endif
