/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_priv.h: what the files of this module share.                    layer: wire */
#ifndef SIPMSG_SIPMSG_PRIV_H
#define SIPMSG_SIPMSG_PRIV_H
#include "sipmsg/sipmsg.h"

/* Character classes of RFC 3261 §25.1. */
enum {
    SC_TOKEN = 1 << 0,
    SC_WORD = 1 << 1,  /* token and most separators: Call-ID */
    SC_VALUE = 1 << 2, /* token and what a host adds: gen-value */
    SC_DIGIT = 1 << 3,
    SC_STOP = 1 << 4, /* , " <  : what a walk of a list has to look at */
};
extern const uint8_t sip_class[256];

static inline bool sip_is(char c, unsigned mask)
{
    return (sip_class[(unsigned char)c] & mask) != 0;
}

static inline bool sip_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Steps over SP, HTAB and folds (CR LF and a blank). A CR or LF that is no fold stops it. */
const char *sip_lws_run(const char *p, const char *end);
static inline const char *sip_lws(const char *p, const char *end)
{
    return p < end && (unsigned char)*p <= ' ' ? sip_lws_run(p, end) : p;
}
/* Text behind its closing quote; p stands at the opening one. NULL: unterminated, or an octet that
 * cannot be quoted. */
const char *sip_quoted_end(const char *p, const char *end);
/* First octet in p..end that is a control (below 0x20, or DEL), or end. */
const char *sip_next_control(const char *p, const char *end);
/* May s stand in a header section as part of a line? Folds and quoted pairs of control octets count
 * as clean when they are whole; anything else that could start a line of its own does not. (D13) */
bool sip_text_clean(sv s);
enum sip_kind { SIP_ONE, SIP_LIST, SIP_MANY };
enum sip_kind sip_header_kind(enum sip_header h);

/* Next value of one field's text; *at moves behind its comma. False: end, or *ret_rc set. */
bool sip_list_next(sv value, size_t *at, sv *ret_item, enum err *ret_rc);

/* The id of a name that is known to be a token. */
enum sip_header sip_header_lookup(sv token);

/* The value at *pp, which must end at end or at a comma; *pp then stands there. Blanks before it
 * are skipped. */
enum err sip_via_read(const char **pp, const char *end, struct sip_via *ret_via);
enum err sip_addr_read(const char **pp, const char *end, bool star_ok, struct sip_addr *ret_addr);

/* Offset behind the line of a field, its CR LF included. */
static inline uint32_t sipmsg_line_end(const struct sipmsg *m, uint16_t field)
{
    return field + 1u < m->count ? m->fields[field + 1].name : m->body_at - 2;
}

#endif
