/* SPDX-License-Identifier: MIT */
/* websocket/websocket_accept.c: the opening handshake, the server's side: RFC 6455 §4.2. */
#include "websocket/websocket_priv.h"
#include "crypto/crypto.h"
#include <openssl/sha.h>

enum { KEY_TEXT = 24, ANSWER_MAX = 512 };

/* §4.2.1 item 5: base64 of 16 octets: 22 characters and two of padding. */
static bool is_key(sv key)
{
    if (key.n != KEY_TEXT || !sv_ends(key, SV("==")))
        return false;
    for (size_t i = 0; i < KEY_TEXT - 2; i++) {
        char c = key.p[i];
        bool alnum = (c >= '0' && c <= '9') || (sv_lower(c) >= 'a' && sv_lower(c) <= 'z');
        if (!alnum && c != '+' && c != '/')
            return false;
    }
    return true;
}

/* 0: an upgrade that we can follow; else the status that refuses it. */
static unsigned check(const struct http_request *rq, sv protocol)
{
    sv version = http_field(rq, SV("Sec-WebSocket-Version"));
    if (!rq->websocket || http_field_count(rq, SV("Host")) != 1)
        return 400;
    if (!sv_eq(version, SV("13"))) /* §4.4 */
        return sv_present(version) ? 426 : 400;
    if (http_field_count(rq, SV("Sec-WebSocket-Version")) != 1 ||
        http_field_count(rq, SV("Sec-WebSocket-Key")) != 1 ||
        !is_key(http_field(rq, SV("Sec-WebSocket-Key"))) || rq->body.n > 0)
        return 400;
    /* RFC 7118 §4.1: the client MUST name the protocol. The fields are one list (RFC 6455 §11.3.4). */
    if (sv_present(protocol) && !http_field_has(rq, SV("Sec-WebSocket-Protocol"), protocol))
        return 400;
    return 0;
}

/* §4.2.2 item 5. */
static void answer(struct buf *b, sv key, sv protocol)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_TEXT + sizeof(guid) - 1];
    unsigned char digest[SHA_DIGEST_LENGTH];
    memcpy(text, key.p, KEY_TEXT);
    memcpy(text + KEY_TEXT, guid, sizeof(guid) - 1);
    SHA1((const unsigned char *)text, sizeof(text), digest); /* no secret hangs on it */
    buf_str(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: ");
    crypto_base64(b, digest, sizeof(digest));
    if (sv_present(protocol))
        buf_printf(b, "\r\nSec-WebSocket-Protocol: " SV_FMT, SV_ARG(protocol));
    buf_str(b, "\r\n\r\n");
}

enum err websocket_accept(struct http *h, const struct http_request *rq,
                          const struct websocket_config *c, const struct stream_handler *sh,
                          void *arg, struct stream **ret_stream)
{
    char mem[ANSWER_MAX];
    struct buf b, rest;
    unsigned status = check(rq, c->protocol);
    if (status) {
        http_reply_last(h, status,
                        status == 426 ? SV("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
                                           "Connection: Upgrade\r\n")
                                      : SV_NONE,
                        SV_NONE, SV_NONE);
        return ERR_SYNTAX;
    }
    buf_init(&b, mem, sizeof(mem));
    answer(&b, http_field(rq, SV("Sec-WebSocket-Key")), c->protocol);
    if (b.rc)
        return b.rc;
    struct websocket *w = websocket_new(c, sh, arg);
    if (!w)
        return ERR_NOMEM;
    struct stream *lower = http_give(h, &rest);
    sv said = buf_sv(&b);
    enum err rc = stream_send(lower, &said, 1);
    (void)rc; /* a stream that is broken already says so by on_close */
    *ret_stream = websocket_start(w, lower, &rest);
    return ERR_OK;
}
