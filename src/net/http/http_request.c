/* SPDX-License-Identifier: MIT */
/* http/http_request.c: octets become a request. http-parser reads the head; the frame of its lines is
 * ours, because http-parser takes folded lines, bare line feeds, blanks in names and other words than HTTP in
 * the request line, which other readers understand otherwise (RFC 9112 §11.2). The body is counted here: its length is known. */
#include "http/http_priv.h"
#include "crypto/crypto.h"

enum { REST_MAX = 256 * 1024 };

/* ---- http-parser's callbacks: -1 refuses with in->status ---- */

static int refused(struct incoming *in, unsigned status)
{
    if (!in->status)
        in->status = status;
    return -1;
}

static int put(struct incoming *in, const char *at, size_t n)
{
    buf_mem(&in->text, at, n);
    return in->text.rc ? refused(in, in->text.rc == ERR_NOMEM ? 503 : 431) : 0;
}

static int on_url(http_parser *p, const char *at, size_t n)
{
    struct incoming *in = p->data;
    in->target_n += n;
    if (in->target_n > HTTP_TARGET_MAX)
        return refused(in, 414);
    return put(in, at, n);
}

static int on_field(http_parser *p, const char *at, size_t n)
{
    struct incoming *in = p->data;
    if (in->n == 0 || in->in_value) {
        if (in->n == HTTP_FIELDS_MAX)
            return refused(in, 431);
        in->at[in->n++] = (struct place){.name = (uint32_t)in->text.n};
        in->in_value = false;
    }
    in->at[in->n - 1].name_n += (uint32_t)n;
    return put(in, at, n);
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    struct incoming *in = p->data;
    struct place *f = &in->at[in->n - 1];
    if (!in->in_value) /* also of an empty one */
        f->value = (uint32_t)in->text.n;
    in->in_value = true;
    f->value_n += (uint32_t)n;
    return put(in, at, n);
}

static const http_parser_settings callbacks = {
    .on_url = on_url, .on_header_field = on_field, .on_header_value = on_value};

/* ---- the frame of the head ---- */

/* One more octet of the head. 0, or the status that refuses it. */
static unsigned scan(struct incoming *in, char c)
{
    char before = in->last;
    in->last = c;
    if (++in->head_n > in->head_max)
        return in->lines == 0 ? 414 : 431;
    if (c == '\n') {
        /* RFC 9112 §2.2 allows a bare LF as a line's end, and that is what smuggles requests. */
        if (before != '\r')
            return 400;
        if (in->line_n == 1) /* an empty line; before the request it means nothing (§2.2) */
            in->head_done = in->lines > 0;
        else if (in->lines++ == 0 && memcmp(in->version, "HTTP/", 5) != 0)
            return 400;
        in->line_n = 0;
        return 0;
    }
    /* §2.2: a CR alone; §5.2: a folded line, and §2.2: a blank before the first field's name */
    if (before == '\r' || (in->line_n == 0 && (c == ' ' || c == '\t')) || c == '\0')
        return 400;
    in->line_n++;
    if (in->lines == 0 && c != '\r') {
        memmove(in->version, in->version + 1, sizeof(in->version) - 1);
        in->version[sizeof(in->version) - 1] = c;
    }
    return 0;
}

/* RFC 9110 §5.6.2: tchar. http-parser lets blanks pass (RFC 9112 §5.1 forbids them). */
static bool is_token(sv s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alnum = (c >= '0' && c <= '9') || (sv_lower(c) >= 'a' && sv_lower(c) <= 'z');
        if (!alnum && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return s.n > 0;
}

/* The text has its final place: views into it. 0, or the status that refuses it. */
static unsigned complete(struct incoming *in)
{
    struct http_request *rq = &in->rq;
    sv text = buf_sv(&in->text);
    for (unsigned i = 0; i < in->n; i++) {
        const struct place *f = &in->at[i];
        in->fields[i] =
            (struct http_field){.name = sv_sub(text, f->name, f->name + f->name_n),
                                .value = sv_trim(sv_sub(text, f->value, f->value + f->value_n))};
        if (!is_token(in->fields[i].name))
            return 400;
    }
    rq->method = sv_of(http_method_str((enum http_method)in->parser.method));
    rq->target = sv_sub(text, 0, in->target_n);
    rq->path = sv_sub(rq->target, 0, sv_chr(rq->target, '?'));
    rq->query =
        rq->path.n < rq->target.n ? sv_sub(rq->target, rq->path.n + 1, rq->target.n) : SV_NONE;
    rq->fields = in->fields;
    rq->n = in->n;
    if (in->parser.http_major != 1)
        return 505;
    if (http_field_count(rq, SV("Host")) > 1) /* RFC 9112 §3.2 */
        return 400;
    /* §6.1: "Transfer-Encoding" together with a length, or in HTTP/1.0, is an attack or a fault. */
    bool coded = http_field_count(rq, SV("Transfer-Encoding")) > 0;
    if (coded && (in->parser.http_minor == 0 || http_field_count(rq, SV("Content-Length")) > 0))
        return 400;
    rq->websocket = sv_eq(rq->method, SV("GET")) && in->parser.http_minor >= 1 &&
                    http_field_has(rq, SV("Upgrade"), SV("websocket")) &&
                    http_field_has(rq, SV("Connection"), SV("upgrade"));
    return 0;
}

unsigned incoming_head(struct incoming *in, sv *octets)
{
    size_t n = 0;
    unsigned bad = 0;
    while (n < octets->n && !in->head_done && !bad)
        bad = scan(in, octets->p[n++]);
    if (bad)
        n--; /* what stands before it may be worse, and is answered for itself */
    size_t done = http_parser_execute(&in->parser, &callbacks, octets->p, n);
    enum http_errno e = HTTP_PARSER_ERRNO(&in->parser);
    if (in->status)
        return in->status;
    if (e != HPE_OK || done != n)
        return e == HPE_HEADER_OVERFLOW ? 431 : 400;
    if (bad)
        return bad;
    *octets = sv_sub(*octets, n, octets->n);
    return in->head_done ? complete(in) : 0;
}

/* ---- the body ---- */

unsigned incoming_body_begin(struct incoming *in, size_t body_max)
{
    const http_parser *p = &in->parser;
    if (http_field_count(&in->rq, SV("Transfer-Encoding")) > 0)
        return 411;
    if (p->content_length == UINT64_MAX || p->content_length == 0)
        return 0;
    if (p->content_length > body_max)
        return 413;
    in->body_cap = (size_t)p->content_length;
    in->body = mem_alloc(in->body_cap);
    return in->body ? 0 : 503;
}

bool incoming_body(struct incoming *in, sv *octets)
{
    sv part = sv_sub(*octets, 0, in->body_cap - in->body_n);
    if (part.n)
        memcpy(in->body + in->body_n, part.p, part.n);
    in->body_n += part.n;
    in->rq.body = (sv){in->body, in->body_n};
    *octets = sv_sub(*octets, part.n, octets->n);
    return in->body_n == in->body_cap;
}

/* ---- life ---- */

struct incoming *incoming_new(const struct http_limits *limits)
{
    struct incoming *in = MEM_NEW(struct incoming);
    if (!in)
        return NULL;
    in->head_max = limits->head_max < UINT32_MAX ? limits->head_max : UINT32_MAX;
    http_parser_init(&in->parser, HTTP_REQUEST);
    in->parser.data = in;
    buf_init_heap(&in->text, in->head_max);
    buf_init_heap(&in->rest, REST_MAX);
    arena_init(&in->arena, NULL, 0, limits->head_max + limits->body_max);
    in->rq.arena = &in->arena;
    return in;
}

/* The head may hold a bearer token, the body a password. */
void incoming_free(struct incoming *in)
{
    if (!in)
        return;
    if (in->text.p)
        crypto_wipe(in->text.p, in->text.cap);
    buf_done(&in->text);
    if (in->body)
        crypto_wipe(in->body, in->body_cap);
    mem_free(in->body);
    buf_done(&in->rest);
    arena_done(&in->arena);
    mem_free(in);
}

/* ---- fields ---- */

sv http_field(const struct http_request *rq, sv name)
{
    for (size_t i = 0; i < rq->n; i++)
        if (sv_ieq(rq->fields[i].name, name))
            return rq->fields[i].value;
    return SV_NONE;
}

size_t http_field_count(const struct http_request *rq, sv name)
{
    size_t n = 0;
    for (size_t i = 0; i < rq->n; i++)
        n += sv_ieq(rq->fields[i].name, name);
    return n;
}

bool http_field_has(const struct http_request *rq, sv name, sv word)
{
    for (size_t i = 0; i < rq->n; i++) {
        if (!sv_ieq(rq->fields[i].name, name))
            continue;
        for (sv list = rq->fields[i].value; list.n > 0;
             list = sv_sub(list, sv_chr(list, ',') + 1, list.n))
            if (sv_ieq(sv_trim(sv_sub(list, 0, sv_chr(list, ','))), word))
                return true;
    }
    return false;
}
