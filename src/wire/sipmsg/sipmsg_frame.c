/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_frame.c: where a message in a stream ends (RFC 3261 §18.3). */
#include "sipmsg/sipmsg_priv.h"

/* *resume while the header section is incomplete: offset from which to scan. Afterwards, with this
 * bit: the length of the whole message, so that a body in many pieces costs nothing. */
#define LENGTH_KNOWN ((size_t)1 << (sizeof(size_t) * 8 - 1))

size_t sipmsg_skip_crlf(sv text)
{
    size_t n = 0;
    while (text.n - n >= 2 && text.p[n] == '\r' && text.p[n + 1] == '\n')
        n += 2;
    return n;
}

static enum err frame_fault(struct sipmsg_fault *reterr, enum err rc, size_t at, uint16_t status,
                            const char *why)
{
    if (reterr)
        *reterr = (struct sipmsg_fault){(uint32_t)at, status, why};
    return rc;
}

/* Offset behind the blank line. ERR_MORE leaves *resume at the first octet that is still undecided.
 */
static enum err find_section_end(sv text, size_t *resume, size_t *ret_end,
                                 struct sipmsg_fault *reterr)
{
    const char *p = text.p + *resume, *end = text.p + text.n;
    while ((p = sip_next_control(p, end)) < end) {
        size_t at = (size_t)(p - text.p), left = (size_t)(end - p);
        if (*p == '\r') {
            if (left >= 2 && p[1] != '\n')
                return frame_fault(reterr, ERR_SYNTAX, at, 400, "Bare CR or LF");
            if (left >= 2 && at == 0)
                return frame_fault(reterr, ERR_SYNTAX, at, 400, "Empty start line");
            if (left < 4 && (left < 3 || p[2] == '\r'))
                break;
            if (p[2] == '\r' && p[3] == '\n') {
                *ret_end = at + 4;
                return ERR_OK;
            }
            p += 2;
            continue;
        }
        /* a quoted pair may be any octet but CR and LF; pass one looks whether it stands in a
         * quoted string */
        if (*p == '\n' || (*p != '\t' && (at == 0 || p[-1] != '\\')))
            return frame_fault(reterr, ERR_SYNTAX, at, 400, "Control character in header section");
        p++;
    }
    *resume = (size_t)(p - text.p);
    return ERR_MORE;
}

/* The value of Content-Length in a section; exactly one must be there. */
static enum err content_length(sv section, uint64_t *ret_n, struct sipmsg_fault *reterr)
{
    const char *p = section.p, *end = section.p + section.n - 2;
    bool found = false;
    while (p < end) {
        const char *from = p, *stop = from;
        do { /* a line and its folds */
            p = memchr(p, '\n', (size_t)(end - p));
            p = p ? p + 1 : end;
        } while (p < end && (*p == ' ' || *p == '\t'));
        if (sv_lower(*from) != 'c' && sv_lower(*from) != 'l') /* its name, and its compact form */
            continue;
        while (stop < p && sip_is(*stop, SC_TOKEN))
            stop++;
        if (sip_header_of((sv){from, (size_t)(stop - from)}) != SIP_H_CONTENT_LENGTH)
            continue;
        size_t at = (size_t)(from - section.p);
        while (stop < p && (*stop == ' ' || *stop == '\t'))
            stop++;
        if (found)
            return frame_fault(reterr, ERR_SYNTAX, at, 400, "Header field given twice");
        /* A number past 2^31 is a mistake or an attack, not a long message (signed lengths
         * overflow there). */
        if (stop == p || *stop != ':' ||
            sv_u64(sv_trim((sv){stop + 1, (size_t)(p - stop) - 1}), INT32_MAX, ret_n))
            return frame_fault(reterr, ERR_SYNTAX, at, 400, "Bad Content-Length");
        found = true;
    }
    if (!found)
        return frame_fault(reterr, ERR_SYNTAX, section.n, 400, "Content-Length missing");
    return ERR_OK;
}

enum err sipmsg_frame(sv text, size_t max, size_t *resume, size_t *ret_n,
                      struct sipmsg_fault *reterr)
{
    if (!(*resume & LENGTH_KNOWN)) {
        size_t section = 0, seen = text.n;
        uint64_t body = 0;
        if (text.n == 0)
            return ERR_MORE;
        if (seen > SIPMSG_SECTION_MAX)
            seen = SIPMSG_SECTION_MAX;
        enum err rc = *resume > seen
                          ? ERR_STATE
                          : find_section_end(sv_sub(text, 0, seen), resume, &section, reterr);
        if (rc == ERR_MORE && (seen < text.n || seen >= max))
            return frame_fault(reterr, ERR_TOOBIG, seen, 513, "Header section too large");
        TRY(rc);
        TRY(content_length(sv_sub(text, 0, section), &body, reterr));
        if (section > max || body > max - section)
            return frame_fault(reterr, ERR_TOOBIG, section, 513, "Message Too Large");
        *resume = (section + (size_t)body) | LENGTH_KNOWN;
    }
    if (text.n < (*resume & ~LENGTH_KNOWN))
        return ERR_MORE;
    *ret_n = *resume & ~LENGTH_KNOWN;
    return ERR_OK;
}
