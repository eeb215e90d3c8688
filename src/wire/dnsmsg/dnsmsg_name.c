/* SPDX-License-Identifier: MIT */
/* dnsmsg/dnsmsg_name.c: domain names. Spec RFC 1035 §3.1, §4.1.4.
 *
 *   03 s i p 07 e x a m p l e 00      labels, ended by the root
 *   03 p b x C0 2A                    labels, ended by a pointer to offset 42
 *
 * A pointer names "a prior occurrence of the same name": it must point before the run of labels it
 * ends. So the runs of one name start at ever lower offsets, and no chain of pointers can loop.
 */
#include "dnsmsg/dnsmsg.h"

#include "dnsmsg/dnsmsg_priv.h"

enum {
    POINTER = 0xc0,
    POINTERS_MAX = 127 /* in one name: no more labels fit, so no more can be useful */
};

enum err dns_read_u8(struct dns_reader *r, uint8_t *ret_v)
{
    if (r->end - r->at < 1)
        return ERR_SYNTAX;
    *ret_v = r->p[r->at++];
    return ERR_OK;
}

enum err dns_read_u16(struct dns_reader *r, uint16_t *ret_v)
{
    if (r->end - r->at < 2)
        return ERR_SYNTAX;
    *ret_v = (uint16_t)(r->p[r->at] << 8 | r->p[r->at + 1]);
    r->at += 2;
    return ERR_OK;
}

enum err dns_read_u32(struct dns_reader *r, uint32_t *ret_v)
{
    if (r->end - r->at < 4)
        return ERR_SYNTAX;
    const uint8_t *p = r->p + r->at;
    *ret_v = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    r->at += 4;
    return ERR_OK;
}

/* What can stand in a label of our text: visible, and not the separator. */
static bool label_octet(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '.';
}

/* Appends a label's octets, with the dot that parts it from the label before. */
static enum err add_label(struct dns_name *name, const uint8_t *label, size_t n)
{
    /* wire size: a length octet each label, and the root's; text: dots instead */
    size_t dot = name->n > 0;
    if (name->n + dot + n + 2 > DNS_NAME_MAX)
        return ERR_TOOBIG;
    if (dot)
        name->text[name->n++] = '.';
    for (size_t i = 0; i < n; i++) {
        if (!label_octet(label[i]))
            return ERR_SYNTAX;
        name->text[name->n++] = sv_lower((char)label[i]);
    }
    return ERR_OK;
}

enum err dns_read_name(struct dns_reader *r, struct dns_name *ret_name)
{
    struct dns_reader at = *r; /* follows the pointers */
    size_t run = r->at;        /* where this run of labels began */
    size_t behind = 0;         /* offset behind the first pointer; 0: none yet */
    unsigned pointers = 0;
    struct dns_name *name = ret_name;
    name->n = 0;
    for (;;) {
        uint8_t length, low;
        TRY(dns_read_u8(&at, &length));
        if (length == 0)
            break;
        if ((length & POINTER) == POINTER) {
            TRY(dns_read_u8(&at, &low));
            size_t target = (size_t)(length & ~POINTER) << 8 | low;
            if (target >= run || target < DNS_HEADER || ++pointers > POINTERS_MAX)
                return ERR_SYNTAX;
            if (behind == 0)
                behind = at.at;
            at.at = run = target;
            continue;
        }
        /* 01 and 10 in the top bits are reserved */
        if (length > DNS_LABEL_MAX || at.end - at.at < length)
            return ERR_SYNTAX;
        TRY(add_label(name, at.p + at.at, length));
        at.at += length;
    }
    r->at = behind > 0 ? behind : at.at;
    return ERR_OK;
}

enum err dns_skip_name(struct dns_reader *r)
{
    struct dns_reader at = *r;
    for (;;) {
        uint8_t length, low;
        TRY(dns_read_u8(&at, &length));
        if ((length & POINTER) == POINTER) {
            TRY(dns_read_u8(&at, &low));
            break;
        }
        if (length == 0)
            break;
        if (length > DNS_LABEL_MAX || at.end - at.at < length)
            return ERR_SYNTAX;
        at.at += length;
    }
    r->at = at.at;
    return ERR_OK;
}

enum err dns_name_wire(sv text, uint8_t ret_wire[static DNS_NAME_MAX], size_t *ret_n)
{
    if (sv_ends(text, SV(".")))
        text.n--;
    size_t n = 0;
    while (text.n > 0) {
        size_t label = sv_chr(text, '.');
        if (label == 0 || label > DNS_LABEL_MAX || label + 1 == text.n)
            return ERR_SYNTAX;
        if (n + 1 + label + 1 > DNS_NAME_MAX)
            return ERR_TOOBIG;
        ret_wire[n++] = (uint8_t)label;
        for (size_t i = 0; i < label; i++) {
            if (!label_octet((uint8_t)text.p[i]))
                return ERR_SYNTAX;
            ret_wire[n++] = (uint8_t)text.p[i];
        }
        text = sv_sub(text, label + 1, text.n);
    }
    ret_wire[n++] = 0;
    *ret_n = n;
    return ERR_OK;
}
