/* SPDX-License-Identifier: MIT */
/* Certificates: PEM files read, and judged as a server will judge them. */
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "config/config_priv.h"

enum { PEM_MAX = 1024 * 1024, WHY_MAX = 400 };
#define EXPIRES_SOON (14 * USEC_DAY)
/* Bits of work (NIST SP 800-57 part 1, table 2): what RSA of 2048 bits has. */
enum { STRENGTH_MIN = 112 };

/* ---- reading ---- */

enum err config_pem_read(struct arena *a, struct config_pem *pem)
{
    struct config_seen seen = {.inode = 0};
    sv path;
    TRY(sv_dup(a, pem->path, &path));
    TRY(config_slurp(a, path.p, PEM_MAX, &pem->octets, &seen, NULL));
    pem->stamp = seen.stamp;
    return ERR_OK;
}

static bool pem_file(struct config_reader *r, sv key, const struct config_scalar *s, sv path,
                     struct config_value *v, unsigned *ret_mode)
{
    struct config_seen seen = {.inode = 0};
    enum err rc = config_slurp(r->arena, path.p, PEM_MAX, &v->pem.octets, &seen, ret_mode);
    v->pem.path = path;
    v->pem.stamp = seen.stamp;
    if (rc == ERR_NOMEM) {
        r->nomem = true;
    } else if (rc) {
        config_error(r, s->at,
                     rc == ERR_NOTFOUND ? SV("relative paths start at the folder of the file")
                     : rc == ERR_DENIED ? SV("the user that the server runs as has to read it")
                                        : SV_NONE,
                     SV_FMT ": cannot read " SV_FMT ": %s", SV_ARG(key),
                     SV_ARG(sv_sub(path, 0, 512)),
                     rc == ERR_NOTFOUND ? "no such file"
                     : rc == ERR_DENIED ? "no permission"
                     : rc == ERR_TOOBIG ? "too long"
                                        : "not a readable file");
    }
    return !rc;
}

static bool pem_octets(struct config_reader *r, const struct config_row *key,
                       const struct config_scalar *s, struct config_value *v)
{
    sv all = s->text, path;
    unsigned mode = 0;
    if (sv_starts(all, SV("env:"))) {
        struct config_scalar name = *s;
        char mem[256];
        struct buf b;
        buf_init(&b, mem, sizeof(mem));
        buf_put(&b, sv_sub(all, 4, all.n));
        buf_char(&b, '\0');
        const char *text = b.rc ? NULL : getenv(mem);
        if (!text) {
            config_error(r, name.at, SV_NONE, SV_FMT ": the environment has no " SV_FMT,
                         SV_ARG(key->path), SV_ARG(sv_sub(all, 4, 4 + CONFIG_SHOWN_MAX)));
            return false;
        }
        v->text = v->from = all;
        if (sv_dup(r->arena, sv_of(text), &v->pem.octets))
            r->nomem = true;
        return !r->nomem;
    }
    if (sv_starts(all, SV("credential:"))) {
        v->text = v->from = all;
        path = config_credential(r, key->path, s, sv_sub(all, 11, all.n));
    } else {
        bool file = sv_starts(all, SV("file:"));
        path = config_join(r, s->folder, file ? sv_sub(all, 5, all.n) : all);
        v->text = path;
        if (file)
            v->from = config_prefixed(r, SV("file:"), path);
    }
    if (!sv_present(path) || !pem_file(r, key->path, s, path, v, &mode))
        return false;
    if (memmem(v->pem.octets.p, v->pem.octets.n, "PRIVATE KEY", 11) && (mode & S_IROTH))
        config_finding(r, s->at, SV("chmod o-r"), SV_FMT ": others can read the private key",
                       SV_ARG(key->path));
    return true;
}

static bool read_pem(struct config_reader *r, const struct config_row *key,
                     const struct config_scalar *s, struct config_value *v)
{
    for (size_t i = 0; i < s->text.n; i++) {
        if ((unsigned char)s->text.p[i] < 0x20) {
            config_error(r, s->at, SV("the path of the file, or credential:NAME"),
                         SV_FMT ": the octets of a PEM file do not stand here", SV_ARG(key->path));
            return false;
        }
    }
    if (s->text.n == 0) {
        config_error(r, s->at, SV("a path, or leave the key out"), SV_FMT ": is empty",
                     SV_ARG(key->path));
        return false;
    }
    return pem_octets(r, key, s, v);
}

bool config_pem(struct config_reader *r, const struct config_row *key,
                const struct config_scalar *s, struct config_value *v)
{
    bool good = read_pem(r, key, s, v);
    r->c->pem_refused = r->c->pem_refused || !good;
    return good;
}

void config_sni_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    static const struct config_row certificate = {.path = SV("tls.sni[].certificate"),
                                                  .type = CONFIG_T_PEM};
    static const struct config_row key = {.path = SV("tls.sni[].key"), .type = CONFIG_T_PEM};
    struct config_pair_files p = {.at = config_place_of(d, node)};
    size_t errors = r->report->errors, n = config_pairs(r, d, node, SV("tls.sni[]"));
    for (size_t i = 0; i < n; i++) {
        struct config_pair pair;
        if (!config_pair(r, d, node, i, SV("tls.sni[]"), &pair))
            continue;
        if (sv_eq(pair.name, SV("certificate")))
            config_field(r, d, &certificate, pair.value, &p.certificate);
        else if (sv_eq(pair.name, SV("key")))
            config_field(r, d, &key, pair.value, &p.key);
        else
            config_unknown(r, pair.at, SV("tls.sni[]."), pair.name);
    }
    if ((!p.certificate.set || !p.key.set) && r->report->errors == errors)
        config_error(r, p.at, SV("such as {certificate: cert.pem, key: key.pem}"),
                     "tls.sni[]: has no %s", p.certificate.set ? "key" : "certificate");
    if (r->report->errors != errors)
        return;
    struct config_pair_files *copy = ARENA_NEW(r->arena, struct config_pair_files);
    if (!copy) {
        r->nomem = true;
        return;
    }
    *copy = p;
    *r->c->sni_end = copy;
    r->c->sni_end = &copy->next;
}

/* ---- judging ---- */

static void judge(struct config_reader *r, const struct tls_config *c, struct config_place at,
                  sv hint, const char *key)
{
    char mem[WHY_MAX];
    struct buf why;
    struct tls *t = NULL;
    buf_init(&why, mem, sizeof(mem));
    enum err rc = tls_new(c, &why, &t);
    tls_unref(t);
    if (rc == ERR_SYNTAX && c->n) {
        /* Trust in itself spared us the system's store, and may be what the words are about. */
        struct tls_config again = *c;
        again.ca = SV_NONE;
        t = NULL;
        buf_reset(&why);
        rc = tls_new(&again, &why, &t);
        tls_unref(t);
    }
    if (rc == ERR_NOMEM)
        r->nomem = true;
    else if (rc)
        config_error(r, at, hint, "%s: " SV_FMT, key,
                     SV_ARG(why.n ? buf_sv(&why) : sv_of(err_text(rc))));
}

static void judge_life(struct config_reader *r, sv pem, struct config_place at, const char *key)
{
    const struct tls_names none = {.dns_n = 0};
    usec expires = 0, now = (usec)time(NULL) * USEC_S;
    bool covers;
    if (tls_cert_covers(pem, &none, &covers, &expires))
        return; /* judge() has said so */
    if (expires <= now)
        config_finding(r, at, SV("renew it"), "%s: the certificate has expired", key);
    else if (expires - now < EXPIRES_SOON)
        config_finding(r, at, SV("renew it"), "%s: the certificate expires in %lld days", key,
                       (long long)((expires - now) / USEC_DAY));
}

static void judge_strength(struct config_reader *r, sv pem, struct config_place at, const char *key)
{
    struct tls_cert_view *v = ARENA_NEW(r->arena, struct tls_cert_view);
    if (!v)
        r->nomem = true;
    else if (!tls_cert_view(pem, r->arena, v) && v->strength < STRENGTH_MIN)
        config_finding(r, at, SV("P-256, or RSA of 2048 bits or more"),
                       "%s: the key of the certificate is so short that it can be broken", key);
}

/* What other keys of the file need of TLS. */
static void judge_use(struct config_reader *r)
{
    const struct config_value *clients = &r->c->values[CONFIG_K_TLS_CLIENTS];
    const struct config_value *require = &r->c->values[CONFIG_K_SECURITY_REQUIRE_TLS];
    const struct sip_config *c = &r->c->pub.settings->sip;
    unsigned i = 0;
    while (i < c->listeners && c->listen[i].transport != SIP_T_TLS &&
           c->listen[i].transport != SIP_T_WSS)
        i++;
    if (require->n && i == c->listeners)
        config_error(r, require->at, SV("listen: [tls:5061], or require_tls: false"),
                     "security.require_tls: nothing listens with tls or wss, so nobody could "
                     "register or call");
    if (clients->n != TLS_CLIENTS_NONE && !r->c->values[CONFIG_K_TLS_CA].set)
        config_finding(r, clients->at, SV("ca: FILE, with your own authority alone"),
                       "tls.clients: has no tls.ca, so every public authority of the system's "
                       "store vouches for who somebody is");
}

static void add_pair(struct config_reader *r, const struct config_value *certificate,
                     const struct config_value *key, const char *name)
{
    struct config_tls *t = &r->c->pub.tls;
    struct tls_pair pair = {certificate->pem.octets, key->pem.octets};
    if (t->n == TLS_PAIRS_MAX) {
        config_error(r, certificate->at, SV_NONE, "tls.sni: more than %d certificates",
                     TLS_PAIRS_MAX);
        return;
    }
    judge(
        r, &(struct tls_config){.pairs = &pair, .n = 1, .ca = pair.certificate}, certificate->at,
        SV("a PEM file with the certificate, its chain behind it, and the key that belongs to it"),
        name);
    judge_life(r, pair.certificate, certificate->at, name);
    judge_strength(r, pair.certificate, certificate->at, name);
    t->pairs[t->n++] = (struct config_pair_pem){certificate->pem, key->pem};
}

/* RFC 5922 §7.1: a peer looks for the domain that it was told to reach. */
static void judge_names(struct config_reader *r, struct config_place at)
{
    const struct config_tls *t = &r->c->pub.tls;
    const struct settings *s = r->c->pub.settings;
    for (unsigned i = 0; i < s->domains_n; i++) {
        const struct tls_names names = {.dns = &s->domains[i].name, .dns_n = 1};
        bool covers = false;
        for (unsigned k = 0; k < t->n && !covers; k++) {
            usec expires;
            if (tls_cert_covers(t->pairs[k].certificate.octets, &names, &covers, &expires))
                covers = false;
        }
        if (!covers)
            config_finding(r, at, SV("a subjectAltName with the domain"),
                           "tls.certificate: is not for " SV_FMT
                           ": phones and servers that check it will refuse us",
                           SV_ARG(s->domains[i].name));
    }
}

void config_apply_tls(struct config_reader *r)
{
    struct config_value *v = r->c->values;
    struct config_tls *t = &r->c->pub.tls;
    const struct config_value *certificate = &v[CONFIG_K_TLS_CERTIFICATE];
    const struct config_value *key = &v[CONFIG_K_TLS_KEY], *ca = &v[CONFIG_K_TLS_CA];
    size_t errors = r->report->errors;
    t->clients = (enum tls_clients)v[CONFIG_K_TLS_CLIENTS].n;
    t->only_13 = v[CONFIG_K_TLS_MINIMUM].n == 1;
    t->ca = ca->pem;
    if (r->c->pem_refused)
        return; /* what is missing has been said */
    judge_use(r);
    if (certificate->set != key->set)
        config_error(r, certificate->set ? certificate->at : key->at,
                     SV("both, or none for a certificate of our own"), "tls.%s: has no tls.%s",
                     certificate->set ? "certificate" : "key",
                     certificate->set ? "key" : "certificate");
    else if (certificate->set)
        add_pair(r, certificate, key, "tls.certificate");
    if (r->c->sni && !certificate->set)
        config_error(r, r->c->sni->at, SV("the first certificate stands in tls.certificate"),
                     "tls.sni: has no tls.certificate");
    for (const struct config_pair_files *p = certificate->set ? r->c->sni : NULL; p; p = p->next)
        add_pair(r, &p->certificate, &p->key, "tls.sni[].certificate");
    if (ca->set)
        judge(r, &(struct tls_config){.ca = ca->pem.octets}, ca->at,
              SV("a PEM file with the certificates of authorities"), "tls.ca");
    if (t->n > 0 && r->report->errors == errors)
        judge_names(r, certificate->at);
}
