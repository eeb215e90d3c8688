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
/* A name of the table, below 16 octets, that stands at p with a colon behind it? All of it is compared:
 * where it ends, the key and the table have zeros. */
static inline bool known_name(const char *p, size_t *ret_n, enum sip_header *ret_id)
{
    static const char ends[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    const __m128i colons = _mm_set1_epi8(':'), lower = _mm_set1_epi8(0x20);
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, colons));
    if (!found)
        return false;
    *ret_n = (unsigned)__builtin_ctz(found);
    const char *end = ends + sizeof(ends) / 2 - *ret_n;
    __m128i key =
        _mm_and_si128(_mm_or_si128(x, lower), _mm_loadu_si128((const __m128i *)(const void *)end));
    uint64_t head = (uint64_t)_mm_cvtsi128_si64(key);
    uint64_t tail = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(key, key));
    const struct header_slot *slot = &header_slots[header_hash[SIP_NAME_PLACE(head, tail)]];
    __m128i known = _mm_load_si128((const __m128i *)(const void *)&slot->key);
    *ret_id = (enum sip_header)slot->id;
    return _mm_movemask_epi8(_mm_cmpeq_epi8(key, known)) == 0xffff;
}
#else
static inline bool known_name(const char *p, size_t *ret_n, enum sip_header *ret_id)
{
    (void)p;
    (void)ret_n;
    (void)ret_id;
    return false;
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
                             size_t value, size_t value_n, uint16_t flags)
{
    f->name = (uint16_t)name;
    f->value = (uint16_t)value;
    f->value_n = (uint16_t)value_n;
    f->next = SIPMSG_NONE;
    f->name_n = (uint8_t)name_n;
    f->id = (uint8_t)id;
    f->flags = flags;
}

/* Hangs the ith field behind those of its id. */
static __attribute__((noinline)) void chain_field(struct sip_pass *s, uint16_t i,
                                                  enum sip_header id, const char *name)
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
              (size_t)(text.p - m->text.p), text.n, 0);
    return true;
}

/* A plain run before a colon: all of it is token. False: there is none, or it is too long. */
static __attribute__((noinline)) bool other_name(const struct octet_map *map, const char *p,
                                                 size_t *ret_n, enum sip_header *ret_id)
{
    const char *colon = octets_plain_end(map, p);
    *ret_n = (size_t)(colon - p);
    if (*colon != ':' || *ret_n - 1 >= UINT8_MAX)
        return false;
    *ret_id = lookup(p, *ret_n);
    return true;
}

static inline bool plain_name(const struct octet_map *map, const char *p, size_t *ret_n,
                              enum sip_header *ret_id)
{
    size_t n;
    enum sip_header id;
    bool found = known_name(p, &n, &id) || other_name(map, p, &n, &id);
    *ret_n = n;
    *ret_id = id;
    return found;
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
    size_t name_n;
    const char *colon, *end = l->end;
    if (plain_name(&s->m->map, l->from, &name_n, &id))
        colon = l->from + name_n;
    else
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

/* Where a line is to be looked at: where its value begins, or blanks before it, and its first control. */
struct place {
    size_t value, stop;
};

/* A line that is folded at at.stop, and has no other controls. Its value and where it ends, and the runs
 * are then behind it; stop 0: it is of another form. */
static __attribute__((noinline)) struct place read_folds(const char *base, struct place at,
                                                         struct sip_runs *runs)
{
    const struct place none = {0, 0};
    const char *p = base + at.stop;
    while (p[2] == ' ' || p[2] == '\t') {
        if (sip_is_control(p[3])) /* it is of the same run */
            return none;
        p = base + sip_next_run(runs);
        if (p[0] != '\r' || p[1] != '\n')
            return none;
    }
    const char *value = sip_lws(base + at.value, p);
    if (value == p || (unsigned char)p[-1] <= ' ' || (sip_is_control(p[2]) && p[2] != '\r'))
        return none;
    return (struct place){(size_t)(value - base), (size_t)(p - base)};
}

/* Lines as nearly all are: "name: value" and a CR LF, of a section whose blank line was found: bounds need
 * no look. Returns the first line that is of another form, or the blank line; *ret_stop is its first
 * control, or NULL if that was not looked for. */
static const char *read_usual_fields(struct sip_pass *s, const char *p, const char **ret_stop)
{
    struct sipmsg *m = s->m;
    struct sip_runs runs = s->runs;
    const char *base = m->text.p;
    size_t from = (size_t)(p - base), name_n;
    struct place at = {0, 0};
    unsigned count = m->count;
    struct sipmsg_field *f = &s->fields[count];
    for (; base[from] != '\r'; from = at.stop + 2, at.stop = 0) {
        enum sip_header id;
        uint16_t flags = 0;
        if (count == SIPMSG_HEADERS_MAX || !plain_name(&m->map, base + from, &name_n, &id))
            break;
        at.value = from + name_n + 1;
        at.value += base[at.value] == ' ';
        at.stop = sip_next_run(&runs);
        unsigned char next = (unsigned char)base[at.stop + 2];
        if (memcmp(base + at.stop, "\r\n", 2) != 0)
            break;
        if (next <= ' ' && next != '\r') { /* a fold, or what no line begins with */
            struct sip_runs behind = runs;
            struct place found = {0, 0};
            if (next == ' ' || next == '\t')
                found = read_folds(base, at, &behind);
            if (!found.stop)
                break;
            runs = behind;
            at = found;
            flags = SIPMSG_FOLDED;
        }
        if ((unsigned char)base[at.value] <= ' ' || (unsigned char)base[at.stop - 1] <= ' ')
            break;
        if (!sipmsg_has(m, id))
            m->first[id] = (uint16_t)count;
        else
            chain_field(s, (uint16_t)count, id, base + from);
        s->last[id] = (uint16_t)count++;
        put_field(f++, id, from, name_n, at.value, at.stop - at.value, flags);
    }
    *ret_stop = at.stop ? base + at.stop : NULL;
    s->runs = runs;
    m->count = (uint16_t)count;
    return base + from;
}

bool sip_read_fields(struct sip_pass *s)
{
    for (;;) {
        struct sip_line l;
        const char *stop = NULL;
        if (s->bits.blank && !sip_is_control(*s->p))
            s->p = read_usual_fields(s, s->p, &stop);
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
