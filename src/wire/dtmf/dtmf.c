/* SPDX-License-Identifier: MIT */
/* dtmf/dtmf.c: events by name, their payloads, and INFO bodies.
 *
 *    0                   1                   2                   3
 *       event       |E|R|  volume     |          duration           |    RFC 4733 §2.3 */
#include "dtmf/dtmf.h"

static const char chars[] = "0123456789*#ABCD!";
_Static_assert(sizeof chars - 1 == DTMF_KEYS, "a character for each key");

char dtmf_char(uint8_t event)
{
    return event < DTMF_KEYS ? chars[event] : 0;
}

bool dtmf_of_char(char c, uint8_t *ret_event)
{
    if (c >= 'a' && c <= 'd')
        c = (char)(c - 'a' + 'A');
    for (uint8_t i = 0; i < DTMF_KEYS; i++) {
        if (chars[i] == c) {
            *ret_event = i;
            return true;
        }
    }
    return false;
}

/* ---- lists ---- */

static bool element_has(sv element, uint8_t event)
{
    size_t dash = sv_chr(element, '-');
    uint64_t from, to;
    if (sv_u64(sv_sub(element, 0, dash), UINT8_MAX, &from))
        return false;
    to = from;
    if (dash < element.n && sv_u64(sv_sub(element, dash + 1, element.n), UINT8_MAX, &to))
        return false;
    return event >= from && event <= to;
}

bool dtmf_listed(sv list, uint8_t event)
{
    if (!sv_present(list))
        return event < DTMF_FLASH;
    while (list.n > 0) {
        size_t comma = sv_chr(list, ',');
        if (element_has(sv_trim(sv_sub(list, 0, comma)), event))
            return true;
        list = sv_sub(list, comma + 1, list.n);
    }
    return false;
}

/* ---- payloads ---- */

enum err dtmf_parse(sv payload, struct dtmf_event ret_events[static DTMF_EVENTS_MAX],
                    unsigned *ret_n)
{
    size_t n = payload.n / DTMF_EVENT;
    if (n == 0 || payload.n % DTMF_EVENT != 0)
        return ERR_SYNTAX;
    if (n > DTMF_EVENTS_MAX)
        return ERR_TOOBIG;
    const uint8_t *p = (const uint8_t *)payload.p;
    for (size_t i = 0; i < n; i++, p += DTMF_EVENT)
        ret_events[i] = (struct dtmf_event){p[0], p[1] >> 7, p[1] & DTMF_VOLUME_MAX,
                                            (uint16_t)(p[2] << 8 | p[3])};
    *ret_n = (unsigned)n;
    return ERR_OK;
}

void dtmf_put(uint8_t p[static DTMF_EVENT], const struct dtmf_event *e)
{
    p[0] = e->event;
    p[1] = (uint8_t)((e->end ? 0x80 : 0) | (e->volume & DTMF_VOLUME_MAX));
    p[2] = (uint8_t)(e->duration >> 8);
    p[3] = (uint8_t)e->duration;
}

/* ---- INFO ---- */

sv dtmf_info_type(enum dtmf_info form)
{
    return form == DTMF_INFO_RELAY ? SV("application/dtmf-relay") : SV("application/dtmf");
}

bool dtmf_info_of(sv content_type, enum dtmf_info *ret_form)
{
    sv type = sv_trim(sv_sub(content_type, 0, sv_chr(content_type, ';')));
    bool relay = sv_ieq(type, dtmf_info_type(DTMF_INFO_RELAY));
    if (!relay && !sv_ieq(type, dtmf_info_type(DTMF_INFO_PLAIN)))
        return false;
    *ret_form = relay ? DTMF_INFO_RELAY : DTMF_INFO_PLAIN;
    return true;
}

/* '5', '#', or its number: some phones say 11. */
static bool key_of(sv text, uint8_t *ret_event)
{
    uint64_t number;
    if (text.n == 1)
        return dtmf_of_char(text.p[0], ret_event);
    if (sv_u64(text, DTMF_KEYS - 1, &number))
        return false;
    *ret_event = (uint8_t)number;
    return true;
}

/* The next line, without its end; false: none. */
static bool take_line(sv *text, sv *ret_line)
{
    if (text->n == 0)
        return false;
    size_t end = sv_chr(*text, '\n');
    *ret_line = sv_trim(sv_sub(*text, 0, end));
    *text = sv_sub(*text, end + 1, text->n);
    return true;
}

static enum err parse_relay(sv body, uint8_t *ret_event, uint32_t *ret_ms, unsigned *reterr_line)
{
    bool signal = false;
    uint8_t event = 0;
    uint64_t ms = 0;
    *reterr_line = 0;
    for (sv line; take_line(&body, &line);) {
        ++*reterr_line;
        size_t equals = sv_chr(line, '=');
        sv name = sv_trim(sv_sub(line, 0, equals));
        sv value = sv_trim(sv_sub(line, equals + 1, line.n));
        if (sv_ieq(name, SV("Signal"))) {
            if (signal || !key_of(value, &event))
                return ERR_SYNTAX;
            signal = true;
        } else if (sv_ieq(name, SV("Duration"))) {
            enum err rc = sv_u64(value, DTMF_INFO_LONGEST_MS, &ms);
            if (rc)
                return rc == ERR_RANGE ? ERR_TOOBIG : ERR_SYNTAX;
        }
    }
    *reterr_line = 0;
    if (!signal)
        return ERR_SYNTAX;
    *ret_event = event;
    *ret_ms = (uint32_t)ms;
    return ERR_OK;
}

enum err dtmf_info_parse(enum dtmf_info form, sv body, uint8_t *ret_event, uint32_t *ret_ms,
                         unsigned *reterr_line)
{
    *reterr_line = 0;
    if (body.n > DTMF_INFO_MAX)
        return ERR_TOOBIG;
    if (form == DTMF_INFO_RELAY)
        return parse_relay(body, ret_event, ret_ms, reterr_line);
    *reterr_line = 1;
    if (!key_of(sv_trim(body), ret_event))
        return ERR_SYNTAX;
    *ret_ms = 0;
    return ERR_OK;
}

void dtmf_info_print(struct buf *b, enum dtmf_info form, uint8_t event, uint32_t ms)
{
    if (!dtmf_char(event)) {
        if (!b->rc)
            b->rc = ERR_SYNTAX;
        return;
    }
    if (form == DTMF_INFO_PLAIN) {
        buf_char(b, dtmf_char(event));
        return;
    }
    buf_printf(b, "Signal=%c\r\nDuration=%u\r\n", dtmf_char(event),
               ms < DTMF_INFO_LONGEST_MS ? ms : DTMF_INFO_LONGEST_MS);
}
