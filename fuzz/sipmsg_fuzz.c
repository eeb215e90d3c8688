/* SPDX-License-Identifier: MIT */
/* fuzz/sipmsg_fuzz.c: whatever comes in, views stay inside it, memory stays in proportion to it,
 * framing agrees with parsing, and what is edited or answered parses again and says what was meant.
 */
#include <stdlib.h>
#include "mem/arena.h"
#include "sipmsg/sipmsg_priv.h"

#define HOLD(what)   \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

/* the smallest value that needs a struct: "<a:b>," takes 6 octets and one sip_addr */
enum { MEMORY_PER_OCTET = 128, MEMORY_BASE = 16384, OUT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void inside(sv whole, sv part)
{
    HOLD(!part.p || (part.p >= whole.p && part.n <= whole.n &&
                     part.p - whole.p <= (ptrdiff_t)(whole.n - part.n)));
}

static void check_index(const struct sipmsg *m)
{
    unsigned chained = 0;
    HOLD(m->body_at <= m->text.n && m->count <= SIPMSG_HEADERS_MAX);
    for (uint16_t i = 0; i < m->count; i++) {
        const struct sipmsg_field *f = &m->fields[i];
        HOLD(f->name_n > 0 && f->name + f->name_n < f->value + 1u);
        HOLD(f->value + f->value_n <= m->body_at && f->id < SIP_HEADERS);
        HOLD(sip_header_of((sv){m->text.p + f->name, f->name_n}) == f->id);
        HOLD(i == 0 || m->fields[i - 1].value + m->fields[i - 1].value_n <= f->name);
    }
    for (unsigned h = 0; h < SIP_HEADERS; h++)
        for (uint16_t i = m->first[h]; i != SIPMSG_NONE; i = m->fields[i].next, chained++)
            HOLD(i < m->count && m->fields[i].id == h && m->fields[i].next > i);
    HOLD(chained == m->count);
}

static void check_params(sv whole, sv rest)
{
    sv name, value;
    enum err rc;
    while (sip_param_next(&rest, &name, &value, &rc)) {
        inside(whole, name);
        inside(whole, value);
    }
    HOLD(rc == ERR_OK); /* a value that was accepted has only good parameters */
}

static bool same_view(sv a, sv b)
{
    return a.p == b.p && a.n == b.n;
}

static void same_uri(const struct uri *a, const struct uri *b)
{
    HOLD(a->scheme == b->scheme && a->port == b->port && a->host_ip6 == b->host_ip6);
    HOLD(same_view(a->text, b->text) && same_view(a->scheme_text, b->scheme_text));
    HOLD(same_view(a->user, b->user) && same_view(a->password, b->password));
    HOLD(same_view(a->host, b->host) && same_view(a->params, b->params));
    HOLD(same_view(a->headers, b->headers) && same_view(a->opaque, b->opaque));
}

/* What the short way read in a message, the long way reads too. */
static void check_long_way(const struct sip_addr *a)
{
    struct sip_addr b;
    HOLD(sip_addr_parse(a->text, true, &b) == ERR_OK);
    HOLD(a->star == b.star && a->bracketed == b.bracketed);
    HOLD(same_view(a->text, b.text) && same_view(a->display, b.display));
    HOLD(same_view(a->params, b.params) && same_view(a->tag, b.tag));
    if (!a->star)
        same_uri(&a->uri, &b.uri);
}

static void check_via_long_way(const struct sip_via *a)
{
    struct sip_via b;
    HOLD(sip_via_parse(a->text, &b) == ERR_OK);
    HOLD(a->transport == b.transport && same_view(a->transport_text, b.transport_text));
    HOLD(same_view(a->host, b.host) && a->port == b.port && a->host_ip6 == b.host_ip6);
    HOLD(same_view(a->branch, b.branch) && same_view(a->received, b.received));
    HOLD(same_view(a->maddr, b.maddr) && same_view(a->params, b.params));
    HOLD(same_view(a->rport_text, b.rport_text));
    HOLD(a->rport == b.rport && a->rport_value == b.rport_value && same_view(a->text, b.text));
}

static void check_addr(struct sipmsg *m, const struct sip_addr *a)
{
    sv text;
    check_long_way(a);
    inside(m->text, a->display);
    inside(m->text, a->uri.text);
    inside(m->text, a->params);
    inside(m->text, a->tag);
    check_params(m->text, a->params);
    if (a->display.p)
        HOLD(sip_unquote(m->arena, a->display, &text) == ERR_OK && text.n <= a->display.n);
}

/* The typed list has the very values that a walk finds: what is edited is what was read. */
static void check_addrs(struct sipmsg *m, enum sip_header h, const struct sip_addr *addrs, size_t n)
{
    struct sip_walk it = {.m = m, .id = h};
    struct sip_item item;
    for (size_t i = 0; i < n; i++) {
        HOLD(sipmsg_next(&it, &item) && item.text.p == addrs[i].text.p);
        HOLD(item.text.n == addrs[i].text.n);
        check_addr(m, &addrs[i]);
    }
    HOLD(!sipmsg_next(&it, &item) && !it.rc);
}

static void check_typed(struct sipmsg *m)
{
    static const enum sip_header lists[] = {SIP_H_CONTACT, SIP_H_ROUTE, SIP_H_RECORD_ROUTE,
                                            SIP_H_PATH};
    const struct sip_via *vias, *top;
    const struct sip_addr *addr;
    const struct sip_cseq *cseq;
    const struct uri *uri;
    size_t n;
    uint32_t number;
    sv text;
    struct uri again;
    if (m->request && sipmsg_uri(m, &uri) == ERR_OK) {
        inside(m->text, uri->text);
        HOLD(uri_parse(m->uri_text, &again, NULL) == ERR_OK);
        same_uri(uri, &again);
    }
    if (sipmsg_vias(m, &vias, &n) == ERR_OK) {
        HOLD(n > 0 && n == sipmsg_count(m, SIP_H_VIA));
        HOLD(sipmsg_via(m, &top) == ERR_OK && top->text.p == vias[0].text.p);
        struct sip_walk it = {.m = m, .id = SIP_H_VIA};
        struct sip_item item;
        for (size_t i = 0; i < n; i++) {
            HOLD(sipmsg_next(&it, &item) && sv_eq(item.text, vias[i].text));
            inside(m->text, vias[i].host);
            check_via_long_way(&vias[i]);
            check_params(m->text, vias[i].params);
        }
    }
    if (sipmsg_from(m, &addr) == ERR_OK)
        check_addr(m, addr);
    if (sipmsg_to(m, &addr) == ERR_OK)
        check_addr(m, addr);
    if (sipmsg_cseq(m, &cseq) == ERR_OK)
        HOLD(cseq->number <= INT32_MAX && sip_is_token(cseq->method_text));
    if (sipmsg_call_id(m, &text) == ERR_OK)
        inside(m->text, text);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (sipmsg_addrs(m, lists[i], &addr, &n) == ERR_OK)
            check_addrs(m, lists[i], addr, n);
    HOLD(sipmsg_number(m, SIP_H_EXPIRES, &number) != ERR_NOMEM);
    HOLD(sipmsg_number(m, SIP_H_MAX_FORWARDS, &number) != ERR_OK || number <= 255);
}

static void check_auth(const struct sipmsg *m)
{
    struct sip_auth auth;
    enum err rc;
    sv name, value, text = sipmsg_value(m, SIP_H_AUTHORIZATION);
    if (!text.p || sip_auth_parse(text, &auth))
        return;
    while (sip_auth_param_next(&auth.params, &name, &value, &rc))
        inside(m->text, value);
}

/* A copy followed by the slack that the contract asks for, poisoned by being another allocation's
 * end. */
struct copy {
    char *p;
    struct arena a;
    struct sipmsg m;
};

static enum err parse_copy(struct copy *c, sv text)
{
    c->p = malloc(text.n + BLOCK_SLACK);
    HOLD(c->p);
    memcpy(c->p, text.p, text.n);
    memset(c->p + text.n, '\n', BLOCK_SLACK);
    arena_init(&c->a, NULL, 0, MEMORY_PER_OCTET * text.n + MEMORY_BASE);
    struct sipmsg_fault fault = {UINT32_MAX, 0, NULL};
    enum err rc = sipmsg_parse((sv){c->p, text.n}, &c->a, &c->m, &fault);
    HOLD(rc != ERR_NOMEM);
    HOLD(!rc || (fault.why && fault.at <= text.n));
    return rc;
}

static void drop_copy(struct copy *c)
{
    arena_done(&c->a);
    free(c->p);
}

/* Octet by octet, the stream's framing finds the same end as the datagram's. */
static void check_frame(const struct sipmsg *m, bool good)
{
    size_t resume = 0, n = 0, step = m->text.n / 64 + 1;
    enum err rc = ERR_MORE;
    for (size_t have = 0; have < m->text.n + step && rc == ERR_MORE; have += step)
        rc = sipmsg_frame(sv_sub(m->text, 0, have), 1 << 20, &resume, &n, NULL);
    if (good && sipmsg_has(m, SIP_H_CONTENT_LENGTH))
        HOLD(rc == ERR_OK && n == m->text.n);
    if (rc == ERR_OK)
        HOLD(n <= m->text.n);
}

static sv nth_value(const struct sipmsg *m, enum sip_header h, unsigned i)
{
    struct sip_walk it = {.m = m, .id = h};
    struct sip_item item;
    while (sipmsg_next(&it, &item))
        if (i-- == 0)
            return item.text;
    return SV_NONE;
}

/* What a proxy does: a Via on top, one hop less, the first Route gone. All else must be the same
 * afterwards. */
static void check_proxy_edit(const struct sipmsg *m)
{
    static char out[OUT_MAX];
    static struct sipedit e;
    struct buf b;
    struct copy c;
    sipedit_init(&e, m);
    buf_init(&b, out, sizeof(out));
    HOLD(sipedit_write(&e, &b) == ERR_OK && sv_eq(buf_sv(&b), m->text));

    struct sip_walk it = {.m = m, .id = SIP_H_ROUTE};
    struct sip_item item;
    bool popped = sipmsg_next(&it, &item);
    sipedit_line_first(&e, SIP_H_VIA, SV("Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKfuzz"));
    if (sipmsg_has(m, SIP_H_MAX_FORWARDS))
        sipedit_value(&e, m->first[SIP_H_MAX_FORWARDS], SV("69"));
    if (popped)
        sipedit_remove_item(&e, &item);
    buf_reset(&b);
    HOLD(sipedit_write(&e, &b) == ERR_OK);
    if (m->count == SIPMSG_HEADERS_MAX || b.n > SIPMSG_SECTION_MAX)
        return;
    HOLD(parse_copy(&c, buf_sv(&b)) == ERR_OK);
    HOLD(sv_eq(sipmsg_body(&c.m), sipmsg_body(m)));
    HOLD(sv_eq(c.m.uri_text, m->uri_text) && sv_eq(c.m.reason, m->reason));
    HOLD(sv_eq(nth_value(&c.m, SIP_H_VIA, 0), SV("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKfuzz")));
    for (unsigned i = 0; i < 4; i++)
        HOLD(sv_eq(nth_value(&c.m, SIP_H_VIA, i + 1), nth_value(m, SIP_H_VIA, i)));
    for (unsigned i = 0; popped && i < 4; i++)
        HOLD(sv_eq(nth_value(&c.m, SIP_H_ROUTE, i), nth_value(m, SIP_H_ROUTE, i + 1)));
    for (unsigned h = 1; h < SIP_HEADERS; h++) {
        if (h == SIP_H_VIA || h == SIP_H_ROUTE || h == SIP_H_MAX_FORWARDS ||
            h == SIP_H_CONTENT_LENGTH)
            continue;
        uint16_t i = m->first[h], k = c.m.first[h];
        for (; i != SIPMSG_NONE && k != SIPMSG_NONE; i = m->fields[i].next, k = c.m.fields[k].next)
            HOLD(sv_eq(sipmsg_field_value(m, i), sipmsg_field_value(&c.m, k)));
        HOLD(i == SIPMSG_NONE && k == SIPMSG_NONE);
    }
    drop_copy(&c);
}

/* What stands between a message and its body, as an octet count: all of it but the description. */
static void check_description(const struct sipmsg *m)
{
    static char out[OUT_MAX];
    static struct sipedit e;
    const sv new = SV("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nt=0 0\r\n");
    struct sip_description d, again;
    struct buf b;
    struct copy c;
    sipmsg_description(m, &d);
    inside(sipmsg_body(m), d.text);
    inside(sipmsg_body(m), d.part);
    inside(sipmsg_body(m), d.length);
    HOLD(!d.why || !d.text.p);
    if (!d.text.p)
        return;
    HOLD(d.text.n > 0 && (!d.part.p || d.part.n > d.text.n + d.length.n));
    for (int drop = 0; drop < 2; drop++) {
        sipedit_init(&e, m);
        sipedit_description(&e, &d, drop ? SV_NONE : new);
        buf_init(&b, out, sizeof(out));
        HOLD(sipedit_write(&e, &b) == ERR_OK);
        if (m->count == SIPMSG_HEADERS_MAX || b.n > SIPMSG_SECTION_MAX)
            return;
        HOLD(parse_copy(&c, buf_sv(&b)) == ERR_OK);
        sipmsg_description(&c.m, &again);
        HOLD(drop || (sv_eq(again.text, new) && !again.why && !again.length.p));
        HOLD(!drop || sipmsg_body(&c.m).n == (d.part.p ? sipmsg_body(m).n - d.part.n : 0));
        HOLD(drop || sipmsg_body(&c.m).n == sipmsg_body(m).n - d.text.n - d.length.n + new.n);
        drop_copy(&c);
    }
}

static void check_reply(const struct sipmsg *m, bool good)
{
    static char out[OUT_MAX];
    struct buf b;
    struct copy c;
    buf_init(&b, out, sizeof(out));
    struct sip_reply r = {.status = 400,
                          .to_tag = SV("fuzz"),
                          .received = SV("2001:db8::1"),
                          .rport = 5070,
                          .record_route = true,
                          .headers = SV("Server: Tandem\r\n"),
                          .content_type = SV("text/plain"),
                          .body = SV("body")};
    HOLD(sipmsg_reply(&b, m, &r) == ERR_OK);
    if (b.n > SIPMSG_SECTION_MAX)
        return;
    enum err rc = parse_copy(&c, buf_sv(&b));
    HOLD(rc == ERR_OK && c.m.status == 400 && sv_eq(sipmsg_body(&c.m), SV("body")));
    const struct sip_via *via;
    const struct sip_addr *to;
    if (good && sipmsg_check(&c.m, NULL) == ERR_OK) {
        HOLD(sipmsg_via(&c.m, &via) == ERR_OK && sv_eq(via->received, SV("2001:db8::1")));
        HOLD(!via->rport || via->rport_value == 5070);
        HOLD(sipmsg_to(&c.m, &to) == ERR_OK && to->tag.n > 0);
        HOLD(sv_eq(sipmsg_value(&c.m, SIP_H_CALL_ID), sipmsg_value(m, SIP_H_CALL_ID)));
    } else {
        HOLD(!good);
    }
    drop_copy(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct copy c;
    sv text = {(const char *)data, n};
    (void)sipmsg_skip_crlf(text);
    bool framed = parse_copy(&c, text) == ERR_OK;
    struct sipmsg_fault fault;
    check_index(&c.m);
    check_frame(&c.m, framed);
    check_typed(&c.m);
    check_auth(&c.m);
    enum err rc = sipmsg_check(&c.m, &fault);
    HOLD(rc != ERR_NOMEM && (!rc || (fault.why && fault.at <= n)));
    if (c.m.request)
        check_reply(&c.m, framed && rc == ERR_OK);
    if (framed && rc == ERR_OK) {
        check_proxy_edit(&c.m);
        check_description(&c.m);
    }
    drop_copy(&c);
    return 0;
}
