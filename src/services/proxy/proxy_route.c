/* SPDX-License-Identifier: MIT */
/* Before a request is routed: RFC 3261 §16.3 (validation) and §16.4 (route preprocessing). */
#include "proxy/proxy_priv.h"
#include "within/within.h"

/* What our Record-Routes carry as a user: a mark written with the hash of the Call-ID, and with a flow
 * ".<hash of the token and the Call-ID><token>". */
static bool is_our_form(sv user)
{
    return user.n == HOME_MARK_LEN || (user.n > HOME_MARK_LEN && user.p[HOME_MARK_LEN] == '.');
}

/* The route set was made here, for this Call-ID. */
static bool user_verifies(struct proxy *p, const struct rx *rx, sv user)
{
    uint64_t was, is;
    if (!is_our_form(user) || !sip_marked(p->sip, rx, user, &was))
        return false;
    is = home_call(sip_home(p->sip), sipmsg_value(&rx->msg, SIP_H_CALL_ID));
    return crypto_equal(&was, &is, sizeof(is));
}

static sv user_token(sv user)
{
    return is_our_form(user) && user.n > HOME_MARK_LEN ? sv_sub(user, HOME_MARK_LEN + 1, user.n)
                                                       : SV_NONE;
}

/* One that does not verify any more leaves the mark as good as it is: it was of a connection of an
 * earlier process. */
static bool read_token(struct proxy *p, const struct rx *rx, sv text, struct flow *ret_flow)
{
    char hash[PROXY_HASH_LEN];
    sv token = sv_sub(text, PROXY_HASH_LEN, text.n);
    if (token.n == 0 || token.n > FLOW_TOKEN_MAX || flow_read(token, ret_flow))
        return false;
    proxy_token_hash(p, sipmsg_value(&rx->msg, SIP_H_CALL_ID), token, ret_flow->conn != 0, hash);
    return crypto_equal(hash, text.p, PROXY_HASH_LEN);
}

bool proxy_route_flow(struct proxy *p, const struct rx *rx, const struct proxy_route *route,
                      struct flow *ret_flow, bool *ret_same)
{
    struct flow first;
    if (!read_token(p, rx, route->token, ret_flow))
        return false;
    *ret_same = route->pop == 2 && read_token(p, rx, route->first_token, &first) &&
                flow_equal(&first, &rx->flow);
    return true;
}

static bool is_ours(struct proxy *p, const struct uri *u)
{
    if (u->scheme != URI_SIP && u->scheme != URI_SIPS)
        return false;
    if (sip_is_local(p->sip, u->host, u->port))
        return true;
    /* A domain of ours, at a port of ours: phones write their outbound proxy either way. */
    bool at_port = u->port == 0;
    const struct sip_config *c = sip_config(p->sip);
    for (unsigned i = 0; i < c->listeners; i++)
        at_port = at_port || c->listen[i].bind.port == u->port;
    return at_port && settings_domain_of(p->set, p->sip, u->host, u->port) != NULL;
}

/* §16.4: a maddr of ours, with the transport and port the request came by, is as if it were not
 * there. *io_uri: without it. */
static enum err strip_maddr(struct proxy *p, struct rx *rx, const struct uri **io_uri)
{
    const struct uri *u = *io_uri;
    sv maddr, transport;
    if (!uri_param(u, SV("maddr"), &maddr))
        return ERR_OK;
    bool has_transport = uri_param(u, SV("transport"), &transport);
    enum sip_transport want = has_transport ? sip_transport_of(transport) : SIP_T_UDP;
    uint16_t port = u->port ? u->port : 5060;
    if (!sip_is_local(p->sip, maddr, port) || want != rx->flow.transport ||
        port != rx->flow.local.port)
        return ERR_OK;
    char mem[URI_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    struct uri bare = *u;
    sv rest = u->params, name, value, text;
    bare.params = SV_NONE;
    bare.headers = SV_NONE;
    bare.port = 0;
    uri_print(&b, &bare);
    while (uri_param_next(&rest, &name, &value)) {
        if (sv_ieq(name, SV("maddr")) || sv_ieq(name, SV("transport")))
            continue;
        buf_char(&b, ';');
        buf_put(&b, name);
        if (value.p && value.n) {
            buf_char(&b, '=');
            buf_put(&b, value);
        }
    }
    TRY(b.rc);
    struct uri *stripped = ARENA_NEW(&rx->arena, struct uri);
    if (!stripped)
        return ERR_NOMEM;
    TRY(sv_dup(&rx->arena, buf_sv(&b), &text));
    *io_uri = stripped;
    return uri_parse(text, stripped, NULL);
}

enum err proxy_route(struct proxy *p, struct rx *rx, struct proxy_route *ret)
{
    struct sipmsg *m = &rx->msg;
    const struct sip_addr *routes = NULL;
    size_t n = 0;
    *ret = (struct proxy_route){0};
    TRY(sipmsg_uri(m, &ret->uri));
    enum err rc = sipmsg_addrs(m, SIP_H_ROUTE, &routes, &n);
    if (rc && rc != ERR_NOTFOUND)
        return rc;

    /* A strict router before us put our Record-Route into the Request-URI; the real one is the last
     * Route. */
    if (user_verifies(p, rx, ret->uri->user) && is_ours(p, ret->uri)) {
        ret->routed = ret->mark_ok = true;
        ret->token = user_token(ret->uri->user);
        if (n > 0) {
            ret->strict = true;
            ret->uri = &routes[--n].uri;
        }
    } else {
        TRY(strip_maddr(p, rx, &ret->uri));
    }
    /* The last of ours faces the side that the request leaves to. */
    for (; ret->pop < n && is_ours(p, &routes[ret->pop].uri); ret->pop++) {
        sv user = routes[ret->pop].uri.user;
        ret->routed = true;
        ret->mark_ok = ret->mark_ok || user_verifies(p, rx, user);
        ret->token = user_token(user);
        if (ret->pop == 0)
            ret->first_token = ret->token;
    }
    if (ret->pop < n) {
        sv flag;
        ret->next = &routes[ret->pop].uri;
        ret->next_loose = uri_param(ret->next, SV("lr"), &flag);
    }
    return ERR_OK;
}

static bool refuse_as(struct proxy *p, struct rx *rx, uint16_t status, sv reason, sv headers)
{
    struct sip_reply r = {.status = status, .reason = reason, .headers = headers};
    if (rx->msg.method == SIP_ACK)
        return false;
    /* Stateless: the sender repeats what it does not get an answer to. */
    enum err rc = sip_reply(p->sip, rx, &r);
    (void)rc;
    return false;
}

static bool refuse(struct proxy *p, struct rx *rx, uint16_t status, sv headers)
{
    return refuse_as(p, rx, status, SV_NONE, headers);
}

/* §16.3 step 4: a Via of ours whose loop hash equals this request's says that it has been here,
 * unchanged. */
static bool looped(struct proxy *p, struct rx *rx)
{
    const struct sip_via *vias;
    size_t n;
    uint16_t slot;
    char hash[PROXY_HASH_LEN];
    if (sipmsg_vias(&rx->msg, &vias, &n))
        return false;
    bool hashed = false;
    for (size_t i = 0; i < n; i++) {
        sv branch = vias[i].branch;
        if (!sv_starts(branch, SV("z9hG4bK")))
            continue;
        sv ours = sv_sub(branch, 7, branch.n);
        if (ours.n < HOME_MARK_LEN + PROXY_HASH_LEN ||
            !home_mark_read(sip_home(p->sip), ours, &slot))
            continue;
        if (!hashed)
            proxy_loop_hash(p, rx, hash);
        hashed = true;
        if (memcmp(ours.p + HOME_MARK_LEN, hash, PROXY_HASH_LEN) == 0)
            return true;
    }
    return false;
}

/* Option tags that are served here: by the registrar (Require of a REGISTER), by the proxy
 * (Proxy-Require). */
static const struct extension {
    const char *tag;
    bool registrar, proxy;
} extensions[] = {
    {"path", true, true},     /* RFC 3327 */
    {"outbound", true, true}, /* RFC 5626 */
    {"gruu", true, true},     /* RFC 5627 */
    {"timer", false, true},   /* RFC 4028 */
};

static bool supported(const struct proxy *p, const struct sipmsg *m, enum sip_header h, sv tag)
{
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        const struct extension *x = &extensions[i];
        if (!sv_ieq(tag, sv_of(x->tag)))
            continue;
        if (sv_ieq(tag, SV("outbound")) && !p->set->outbound)
            return false;
        return h == SIP_H_PROXY_REQUIRE ? x->proxy : m->method == SIP_REGISTER && x->registrar;
    }
    return false;
}

/* "Unsupported: …" with what is asked for and not served; empty: nothing. */
static void unsupported(const struct proxy *p, struct buf *b, const struct sipmsg *m,
                        enum sip_header h)
{
    struct sip_walk w = {.m = m, .id = h};
    struct sip_item item;
    while (sipmsg_next(&w, &item)) {
        if (supported(p, m, h, item.text))
            continue;
        buf_str(b, b->n ? ", " : "Unsupported: ");
        buf_put(b, item.text);
    }
    if (b->n)
        buf_str(b, "\r\n");
}

bool proxy_check_extensions(struct proxy *p, struct rx *rx, enum sip_header h)
{
    if (!sipmsg_has(&rx->msg, h) || rx->msg.method == SIP_ACK || rx->msg.method == SIP_CANCEL)
        return true;
    char mem[2048];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    unsupported(p, &b, &rx->msg, h);
    if (b.rc)
        return refuse(p, rx, 400, SV_NONE);
    return b.n ? refuse(p, rx, 420, buf_sv(&b)) : true;
}

/* RFC 4028 §8.1. */
static bool check_session(struct proxy *p, struct rx *rx)
{
    char mem[32];
    struct buf b;
    uint32_t min;
    if (!session_too_small(p->set, &rx->msg, &min))
        return true;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "Min-SE: ");
    buf_u64(&b, min);
    buf_str(&b, "\r\n");
    return refuse(p, rx, 422, buf_sv(&b));
}

/* A dialog that nobody here could know would pass by all that is asked of one. */
static bool check_ids(struct proxy *p, struct rx *rx)
{
    const struct sip_addr *from, *to;
    sv call_id;
    if (rx->msg.method != SIP_INVITE)
        return true;
    if (sipmsg_from(&rx->msg, &from) || sipmsg_to(&rx->msg, &to) ||
        sipmsg_call_id(&rx->msg, &call_id))
        return refuse(p, rx, 400, SV_NONE);
    if (call_id.n > WITHIN_ID_MAX)
        return refuse_as(p, rx, 400, SV("Call-ID Too Long"), SV_NONE);
    if (from->tag.n > WITHIN_ID_MAX)
        return refuse_as(p, rx, 400, SV("From Tag Too Long"), SV_NONE);
    if (to->tag.n > WITHIN_ID_MAX)
        return refuse_as(p, rx, 400, SV("To Tag Too Long"), SV_NONE);
    return true;
}

bool proxy_validate(struct proxy *p, struct rx *rx)
{
    struct sipmsg *m = &rx->msg;
    const struct uri *u;
    uint32_t hops;
    if (sipmsg_uri(m, &u))
        return refuse(p, rx, 400, SV_NONE);
    if (u->scheme != URI_SIP && u->scheme != URI_SIPS && u->scheme != URI_TEL)
        return refuse(p, rx, 416, SV_NONE);
    /* Step 3 is about forwarding: what asks for ourselves has arrived. */
    if (sipmsg_number(m, SIP_H_MAX_FORWARDS, &hops) == ERR_OK && hops == 0 &&
        !(u->user.n == 0 && is_ours(p, u)))
        return refuse(p, rx, 483, SV_NONE);
    if (looped(p, rx))
        return refuse(p, rx, 482, SV_NONE);
    return check_ids(p, rx) && proxy_check_extensions(p, rx, SIP_H_PROXY_REQUIRE) &&
           check_session(p, rx);
}
