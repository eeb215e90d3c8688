/* SPDX-License-Identifier: MIT */
/* web/web.c: the page of a WebSocket listener. What is written is either a literal of this file or goes
 * through put_text, which escapes. */
#include "web/web.h"
#include "crypto/crypto.h"

/* The policy allows this style by its hash, and nothing else at all. */
static const char style[] =
    "body{font:1rem/1.5 sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}"
    "code{font-size:.9em;overflow-wrap:anywhere}h1{font-size:1.5rem}h2{font-size:1.15rem}";

static const struct {
    const char *where, *how;
} trust[] = {
    {"Firefox", "Settings, Privacy &amp; Security, Certificates, View Certificates, Authorities, "
                "Import. Tick &ldquo;identify websites&rdquo;."},
    {"Chromium and Chrome on Linux", "Settings, Privacy and security, Security, Manage "
                                     "certificates, Authorities, Import."},
    {"Windows", "Open the file, Install Certificate, Local Machine, &ldquo;Trusted Root "
                "Certification Authorities&rdquo;. Chrome and Edge use this list."},
    {"macOS", "Open the file: it goes to Keychain Access. Open it there, Trust, &ldquo;Always "
              "Trust&rdquo; for SSL."},
    {"Android", "Settings, Security, Encryption &amp; credentials, Install a certificate, CA "
                "certificate."},
    {"iPhone and iPad",
     "Open the file in Safari and allow the profile; install it in Settings, "
     "General, VPN &amp; Device Management; then switch it on in General, About, "
     "Certificate Trust Settings."},
};

static void put_text(struct buf *b, sv text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '&')
            buf_str(b, "&amp;");
        else if (c == '<')
            buf_str(b, "&lt;");
        else if (c == '>')
            buf_str(b, "&gt;");
        else if (c == '"')
            buf_str(b, "&quot;");
        else if (c == '\'')
            buf_str(b, "&#39;");
        else
            buf_char(b, c < ' ' || c == 0x7f ? ' ' : (char)c);
    }
}

static void put_codes(struct buf *b, const char *one, const char *many, const sv *list, size_t n)
{
    if (n == 0)
        return;
    buf_printf(b, "<p>%s", n == 1 ? one : many);
    for (size_t i = 0; i < n; i++) {
        buf_str(b, i ? ", <code>" : " <code>");
        put_text(b, list[i]);
        buf_str(b, "</code>");
    }
    buf_str(b, "</p>\n");
}

static void put_fingerprint(struct buf *b, const char *of, sv fingerprint)
{
    if (!fingerprint.n)
        return;
    buf_printf(b, "<p>SHA-256 fingerprint of %s:<br><code>", of);
    put_text(b, fingerprint);
    buf_str(b, "</code></p>\n");
}

static void put_trust(struct buf *b, const struct web_env *env)
{
    buf_str(b,
            "<h2>Trust this server</h2>\n"
            "<p>Its certificate is signed by an authority of its own, which browsers and phones do "
            "not know yet. Get the authority&rsquo;s certificate as <a href=\"/ca.pem\">ca.pem</a> "
            "or <a href=\"/ca.crt\">ca.crt</a>, <strong>compare its fingerprint</strong> with what "
            "whoever runs this server tells you by another way, and install it.</p>\n");
    put_fingerprint(b, "the authority", env->ca_fingerprint);
    buf_str(b, "<dl>\n");
    for (size_t i = 0; i < sizeof(trust) / sizeof(trust[0]); i++)
        buf_printf(b, "<dt>%s</dt><dd>%s</dd>\n", trust[i].where, trust[i].how);
    buf_str(b, "</dl>\n<p>Then open this page again: no warning means that it worked.</p>\n");
}

static void put_page(struct buf *b, const struct web_env *env)
{
    buf_str(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<title>Tandem</title>\n<style>");
    buf_str(b, style);
    buf_str(b, "</style></head><body>\n<h1>Tandem</h1>\n"
               "<p>This is the WebSocket door of a SIP phone system: phones in browsers connect "
               "here. There is nothing else to see.</p>\n");
    put_codes(b, "It serves the domain", "It serves the domains", env->domains, env->domains_n);
    put_codes(b, "Give your browser phone this WebSocket address:",
              "Give your browser phone one of these WebSocket addresses:", env->doors,
              env->doors_n);
    if (env->ca.n)
        put_trust(b, env);
    put_fingerprint(b, "the certificate in use", env->fingerprint);
    buf_str(b, "</body></html>\n");
}

/* Fields of every answer. */
static void put_fields(struct buf *b)
{
    uint8_t hash[SHA256_LEN];
    sv text = sv_of(style);
    crypto_sha256(&text, 1, hash);
    buf_str(b, "Content-Security-Policy: default-src 'none'; style-src 'sha256-");
    crypto_base64(b, hash, sizeof(hash));
    buf_str(b, "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
               "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
               "X-Frame-Options: DENY\r\nCache-Control: no-store\r\n");
}

static void reply_text(struct http *h, unsigned status, struct buf *fields, const char *text)
{
    http_reply(h, status, buf_sv(fields), SV("text/plain; charset=utf-8"), sv_of(text));
}

/* RFC 9112 §3.2.2: a server MUST take the absolute form too. */
static sv path_of(const struct http_request *rq)
{
    sv path = rq->path;
    size_t scheme = sv_ieq(sv_sub(path, 0, 7), SV("http://"))    ? 7
                    : sv_ieq(sv_sub(path, 0, 8), SV("https://")) ? 8
                                                                 : 0;
    if (scheme == 0)
        return path;
    path = sv_sub(path, scheme, path.n);
    path = sv_sub(path, sv_chr(path, '/'), path.n);
    return path.n ? path : SV("/");
}

void web_answer(const struct web_env *env, struct http *h, const struct http_request *rq)
{
    char mem[1024];
    struct buf fields, page;
    sv path = path_of(rq);
    bool pem = env->ca.n > 0 && sv_eq(path, SV("/ca.pem"));
    bool crt = env->ca.n > 0 && sv_eq(path, SV("/ca.crt"));
    buf_init(&fields, mem, sizeof(mem));
    put_fields(&fields);
    if (http_field_count(rq, SV("Host")) != 1) { /* RFC 9112 §3.2 */
        reply_text(h, 400, &fields, "Which host?\n");
    } else if (!sv_eq(rq->method, SV("GET")) && !sv_eq(rq->method, SV("HEAD"))) {
        buf_str(&fields, "Allow: GET, HEAD\r\n");
        reply_text(h, 405, &fields, "Only GET and HEAD.\n");
    } else if (pem) {
        buf_str(&fields, "Content-Disposition: attachment; filename=\"ca.pem\"\r\n");
        http_reply(h, 200, buf_sv(&fields), SV("application/x-pem-file"), env->ca);
    } else if (crt) { /* shown to the browser's own import, where it has one */
        http_reply(h, 200, buf_sv(&fields), SV("application/x-x509-ca-cert"), env->ca);
    } else if (!sv_eq(path, SV("/"))) {
        reply_text(h, 404, &fields, "There is nothing here.\n");
    } else {
        buf_init_heap(&page, WEB_PAGE_MAX);
        put_page(&page, env);
        if (page.rc)
            reply_text(h, 503, &fields, "Try again later.\n");
        else
            http_reply(h, 200, buf_sv(&fields), SV("text/html; charset=utf-8"), buf_sv(&page));
        buf_done(&page);
    }
}
