/* SPDX-License-Identifier: MIT */
/* What one Contact of a REGISTER says, and which bindings it means. */
#include "registrar/registrar_priv.h"
#include "location/location.h"

enum { PARAMS_MAX = 1024 };
/* RFC 3261 §20.10: a malformed expires parameter counts as one hour. */
enum { HOUR_S = 3600 };

/* ---- parameters ---- */

static uint32_t expires_of(sv params, uint32_t default_s)
{
    sv text;
    uint64_t v;
    if (!sip_param(params, SV("expires"), &text))
        return default_s;
    return sv_u64(text, UINT32_MAX, &v) == ERR_OK ? (uint32_t)v : HOUR_S;
}

/* qvalue = "0" ["." 0*3DIGIT] / "1" ["." 0*3("0")] */
static enum err q_of(sv params, uint16_t *ret_q)
{
    sv text;
    *ret_q = 1000;
    if (!sip_param(params, SV("q"), &text))
        return ERR_OK;
    if (text.n == 0 || text.n > 5 || (text.p[0] != '0' && text.p[0] != '1'))
        return ERR_SYNTAX;
    unsigned q = (unsigned)(text.p[0] - '0') * 1000;
    if (text.n > 1 && text.p[1] != '.')
        return ERR_SYNTAX;
    for (size_t i = 2, unit = 100; i < text.n; i++, unit /= 10) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return ERR_SYNTAX;
        q += (unsigned)((text.p[i] - '0') * (int)unit);
    }
    if (q > 1000)
        return ERR_SYNTAX;
    *ret_q = (uint16_t)q;
    return ERR_OK;
}

/* RFC 5626 §4.1: a URN in angle brackets, quoted. What has not this form names no instance. */
static enum err instance_of(sv params, struct arena *a, sv *ret_instance)
{
    sv quoted, text;
    *ret_instance = SV_NONE;
    if (!sip_param(params, SV("+sip.instance"), &quoted) || quoted.n < 2 || quoted.p[0] != '"')
        return ERR_OK;
    TRY(sip_unquote(a, quoted, &text));
    if (text.n > INSTANCE_MAX)
        return ERR_TOOBIG;
    if (text.n > 2 && text.p[0] == '<' && text.p[text.n - 1] == '>')
        *ret_instance = text;
    return ERR_OK;
}

/* RFC 5626 §10: 1*DIGIT, 1 to 2^31 - 1. */
static enum err reg_id_of(sv params, uint32_t *ret_reg_id)
{
    sv text;
    uint64_t v = 0;
    if (sip_param(params, SV("reg-id"), &text) && (sv_u64(text, INT32_MAX, &v) || v == 0))
        return ERR_SYNTAX;
    *ret_reg_id = (uint32_t)v;
    return ERR_OK;
}

/* RFC 8599 §4.1.1: without a pn-prid it only asks what there is, or wants no more of it. */
static enum err push_of(const struct uri *u, struct arena *a, sv *ret_push)
{
    sv provider, prid, param;
    char mem[CONTACT_MAX];
    struct buf b;
    *ret_push = SV_NONE;
    if (!uri_param(u, SV("pn-provider"), &provider) || provider.n == 0 ||
        !uri_param(u, SV("pn-prid"), &prid) || prid.n == 0)
        return ERR_OK;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "pn-provider=");
    buf_put(&b, provider);
    buf_str(&b, ";pn-prid=");
    buf_put(&b, prid);
    if (uri_param(u, SV("pn-param"), &param) && param.n) {
        buf_str(&b, ";pn-param=");
        buf_put(&b, param);
    }
    TRY(b.rc);
    return sv_dup(a, buf_sv(&b), ret_push);
}

enum err contact_read(const struct sip_addr *addr, uint32_t default_s, struct arena *a,
                      struct contact *ret_contact)
{
    struct contact c = {.addr = addr, .expires_s = expires_of(addr->params, default_s)};
    TRY(q_of(addr->params, &c.q));
    TRY(instance_of(addr->params, a, &c.instance));
    if (c.instance.n) /* RFC 5626 §6: a reg-id without an instance is simply ignored */
        TRY(reg_id_of(addr->params, &c.reg_id));
    TRY(push_of(&addr->uri, a, &c.push));
    *ret_contact = c;
    return ERR_OK;
}

enum err contact_params(struct arena *a, sv params, sv *ret)
{
    static const sv ours[] = {
        {"expires", 7}, {"q", 1}, {"pub-gruu", 8}, {"temp-gruu", 9}}; /* RFC 5627 §5.1 */
    char mem[PARAMS_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    sv name, value;
    enum err rc = ERR_OK;
    while (sip_param_next(&params, &name, &value, &rc)) {
        bool skip = false;
        for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
            skip = skip || sv_ieq(name, ours[i]);
        if (skip)
            continue;
        buf_char(&b, ';');
        buf_put(&b, name);
        if (value.p && value.n) {
            buf_char(&b, '=');
            for (size_t i = 0; i < value.n;
                 i++) /* a fold becomes blanks: it goes into other lines */
                buf_char(&b, value.p[i] == '\r' || value.p[i] == '\n' ? ' ' : value.p[i]);
        }
    }
    TRY(rc);
    TRY(b.rc);
    return sv_dup(a, buf_sv(&b), ret);
}

/* ---- comparison ---- */

/* The URI as bindings are compared: sips and sip name one resource (RFC 5630 §5.1.1.1), and where a
 * phone is woken does not say where it is (a token that changes must not leave a second binding). */
static struct uri plain_uri(const struct uri *u, char mem[static CONTACT_MAX])
{
    struct uri out = *u;
    struct buf b;
    sv rest = u->params, name, value;
    if (out.scheme == URI_SIPS)
        out.scheme = URI_SIP;
    if (!u->params.p)
        return out;
    buf_init(&b, mem, CONTACT_MAX);
    while (uri_param_next(&rest, &name, &value)) {
        if (sv_ieq(name, SV("pn-provider")) || sv_ieq(name, SV("pn-prid")) ||
            sv_ieq(name, SV("pn-param")))
            continue;
        if (b.n)
            buf_char(&b, ';');
        buf_put(&b, name);
        if (value.n) {
            buf_char(&b, '=');
            buf_put(&b, value);
        }
    }
    if (b.rc == ERR_OK) /* else longer than any that was taken: as it is */
        out.params = b.n ? buf_sv(&b) : SV_NONE;
    return out;
}

static bool same_uri(const struct uri *u, sv text)
{
    char mem[CONTACT_MAX], other[CONTACT_MAX];
    struct uri have;
    if (sv_eq(u->text, text)) /* a phone that refreshes: what is equal by octet is equal */
        return true;
    if (uri_parse(text, &have, NULL))
        return false;
    struct uri x = plain_uri(u, mem), y = plain_uri(&have, other);
    return uri_equal(&x, &y);
}

bool contact_means(const struct contact *c, const struct binding *b)
{
    bool same_phone = location_same_instance(c->instance, b->instance);
    /* RFC 5626 §6: the binding is between the address of record and instance and reg-id, whatever
     * the Contact's URI. */
    if (c->reg_id && b->reg_id)
        return same_phone && c->reg_id == b->reg_id;
    /* RFC 8599 §4.1.1: the same prid is the same phone, which wakes up with another address each time. */
    if (c->push.n && sv_eq(c->push, b->push))
        return true;
    if (!same_uri(&c->addr->uri, b->uri))
        return false;
    /* The phone has learned or forgotten outbound; phones behind different NATs may well have one
     * URI. */
    if (c->reg_id)
        return same_phone || b->instance.n == 0;
    return !b->reg_id || same_phone || c->expires_s == 0;
}

bool contact_is_aor(const struct uri *u, sv aor)
{
    char mem[CONTACT_MAX + 8], plain[CONTACT_MAX];
    struct buf b;
    struct uri own;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "sip:");
    buf_put(&b, aor);
    if (b.rc || uri_parse(buf_sv(&b), &own, NULL))
        return false;
    struct uri x = plain_uri(u, plain);
    return uri_equal(&x, &own) ||
           (gruu_is_temporary_user(u->user) && sv_ieq(u->host, own.host)); /* any of our GRUUs */
}
