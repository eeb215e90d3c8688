/* SPDX-License-Identifier: MIT */
/* tls/tls_peer.c: whom a certificate names, and whether it is whom we mean (RFC 5922 §7). */
#include "tls/tls_priv.h"
#include "uri/uri.h"

static const char eku_sip_domain[] = "1.3.6.1.5.5.7.3.20"; /* id-kp-sipDomain, RFC 5924 §4 */

/* What is taken from a certificate; counted first, then written. */
struct names {
    sv *sip_uris, *dns;
    struct addr *ips;
    unsigned sip_uris_n, dns_n, ips_n;
    size_t text_n;
    char *text; /* NULL: only count */
};

static bool is_sip(sv s)
{
    return sv_ieq(sv_sub(s, 0, 4), SV("sip:"));
}

static sv keep(struct names *t, sv s, bool lower)
{
    sv kept = {t->text + t->text_n, s.n};
    for (size_t i = 0; t->text && i < s.n; i++)
        t->text[t->text_n + i] = lower ? sv_lower(s.p[i]) : s.p[i];
    t->text_n += s.n;
    return kept;
}

static void put(struct names *t, sv *list, unsigned *n, sv s, bool lower)
{
    if (*n == TLS_NAMES_MAX)
        return;
    if (t->text)
        list[*n] = keep(t, s, lower);
    else
        t->text_n += s.n;
    ++*n;
}

static void put_general(struct names *t, const GENERAL_NAME *g)
{
    sv s;
    switch (g->type) {
    case GEN_URI:
        if (tls_plain(g->d.uniformResourceIdentifier, &s) && is_sip(s))
            put(t, t->sip_uris, &t->sip_uris_n, s, false);
        return;
    case GEN_DNS:
        if (tls_plain(g->d.dNSName, &s))
            put(t, t->dns, &t->dns_n, s, true);
        return;
    case GEN_IPADD: {
        int n = ASN1_STRING_length(g->d.iPAddress);
        if ((n != 4 && n != 16) || t->ips_n == TLS_NAMES_MAX)
            return;
        if (t->text)
            t->ips[t->ips_n] = addr_from_ip(ASN1_STRING_get0_data(g->d.iPAddress), (size_t)n, 0);
        t->ips_n++;
        return;
    }
    default:
        return;
    }
}

/* RFC 5922 §7.1 2: "If and only if the subjectAltName does not appear in the certificate, the
 * implementation MAY examine the CN field". */
static void put_common_name(struct names *t, const X509 *x)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    sv s;
    if (i < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, i) >= 0)
        return; /* none, or no telling which */
    const ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));
    int type = ASN1_STRING_type(cn);
    if (type != V_ASN1_UTF8STRING && type != V_ASN1_PRINTABLESTRING && type != V_ASN1_IA5STRING)
        return;
    if (tls_plain(cn, &s) && uri_is_host(s, false))
        put(t, t->dns, &t->dns_n, s, true);
}

static void collect(struct names *t, const X509 *x, const GENERAL_NAMES *san)
{
    t->sip_uris_n = t->dns_n = t->ips_n = 0;
    t->text_n = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(san); i++)
        put_general(t, sk_GENERAL_NAME_value(san, i));
    if (X509_get_ext_by_NID(x, NID_subject_alt_name, -1) < 0)
        put_common_name(t, x);
}

enum err tls_peer_new(X509 *x, bool verified, struct tls_peer **ret_peer)
{
    GENERAL_NAMES *san = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    struct names t = {0};
    collect(&t, x, san);
    size_t svs = ((size_t)t.sip_uris_n + t.dns_n) * sizeof(sv);
    size_t ips = t.ips_n * sizeof(struct addr);
    struct tls_peer *p = mem_calloc(1, sizeof(*p) + svs + ips + t.text_n + 1);
    if (p) {
        t.sip_uris = (sv *)(void *)(p + 1);
        t.dns = t.sip_uris + t.sip_uris_n;
        t.ips = (struct addr *)(void *)(t.dns + t.dns_n);
        t.text = (char *)(t.ips + t.ips_n);
        collect(&t, x, san);
        atomic_init(&p->refs, 1);
        p->verified = verified;
        p->sip_uris = t.sip_uris;
        p->sip_uris_n = t.sip_uris_n;
        p->dns = t.dns;
        p->dns_n = t.dns_n;
        p->ips = t.ips;
        p->ips_n = t.ips_n;
        *ret_peer = p;
    }
    GENERAL_NAMES_free(san);
    ERR_clear_error();
    return p ? ERR_OK : ERR_NOMEM;
}

/* ---- life ---- */

static struct tls_peer nobody = {.refs = 1};

struct tls_peer *tls_peer_nobody(void)
{
    return tls_peer_ref(&nobody);
}

struct tls_peer *tls_peer_ref(struct tls_peer *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void tls_peer_unref(struct tls_peer *p)
{
    if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        mem_free(p);
}

/* ---- who it is ---- */

/* RFC 5922 §7.1: a sip URI without userinfo is a domain identity; *ret_host is its host. */
static bool domain_of(sv text, sv *ret_host)
{
    struct uri u;
    if (sv_chr(text, '@') < text.n || uri_parse(text, &u, NULL) != ERR_OK)
        return false;
    *ret_host = u.host;
    return true;
}

/* RFC 5922 §7.2: whole names, without case, no wildcards. A "*" in either is a letter as others. */
static bool same_name(sv a, sv b)
{
    return sv_ieq(tls_without_dot(a), tls_without_dot(b));
}

bool tls_peer_is(const struct tls_peer *p, sv domain)
{
    struct addr ip, other;
    bool numeric = addr_parse_ip(domain, 0, &ip) == ERR_OK, has_uri = false;
    sv host;
    if (!p->verified || domain.n == 0)
        return false;
    for (unsigned i = 0; i < p->sip_uris_n; i++) {
        if (!domain_of(p->sip_uris[i], &host))
            continue;
        has_uri = true;
        if (numeric ? addr_parse_ip(host, 0, &other) == ERR_OK && addr_equal_ip(&ip, &other)
                    : same_name(host, domain))
            return true;
    }
    for (unsigned i = 0; numeric && i < p->ips_n; i++)
        if (addr_equal_ip(&ip, &p->ips[i]))
            return true;
    /* §7.1: "if and only if no other identity is found that matches the 'sip' URI type" */
    for (unsigned i = 0; !has_uri && !numeric && i < p->dns_n; i++)
        if (same_name(p->dns[i], domain))
            return true;
    return false;
}

/* ---- what it may be used for ---- */

static bool eku_allows(const X509 *x, bool server)
{
    EXTENDED_KEY_USAGE *uses = X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
    bool allowed = X509_get_ext_by_NID(x, NID_ext_key_usage, -1) < 0;
    for (int i = 0; i < sk_ASN1_OBJECT_num(uses) && !allowed; i++) {
        const ASN1_OBJECT *use = sk_ASN1_OBJECT_value(uses, i);
        char oid[sizeof(eku_sip_domain)] = "";
        switch (OBJ_obj2nid(use)) {
        case NID_server_auth:
            /* Of a client too: public authorities issue no clientAuth any more, and whoever holds
             * the key of a server's certificate is that domain. */
        case NID_anyExtendedKeyUsage:
            allowed = true;
            break;
        case NID_client_auth:
            allowed = !server;
            break;
        default:
            OBJ_obj2txt(oid, sizeof(oid), use, 1);
            allowed = sv_eq(sv_of(oid), sv_of(eku_sip_domain));
        }
    }
    EXTENDED_KEY_USAGE_free(uses);
    return allowed;
}

bool tls_peer_may(const STACK_OF(X509) * chain, bool server)
{
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (!eku_allows(sk_X509_value(chain, i), server))
            return false;
    /* Every suite of ours has the peer sign. X509_get_key_usage is all ones where there is none. */
    return sk_X509_num(chain) > 0 &&
           (X509_get_key_usage(sk_X509_value(chain, 0)) & X509v3_KU_DIGITAL_SIGNATURE);
}
