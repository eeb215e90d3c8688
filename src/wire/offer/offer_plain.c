/* SPDX-License-Identifier: MIT */
/* offer/offer_plain.c: what most phones offer each other in one house, known for what it is without being read: plain
 * RTP at the address that it signals from, and nothing that asks for more. One pass, no memory. */
#include "offer/offer_priv.h"

/* Of attributes: what speaks of keys or ICE. */
static bool asks_for_more(sv name)
{
    switch (name.n > 0 ? name.p[0] : 0) {
    case 'c':
        return sv_starts(name, SV("crypto")) || sv_starts(name, SV("candidate"));
    case 'f':
        return sv_starts(name, SV("fingerprint"));
    case 'i':
        return sv_starts(name, SV("ice-"));
    default:
        return false;
    }
}

/* "IN IP4 a.b.c.d", and nothing behind it, is this address. */
static bool is_at(sv value, const uint8_t ip[static 4])
{
    if (!sv_starts(value, SV("IN IP4 ")))
        return false;
    size_t at = 7;
    for (unsigned i = 0; i < 4; i++) {
        unsigned n = 0, digits = 0;
        for (; at < value.n && digits < 3 && value.p[at] >= '0' && value.p[at] <= '9'; at++) {
            n = 10 * n + (unsigned)(value.p[at] - '0');
            digits++;
        }
        if (digits == 0 || n != ip[i] || (i < 3 && (at >= value.n || value.p[at++] != '.')))
            return false;
    }
    return at == value.n;
}

/* "audio 40000 RTP/AVP …" */
static bool is_plain_line(sv value)
{
    size_t blank = sv_chr(value, ' '), from;
    sv type = sv_sub(value, 0, blank);
    if (!sv_eq(type, SV("audio")) && !sv_eq(type, SV("video")))
        return false;
    for (from = ++blank; blank < value.n && value.p[blank] >= '0' && value.p[blank] <= '9';)
        blank++;
    return blank > from && value.p[from] != '0' &&
           (sv_starts(sv_sub(value, blank, value.n), SV(" RTP/AVP ")) ||
            sv_starts(sv_sub(value, blank, value.n), SV(" RTP/AVPF ")));
}

bool offer_is_plain(sv text, const struct offer_ip *at)
{
    unsigned lines = 0, addressed = 0;
    bool session = false, media = false; /* an address was said of all, of the last m= line */
    if (at->n != 4)
        return false;
    while (text.n > 0) {
        size_t end = sv_chr(text, '\n'), n = end > 0 && text.p[end - 1] == '\r' ? end - 1 : end;
        sv line = sv_sub(text, 0, n);
        text = sv_sub(text, end + 1, text.n);
        if (line.n < 2 || line.p[1] != '=')
            return false;
        sv value = sv_sub(line, 2, line.n);
        switch (line.p[0]) {
        case 'c':
            if (!is_at(value, at->ip))
                return false;
            session = session || lines == 0;
            addressed += lines > 0 && !media;
            media = lines > 0;
            break;
        case 'm':
            if (!is_plain_line(value) || ++lines > OFFER_MEDIA_MAX)
                return false;
            media = false;
            break;
        case 'a':
            if (asks_for_more(value))
                return false;
            break;
        default:
            break;
        }
    }
    return lines > 0 && (session || addressed == lines);
}
