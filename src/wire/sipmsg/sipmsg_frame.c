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

enum { LENGTH_DASH = 7 }; /* where the name Content-Length has it */

/* What one pass over a header section finds. */
struct section {
    size_t end;       /* behind the blank line */
    size_t length_at; /* of the first line that is a Content-Length */
    size_t second_at; /* of the second one */
    unsigned lengths; /* such lines */
};

/* Octets of the name at the start of this line if it is Content-Length or its compact form, else 0. */
static size_t length_name(const char *line, const char *end)
{
    sv name = SV("Content-Length");
    size_t left = (size_t)(end - line), n = 0;
    if (sv_lower(*line) == 'l')
        n = 1;
    else if (left > name.n && line[LENGTH_DASH] == '-' && sv_ieq((sv){line, name.n}, name))
        n = name.n;
    return n < left && !sip_is(line[n], SC_TOKEN) ? n : 0;
}

/* Of a line of LENGTH_DASH octets and more: false for nearly all that are no Content-Length. */
static bool may_be_length(const char *line)
{
    char c = sv_lower(*line);
    return c == 'l' || (c == 'c' && line[LENGTH_DASH] == '-');
}

/* A line ends here, and what follows is neither the blank line nor a fold. */
static bool another_line(const char *p)
{
    return p[0] == '\r' && p[1] == '\n' && p[2] > ' ';
}

static void take_line(struct section *s, sv text, size_t at)
{
    if (length_name(text.p + at, text.p + text.n) == 0)
        return;
    if (s->lengths++ == 0)
        s->length_at = at;
    else if (s->lengths == 2)
        s->second_at = at;
}

/* The controls among up to 64 octets at p. */
static uint64_t controls_at(const char *p, const char *end)
{
    char rest[64];
    size_t n = (size_t)(end - p);
    if (n >= sizeof(rest))
        return octets_controls(p);
    memset(rest, ' ', sizeof(rest));
    memcpy(rest, p, n);
    return octets_controls(rest);
}

/* Reads lines from offset from on, 64 octets at a time, to the blank line. ERR_MORE sets *ret_more to the
 * first octet that is still undecided. */
static enum err read_section(sv text, size_t from, struct section *s, size_t *ret_more,
                             struct sipmsg_fault *reterr)
{
    const char *end = text.p + text.n, *decided = text.p + from;
    if (from == 0)
        take_line(s, text, 0);
    for (const char *block = decided; block < end; block += 64) {
        for (uint64_t found = controls_at(block, end); found; found &= found - 1) {
            const char *p = block + __builtin_ctzll(found);
            size_t at = (size_t)(p - text.p), left = (size_t)(end - p);
            if (p < decided) /* the LF of a line's end */
                continue;
            if (at > 0 && left > LENGTH_DASH + 2 && another_line(p)) { /* so they nearly all are */
                decided = p + 2;
                if (may_be_length(decided))
                    take_line(s, text, at + 2);
                continue;
            }
            if (*p == '\r') {
                if (left >= 2 && p[1] != '\n')
                    return frame_fault(reterr, ERR_SYNTAX, at, 400, "Bare CR or LF");
                if (left >= 2 && at == 0)
                    return frame_fault(reterr, ERR_SYNTAX, at, 400, "Empty start line");
                if (left < 4 && (left < 3 || p[2] == '\r')) {
                    *ret_more = at;
                    return ERR_MORE;
                }
                if (p[2] == '\r' && p[3] == '\n') {
                    s->end = at + 4;
                    return ERR_OK;
                }
                decided = p + 2;
                take_line(s, text, at + 2);
                continue;
            }
            /* a quoted pair may be any octet but CR and LF; pass one looks whether it stands in a
             * quoted string */
            if (*p == '\n' || (*p != '\t' && (at == 0 || p[-1] != '\\')))
                return frame_fault(reterr, ERR_SYNTAX, at, 400,
                                   "Control character in header section");
        }
    }
    *ret_more = text.n;
    return ERR_MORE;
}

/* The value of Content-Length; exactly one must be there. */
static enum err content_length(sv text, const struct section *s, uint64_t *ret_n,
                               struct sipmsg_fault *reterr)
{
    const char *line = text.p + s->length_at, *end = text.p + s->end - 2, *p = line, *stop;
    if (s->lengths == 0)
        return frame_fault(reterr, ERR_SYNTAX, s->end, 400, "Content-Length missing");
    do { /* the line and its folds */
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : end;
    } while (p < end && (*p == ' ' || *p == '\t'));
    stop = line + length_name(line, end);
    while (stop < p && (*stop == ' ' || *stop == '\t'))
        stop++;
    /* A number past 2^31 is a mistake or an attack, not a long message (signed lengths overflow
     * there). */
    if (stop == p || *stop != ':' ||
        sv_u64(sv_trim((sv){stop + 1, (size_t)(p - stop) - 1}), INT32_MAX, ret_n))
        return frame_fault(reterr, ERR_SYNTAX, s->length_at, 400, "Bad Content-Length");
    if (s->lengths > 1)
        return frame_fault(reterr, ERR_SYNTAX, s->second_at, 400, "Header field given twice");
    return ERR_OK;
}

/* Length of the message; ERR_MORE leaves *resume at the first octet that is still undecided. */
static enum err read_length(sv text, size_t *resume, size_t *ret_section, uint64_t *ret_body,
                            struct sipmsg_fault *reterr)
{
    struct section s = {0};
    if (*resume > text.n)
        return ERR_STATE;
    TRY(read_section(text, *resume, &s, resume, reterr));
    if (*resume > 0) { /* it came in pieces: the lines before the last one were not kept */
        size_t more;
        s = (struct section){0};
        TRY(read_section(text, 0, &s, &more, reterr));
    }
    *ret_section = s.end;
    return content_length(text, &s, ret_body, reterr);
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
        enum err rc = read_length(sv_sub(text, 0, seen), resume, &section, &body, reterr);
        if (rc == ERR_MORE && (seen < text.n || seen >= max))
            return frame_fault(reterr, ERR_TOOBIG, seen, 513, "Header section too large");
        TRY(rc);
        if (section > max || body > max - section)
            return frame_fault(reterr, ERR_TOOBIG, section, 513, "Message Too Large");
        *resume = (section + (size_t)body) | LENGTH_KNOWN;
    }
    if (text.n < (*resume & ~LENGTH_KNOWN))
        return ERR_MORE;
    *ret_n = *resume & ~LENGTH_KNOWN;
    return ERR_OK;
}
