/* SPDX-License-Identifier: MIT */
/* web/web.h: what a browser sees on a ws or wss listener.                       layer: app
 *
 * Spec    RFC 9110; Content Security Policy Level 3.
 * Shape   "/" is one page: where one is, the address that a browser phone must use, and how to
 *         trust the certificate. "/ca.pem" and "/ca.crt" are the authority's certificate, when there is
 *         one of our own. All else is 404; other methods than GET and HEAD are 405.
 * Safety  no script, no cookie, no form, nothing of the request in the answer; every text of the
 *         environment is escaped.
 * Threads any; the env is read inside the call only.
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H
#include "http/http.h"

enum { WEB_PAGE_MAX = 256 * 1024 };

struct web_env {
    const sv *domains;
    size_t domains_n;
    const sv *doors; /* as a browser phone is told them: "wss://example.test:8443" */
    size_t doors_n;
    sv ca;             /* PEM of our own authority; SV_NONE: the certificate is of another */
    sv ca_fingerprint; /* SHA-256, "AB:CD:…"; SV_NONE: not shown */
    sv fingerprint;    /* of the certificate in use; the same */
};

/* Answers rq at once, by http_reply. */
void web_answer(const struct web_env *env, struct http *h, const struct http_request *rq);

#endif
