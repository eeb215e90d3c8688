/* SPDX-License-Identifier: MIT */
/* config/config_priv.h: what the parts of config share.                         layer: app
 *
 * Shape   config.def becomes config_rows[]. Files are walked node by node (config_yaml.c finds
 *         them, config_bind.c walks), each
 *         value is read by its key's type (config_value.c) or, for lists of maps, by rows of its
 *         own (config_items.c), and kept with
 *         its place. config_apply.c turns what was kept into the settings and checks across
 *         keys. Nothing of libyaml survives the
 *         reading of its file.
 * Life    everything read lives in config.arena.
 * Threads as config.h.
 */
#ifndef CONFIG_CONFIG_PRIV_H
#define CONFIG_CONFIG_PRIV_H
#include <yaml.h>
#include "config/config.h"
#include "loop/loop.h"
#include "store/store.h"

enum {
    CONFIG_FILES_MAX = 256,       /* with all that are included */
    CONFIG_INCLUDE_DEPTH = 4,     /* files that include files */
    CONFIG_PAIRS_MAX = 256,       /* keys of one map */
    CONFIG_ANCHORS_MAX = 1000,    /* libyaml compares each with all before it */
    CONFIG_VISITS_EXTRA = 100000, /* nodes seen again through aliases */
    CONFIG_NESTING_MAX = 32,
    CONFIG_TEXT_MAX = 1024,         /* octets of one value: the directory's cap */
    CONFIG_OUTSIDE_MAX = 64 * 1024, /* octets of a file: or credential: */
    CONFIG_SHOWN_MAX = 64,          /* octets of a value that a message repeats */
    CONFIG_LISTEN_ADDRS = SIP_LISTENERS_MAX,
    CONFIG_NETWORKS_MAX = 256, /* items of one list of networks, before its own cap */
};

enum config_type {
    CONFIG_T_INT,
    CONFIG_T_COUNT, /* a number, or the word: 0 */
    CONFIG_T_DURATION,
    CONFIG_T_RANGE, /* DURATION-DURATION */
    CONFIG_T_SIZE,
    CONFIG_T_ENUM,
    CONFIG_T_TEXT,
    CONFIG_T_PATH,
    CONFIG_T_HOST,                     /* address or host name, or the word: absent */
    CONFIG_T_BIND,                     /* address and port, or the word: family 0 */
    CONFIG_T_BOOL,                     /* true: 1 */
    CONFIG_T_RATE,                     /* per second */
    CONFIG_T_SECRET,                   /* a TEXT that has to come from elsewhere */
    CONFIG_T_PEM,                      /* a PATH, or from elsewhere; its octets are read */
    CONFIG_T_PORTS,                    /* PORT-PORT */
    CONFIG_T_BITRATE,                  /* per second; 0 without a unit */
    CONFIG_T_DIGEST,                   /* the word, or algorithms */
    CONFIG_T_WORDS,                    /* some of the words, in order; n: see config_words_n */
    CONFIG_T_SCALARS = CONFIG_T_WORDS, /* up to here one value is enough */
    CONFIG_T_DOMAINS,
    CONFIG_T_LISTEN,
    CONFIG_T_DOORS, /* listeners without a long form: of TURN */
    CONFIG_T_INCLUDE,
    CONFIG_T_ACCOUNTS,
    CONFIG_T_LEVELS,
    CONFIG_T_NETWORKS, /* list of CIDR */
    CONFIG_T_ADDRS,    /* list of ADDRESS[:PORT] */
    CONFIG_T_ZONES,
    CONFIG_T_SNI,
    CONFIG_T_EXEMPT,
    CONFIG_T_ROUTES,
    CONFIG_TYPES
};

/* The keys, in the order of config.def. */
enum config_id {
#define CONFIG_KEY(id, path, type, lo, hi, words, def, change, help) CONFIG_K_##id,
#include "config/config.def"
    CONFIG_KEYS
};

struct config_row {
    enum { CONFIG_ROW_KEY, CONFIG_ROW_FIELD, CONFIG_ROW_LATER } kind;
    enum config_id id; /* of a key */
    sv path;
    enum config_type type; /* of a key */
    int64_t lo, hi;
    sv words, def;
    bool restart;
    sv shape, help;
};
extern const struct config_row config_rows[];
extern const size_t config_rows_n;
const struct config_row *config_key(enum config_id id);
/* The row of path, or NULL. */
const struct config_row *config_row_of(sv path);

/* row is a field of the items of list; its name there. */
bool config_is_field(const struct config_row *row, sv list);
sv config_field_name(const struct config_row *row, sv list);

struct config_place {
    sv file;               /* as named; "default", "--set" or "$NAME" */
    unsigned line, column; /* from 1; 0: none */
};

/* One value of the file, before its type is known. */
struct config_scalar {
    sv text;
    sv from;   /* env:NAME, file:PATH, credential:NAME; absent: it stood there itself */
    sv folder; /* absolute: where its relative paths start */
    struct config_place at;
};

struct config_value {
    bool set; /* by a file, --set or the environment */
    int64_t n,
        n2;  /* number, microseconds, bytes, index of the word; second end of a range; of WORDS
                         four bits for each, its index and one more, the first one lowest */
    sv text; /* TEXT, PATH, HOST */
    struct addr addr; /* BIND */
    struct auth_policy digest;
    bool digest_listed; /* may be added to by another file */
    struct config_pem pem;
    sv from;
    struct config_place at;
};

/* One word of a list that is understood when the whole file is known. */
struct config_word {
    struct config_word *next;
    sv text, folder; /* folder: of the file that it stands in */
    struct config_place at;
    unsigned step; /* of a TARGET: its place in the outer list */
};

struct config_net {
    struct config_net *next;
    struct addr_net net;
    struct config_place at;
};

struct config_address {
    struct config_address *next;
    struct addr addr;
    struct config_place at;
};

struct config_zone {
    struct config_zone *next;
    sv name;
    struct config_value advertise; /* a HOST; set: given */
    struct config_net *networks;
    unsigned networks_n;
    struct config_place at;
};

struct config_pair_files {
    struct config_pair_files *next;
    struct config_value certificate, key;
    struct config_place at;
};

struct config_exempt {
    struct config_exempt *next;
    struct addr_net from;
    struct config_value connections, new_connections; /* set: given */
    struct config_place at;
};

struct config_when {
    struct config_word *from, *user, *domain, *method, *zone;
    struct config_place at;
};

struct config_route {
    struct config_route *next;
    sv name; /* absent: its place */
    struct config_when when, unless;
    bool has_unless;
    unsigned actions; /* how many of to, redirect, reject stand there */
    enum settings_action action;
    struct config_word *targets;
    sv reject;
    struct config_value timeout;
    struct config_place at, reject_at;
    struct settings_route *out; /* what was made of it */
};

struct config_domain {
    struct config_domain *next;
    sv name, realm; /* name lower case; realm may be absent */
    sv aliases[SETTINGS_ALIASES_MAX];
    unsigned aliases_n;
    bool has_digest;
    struct auth_policy digest;
    struct config_place at, digest_at;
};

struct config_listener {
    struct config_listener *next;
    sv text; /* as written */
    enum sip_transport transport;
    struct addr addrs[CONFIG_LISTEN_ADDRS];
    unsigned addrs_n;
    struct config_place at;
    /* of the long form */
    bool is_long, freebind;
    sv zone; /* absent: default */
    struct config_place zone_at;
    sv origins[SIP_ORIGINS_MAX];
    unsigned origins_n;
    struct config_net *proxies;
    unsigned proxies_n;
};

struct config_account {
    struct config_account *next;
    sv user, domain, name; /* user canonical; domain lower case, may be absent */
    sv numbers[STORE_NUMBERS_MAX];
    unsigned numbers_n;
    sv password, password_from;
    struct config_place at, password_at;
};

struct config_include {
    struct config_include *next;
    sv pattern;
    struct config_place at;
};

struct config_module {
    sv module;
    enum log_level level;
    struct config_place at;
};

/* What config.h shows, and what was read. */
struct config_all {
    struct config pub;
    struct config_value values[CONFIG_KEYS];
    struct config_domain *domains, **domains_end;
    struct config_listener *listeners, **listeners_end;
    struct config_account *accounts, **accounts_end;
    struct config_include *includes, **includes_end;
    size_t domains_n, listeners_n, accounts_n;
    struct config_module modules[32];
    unsigned modules_n;
    struct config_net *local, *trusted, *turn_peers;
    struct config_listener *doors, **doors_end;
    bool turn; /* the section stands there */
    struct config_address *servers;
    struct config_zone *zones, **zones_end;
    struct config_pair_files *sni, **sni_end;
    bool pem_refused; /* a file that was named could not be read */
    struct config_exempt *exempt, **exempt_end;
    struct config_route *routes, **routes_end;
    size_t routes_n;
};
static inline struct config_all *config_all(struct config *c)
{
    return (struct config_all *)(void *)c;
}
static inline const struct config_all *config_all_const(const struct config *c)
{
    return (const struct config_all *)(const void *)c;
}

struct config_seen {
    dev_t device;
    ino_t inode;
    struct config_stamp stamp;
};

/* One load. */
struct config_reader {
    struct config_all *c;
    struct config_report *report;
    struct arena *arena; /* c's */
    bool nomem;          /* sticky: the load ends with ERR_NOMEM */
    struct config_seen seen[CONFIG_FILES_MAX];
    unsigned files;
    bool sets; /* --set is being read: it replaces what files said */
    const struct config_source *source;
    struct config_file read[CONFIG_FILES_MAX]; /* by files */
};

/* One file while it is read. */
struct config_doc {
    yaml_document_t yaml;
    sv octets;      /* the file */
    sv name;        /* as named */
    sv folder;      /* absolute */
    unsigned depth; /* of inclusion */
    size_t visits, visits_max;
    bool tired; /* visits_max was reached and reported */
};

/* ---- config_report.c ---- */
/* Adds a problem. fmt says what is wrong, hint (may be absent) what to write instead; both are
 * copied. */
__attribute__((format(printf, 4, 5))) void
config_error(struct config_reader *r, struct config_place at, sv hint, const char *fmt, ...);
__attribute__((format(printf, 4, 5))) void
config_finding(struct config_reader *r, struct config_place at, sv hint, const char *fmt, ...);
void config_report_sort(struct config_report *r);
/* "'text'", cut at CONFIG_SHOWN_MAX, or "the value of env:NAME" when it came from elsewhere; in
 * mem, for SV_ARG or %s. */
enum { CONFIG_SHOWN = CONFIG_SHOWN_MAX + 96 };
const char *config_shown(const struct config_scalar *s, char mem[static CONFIG_SHOWN]);
const char *config_place_text(struct config_place at, char mem[static CONFIG_SHOWN]);

/* ---- config_yaml.c ---- */
/* Reads, checks and walks the file. named: problems are reported as of it; at: what named it,
 * for a file that is missing. */
void config_read_file(struct config_reader *r, sv path, sv named, const struct config_place *at,
                      unsigned depth);
struct config_place config_place_of(const struct config_doc *d, const yaml_node_t *n);
/* The octets of the file from m on: for hints. */
sv config_octets_at(const struct config_doc *d, yaml_mark_t m);
/* The octets of a file, at most max, NUL-terminated beyond. Errors: ERR_NOTFOUND, ERR_DENIED,
 * ERR_TOOBIG, ERR_IO, ERR_NOMEM. */
MUST_USE enum err config_slurp(struct arena *a, const char *path, size_t max, sv *ret_octets,
                               struct config_seen *ret_seen, unsigned *ret_mode);
/* folder/path, or path when it is absolute. Absent: out of memory. */
sv config_join(struct config_reader *r, sv folder, sv path);

/* ---- config_bind.c ---- */
void config_walk(struct config_reader *r, struct config_doc *d);
/* Counts the visit of a node; false: too many. */
bool config_visit(struct config_reader *r, struct config_doc *d, const yaml_node_t *node);
struct config_pair {
    sv name; /* of the key */
    struct config_place at;
    yaml_node_t *value;
};
/* Pairs of a map; 0: none, or reported. key: what the map belongs to, for messages. */
size_t config_pairs(struct config_reader *r, struct config_doc *d, yaml_node_t *map, sv key);
/* Pair i; false: it has to be left out (reported). */
bool config_pair(struct config_reader *r, struct config_doc *d, yaml_node_t *map, size_t i, sv key,
                 struct config_pair *ret_pair);
/* An empty plain scalar stands for an empty map or list. */
bool config_is_null(const yaml_node_t *node);
/* Reports name, unknown or not built yet, under prefix ("" or "sip." or "accounts[]."). */
void config_unknown(struct config_reader *r, struct config_place at, sv prefix, sv name);
/* The word that is nearest to name, if near enough to be meant; else SV_NONE. */
sv config_nearest(sv name, const sv *words, size_t n);
void config_set(struct config_reader *r, const char *set);
/* value of key is now s; false: reported. */
bool config_take(struct config_reader *r, const struct config_row *key,
                 const struct config_scalar *s);

/* ---- config_scalar.c ---- */
/* The scalar at node; false: reported. */
bool config_scalar(struct config_reader *r, struct config_doc *d, yaml_node_t *node, sv key,
                   struct config_scalar *ret_s);
/* Replaces env:, file:, credential: by what they name; false: reported. */
bool config_outside(struct config_reader *r, sv key, struct config_scalar *s);
/* The scalar at node as it stands there; false: reported. */
bool config_plain(struct config_reader *r, struct config_doc *d, yaml_node_t *node, sv key,
                  struct config_scalar *ret_s);
/* Path of the credential, in the folder that the service manager names. Absent: reported. */
sv config_credential(struct config_reader *r, sv key, const struct config_scalar *s, sv name);
/* "file:" before path. */
sv config_prefixed(struct config_reader *r, sv prefix, sv text);
/* Octets of a scalar node, which they live as long as. */
sv config_text_of(const yaml_node_t *node);
/* False: the node has a tag of its own (reported). */
bool config_tag_fits(struct config_reader *r, struct config_doc *d, const yaml_node_t *node);

/* ---- config_value.c ---- */
bool config_value_read(struct config_reader *r, const struct config_row *key,
                       const struct config_scalar *s, struct config_value *v);
/* Word i of "a|b|c"; absent beyond the last. */
sv config_word(sv words, size_t i);
MUST_USE enum err config_size_parse(sv text, uint64_t *ret_bytes);
/* A value of this key's type and bounds; ret_v->set when it is right. For fields of items. */
bool config_field(struct config_reader *r, struct config_doc *d, const struct config_row *as,
                  yaml_node_t *node, struct config_value *ret_v);
/* Adds the algorithm that s names to p; false: reported. */
bool config_algorithm(struct config_reader *r, sv key, const struct config_scalar *s,
                      struct auth_policy *p);
extern const sv config_algorithms[AUTH_ALGORITHMS];
/* v with the largest unit that divides it. */
void config_put_number(struct buf *b, enum config_type type, int64_t v);
/* "from 50ms to 10s", "a number from 1 to 64, or auto". */
void config_put_bounds(struct buf *b, const struct config_row *key);

/* ---- config_put.c ---- */
/* As it would stand in a file (quoted for YAML where need be). */
void config_value_print(struct buf *b, const struct config_row *key, const struct config_value *v);
void config_put_text(struct buf *b, sv text);
void config_put_digest(struct buf *b, const struct auth_policy *p);
/* The words of a WORDS: their number; the index of one. */
unsigned config_words_n(const struct config_value *v);
unsigned config_words_at(const struct config_value *v, unsigned i);
/* Appends one to v. False: reported. */
bool config_words_add(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s, struct config_value *v);
void config_put_domain(struct buf *b, const struct config_domain *d);
void config_put_account(struct buf *b, const struct config_account *a);
/* The value of a list or map with rows of its own, on one line. */
void config_put_items(struct buf *b, const struct config_all *c, enum config_id id);

void config_put_listener(struct buf *b, const struct config_listener *l);
void config_put_route(struct buf *b, const struct config_route *x);

/* ---- config_items.c ---- */
/* Children of a list; one value stands for a list of one, an empty one for an empty list. */
size_t config_list_n(struct config_reader *r, struct config_doc *d, yaml_node_t *node);
yaml_node_t *config_list_item(struct config_doc *d, yaml_node_t *node, size_t i);
/* A host name in lower case; false: reported. */
bool config_host_name(struct config_reader *r, sv key, const struct config_scalar *s, sv *ret_name);
/* alice, or alice@domain: canonical; domain stays as it is when none is given. False: reported. */
bool config_user(struct config_reader *r, sv key, const struct config_scalar *s, sv *ret_user,
                 sv *ret_domain);
/* node: the value of a list or map with rows of its own. */
void config_items(struct config_reader *r, struct config_doc *d, const struct config_row *key,
                  yaml_node_t *node);
void config_item_text(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s);
void config_digest(struct config_reader *r, struct config_doc *d, sv key, yaml_node_t *node,
                   struct auth_policy *p, bool *ret_listed);

/* ---- config_listen.c ---- */
/* key: whose value it is, for messages. */
bool config_listen_read(struct config_reader *r, sv key, const struct config_scalar *s,
                        struct config_listener *l);

/* A map of the long form; false: reported. */
bool config_listen_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node,
                       struct config_listener *l);

/* ---- config_nets.c: networks, addresses, zones, exempt sources ---- */
bool config_net_read(struct config_reader *r, sv key, const struct config_scalar *s,
                     struct addr_net *ret_net);
/* Appends what node lists; max: of this list. */
void config_nets(struct config_reader *r, struct config_doc *d, sv key, yaml_node_t *node,
                 unsigned max, struct config_net **list, unsigned *n);
/* Appends one. */
void config_net_text(struct config_reader *r, const struct config_row *key,
                     const struct config_scalar *s);
void config_address_text(struct config_reader *r, const struct config_row *key,
                         const struct config_scalar *s);
void config_zones(struct config_reader *r, struct config_doc *d, yaml_node_t *node);
void config_exempt_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node);
void config_apply_nets(struct config_reader *r);
/* Number of the zone in the settings; false: there is none. */
bool config_zone_of(const struct config_reader *r, sv name, unsigned *ret_zone);

/* ---- config_turn.c ---- */
/* Appends one listener. */
void config_door_text(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s);
/* After the listeners. */
void config_apply_turn(struct config_reader *r);

/* ---- config_tls.c ---- */
bool config_pem(struct config_reader *r, const struct config_row *key,
                const struct config_scalar *s, struct config_value *v);
void config_sni_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node);
void config_apply_tls(struct config_reader *r);

/* ---- config_route.c: reading; config_policy.c: what the routes mean ---- */
void config_route_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node);
void config_apply_routes(struct config_reader *r);

/* ---- config.c ---- */
/* The items that config.def gives a list. */
void config_default_items(struct config_reader *r, enum config_id id);
/* Defaults alone: no file, no environment, nothing applied (settings is NULL). Errors:
 * ERR_NOMEM. */
MUST_USE enum err config_embedded(struct config_report *report, struct config_all **ret_c);
/* Reads what d asked to include. */
void config_include(struct config_reader *r, const struct config_doc *d);

/* ---- config_apply.c ---- */
void config_apply(struct config_reader *r);

#endif
