/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_fields.c: the header section: lines, names of fields, the index of them. */
#include "sipmsg/sipmsg_priv.h"
#include "sipmsg/header_slots.h"

/* ---- names ---- */

static const sv header_names[SIP_HEADERS] = {
    [SIP_H_OTHER] = {"", 0},
#define X(id, name, compact, kind, rfc) [SIP_H_##id] = {name, sizeof(name) - 1},
#include "sipmsg/headers.def"
#undef X
};

static const uint8_t header_kinds[SIP_HEADERS] = {
    [SIP_H_OTHER] = SIP_MANY,
#define X(id, name, compact, kind, rfc) [SIP_H_##id] = SIP_##kind,
#include "sipmsg/headers.def"
#undef X
};

sv sip_header_name(enum sip_header h)
{
    return (unsigned)h < SIP_HEADERS ? header_names[h] : header_names[SIP_H_OTHER];
}

/* What a name has behind its first 16 octets. */
static __attribute__((noinline)) bool same_rest(const char *p, sv known)
{
    for (size_t i = SIP_NAME_KEY; i < known.n; i++)
        if ((p[i] | 0x20) != (known.p[i] | 0x20))
            return false;
    return true;
}

/* The id of a name that is known to be a token: all of it is compared. 16 octets at p can be read. */
static enum sip_header lookup(const char *p, size_t n)
{
    struct sip_name_key key = sip_name_key(p, n);
    const struct header_slot *slot = &header_slots[header_hash[SIP_NAME_PLACE(key.head, key.tail)]];
    if (slot->n != n || slot->key.head != key.head || slot->key.tail != key.tail)
        return SIP_H_OTHER;
    return same_rest(p, header_names[slot->id]) ? (enum sip_header)slot->id : SIP_H_OTHER;
}

enum sip_header sip_header_of(sv name)
{
    char copy[SIP_NAME_KEY] = {0};
    if (!sip_is_token(name))
        return SIP_H_OTHER;
    if (name.n < sizeof(copy))
        name.p = memcpy(copy, name.p, name.n);
    return lookup(name.p, name.n);
}

#ifdef __SSE2__
/* The length of a name of the table, below 16, that stands at p with a colon behind it; else 0. All of
 * it is compared: where it ends, the key and the table have zeros. */
static inline size_t known_name(const char *p, enum sip_header *ret_id)
{
    static const char ends[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    const __m128i colons = _mm_set1_epi8(':'), lower = _mm_set1_epi8(0x20);
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, colons));
    if (!found)
        return 0;
    size_t n = (unsigned)__builtin_ctz(found);
    __m128i end = _mm_loadu_si128((const __m128i *)(const void *)(ends + sizeof(ends) / 2 - n));
    __m128i key = _mm_and_si128(_mm_or_si128(x, lower), end);
    uint64_t head = (uint64_t)_mm_cvtsi128_si64(key);
    uint64_t tail = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(key, key));
    const struct header_slot *slot = &header_slots[header_hash[SIP_NAME_PLACE(head, tail)]];
    __m128i known = _mm_loadu_si128((const __m128i *)(const void *)&slot->key);
    *ret_id = (enum sip_header)slot->id;
    return _mm_movemask_epi8(_mm_cmpeq_epi8(key, known)) == 0xffff ? n : 0;
}
#else
static inline size_t known_name(const char *p, enum sip_header *ret_id)
{
    (void)p;
    (void)ret_id;
    return 0;
}
#endif

/* ---- lines ---- */

/* The next control at p or later, or the end; p stands behind a control of the run popped last. */
static const char *next_control(struct sip_pass *s, const char *p)
{
    if (p < s->end && sip_is_control(*p))
        return p;
    size_t at = sip_pop_run(&s->runs);
    return at == SIZE_MAX ? s->end : s->m->text.p + at;
}

static inline bool is_crlf(const struct sip_pass *s, const char *p)
{
    return s->end - p >= 2 && p[0] == '\r' && p[1] == '\n';
}

static inline bool is_fold(const struct sip_pass *s, const char *crlf)
{
    return s->end - crlf > 2 && (crlf[2] == ' ' || crlf[2] == '\t');
}

bool sip_read_line(struct sip_pass *s, const char *p, struct sip_line *ret_line)
{
    struct sip_line *l = ret_line;
    *l = (struct sip_line){.from = s->p};
    for (; p < s->end; p = next_control(s, p)) {
        if (is_crlf(s, p)) {
            if (!is_fold(s, p)) {
                l->end = p;
                s->p = p + 2;
                return true;
            }
            if (!l->fold)
                l->fold = p;
            p += 2;
            continue;
        }
        if (*p == '\r' && s->end - p == 1) {
            p = s->end;
            break;
        }
        if (*p == '\r' || *p == '\n') {
            sip_fail(s, ERR_SYNTAX, p, 400, "Bare CR or LF");
            return false;
        }
        const char **seen = *p == '\t' ? &l->tab : &l->control;
        if (!*seen)
            *seen = p;
        p++;
    }
    sip_fail(s, ERR_SYNTAX, p, 400, "Header section does not end");
    return false;
}

/* ---- fields ---- */

/* Fields whose values hold quoted strings in which RFC 3261 lets a quoted pair be any octet but CR
 * and LF. */
static bool holds_display_name(enum sip_header h)
{
    switch ((int)h) {
    case SIP_H_FROM:
    case SIP_H_TO:
    case SIP_H_CONTACT:
    case SIP_H_ROUTE:
    case SIP_H_RECORD_ROUTE:
    case SIP_H_REPLY_TO:
        return true;
    }
    return false;
}

/* A field; value_n octets without blanks at their ends are its value. */
static inline void put_field(struct sipmsg_field *f, enum sip_header id, size_t name, size_t name_n,
                             size_t value, size_t value_n)
{
    f->name = (uint16_t)name;
    f->value = (uint16_t)value;
    f->value_n = (uint16_t)value_n;
    f->next = SIPMSG_NONE;
    f->name_n = (uint8_t)name_n;
    f->id = (uint8_t)id;
    f->flags = f->spare = 0;
}

/* Hangs the ith field behind those of its id. */
static void chain_field(struct sip_pass *s, uint16_t i, enum sip_header id, const char *name)
{
    if (header_kinds[id] == SIP_ONE)
        sip_fail(s, ERR_SYNTAX, name, 400, "Header field given twice");
    s->fields[s->last[id]].next = i;
}

/* The next field; false when there are too many. */
static bool add_field(struct sip_pass *s, enum sip_header id, sv name, sv text)
{
    struct sipmsg *m = s->m;
    if (m->count == SIPMSG_HEADERS_MAX) {
        sip_fail(s, ERR_TOOBIG, name.p, 513, "Too many header fields");
        return false;
    }
    if (sipmsg_has(m, id))
        chain_field(s, m->count, id, name.p);
    else
        m->first[id] = m->count;
    s->last[id] = m->count;
    put_field(&s->fields[m->count++], id, (size_t)(name.p - m->text.p), name.n,
              (size_t)(text.p - m->text.p), text.n);
    return true;
}

/* A plain run before a colon: all of it is token. Its length; 0: there is none, or it is too long. */
static inline size_t plain_name(const struct octet_map *map, const char *p, enum sip_header *ret_id)
{
    const char *colon;
    size_t n = known_name(p, ret_id);
    if (n)
        return n;
    colon = octets_plain_end(map, p);
    n = (size_t)(colon - p);
    if (*colon != ':' || n > UINT8_MAX)
        return 0;
    *ret_id = lookup(p, n);
    return n;
}

/* A name that holds other marks, or that no colon follows at once: *ret_colon is NULL when it is none. */
static enum sip_header read_name(struct sip_pass *s, const char *from, const char *end,
                                 size_t *ret_name_n, const char **ret_colon)
{
    const char *p = sip_span(from, end, SC_TOKEN);
    *ret_name_n = (size_t)(p - from);
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    *ret_colon = NULL;
    if (*ret_name_n == 0 || p == end || *p != ':')
        sip_fail(s, ERR_SYNTAX, p, 400, "Header field without a name");
    else if (*ret_name_n > UINT8_MAX)
        sip_fail(s, ERR_TOOBIG, from, 400, "Header field name too long");
    else
        *ret_colon = p;
    return *ret_colon ? sip_header_of((sv){from, *ret_name_n}) : SIP_H_OTHER;
}

/* A line in any of its forms. */
static void read_field(struct sip_pass *s, const struct sip_line *l)
{
    enum sip_header id;
    size_t name_n = plain_name(&s->m->map, l->from, &id);
    const char *colon = l->from + name_n, *end = l->end;
    if (!name_n)
        id = read_name(s, l->from, end, &name_n, &colon);
    if (!colon)
        return;
    const char *p = sip_lws(colon + 1, end);
    while (end > p && sip_is_blank(end[-1]))
        end--;
    sv text = {p, (size_t)(end - p)};
    if (l->control && (l->control < p || !holds_display_name(id) || !sip_text_clean(text)))
        sip_fail(s, ERR_SYNTAX, l->control, 400, "Control character in header section");
    else if (add_field(s, id, (sv){l->from, name_n}, text) && l->fold)
        s->fields[s->m->count - 1].flags = SIPMSG_FOLDED;
}

/* Lines as nearly all are: "name: value" and a CR LF, each in one piece, of a section whose blank line
 * was found: bounds need no look. Returns the first line that is of another form, or the blank line;
 * *ret_stop is its first control, or NULL if that was not looked for. */
static const char *read_usual_fields(struct sip_pass *s, const char *at, const char **ret_stop)
{
    struct sipmsg *m = s->m;
    struct sip_runs runs = s->runs;
    const char *base = m->text.p;
    size_t from = (size_t)(at - base), stop = from;
    unsigned count = m->count;
    struct sipmsg_field *f = &s->fields[count];
    for (; base[from] != '\r'; from = stop + 2) {
        enum sip_header id;
        stop = sip_next_run(&runs);
        uint32_t four = sip_load4(base + stop);
        unsigned next = four >> 16 & 0xff;
        if ((uint16_t)four != ('\r' | '\n' << 8))
            break;
        if (next - '!' > '~' - '!' && next != '\r') /* a fold, or what no name begins with */
            break;
        size_t name_n = plain_name(&m->map, base + from, &id);
        if (!name_n)
            break;
        size_t value = from + name_n + 1;
        value += base[value] == ' ';
        if ((unsigned char)base[value] <= ' ' || (unsigned char)base[stop - 1] <= ' ' ||
            count == SIPMSG_HEADERS_MAX)
            break;
        if (sipmsg_has(m, id))
            chain_field(s, (uint16_t)count, id, base + from);
        else
            m->first[id] = (uint16_t)count;
        s->last[id] = (uint16_t)count++;
        put_field(f++, id, from, name_n, value, stop - value);
    }
    *ret_stop = base[from] == '\r' ? NULL : base + stop;
    s->runs = runs;
    m->count = (uint16_t)count;
    return base + from;
}

/* The end of a line that is folded at stop, and has no other controls; NULL: another form. */
static const char *folded_end(const struct sip_pass *s, struct sip_runs *runs, const char *stop)
{
    while (stop[2] == ' ' || stop[2] == '\t') {
        if (sip_is_control(stop[3])) /* of the same run, or of none that is popped */
            return NULL;
        stop = s->m->text.p + sip_next_run(runs);
        if (!is_crlf(s, stop))
            return NULL;
    }
    return sip_is_control(stop[2]) && stop[2] != '\r' ? NULL : stop;
}

/* The line at s->p, whose first control is the fold at stop; false: it is of another form. */
static bool read_folded_field(struct sip_pass *s, const char *stop)
{
    enum sip_header id;
    struct sip_runs runs = s->runs;
    const char *end = folded_end(s, &runs, stop), *from = s->p;
    size_t name_n = end ? plain_name(&s->m->map, from, &id) : 0;
    if (!name_n)
        return false;
    const char *p = sip_lws(from + name_n + 1, end);
    if (p == end || (unsigned char)end[-1] <= ' ')
        return false;
    s->p = end + 2;
    s->runs = runs;
    if (add_field(s, id, (sv){from, name_n}, (sv){p, (size_t)(end - p)}))
        s->fields[s->m->count - 1].flags = SIPMSG_FOLDED;
    return true;
}

bool sip_read_fields(struct sip_pass *s)
{
    for (;;) {
        struct sip_line l;
        const char *stop = NULL;
        if (s->bits.blank && !sip_is_control(*s->p)) {
            s->p = read_usual_fields(s, s->p, &stop);
            if (stop && is_crlf(s, stop) && is_fold(s, stop) && read_folded_field(s, stop))
                continue;
        }
        stop = stop ? stop : next_control(s, s->p);
        if (is_crlf(s, stop) && stop == s->p) {
            s->p += 2;
            return true;
        }
        if (!sip_read_line(s, stop, &l))
            return false;
        read_field(s, &l);
    }
}
