/* SPDX-License-Identifier: MIT */
/* Our own authority, for when nobody gave a certificate: kept in the data folder.
 *
 *   ca.pem, ca.key, ca.names      the authority, and what it was made for, a line each
 *   tls.pem, tls.key, tls.names   its certificate for all our names and addresses of now
 *
 *   ca.*.old                      the authority before this one, to be put back by hand
 *
 * Phones are told to trust the authority, so it stays. Its name constraints permit the names that
 * it was made for and no others: for a new name in the configuration there has to be a new one. A
 * new address or host name of the machine is left out of the certificate instead, and that is said,
 * since nobody asked for it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/daemon_priv.h"

enum { NAMES_MAX = 512, ADDRESSES_MAX = 64, FILE_MAX = 64 * 1024, TEXT_MAX = 256 * 1024 };
#define LEAF_RENEW (TLS_LEAF_LIFE / 3)

/* ---- names ---- */

struct own_names {
    sv dns[NAMES_MAX];
    struct addr ips[ADDRESSES_MAX];
    size_t dns_n, ips_n;
    size_t written_n; /* of dns: stand in the configuration */
};

static void add_ip(struct own_names *n, struct addr a)
{
    a.port = 0;
    a.scope = 0;
    for (size_t i = 0; i < n->ips_n; i++) {
        if (addr_equal_ip(&n->ips[i], &a))
            return;
    }
    if (!addr_is_any(&a) && addr_class(&a) != ADDR_LINK_LOCAL && n->ips_n < ADDRESSES_MAX)
        n->ips[n->ips_n++] = a;
}

static void add_name(struct own_names *n, sv name)
{
    struct addr a;
    if (!addr_parse_ip(name, 0, &a)) {
        add_ip(n, a);
        return;
    }
    for (size_t i = 0; i < n->dns_n; i++) {
        if (sv_ieq(n->dns[i], name))
            return;
    }
    if (name.n && n->dns_n < NAMES_MAX)
        n->dns[n->dns_n++] = name;
}

/* An IPv6 address that the kernel made for a day (RFC 8981): nobody is told it. */
static bool is_temporary(const struct addr *a)
{
    FILE *f = a->family == 6 ? fopen("/proc/net/if_inet6", "re") : NULL;
    char line[160], hex[33], want[33];
    unsigned flags;
    bool found = false;
    for (int i = 0; i < 16; i++)
        snprintf(want + (size_t)2 * i, 3, "%02x", a->ip[i]);
    while (f && !found && fgets(line, sizeof(line), f))
        found = sscanf(line, "%32s %*x %*x %*x %x", hex, &flags) == 2 && strcmp(hex, want) == 0 &&
                (flags & 1) != 0;
    if (f)
        fclose(f);
    return found;
}

static void collect(const struct settings *set, sv host, struct own_names *n)
{
    struct addr own[ADDRESSES_MAX], loopback;
    static const char *const always[] = {"127.0.0.1", "::1"};
    for (unsigned i = 0; i < set->domains_n; i++) {
        add_name(n, set->domains[i].name);
        for (unsigned k = 0; k < set->domains[i].aliases_n; k++)
            add_name(n, set->domains[i].aliases[k]);
    }
    for (unsigned i = 0; i < set->sip.listeners; i++) {
        if (set->sip.listen[i].advertise.n)
            add_name(n, set->sip.listen[i].advertise);
        add_ip(n, set->sip.listen[i].bind);
    }
    n->written_n = n->dns_n;
    add_name(n, host);
    add_name(n, SV("localhost"));
    for (size_t i = 0; i < 2; i++) {
        if (!addr_parse_ip(sv_of(always[i]), 0, &loopback))
            add_ip(n, loopback);
    }
    size_t own_n = worker_addresses(own, ADDRESSES_MAX);
    for (size_t i = 0; i < own_n; i++) {
        if (!is_temporary(&own[i]))
            add_ip(n, own[i]);
    }
}

static int by_text(const void *a, const void *b)
{
    return sv_cmp(*(const sv *)a, *(const sv *)b);
}

/* One a line, in order: two of the same names are the same text. */
static enum err put_names(const struct own_names *n, struct arena *a, sv *ret_text)
{
    sv lines[NAMES_MAX + ADDRESSES_MAX];
    size_t lines_n = 0;
    struct buf b;
    buf_init_heap(&b, TEXT_MAX);
    for (size_t i = 0; i < n->dns_n; i++)
        TRY(sv_dup_lower(a, n->dns[i], &lines[lines_n++]));
    for (size_t i = 0; i < n->ips_n; i++) {
        char mem[64];
        struct buf ip;
        buf_init(&ip, mem, sizeof(mem));
        addr_print_ip(&ip, &n->ips[i]);
        TRY(sv_dup(a, buf_sv(&ip), &lines[lines_n++]));
    }
    qsort(lines, lines_n, sizeof(lines[0]), by_text);
    for (size_t i = 0; i < lines_n; i++) {
        buf_put(&b, lines[i]);
        buf_char(&b, '\n');
    }
    enum err rc = b.rc ? b.rc : sv_dup(a, buf_sv(&b), ret_text);
    buf_done(&b);
    return rc;
}

/* A constraint on a host name permits what is under it too (RFC 5280 §4.2.1.10). */
static bool permits(sv ca_names, sv name, bool host)
{
    while (ca_names.n) {
        size_t end = sv_chr(ca_names, '\n');
        sv line = sv_sub(ca_names, 0, end);
        if (sv_ieq(line, name) ||
            (host && line.n && name.n > line.n + 1 && name.p[name.n - line.n - 1] == '.' &&
             sv_ieq(sv_sub(name, name.n - line.n, name.n), line)))
            return true;
        ca_names = sv_sub(ca_names, end + 1, ca_names.n);
    }
    return false;
}

/* ---- files ---- */

/* Absent: SV_NONE. */
static enum err read_path(const char *path, struct arena *a, sv *ret_text)
{
    char mem[FILE_MAX];
    size_t n = 0;
    ssize_t got;
    *ret_text = SV_NONE;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? ERR_OK : ERR_IO;
    while (n < sizeof(mem) && (got = read(fd, mem + n, sizeof(mem) - n)) > 0)
        n += (size_t)got;
    close(fd);
    enum err rc = n == 0 || n == sizeof(mem) ? ERR_OK : sv_dup(a, (sv){mem, n}, ret_text);
    crypto_wipe(mem, n);
    return rc;
}

static enum err read_file(const struct daemon *d, const char *name, struct arena *a, sv *ret_text)
{
    char path[1300];
    return read_path(state_path(d, name, path, sizeof(path)), a, ret_text);
}

static enum err write_file(const struct daemon *d, const char *name, sv text)
{
    char path[1300];
    return state_write(state_path(d, name, path, sizeof(path)), text);
}

/* A certificate, its key and its names: the names are written last and count for all three. */
static enum err write_three(const struct daemon *d, const char *const files[3], sv cert, sv key,
                            sv names)
{
    char path[1300];
    if (unlink(state_path(d, files[2], path, sizeof(path))) != 0 && errno != ENOENT)
        return ERR_IO;
    TRY(write_file(d, files[1], key));
    TRY(write_file(d, files[0], cert));
    return write_file(d, files[2], names);
}

static enum err read_three(const struct daemon *d, const char *const files[3], struct arena *a,
                           sv *ret_cert, sv *ret_key, sv *ret_names)
{
    TRY(read_file(d, files[0], a, ret_cert));
    TRY(read_file(d, files[1], a, ret_key));
    return read_file(d, files[2], a, ret_names);
}

static const char *const ca_files[3] = {"ca.pem", "ca.key", "ca.names"};
static const char *const old_files[3] = {"ca.pem.old", "ca.key.old", "ca.names.old"};
static const char *const leaf_files[3] = {"tls.pem", "tls.key", "tls.names"};

/* ---- the authority ---- */

static usec expires_of(sv cert)
{
    static const struct tls_names none = {.dns_n = 0};
    usec expires = 0;
    bool covers;
    return tls_cert_covers(cert, &none, &covers, &expires) ? 0 : expires;
}

/* Moves from n to out what the authority does not permit. */
static void leave_out(struct own_names *n, sv ca_names, struct own_names *out)
{
    size_t dns_n = n->dns_n, ips_n = n->ips_n;
    n->dns_n = n->ips_n = 0;
    for (size_t i = 0; i < dns_n; i++) {
        struct own_names *to = permits(ca_names, n->dns[i], true) ? n : out;
        to->dns[to->dns_n++] = n->dns[i];
    }
    for (size_t i = 0; i < ips_n; i++) {
        char mem[64];
        struct buf b;
        buf_init(&b, mem, sizeof(mem));
        addr_print_ip(&b, &n->ips[i]);
        struct own_names *to = permits(ca_names, buf_sv(&b), false) ? n : out;
        to->ips[to->ips_n++] = n->ips[i];
    }
}

static bool has_new_name(const struct own_names *n, sv ca_names)
{
    for (size_t i = 0; i < n->written_n; i++) {
        if (!permits(ca_names, n->dns[i], true))
            return true;
    }
    return false;
}

/* Why the authority that is kept will not do; "": there is none; NULL: it will. */
static const char *unfit(const struct ca *c, const struct own_names *n, enum ca_change change,
                         usec wall)
{
    if (!c->ca.n || !c->ca_key.n || !c->ca_names.n)
        return c->ca.n ? "its files are not whole" : "";
    if (expires_of(c->ca) < wall + TLS_LEAF_LIFE)
        return "it expires";
    return change == CA_FOR_NAMES && has_new_name(n, c->ca_names) ? "a name of ours is new" : NULL;
}

static enum err dup_buf(struct arena *a, struct buf *b, sv *ret)
{
    enum err rc = b->rc ? b->rc : sv_dup(a, buf_sv(b), ret);
    if (b->p)
        crypto_wipe(b->p, b->n);
    buf_done(b);
    return rc;
}

static enum err new_ca(const struct daemon *d, const struct tls_names *names, sv text, usec wall,
                       struct arena *a, struct ca *c)
{
    struct buf cert, key;
    buf_init_heap(&cert, FILE_MAX);
    buf_init_heap(&key, FILE_MAX);
    enum err rc = tls_make_ca(names, wall, &cert, &key);
    enum err rc2 = dup_buf(a, &cert, &c->ca), rc3 = dup_buf(a, &key, &c->ca_key);
    rc = rc ? rc : rc2 ? rc2 : rc3;
    c->ca_names = text;
    return rc ? rc : write_three(d, ca_files, c->ca, c->ca_key, text);
}

static enum err new_leaf(const struct daemon *d, const struct tls_names *names, sv text, usec wall,
                         struct arena *a, struct ca *c)
{
    struct buf cert, key;
    buf_init_heap(&cert, FILE_MAX);
    buf_init_heap(&key, FILE_MAX);
    enum err rc = tls_make_leaf(c->ca, c->ca_key, names, wall, &cert, &key);
    enum err rc2 = dup_buf(a, &cert, &c->leaf), rc3 = dup_buf(a, &key, &c->leaf_key);
    rc = rc ? rc : rc2 ? rc2 : rc3;
    return rc ? rc : write_three(d, leaf_files, c->leaf, c->leaf_key, text);
}

/* The kept leaf fits its key. */
static bool is_pair(const struct ca *c)
{
    const struct tls_pair pair = {c->leaf, c->leaf_key};
    const struct tls_config tc = {.pairs = &pair, .n = 1, .ca = c->ca};
    char mem[128];
    struct buf why;
    struct tls *t = NULL;
    buf_init(&why, mem, sizeof(mem));
    bool good = c->leaf.n && c->leaf_key.n && tls_new(&tc, &why, &t) == ERR_OK;
    tls_unref(t);
    return good;
}

static void say_ca(const struct ca *c, const char *why)
{
    char mem[128];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    if (tls_cert_fingerprint(c->ca, &b))
        return;
    if (!*why)
        LOG_INFO("daemon", "tls.ca", F_SV("fingerprint", buf_sv(&b)),
                 F_STR("file", "ca.pem in the data folder: phones that trust it know us"));
    else
        LOG_WARN("daemon", "tls.ca", F_SV("fingerprint", buf_sv(&b)), F_STR("why", why),
                 F_STR("what", CA_NEW_TEXT));
}

/* names: a line each. */
static void say_left_out(sv names)
{
    struct buf b;
    buf_init_heap(&b, TEXT_MAX);
    for (size_t i = 0; i + 1 < names.n; i++) {
        buf_char(&b, names.p[i] == '\n' ? ',' : names.p[i]);
        buf_str(&b, names.p[i] == '\n' ? " " : "");
    }
    LOG_WARN("daemon", "tls.left_out", F_SV("names", buf_sv(&b)),
             F_STR("what", "the certificate is without them, since our authority was not made for "
                           "them; without ca.pem the next start makes a new one"));
    buf_done(&b);
}

/* For why; keeps the one before, when it was whole. */
static enum err replace_ca(const struct daemon *d, const struct tls_names *names, sv text,
                           const char *why, usec wall, struct arena *a, struct ca *c)
{
    bool whole = c->ca.n && c->ca_key.n && c->ca_names.n;
    if (whole)
        TRY(write_three(d, old_files, c->ca, c->ca_key, c->ca_names));
    TRY(new_ca(d, names, text, wall, a, c));
    c->replaced = *why != '\0';
    say_ca(c, why);
    return ERR_OK;
}

static enum err ensure(const struct daemon *d, const struct settings *set, enum ca_change change,
                       usec wall, struct arena *a, struct ca *c)
{
    struct own_names *n = ARENA_NEW(a, struct own_names), *out = ARENA_NEW(a, struct own_names);
    char host[256];
    sv text, leaf_names;
    if (!n || !out)
        return ERR_NOMEM;
    collect(set, state_host_name(host), n);
    TRY(read_three(d, ca_files, a, &c->ca, &c->ca_key, &c->ca_names));
    const char *why = unfit(c, n, change, wall);
    if (!why)
        leave_out(n, c->ca_names, out);
    const struct tls_names names = {n->dns, n->dns_n, n->ips, n->ips_n};
    TRY(put_names(n, a, &text));
    TRY(put_names(out, a, &c->left_out));
    if (why)
        TRY(replace_ca(d, &names, text, why, wall, a, c));
    TRY(read_three(d, leaf_files, a, &c->leaf, &c->leaf_key, &leaf_names));
    if (why || !sv_eq(leaf_names, text) || !is_pair(c) || expires_of(c->leaf) - wall < LEAF_RENEW) {
        enum err rc = new_leaf(d, &names, text, wall, a, c);
        if (rc == ERR_SYNTAX && !why) { /* a key that is not the authority's */
            c->ca_key = SV_NONE;
            TRY(replace_ca(d, &names, text, "its files are not whole", wall, a, c));
            rc = new_leaf(d, &names, text, wall, a, c);
        }
        TRY(rc);
    }
    c->names = text;
    c->renew = expires_of(c->leaf) - LEAF_RENEW;
    if (c->left_out.n)
        say_left_out(c->left_out);
    return ERR_OK;
}

bool ca_stands(const struct settings *set, usec wall, const struct ca *c)
{
    struct own_names *n = MEM_NEW(struct own_names), *out = MEM_NEW(struct own_names);
    struct arena a;
    char host[256];
    sv text, left_out;
    bool same = false;
    arena_init(&a, NULL, 0, TEXT_MAX);
    if (n && out) {
        collect(set, state_host_name(host), n);
        leave_out(n, c->ca_names, out);
        same = wall < c->renew && put_names(n, &a, &text) == ERR_OK && sv_eq(text, c->names) &&
               put_names(out, &a, &left_out) == ERR_OK && sv_eq(left_out, c->left_out);
    }
    arena_done(&a);
    mem_free(n);
    mem_free(out);
    return same;
}

bool daemon_new_authority(const struct config *c)
{
    struct own_names *n = MEM_NEW(struct own_names);
    struct arena a;
    char path[1300];
    struct buf b;
    sv names = SV_NONE;
    arena_init(&a, NULL, 0, TEXT_MAX);
    buf_init(&b, path, sizeof(path));
    buf_put(&b, c->data);
    buf_str(&b, "/ca.names");
    buf_char(&b, '\0');
    bool asked = n && tls_wanted(c) && c->tls.n == 0 && !b.rc;
    bool new = asked &&read_path(path, &a, &names) == ERR_OK &&names.n > 0;
    if (new) {
        collect(c->settings, SV(""), n);
        new = has_new_name(n, names);
    }
    arena_done(&a);
    mem_free(n);
    return new;
}

enum err ca_ensure(struct daemon *d, const struct settings *set, enum ca_change change, usec wall,
                   struct arena *a, struct ca *ret_ca)
{
    *ret_ca = (struct ca){.renew = 0};
    pthread_mutex_lock(&d->ca_lock);
    enum err rc = ensure(d, set, change, wall, a, ret_ca);
    pthread_mutex_unlock(&d->ca_lock);
    return rc;
}
