/* SPDX-License-Identifier: MIT */
/* Requests: RFC 3261 §8.1.1 (what stands in them), §22 (credentials). */
#include "useragent/useragent_priv.h"

enum { ROOM = 2048, LINE_MAX = 1536, CHALLENGES_MAX = 3 };

void request_put_contact(struct useragent *ua, struct buf *b, const struct flow *f)
{
    buf_str(b, "Contact: <sip:");
    uri_put_user(b, ua->c.user);
    buf_char(b, '@');
    sip_put_hostport(ua->sip, b, f);
    if (f->transport == SIP_T_TCP)
        buf_str(b, ";transport=tcp");
    buf_char(b, '>');
}

static void put_line(struct buf *b, const char *name, sv value)
{
    buf_str(b, name);
    buf_str(b, ": ");
    buf_put(b, value);
    buf_str(b, "\r\n");
}

static void put_party(struct buf *b, const char *name, sv party, sv tag)
{
    buf_str(b, name);
    buf_str(b, ": ");
    buf_put(b, party);
    if (tag.p) {
        buf_str(b, ";tag=");
        buf_put(b, tag);
    }
    buf_str(b, "\r\n");
}

static void put_cseq(struct buf *b, uint32_t number, enum sip_method m)
{
    buf_str(b, "CSeq: ");
    buf_u64(b, number);
    buf_char(b, ' ');
    buf_put(b, sip_method_name(m));
    buf_str(b, "\r\n");
}

/* Contact and Expires of a REGISTER (§10.2). */
static void put_binding(struct useragent *ua, struct buf *b, const struct flow *f)
{
    if (ua->all) {
        buf_str(b, "Contact: *\r\nExpires: 0\r\n");
        return;
    }
    if (ua->c.reg_id)
        buf_str(b, "Supported: path, outbound\r\n");
    request_put_contact(ua, b, f);
    if (ua->c.reg_id) {
        buf_str(b, ";+sip.instance=\"");
        buf_quoted(b, ua->c.instance);
        buf_printf(b, "\";reg-id=%u", ua->c.reg_id);
    }
    buf_str(b, "\r\nExpires: ");
    buf_u64(b, ua->expires_s);
    buf_str(b, "\r\n");
}

/* Request-URI outside a dialog. */
static sv outside_uri(const struct request *r, struct buf *b)
{
    if (r->call)
        return r->call->target;
    buf_str(b, "sip:");
    buf_put(b, r->ua->c.domain);
    return buf_sv(b);
}

static sv request_uri(const struct request *r, struct buf *b)
{
    return r->dialog ? dialog_uri(r->dialog) : outside_uri(r, b);
}

/* m: r->method, or ACK of its dialog's 2xx. ret_key: what answers are matched by; NULL: none are awaited. */
static void put_request(const struct request *r, enum sip_method m, sv uri, const struct flow *f,
                        sv credentials, struct buf *b, struct txn_key *ret_key)
{
    struct useragent *ua = r->ua;
    struct useragent_call *c = r->call;
    uint16_t slot = home_slot(sip_home(ua->sip), ua->loop->worker, loop_random(ua->loop));
    sv branch;
    buf_put(b, sip_method_name(m));
    buf_char(b, ' ');
    buf_put(b, uri);
    buf_str(b, " SIP/2.0\r\nVia: ");
    sip_put_via(ua->sip, b, f, slot, SV_NONE, &branch);
    if (ret_key)
        *ret_key = ctxn_key(ua->sip, branch, m, sip_method_name(m));
    buf_str(b, "\r\nMax-Forwards: 70\r\n");
    if (r->dialog)
        dialog_put_routes(r->dialog, b);
    if (c) {
        put_party(b, "From", ua->local, c->local_tag);
        put_party(b, "To", c->remote, r->dialog ? r->dialog->remote_tag : SV_NONE);
        put_line(b, "Call-ID", c->call_id);
        put_cseq(b, m == SIP_ACK || !r->dialog ? c->cseq : r->dialog->local_cseq, m);
    } else {
        buf_str(b, "From: ");
        buf_put(b, ua->local);
        buf_str(b, ";tag=");
        useragent_put_tag(ua, b);
        buf_str(b, "\r\n");
        put_party(b, "To", ua->local, SV_NONE);
        put_line(b, "Call-ID", ua->register_call_id);
        put_cseq(b, ua->register_cseq, m);
        put_binding(ua, b, f);
    }
    put_line(b, "User-Agent", ua->c.agent);
    buf_put(b, credentials);
    if (m == SIP_INVITE) {
        request_put_contact(ua, b, f);
        buf_str(b, "\r\n" USERAGENT_ALLOW);
    }
    bool body = m == SIP_INVITE && c->local_sdp.n;
    if (body)
        put_line(b, "Content-Type", SV("application/sdp"));
    buf_str(b, "Content-Length: ");
    buf_u64(b, body ? c->local_sdp.n : 0);
    buf_str(b, "\r\n\r\n");
    if (body)
        buf_put(b, c->local_sdp);
}

static size_t size_of(const struct request *r, sv credentials)
{
    size_t n =
        ROOM + 2 * r->ua->local.n + credentials.n + r->ua->c.agent.n + 2 * r->ua->c.instance.n;
    if (r->call)
        n += r->call->target.n + r->call->remote.n + r->call->call_id.n + r->call->local_sdp.n;
    if (r->dialog) {
        n += 2 * r->dialog->remote_target.n + r->dialog->remote_tag.n;
        for (unsigned i = 0; i < r->dialog->routes; i++)
            n += r->dialog->route[i].n + 16;
    }
    return n;
}

static struct dest hop_of(const struct request *r)
{
    if (r->dialog)
        return dialog_hop(r->dialog);
    return (struct dest){.addr = r->ua->c.server, .transport = r->ua->c.transport};
}

static enum err build(const struct request *r, enum sip_method m, const struct dest *hop,
                      sv credentials, struct block **ret_octets, struct txn_key *ret_key)
{
    char mem[LINE_MAX];
    struct buf b, line;
    struct flow f;
    struct sip *s = r->ua->sip;
    TRY(sip_flow_for(s, hop, &f));
    struct block *octets = sip_block(s, size_of(r, credentials));
    if (!octets)
        return ERR_NOMEM;
    buf_init(&line, mem, sizeof(mem));
    buf_init(&b, octets->p, octets->cap);
    put_request(r, m, request_uri(r, &line), &f, credentials, &b, ret_key);
    if (b.rc || line.rc) {
        block_unref(octets);
        return ERR_TOOBIG;
    }
    octets->n = (uint32_t)b.n;
    *ret_octets = octets;
    return ERR_OK;
}

/* ---- credentials ---- */

/* The line that answers the challenge of rx, in b. */
static enum err credentials_for(const struct request *r, struct rx *rx, struct buf *b)
{
    struct useragent *ua = r->ua;
    const struct useragent_config *c = &ua->c;
    char mem[LINE_MAX], chance[TAG_LEN];
    struct buf uri, cnonce;
    buf_init(&uri, mem, sizeof(mem));
    buf_init(&cnonce, chance, sizeof(chance));
    useragent_put_tag(ua, &cnonce);
    sv method = sip_method_name(r->method), u = request_uri(r, &uri);
    if (c->password.p)
        return auth_answer(b, &rx->msg, method, u, c->user, c->password, buf_sv(&cnonce), 1);
    return auth_answer_ha1(b, &rx->msg, method, u, c->user, c->realm, &c->ha1, buf_sv(&cnonce), 1);
}

/* ---- sending ---- */

static const struct ctxn_handler handler;

static enum err send(struct request *r, sv credentials)
{
    struct useragent *ua = r->ua;
    struct dest hop = hop_of(r);
    struct block *octets;
    if (ua->closing)
        return ERR_STATE;
    r->sent = loop_now(ua->loop);
    /* §22.2: with credentials too, a request of its own: a higher CSeq, another branch. */
    if (r->dialog)
        r->dialog->local_cseq++;
    else if (r->call)
        r->call->cseq++;
    else
        ua->register_cseq++;
    struct txn_key key;
    TRY(build(r, r->method, &hop, credentials, &octets, &key));
    enum err rc = ctxn_new(ua->sip, &hop, octets, &key, &handler, r, &r->txn);
    block_unref(octets);
    return rc;
}

enum err request_send(struct request *r)
{
    r->challenges = 0;
    r->kept = r->heard = r->again = false;
    return send(r, SV_NONE);
}

void request_drop(struct request *r)
{
    ctxn_drop(r->txn);
    r->txn = NULL;
}

/* A challenge is answered by a new transaction. False: it cannot be answered. */
static bool answer_challenge(struct request *r, struct rx *rx)
{
    char mem[LINE_MAX];
    struct buf b;
    uint16_t status = rx->msg.status;
    if ((status != 401 && status != 407) || r->challenges >= CHALLENGES_MAX ||
        (r->call && !r->dialog && r->call->hangup))
        return false;
    r->challenges++;
    buf_init(&b, mem, sizeof(mem));
    if (credentials_for(r, rx, &b))
        return false;
    request_drop(r);
    if (r->call && !r->dialog)
        useragent_set_text(&r->call->credentials, buf_sv(&b));
    if (send(r, buf_sv(&b)) != ERR_OK)
        r->on_response(r, NULL, 503);
    return true;
}

static void on_response(void *arg, struct rx *rx)
{
    struct request *r = arg;
    uint16_t status = rx->msg.status;
    r->heard = true;
    if (status < 200) {
        r->on_response(r, rx, status);
        return;
    }
    if (r->method == SIP_INVITE && status < 300) {
        r->kept = true;
        r->on_response(r, rx, status);
        return;
    }
    if (answer_challenge(r, rx))
        return;
    request_drop(r);
    r->on_response(r, rx, status);
}

/* A connection may have been dead for long before we wrote into it: a new one gets the request
 * once more. */
static bool send_again(struct request *r)
{
    /* Timers B and F have waited long enough; a connection's own time-out comes earlier. */
    bool waited = loop_now(r->ua->loop) - r->sent >= 64 * sip_config(r->ua->sip)->t1;
    if (waited || r->ua->c.transport == SIP_T_UDP || r->heard || r->again ||
        (r->call && !r->dialog && r->call->hangup))
        return false;
    r->again = true;
    return send(r, SV_NONE) == ERR_OK;
}

static void on_gone(void *arg, enum err why)
{
    struct request *r = arg;
    r->txn = NULL;
    if (r->ua->closing)
        return;
    if (r->kept)
        r->on_gone(r);
    else if (!send_again(r))
        r->on_response(r, NULL, why == ERR_TIMEOUT ? 408 : 503); /* §8.1.3.1 */
}

static const struct ctxn_handler handler = {.on_response = on_response, .on_gone = on_gone};

void request_ack(struct dialog *d)
{
    struct useragent *ua = d->call->ua;
    struct request r = {.ua = ua, .method = SIP_ACK, .dialog = d, .call = d->call};
    d->ack_dest = dialog_hop(d);
    /* Without an ACK the 2xx comes again, and then we try again. */
    if (!d->ack && build(&r, SIP_ACK, &d->ack_dest, d->call->credentials, &d->ack, NULL) != ERR_OK)
        return;
    enum err rc = sip_send(ua->sip, &d->ack_dest, d->ack, NULL);
    (void)rc;
}
