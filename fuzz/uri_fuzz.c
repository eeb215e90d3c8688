/* SPDX-License-Identifier: MIT */
/* fuzz/uri_fuzz.c: views stay inside the text; print∘parse is a fixpoint; a URI equals itself, its
 * copy and its print. */
#include <stdlib.h>
#include "mem/arena.h"
#include "uri/uri.h"

#define HOLD(what)   \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void inside(sv whole, sv part)
{
    HOLD(!part.p || (part.p >= whole.p && part.n <= whole.n &&
                     part.p - whole.p <= (ptrdiff_t)(whole.n - part.n)));
}

static void check_views(const struct uri *u)
{
    const sv views[] = {u->scheme_text, u->user,    u->password, u->host,
                        u->params,      u->headers, u->opaque};
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
        inside(u->text, views[i]);
    sv rest = u->params, name, value, found;
    for (unsigned count = 0; uri_param_next(&rest, &name, &value); count++) {
        HOLD(count < URI_PARAMS_MAX);
        inside(u->text, name);
        inside(u->text, value);
        HOLD(uri_param(u, name, &found) && sv_eq(found, value));
    }
}

static void check_user(sv user)
{
    static char once[3 * URI_MAX], twice[3 * URI_MAX];
    struct buf a, b;
    buf_init(&a, once, sizeof(once));
    buf_init(&b, twice, sizeof(twice));
    HOLD(uri_user_canonical(user, &a) == ERR_OK && a.n <= user.n);
    /* never undone twice: what comes out of %25 keeps its escape */
    HOLD(uri_user_canonical(buf_sv(&a), &b) == ERR_OK && sv_eq(buf_sv(&a), buf_sv(&b)));
    buf_reset(&a);
    uri_put_user(&a, user);
    HOLD(a.rc == ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char printed[URI_MAX + 16], again[URI_MAX + 16];
    sv text = {(const char *)data, n};
    struct uri u, v, w;
    size_t at = 0, ip_n;
    uint8_t ip[16];
    if (uri_host_ip(text, ip, &ip_n) == ERR_OK)
        HOLD(ip_n == 4 || ip_n == 16);
    if (uri_parse(text, &u, &at)) {
        HOLD(at <= n);
        return 0;
    }
    check_views(&u);
    check_user(u.user);
    HOLD(uri_equal(&u, &u));

    struct buf b;
    buf_init(&b, printed, sizeof(printed));
    uri_print(&b, &u);
    HOLD(b.rc == ERR_OK && uri_parse(buf_sv(&b), &v, NULL) == ERR_OK);
    HOLD(uri_equal(&u, &v) && uri_equal(&v, &u));
    struct buf c;
    buf_init(&c, again, sizeof(again));
    uri_print(&c, &v);
    HOLD(sv_eq(buf_sv(&b), buf_sv(&c)));

    struct arena a;
    arena_init(&a, NULL, 0, 4 * URI_MAX);
    HOLD(uri_dup(&a, &u, &w) == ERR_OK && uri_equal(&u, &w));
    check_views(&w);
    arena_done(&a);
    return 0;
}
