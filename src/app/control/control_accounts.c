/* SPDX-License-Identifier: MIT */
/* The routes for accounts: list, add, change, remove. Passwords come in, HA1 hashes are kept,
 * nothing secret goes out. */
#include <jansson.h>

#include "control/control_priv.h"

enum { USER_MAX = 64, NAME_MAX_OCTETS = 128, PASSWORD_MAX = 256, LIST_MAX = 256 * 1024 * 1024 };

/* A change on its way to the directory. */
struct change {
    struct store_change store;
    struct control_request *rq;
    struct arena arena;
};

static void change_free(void *arg)
{
    struct change *ch = arg;
    store_op_cancel(&ch->store.op);
    crypto_wipe(&ch->store.account, sizeof(ch->store.account));
    arena_done(&ch->arena);
    mem_free(ch);
}

/* Looking for what stands in the way of a change. */
struct conflict {
    const struct account *want;
    bool itself; /* it may be there */
    struct buf *text;
};

/* A number belongs to one account of all domains. Within one, a name and a number hide each other too: both
 * are dialled. */
static bool put_conflict(const struct account *have, void *arg)
{
    struct conflict *k = arg;
    const struct account *want = k->want;
    const char *what = NULL;
    sv which = want->user;
    bool near = sv_eq(have->domain, want->domain);
    if (near && sv_eq(have->user, want->user)) {
        if (k->itself)
            return true;
        what = "account";
    }
    for (unsigned n = 0; near && n < have->numbers_n && !what; n++) {
        if (sv_eq(have->numbers[n], want->user))
            what = "name";
    }
    for (unsigned i = 0; i < want->numbers_n && !what; i++) {
        bool taken = near && sv_eq(have->user, want->numbers[i]);
        for (unsigned n = 0; n < have->numbers_n && !taken; n++)
            taken = sv_eq(have->numbers[n], want->numbers[i]);
        if (taken) {
            what = "number";
            which = want->numbers[i];
        }
    }
    if (what)
        buf_printf(k->text, "the %s " SV_FMT " is there already: " SV_FMT "@" SV_FMT, what,
                   SV_ARG(which), SV_ARG(have->user), SV_ARG(have->domain));
    return !what;
}

static void refuse_existing(struct change *ch)
{
    char mem[900];
    struct buf b;
    struct conflict k = {
        .want = &ch->store.account, .itself = ch->store.what != STORE_ADD, .text = &b};
    buf_init(&b, mem, sizeof(mem));
    enum err rc = store_each_account(control_env_of(ch->rq)->store, put_conflict, &k);
    buf_char(&b, '\0');
    bool known = !rc && !b.rc && b.n > 1; /* else it has gone meanwhile */
    control_error(ch->rq, 409,
                  known ? mem : "the account, or one of its numbers, is there already");
}

/* Which account it was: an address without a domain does not say. */
static void say_changed(struct change *ch)
{
    const struct account *a = &ch->store.account;
    char mem[1024];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "{\"ok\": true, \"account\": \"");
    buf_json(&b, a->user);
    buf_char(&b, '@');
    buf_json(&b, a->domain);
    buf_str(&b, "\"}\n");
    control_reply(ch->rq, ch->store.what == STORE_ADD ? 201 : 200, SV("application/json"),
                  b.rc ? SV("{\"ok\": true}\n") : buf_sv(&b));
}

static void on_changed(struct store_op *op, enum err rc)
{
    struct change *ch = op->arg;
    struct control_request *rq = ch->rq;
    switch (rc) {
    case ERR_OK:
        say_changed(ch);
        break;
    case ERR_EXISTS:
        refuse_existing(ch);
        break;
    case ERR_NOTFOUND:
        control_error(rq, 404, "no such account");
        break;
    case ERR_TOOBIG:
        control_error(rq, 422, "a text of the account is too long");
        break;
    default:
        control_error(rq, rc == ERR_BUSY || rc == ERR_NOMEM ? 503 : 500, err_text(rc));
        break;
    }
    change_free(ch);
}

static struct change *change_new(struct control_request *rq)
{
    struct change *ch = MEM_NEW(struct change);
    if (!ch) {
        control_error(rq, 503, "out of memory");
        return NULL;
    }
    ch->rq = rq;
    arena_init(&ch->arena, NULL, 0, 256 * 1024);
    store_op_init(&ch->store.op, on_changed, ch);
    control_on_end(rq, change_free, ch);
    return ch;
}

static void change_start(struct change *ch)
{
    struct control_request *rq = ch->rq;
    ch->store.account.changed = loop_wall(control_loop(rq));
    store_change(control_env_of(rq)->store, control_loop(rq), &ch->store);
}

static void change_refuse(struct change *ch, unsigned status, const char *text)
{
    control_error(ch->rq, status, text);
    change_free(ch);
}

static const struct settings_domain *domain_named(const struct settings *s, sv name)
{
    for (unsigned i = 0; i < s->domains_n; i++) {
        if (sv_ieq(s->domains[i].name, name))
            return &s->domains[i];
    }
    return NULL;
}

/* "alice@example.test", or "alice" for the first domain where that is beyond doubt. NULL: fine; else why not.
 * any_domain: also one that the configuration does not name any more. */
static const char *read_address(struct change *ch, sv address, bool any_domain)
{
    const struct settings *set = control_env_of(ch->rq)->settings;
    struct account *a = &ch->store.account;
    size_t at = sv_chr(address, '@');
    sv user = sv_sub(address, 0, at);
    const struct settings_domain *d = &set->domains[0];
    struct settings_domain gone = {.name = sv_sub(address, at + 1, address.n)};
    if (at < address.n)
        d = domain_named(set, gone.name);
    else if (control_env_of(ch->rq)->doubt)
        return control_env_of(ch->rq)->doubt;
    if (!d && any_domain && gone.name.n) {
        gone.realm = gone.name;
        d = &gone;
    }
    if (!d)
        return "the domain is not one of this server's";
    if (user.n == 0 || user.n > USER_MAX)
        return "the user name must have 1 to 64 characters";
    for (size_t i = 0; i < user.n; i++) {
        char c = user.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && !memchr("-_.!~*'()&=+$,;?/", c, 17))
            return "the user name has a character that a SIP address cannot have";
    }
    if (sv_dup(&ch->arena, user, &a->user) || sv_dup(&ch->arena, d->name, &a->domain) ||
        sv_dup(&ch->arena, d->realm, &a->realm))
        return "out of memory";
    return NULL;
}

/* A text without control characters; jansson has refused what is not UTF-8, and NUL. */
static const char *read_text(struct change *ch, json_t *o, const char *name, size_t max, sv *ret)
{
    json_t *v = json_object_get(o, name);
    if (!v)
        return NULL;
    if (!json_is_string(v) || json_string_length(v) > max)
        return "a member is not a text of a sensible length";
    for (const char *c = json_string_value(v); *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f ||
            ((unsigned char)*c == 0xc2 && (unsigned char)c[1] < 0xa0)) /* C1: U+0080 to 009F */
            return "a member has a control character";
    }
    if (sv_dup(&ch->arena, (sv){json_string_value(v), json_string_length(v)}, ret))
        return "out of memory";
    return NULL;
}

static const char *read_numbers(struct change *ch, json_t *o)
{
    json_t *list = json_object_get(o, "numbers"), *v;
    size_t i;
    struct account *a = &ch->store.account;
    if (!list)
        return NULL;
    if (!json_is_array(list) || json_array_size(list) > STORE_NUMBERS_MAX)
        return "numbers: a list of at most 16";
    a->numbers_n = 0;
    json_array_foreach(list, i, v)
    {
        sv n = {json_string_value(v), json_string_length(v)};
        if (!n.p || n.n == 0 || n.n > 32)
            return "numbers: digits, with a leading + for outside numbers";
        for (size_t k = 0; k < n.n; k++) {
            if (!((n.p[k] >= '0' && n.p[k] <= '9') || (k == 0 && n.p[k] == '+') || n.p[k] == '*' ||
                  n.p[k] == '#'))
                return "numbers: digits, with a leading + for outside numbers";
        }
        if (sv_dup(&ch->arena, n, &a->numbers[a->numbers_n++]))
            return "out of memory";
    }
    return NULL;
}

static const char *read_hash(struct change *ch, json_t *o, const char *name, uint8_t *to, size_t n,
                             bool *ret_has)
{
    sv hex = SV_NONE;
    size_t got;
    const char *why = read_text(ch, o, name, 2 * n, &hex);
    if (why || !hex.p)
        return why;
    if (crypto_unhex(hex, to, n, &got) || got != n)
        return "a hash is not hexadecimal of the right length";
    *ret_has = true;
    return NULL;
}

static const char *too_short(struct change *ch)
{
    enum { TEXT_MAX = 128 };
    unsigned min = control_env_of(ch->rq)->settings->password_min;
    char *mem = arena_alloc(&ch->arena, TEXT_MAX);
    struct buf b;
    if (!mem)
        return "out of memory";
    buf_init(&b, mem, TEXT_MAX);
    buf_printf(&b,
               "the password is too short: at least %u characters "
               "(security.passwords.minimum)",
               min);
    buf_char(&b, '\0');
    return mem;
}

static const char *read_password(struct change *ch, json_t *o)
{
    struct account *a = &ch->store.account;
    sv password = SV_NONE;
    const char *why = read_text(ch, o, "password", PASSWORD_MAX, &password);
    if (why || !password.p)
        return why;
    if (password.n < control_env_of(ch->rq)->settings->password_min) {
        crypto_wipe((char *)(uintptr_t)password.p, password.n);
        return too_short(ch);
    }
    struct auth_ha1 ha1;
    auth_ha1(a->user, a->realm, password, &ha1);
    memcpy(a->md5, ha1.md5, sizeof(a->md5));
    memcpy(a->sha256, ha1.sha256, sizeof(a->sha256));
    a->has_md5 = a->has_sha256 = true;
    crypto_wipe((char *)(uintptr_t)password.p, password.n);
    crypto_wipe(&ha1, sizeof(ha1));
    return NULL;
}

static const char *read_account(struct change *ch, json_t *o)
{
    struct account *a = &ch->store.account;
    const char *why = read_text(ch, o, "name", NAME_MAX_OCTETS, &a->name);
    if (!why)
        why = read_numbers(ch, o);
    if (!why)
        why = read_hash(ch, o, "ha1_md5", a->md5, sizeof(a->md5), &a->has_md5);
    if (!why)
        why = read_hash(ch, o, "ha1_sha256", a->sha256, sizeof(a->sha256), &a->has_sha256);
    if (!why)
        why = read_password(ch, o);
    return why;
}

/* jansson's own copy of a password goes as the others do. */
static void body_free(json_t *o)
{
    json_t *v = json_object_get(o, "password");
    if (json_is_string(v))
        crypto_wipe((char *)(uintptr_t)json_string_value(v), json_string_length(v));
    json_decref(o);
}

static json_t *body_of(struct control_request *rq)
{
    json_t *o = json_loadb(rq->body.p ? rq->body.p : "", rq->body.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

void control_account_add(struct control_request *rq)
{
    struct change *ch = change_new(rq);
    if (!ch)
        return;
    json_t *o = body_of(rq);
    sv address = SV_NONE;
    const char *why = o ? read_text(ch, o, "user", 512, &address) : "the body is not a JSON object";
    if (!why && !address.p)
        why = "user is missing";
    if (!why)
        why = read_address(ch, address, false);
    if (!why)
        why = read_account(ch, o);
    body_free(o);
    ch->store.what = STORE_ADD;
    if (why)
        change_refuse(ch, 422, why);
    else
        change_start(ch);
}

/* The account that the path names, as it stands now. */
struct existing {
    struct change *ch;
    bool found;
};

static bool copy_existing(const struct account *have, void *arg)
{
    struct existing *e = arg;
    struct account *a = &e->ch->store.account;
    struct arena *m = &e->ch->arena;
    if (!sv_eq(have->user, a->user) || !sv_eq(have->domain, a->domain))
        return true;
    sv user = a->user, domain = a->domain;
    *a = *have;
    a->user = user;
    a->domain = domain;
    e->found =
        sv_dup(m, have->name, &a->name) == ERR_OK && sv_dup(m, have->realm, &a->realm) == ERR_OK;
    for (unsigned i = 0; i < have->numbers_n && e->found; i++)
        e->found = sv_dup(m, have->numbers[i], &a->numbers[i]) == ERR_OK;
    return false;
}

static struct change *change_existing(struct control_request *rq)
{
    struct change *ch = change_new(rq);
    if (!ch)
        return NULL;
    struct existing e = {.ch = ch};
    sv address;
    const char *why = control_rest(rq, SV("/api/v1/accounts/"), &ch->arena, &address);
    if (!why)
        why = read_address(ch, address, true);
    if (why) {
        change_refuse(ch, 422, why);
        return NULL;
    }
    if (store_each_account(control_env_of(rq)->store, copy_existing, &e) || !e.found) {
        change_refuse(ch, 404, "no such account");
        return NULL;
    }
    return ch;
}

void control_account_set(struct control_request *rq)
{
    struct change *ch = change_existing(rq);
    if (!ch)
        return;
    struct account *a = &ch->store.account;
    json_t *o = body_of(rq);
    const char *why = o ? NULL : "the body is not a JSON object";
    if (o && a->from_file && (json_object_get(o, "name") || json_object_get(o, "numbers")))
        why = "the account stands in the configuration file: only its password can be set here";
    /* A new password belongs to the realm of today, an old one to that of its day. */
    const struct settings_domain *d = domain_named(control_env_of(rq)->settings, a->domain);
    bool secret = json_object_get(o, "password") || json_object_get(o, "ha1_md5") ||
                  json_object_get(o, "ha1_sha256");
    if (secret)
        a->has_md5 = a->has_sha256 = false; /* both go, or one would let the old password in */
    if (!why && d && secret && sv_dup(&ch->arena, d->realm, &a->realm))
        why = "out of memory";
    if (!why)
        why = read_account(ch, o);
    body_free(o);
    ch->store.what = STORE_SET;
    if (why)
        change_refuse(ch, 422, why);
    else
        change_start(ch);
}

void control_account_remove(struct control_request *rq)
{
    struct change *ch = change_existing(rq);
    if (!ch)
        return;
    ch->store.what = STORE_REMOVE;
    /* Of a domain that the configuration has no more, no file names it. */
    if (ch->store.account.from_file &&
        domain_named(control_env_of(rq)->settings, ch->store.account.domain))
        change_refuse(ch, 409, "the account stands in the configuration file: remove it there");
    else
        change_start(ch);
}

/* ---- list ---- */

struct account_list {
    struct buf b;
    bool hashes;
};

static bool put_account(const struct account *a, void *arg)
{
    struct account_list *l = arg;
    struct buf *b = &l->b;
    buf_str(b, b->n > 1 ? ",\n {\"user\": \"" : "\n {\"user\": \"");
    buf_json(b, a->user);
    buf_str(b, "\", \"domain\": \"");
    buf_json(b, a->domain);
    buf_str(b, "\", \"name\": \"");
    buf_json(b, a->name);
    buf_str(b, "\", \"numbers\": [");
    for (unsigned i = 0; i < a->numbers_n; i++) {
        buf_str(b, i ? ", \"" : "\"");
        buf_json(b, a->numbers[i]);
        buf_char(b, '"');
    }
    buf_printf(b, "], \"password\": %s, \"origin\": \"%s\", \"changed\": \"",
               a->has_md5 || a->has_sha256 ? "true" : "false", a->from_file ? "file" : "directory");
    clock_rfc3339(b, a->changed);
    if (l->hashes) {
        buf_str(b, "\", \"ha1_md5\": \"");
        buf_hex(b, a->md5, a->has_md5 ? sizeof(a->md5) : 0);
        buf_str(b, "\", \"ha1_sha256\": \"");
        buf_hex(b, a->sha256, a->has_sha256 ? sizeof(a->sha256) : 0);
    }
    buf_str(b, "\"}");
    return b->rc == ERR_OK;
}

static void list(struct control_request *rq, bool hashes)
{
    struct account_list l = {.hashes = hashes};
    buf_init_heap(&l.b, LIST_MAX);
    buf_char(&l.b, '[');
    enum err rc = store_each_account(control_env_of(rq)->store, put_account, &l);
    buf_str(&l.b, l.b.n > 1 ? "\n]\n" : "]\n");
    if (rc || l.b.rc)
        control_error(rq, 503, "the answer does not fit");
    else
        control_reply(rq, 200, SV("application/json"), buf_sv(&l.b));
    if (l.b.p)
        crypto_wipe(l.b.p, l.b.n);
    buf_done(&l.b);
}

void control_accounts_list(struct control_request *rq)
{
    list(rq, false);
}

/* A hash logs in as well as a password does: only for who may read the database itself. */
void control_accounts_export(struct control_request *rq)
{
    if (!control_is_owner(rq))
        control_error(rq, 403, "only root and the user that the server runs as may export hashes");
    else
        list(rq, true);
}
