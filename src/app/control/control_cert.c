/* SPDX-License-Identifier: MIT */
/* The certificates: what phones are shown, and whom they have to trust for it. */
#include "control/control_priv.h"

enum { ANSWER_MAX = 256 * 1024 };

static enum err put_certificate(struct buf *b, struct arena *a, sv pem)
{
    struct tls_cert_view *v = ARENA_NEW(a, struct tls_cert_view);
    char mem[128];
    struct buf print;
    if (!v)
        return ERR_NOMEM;
    TRY(tls_cert_view(pem, a, v));
    buf_init(&print, mem, sizeof(mem));
    TRY(tls_cert_fingerprint(pem, &print));
    buf_char(b, '{');
    control_put_text(b, "subject", v->subject);
    buf_str(b, ", ");
    control_put_text(b, "issuer", v->issuer);
    buf_str(b, ", ");
    control_put_text(b, "fingerprint", buf_sv(&print));
    buf_str(b, ", \"names\": [");
    for (unsigned i = 0; i < v->names_n; i++) {
        buf_str(b, i ? ", \"" : "\"");
        buf_json(b, v->names[i]);
        buf_char(b, '"');
    }
    buf_str(b, "], ");
    control_put_time(b, "since", v->from);
    buf_str(b, ", ");
    control_put_time(b, "expires", v->expires);
    return b->rc;
}

void control_certificates(struct control_request *rq)
{
    const struct control_env *env = control_env_of(rq);
    struct buf b;
    enum err rc = ERR_OK;
    if (!env->certificate.n) {
        control_error(rq, 404, "there is no certificate: nothing listens with tls or wss");
        return;
    }
    buf_init_heap(&b, ANSWER_MAX);
    buf_str(&b, "{\"certificate\": ");
    rc = put_certificate(&b, &rq->arena, env->certificate);
    buf_str(&b, "}, \"sni\": [");
    for (unsigned i = 0; !rc && i < env->sni_n; i++) {
        buf_str(&b, i ? ", " : "");
        rc = put_certificate(&b, &rq->arena, env->sni[i]);
        buf_char(&b, '}');
    }
    buf_str(&b, "], \"ca\": ");
    if (!rc && env->ca.n) {
        rc = put_certificate(&b, &rq->arena, env->ca);
        buf_str(&b, ", ");
        control_put_text(&b, "pem", env->ca);
        buf_str(&b, "}}\n");
    } else {
        buf_str(&b, "null}\n"); /* of the configuration: its authority is not ours */
    }
    if (rc || b.rc)
        control_error(rq, 503, "the certificate cannot be shown");
    else
        control_reply(rq, 200, SV("application/json"), buf_sv(&b));
    buf_done(&b);
}
