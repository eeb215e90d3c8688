/* SPDX-License-Identifier: MIT */
/* Single values: read by the type of their key, printed as they would stand in a file. */
#include "config/config_priv.h"
#include "uri/uri.h"

struct unit {
    sv name;
    int64_t factor;
};
/* Largest first: printing takes the first that divides. */
static const struct unit durations[] = {
    {SV("d"), USEC_DAY}, {SV("h"), USEC_HOUR}, {SV("m"), USEC_MIN},
    {SV("s"), USEC_S},   {SV("ms"), USEC_MS},
};
static const struct unit sizes[] = {
    {SV("GiB"), 1024 * 1024 * 1024},
    {SV("MiB"), 1024 * 1024},
    {SV("KiB"), 1024},
    {SV("B"), 1},
};
#define DURATIONS (sizeof(durations) / sizeof(durations[0]))
#define SIZES     (sizeof(sizes) / sizeof(sizes[0]))

const sv config_algorithms[AUTH_ALGORITHMS] = {
    [AUTH_MD5] = SV("md5"), [AUTH_SHA256] = SV("sha-256")};

#define DURATION_HINT SV("a duration is a number and a unit: 500ms, 30s, 5m, 1h, 2d")

sv config_word(sv words, size_t i)
{
    for (size_t at = 0; at <= words.n; i--) {
        size_t end = at + sv_chr(sv_sub(words, at, words.n), '|');
        if (i == 0)
            return sv_sub(words, at, end);
        at = end + 1;
    }
    return SV_NONE;
}

static bool all_digits(sv s)
{
    size_t i = 0;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    return i == s.n && i > 0;
}

/* Number and unit. Errors: ERR_SYNTAX, ERR_RANGE. */
static enum err with_unit(sv text, const struct unit *units, size_t n, int64_t *ret_value)
{
    size_t digits = 0;
    uint64_t v;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    sv unit = sv_sub(text, digits, text.n);
    for (size_t i = 0; i < n; i++) {
        if (!sv_eq(unit, units[i].name))
            continue;
        TRY(sv_u64(sv_sub(text, 0, digits), (uint64_t)(INT64_MAX / units[i].factor), &v));
        *ret_value = (int64_t)v * units[i].factor;
        return ERR_OK;
    }
    return ERR_SYNTAX;
}

static const struct unit bitrates[] = {
    {SV("Gbit/s"), 1000000000}, {SV("Mbit/s"), 1000000}, {SV("kbit/s"), 1000}};
enum { BITRATES = sizeof(bitrates) / sizeof(bitrates[0]) };

enum err config_size_parse(sv text, uint64_t *ret_bytes)
{
    int64_t v;
    TRY(with_unit(text, sizes, SIZES, &v));
    *ret_bytes = (uint64_t)v;
    return ERR_OK;
}

static void put_unit(struct buf *b, int64_t v, const struct unit *units, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((v != 0 && v % units[i].factor == 0) || i + 1 == n) {
            buf_i64(b, v / units[i].factor);
            buf_put(b, units[i].name);
            return;
        }
    }
}

void config_put_number(struct buf *b, enum config_type type, int64_t v)
{
    if (type == CONFIG_T_DURATION || type == CONFIG_T_RANGE) {
        put_unit(b, v, durations, DURATIONS);
    } else if (type == CONFIG_T_RATE) {
        buf_i64(b, v);
        buf_str(b, "/s");
    } else if (type == CONFIG_T_SIZE) {
        put_unit(b, v, sizes, SIZES);
    } else if (type == CONFIG_T_BITRATE && v > 0) {
        put_unit(b, v, bitrates, BITRATES);
    } else {
        buf_i64(b, v);
    }
}

void config_put_bounds(struct buf *b, const struct config_row *key)
{
    buf_str(b,
            key->type == CONFIG_T_INT || key->type == CONFIG_T_COUNT ? "a number from " : "from ");
    config_put_number(b, key->type, key->lo);
    buf_str(b, " to ");
    config_put_number(b, key->type, key->hi);
    if (key->words.n > 0) {
        buf_str(b, ", or ");
        buf_put(b, key->words);
    }
}

static bool in_bounds(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, int64_t v)
{
    char mem[128], shown[CONFIG_SHOWN];
    struct buf b;
    if (v >= key->lo && v <= key->hi)
        return true;
    buf_init(&b, mem, sizeof(mem));
    config_put_bounds(&b, key);
    config_error(r, s->at, buf_sv(&b), SV_FMT ": %s is out of range", SV_ARG(key->path),
                 config_shown(s, shown));
    return false;
}

static bool read_int(struct config_reader *r, const struct config_row *key,
                     const struct config_scalar *s, struct config_value *v)
{
    char mem[128], shown[CONFIG_SHOWN];
    uint64_t n = 0;
    enum err rc = sv_u64(s->text, INT64_MAX, &n);
    if (!rc) {
        v->n = (int64_t)n;
        return in_bounds(r, key, s, v->n);
    }
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    config_put_bounds(&b, key);
    config_error(r, s->at, buf_sv(&b), SV_FMT ": %s is %s", SV_ARG(key->path),
                 config_shown(s, shown), rc == ERR_RANGE ? "out of range" : "not a number");
    return false;
}

/* A duration or size at text, which is all of s or one end of a range. */
static bool read_unit(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, sv text, int64_t *ret_v)
{
    bool size = key->type == CONFIG_T_SIZE;
    char shown[CONFIG_SHOWN], mem[96];
    enum err rc =
        size ? with_unit(text, sizes, SIZES, ret_v) : with_unit(text, durations, DURATIONS, ret_v);
    if (!rc)
        return in_bounds(r, key, s, *ret_v);
    if (all_digits(text) && text.n < 20 && !sv_present(s->from)) {
        struct buf b;
        buf_init(&b, mem, sizeof(mem));
        buf_printf(&b, "say " SV_FMT "%s", SV_ARG(text), size ? "B, or 64KiB" : "s");
        config_error(r, s->at, buf_sv(&b), SV_FMT ": %s has no unit", SV_ARG(key->path),
                     config_shown(s, shown));
        return false;
    }
    config_error(r, s->at,
                 size ? SV("a size is a number and a unit: 512B, 64KiB, 1MiB") : DURATION_HINT,
                 SV_FMT ": %s is %s", SV_ARG(key->path), config_shown(s, shown),
                 rc == ERR_RANGE ? "out of range"
                 : size          ? "not a size"
                                 : "not a duration");
    return false;
}

static bool read_range(struct config_reader *r, const struct config_row *key,
                       const struct config_scalar *s, struct config_value *v)
{
    char shown[CONFIG_SHOWN];
    size_t dash = sv_chr(s->text, '-');
    if (dash == s->text.n) { /* one value: a range of it alone */
        if (!read_unit(r, key, s, s->text, &v->n))
            return false;
        v->n2 = v->n;
        return true;
    }
    if (!read_unit(r, key, s, sv_sub(s->text, 0, dash), &v->n) ||
        !read_unit(r, key, s, sv_sub(s->text, dash + 1, s->text.n), &v->n2))
        return false;
    if (v->n <= v->n2)
        return true;
    config_error(r, s->at, SV("the smaller one comes first: 60s-1h"),
                 SV_FMT ": %s ends before it begins", SV_ARG(key->path), config_shown(s, shown));
    return false;
}

static bool read_port(sv text, int64_t *ret_port)
{
    uint64_t n;
    if (sv_u64(text, 65535, &n) || n == 0)
        return false;
    *ret_port = (int64_t)n;
    return true;
}

static bool read_ports(struct config_reader *r, const struct config_row *key,
                       const struct config_scalar *s, struct config_value *v)
{
    char shown[CONFIG_SHOWN];
    size_t dash = sv_chr(s->text, '-');
    if (read_port(sv_sub(s->text, 0, dash), &v->n) &&
        read_port(sv_sub(s->text, dash + 1, s->text.n), &v->n2) && v->n >= 1024 &&
        v->n2 >= v->n + 3)
        return true;
    config_error(r, s->at, SV("two ports from 1024 to 65535, such as 20000-29999"),
                 SV_FMT ": %s is no range of ports, or one too small for a call", SV_ARG(key->path),
                 config_shown(s, shown));
    return false;
}

static bool read_bitrate(struct config_reader *r, const struct config_row *key,
                         const struct config_scalar *s, struct config_value *v)
{
    char shown[CONFIG_SHOWN];
    if (sv_eq(s->text, SV("0"))) {
        v->n = 0;
        return true;
    }
    enum err rc = with_unit(s->text, bitrates, BITRATES, &v->n);
    if (!rc)
        return in_bounds(r, key, s, v->n);
    config_error(r, s->at, SV("such as 50Mbit/s, or 0"), SV_FMT ": %s %s", SV_ARG(key->path),
                 config_shown(s, shown),
                 rc == ERR_RANGE ? "is out of range" : "has no unit that this can have");
    return false;
}

enum { WORD_BITS = 4 };

unsigned config_words_n(const struct config_value *v)
{
    unsigned n = 0;
    while (n < 64 / WORD_BITS && (uint64_t)v->n >> n * WORD_BITS & 15)
        n++;
    return n;
}

unsigned config_words_at(const struct config_value *v, unsigned i)
{
    return (unsigned)((uint64_t)v->n >> i * WORD_BITS & 15) - 1;
}

bool config_words_add(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, struct config_value *v)
{
    char mem[128], shown[CONFIG_SHOWN];
    struct buf b;
    sv word;
    unsigned n = config_words_n(v);
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "some of");
    for (unsigned i = 0; sv_present(word = config_word(key->words, i)); i++) {
        buf_char(&b, ' ');
        buf_put(&b, word);
        if (!sv_eq(word, s->text))
            continue;
        for (unsigned k = 0; k < n; k++) {
            if (config_words_at(v, k) == i) {
                config_error(r, s->at, SV_NONE, SV_FMT ": %s stands in the list twice",
                             SV_ARG(key->path), config_shown(s, shown));
                return false;
            }
        }
        v->n = (int64_t)((uint64_t)v->n | (uint64_t)(i + 1) << n * WORD_BITS);
        return true;
    }
    config_error(r, s->at, buf_sv(&b), SV_FMT ": %s is none of what this can have",
                 SV_ARG(key->path), config_shown(s, shown));
    return false;
}

/* One, or several with blanks between, as defaults have them. */
static bool read_words(struct config_reader *r, const struct config_row *key,
                       const struct config_scalar *s, struct config_value *v)
{
    for (size_t at = 0; at <= s->text.n;) {
        size_t end = at + sv_chr(sv_sub(s->text, at, s->text.n), ' ');
        struct config_scalar word = *s;
        word.text = sv_sub(s->text, at, end);
        if (!config_words_add(r, key, &word, v))
            return false;
        at = end + 1;
    }
    return true;
}

static bool read_enum(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, struct config_value *v)
{
    char mem[128], shown[CONFIG_SHOWN];
    struct buf b;
    sv word;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "say ");
    for (size_t i = 0; sv_present(word = config_word(key->words, i)); i++) {
        if (sv_eq(word, s->text)) {
            v->n = (int64_t)i;
            return true;
        }
        buf_str(&b, i == 0                                              ? ""
                    : i == 1 && !sv_present(config_word(key->words, 2)) ? " or "
                                                                        : ", ");
        buf_put(&b, word);
    }
    bool later = sv_starts(s->text, SV("postgresql:")) || sv_starts(s->text, SV("redis:")) ||
                 sv_starts(s->text, SV("rediss:"));
    config_error(r, s->at, buf_sv(&b), SV_FMT ": %s is %s", SV_ARG(key->path),
                 config_shown(s, shown),
                 later ? "not built yet" : "not a word that can stand here");
    return false;
}

static bool read_bool(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, struct config_value *v)
{
    char shown[CONFIG_SHOWN];
    v->n = sv_eq(s->text, SV("true"));
    if (v->n || sv_eq(s->text, SV("false")))
        return true;
    config_error(r, s->at, SV("say true or false"), SV_FMT ": %s is neither true nor false",
                 SV_ARG(key->path), config_shown(s, shown));
    return false;
}

/* NUMBER/s: what has a rate here is counted by the second. */
static bool read_rate(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, struct config_value *v)
{
    char shown[CONFIG_SHOWN], mem[64];
    struct buf b;
    size_t slash = sv_chr(s->text, '/');
    sv number = sv_sub(s->text, 0, slash), per = sv_sub(s->text, slash, s->text.n);
    uint64_t n;
    bool bare = slash == s->text.n && all_digits(number) && number.n < 20 && !sv_present(s->from);
    if (sv_eq(per, SV("/s")) && !sv_u64(number, INT64_MAX, &n)) {
        v->n = (int64_t)n;
        return in_bounds(r, key, s, v->n);
    }
    buf_init(&b, mem, sizeof(mem));
    if (bare)
        buf_printf(&b, "say " SV_FMT "/s", SV_ARG(number));
    else
        buf_str(&b, "a number a second, such as 20/s");
    config_error(r, s->at, buf_sv(&b), SV_FMT ": %s %s", SV_ARG(key->path), config_shown(s, shown),
                 bare ? "has no unit" : "is no rate that this can have");
    return false;
}

static bool read_secret(struct config_reader *r, const struct config_row *key,
                        const struct config_scalar *s, struct config_value *v)
{
    if (!sv_present(s->from)) {
        config_error(r, s->at, SV("file:PATH, env:NAME or credential:NAME"),
                     SV_FMT ": a secret may not stand in the file itself", SV_ARG(key->path));
        return false;
    }
    v->text = s->text;
    return true;
}

static bool copy_text(struct config_reader *r, sv text, sv *ret_copy)
{
    if (!sv_dup(r->arena, text, ret_copy))
        return true;
    r->nomem = true;
    return false;
}

/* Host of a Via sent-by (RFC 3261 §25.1): IPv6 in brackets. */
static bool read_host(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, struct config_value *v)
{
    char mem[64], shown[CONFIG_SHOWN];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    if (!addr_parse_ip(s->text, 0, &v->addr)) {
        if (addr_is_any(&v->addr)) {
            config_error(r, s->at, SV("an address that peers can send to"),
                         SV_FMT ": %s is no address of one host", SV_ARG(key->path),
                         config_shown(s, shown));
            return false;
        }
        addr_print_host(&b, &v->addr);
        return copy_text(r, buf_sv(&b), &v->text);
    }
    if (uri_is_host(s->text, false))
        return copy_text(r, s->text, &v->text);
    config_error(r, s->at, SV("such as 203.0.113.5, 2001:db8::5, pbx.example.test, or auto"),
                 SV_FMT ": %s is neither an address nor a host name", SV_ARG(key->path),
                 config_shown(s, shown));
    return false;
}

static bool read_bind(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, struct config_value *v)
{
    char shown[CONFIG_SHOWN];
    if (addr_parse(s->text, &v->addr)) {
        config_error(r, s->at, SV("such as 127.0.0.1:8080, [::1]:8080, or never"),
                     SV_FMT ": %s is not ADDRESS:PORT", SV_ARG(key->path), config_shown(s, shown));
        return false;
    }
    if (addr_class(&v->addr) == ADDR_LOOPBACK)
        return true;
    config_error(r, s->at, SV("bind it to 127.0.0.1 and reach it through a tunnel"),
                 SV_FMT
                 ": %s is not on the loopback, where only TLS may go, which is not built yet",
                 SV_ARG(key->path), config_shown(s, shown));
    return false;
}

bool config_algorithm(struct config_reader *r, sv key, const struct config_scalar *s,
                      struct auth_policy *p)
{
    char shown[CONFIG_SHOWN];
    for (int a = 0; a < AUTH_ALGORITHMS; a++) {
        if (!sv_ieq(s->text, config_algorithms[a]))
            continue;
        for (unsigned i = 0; i < p->n; i++) {
            if (p->list[i] == (enum auth_algorithm)a) {
                config_error(r, s->at, SV_NONE, SV_FMT ": %s stands in the list twice", SV_ARG(key),
                             config_shown(s, shown));
                return false;
            }
        }
        p->mode = AUTH_MODE_LIST;
        p->list[p->n++] = (enum auth_algorithm)a;
        return true;
    }
    config_error(r, s->at, SV("auto, or a list of sha-256 and md5"),
                 SV_FMT ": %s is no digest algorithm that we have", SV_ARG(key),
                 config_shown(s, shown));
    return false;
}

bool config_value_read(struct config_reader *r, const struct config_row *key,
                       const struct config_scalar *s, struct config_value *v)
{
    bool one_word = key->type == CONFIG_T_COUNT || key->type == CONFIG_T_HOST ||
                    key->type == CONFIG_T_BIND || key->type == CONFIG_T_DIGEST ||
                    (key->type == CONFIG_T_DURATION && key->words.n > 0);
    if (one_word && sv_eq(s->text, key->words))
        return true; /* all zero */
    switch (key->type) {
    case CONFIG_T_INT:
    case CONFIG_T_COUNT:
        return read_int(r, key, s, v);
    case CONFIG_T_DURATION:
    case CONFIG_T_SIZE:
        return read_unit(r, key, s, s->text, &v->n);
    case CONFIG_T_RANGE:
        return read_range(r, key, s, v);
    case CONFIG_T_ENUM:
        return read_enum(r, key, s, v);
    case CONFIG_T_TEXT:
        return copy_text(r, s->text, &v->text);
    case CONFIG_T_PATH:
        if (s->text.n == 0) {
            config_error(r, s->at, SV("a path, or leave the key out"), SV_FMT ": is empty",
                         SV_ARG(key->path));
            return false;
        }
        v->text = config_join(r, s->folder, s->text);
        return sv_present(v->text);
    case CONFIG_T_HOST:
        return read_host(r, key, s, v);
    case CONFIG_T_BIND:
        return read_bind(r, key, s, v);
    case CONFIG_T_PORTS:
        return read_ports(r, key, s, v);
    case CONFIG_T_BITRATE:
        return read_bitrate(r, key, s, v);
    case CONFIG_T_WORDS:
        return read_words(r, key, s, v);
    case CONFIG_T_DIGEST:
        v->digest_listed = true;
        return config_algorithm(r, key->path, s, &v->digest);
    case CONFIG_T_BOOL:
        return read_bool(r, key, s, v);
    case CONFIG_T_RATE:
        return read_rate(r, key, s, v);
    case CONFIG_T_SECRET:
        return read_secret(r, key, s, v);
    case CONFIG_T_PEM:
        return config_pem(r, key, s, v);
    case CONFIG_T_DOMAINS:
    case CONFIG_T_LISTEN:
    case CONFIG_T_DOORS:
    case CONFIG_T_INCLUDE:
    case CONFIG_T_ACCOUNTS:
    case CONFIG_T_LEVELS:
    case CONFIG_T_NETWORKS:
    case CONFIG_T_ADDRS:
    case CONFIG_T_ZONES:
    case CONFIG_T_SNI:
    case CONFIG_T_EXEMPT:
    case CONFIG_T_ROUTES:
    case CONFIG_TYPES:
        break;
    }
    return false;
}

bool config_field(struct config_reader *r, struct config_doc *d, const struct config_row *as,
                  yaml_node_t *node, struct config_value *ret_v)
{
    struct config_scalar s;
    if (!(as->type == CONFIG_T_PEM ? config_plain(r, d, node, as->path, &s)
                                   : config_scalar(r, d, node, as->path, &s)))
        return false;
    struct config_value v = {.from = s.from, .at = s.at};
    if (!config_value_read(r, as, &s, &v))
        return false;
    v.set = true;
    *ret_v = v;
    return true;
}
