/* SPDX-License-Identifier: MIT */
/* Credentials of the TURN server, for an account: what a page or a phone is given before a call. */
#include <assert.h>
#include <jansson.h>

#include "control/control_priv.h"
#include "uri/uri.h"

enum { ACCOUNT_MAX = 512, ANSWER_MAX = 64 * 1024, LIFE_S = TURNSERVER_CREDENTIAL_LIFE / USEC_S };

/* "alice@example.test", or "alice" for the first domain, as the directory has it. */
static bool put_account(struct control_request *rq, sv text, struct buf *b)
{
    const struct settings *set = control_env_of(rq)->settings;
    size_t at = sv_chr(text, '@');
    sv domain = set->domains[0].name;
    if (at == 0 || uri_user_canonical(sv_sub(text, 0, at), b))
        return false;
    if (at < text.n && sv_dup_lower(&rq->arena, sv_sub(text, at + 1, text.n), &domain))
        return false;
    buf_char(b, '@');
    buf_put(b, domain);
    return !b->rc;
}

static void put_uris(struct buf *b, sv lines)
{
    const char *comma = "";
    for (; lines.n; lines = sv_sub(lines, sv_chr(lines, '\n') + 1, lines.n)) {
        buf_printf(b, "%s\"", comma);
        buf_json(b, sv_sub(lines, 0, sv_chr(lines, '\n')));
        buf_char(b, '"');
        comma = ", ";
    }
}

static void answer(struct control_request *rq, sv account, unsigned seconds)
{
    struct control_env *env = control_env_of(rq);
    char user_mem[TURNSERVER_USER_MAX + 16], password_mem[TURNSERVER_PASSWORD_LEN + 1];
    struct buf user, password, b;
    buf_init(&user, user_mem, sizeof(user_mem));
    buf_init(&password, password_mem, sizeof(password_mem));
    if (turnserver_credential(env->turn, account, loop_wall(control_loop(rq)), seconds, &user,
                              &password)) {
        control_error(rq, 422, "the account's name is too long");
        return;
    }
    buf_init_heap(&b, ANSWER_MAX);
    buf_str(&b, "{\"username\": \"");
    buf_json(&b, buf_sv(&user));
    buf_str(&b, "\", \"password\": \"");
    buf_put(&b, buf_sv(&password));
    buf_printf(&b, "\", \"ttl\": %u, \"uris\": [", seconds);
    put_uris(&b, env->turn_uris);
    buf_str(&b, "]}\n");
    if (b.rc)
        control_error(rq, 503, "the answer does not fit");
    else
        control_reply(rq, 200, SV("application/json"), buf_sv(&b));
    crypto_wipe(password_mem, sizeof(password_mem));
    if (b.n > 0)
        crypto_wipe(b.p, b.n);
    buf_done(&b);
}

/* NULL: fine; else what is wrong. */
static const char *read_body(struct control_request *rq, struct buf *account, unsigned *ret_seconds)
{
    json_t *o = json_loadb(rq->body.p ? rq->body.p : "", rq->body.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *name = json_object_get(o, "account"), *ttl = json_object_get(o, "ttl");
    const char *why = NULL;
    static_assert(LIFE_S == 3600, "the text of ttl");
    *ret_seconds = LIFE_S;
    if (!json_is_object(o))
        why = "the body is not a JSON object";
    else if (!json_is_string(name) ||
             !put_account(rq, (sv){json_string_value(name), json_string_length(name)}, account))
        why = "account: a name such as alice@example.test";
    else if (ttl && (!json_is_integer(ttl) || json_integer_value(ttl) < 1 ||
                     json_integer_value(ttl) > LIFE_S))
        why = "ttl: 1 to 3600 seconds";
    else if (ttl)
        *ret_seconds = (unsigned)json_integer_value(ttl);
    json_decref(o);
    return why;
}

void control_turn(struct control_request *rq)
{
    struct control_env *env = control_env_of(rq);
    char mem[ACCOUNT_MAX];
    struct buf account;
    unsigned seconds;
    buf_init(&account, mem, sizeof(mem));
    const char *why = read_body(rq, &account, &seconds);
    if (why)
        control_error(rq, 422, why);
    else if (!env->turn)
        control_error(rq, 404, "there is no TURN server: the configuration has no `turn`");
    else if (!store_has_account(env->store, buf_sv(&account)))
        control_error(rq, 404, "no such account");
    else
        answer(rq, buf_sv(&account), seconds);
}
