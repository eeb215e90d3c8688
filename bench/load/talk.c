/* SPDX-License-Identifier: MIT */
/* talk.c: what callers and callees say. An operation is a struct op; its number stands in the Call-ID,
 * so both sides find it. Callers prove who they are when challenged (MD5, qop=auth), obey Record-Route,
 * and repeat requests over UDP as RFC 3261 §17.1 asks; callees repeat 200s until the ACK. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "load.h"

enum { OPS_MAX = 1 << 17, SHORT = 512 };
#define T1       (500 * MS)
#define T2       (4 * SECOND)
#define PATIENCE (5 * SECOND) /* for the final answer to a request */

struct text {
    size_t n;
    char p[MESSAGE_MAX];
};

struct repeated {          /* a message that is sent again until it is answered */
    uint64_t at, interval; /* 0: not any more */
    struct text text;
};

static struct op {
    uint32_t serial; /* 0: free */
    uint32_t slot, next_free;
    enum { ASKED, PROVED, TALKING, ENDING } stage;
    bool invited; /* the callee has the INVITE */
    unsigned cseq;
    uint32_t user, peer;
    uint64_t sent, patience;
    struct way *caller, *callee;
    struct repeated request; /* at the caller */
    struct repeated final;   /* at the callee: the 200 to the INVITE */
    struct text ack;
    char to[SHORT], target[SHORT], routes[2 * SHORT];
} * ops;

/* What comes a fixed time later for all: first in, first out. */
static struct queue {
    uint64_t delay;
    struct item {
        uint64_t at;
        uint32_t slot, serial;
    } * item;
    uint32_t head, tail;
} answers, hangups;

static uint32_t first_free, highest, under_way;
static uint64_t swept;
static uint32_t mark; /* of this run, in its branches and Call-IDs */

/* ---- text ---- */

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->p + t->n, sizeof(t->p) - t->n, format, args);
    va_end(args);
    if (n < 0 || t->n + (size_t)n >= sizeof(t->p))
        die("a message is too long");
    t->n += (size_t)n;
}

/* The next header line of that name after `from` (NULL: the first), with its CRLF; NULL: none. */
static const char *header(const char *message, const char *from, const char *name, size_t *ret_n)
{
    size_t length = strlen(name);
    const char *line = from ? from : message;
    while ((line = strstr(line, "\r\n")) && line[2] != '\r') {
        line += 2;
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        *ret_n = (size_t)(strstr(line, "\r\n") - line) + 2;
        return line;
    }
    return NULL;
}

static void copy_headers(struct text *t, const char *message, const char *name)
{
    size_t n;
    for (const char *line = header(message, NULL, name, &n); line;
         line = header(message, line, name, &n))
        put(t, "%.*s", (int)n, line);
}

/* The value of the header without its CRLF; empty when there is none. */
static void value(const char *message, const char *name, char *ret_value, size_t size)
{
    size_t n = 0, skip = strlen(name) + 1;
    const char *line = header(message, NULL, name, &n);
    ret_value[0] = 0;
    if (line) {
        skip += line[skip] == ' ';
        snprintf(ret_value, size, "%.*s", (int)(n - 2 - skip), line + skip);
    }
}

/* ---- digest, RFC 2617 ---- */

static void md5(char ret_hex[33], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void md5(char ret_hex[33], const char *format, ...)
{
    static EVP_MD *md;
    static EVP_MD_CTX *ctx;
    char text[2 * SHORT];
    unsigned char sum[16];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    md = md ? md : EVP_MD_fetch(NULL, "MD5", NULL);
    ctx = ctx ? ctx : EVP_MD_CTX_new();
    if (n < 0 || (size_t)n >= sizeof(text) || EVP_DigestInit_ex(ctx, md, NULL) != 1 ||
        EVP_DigestUpdate(ctx, text, (size_t)n) != 1 || EVP_DigestFinal_ex(ctx, sum, NULL) != 1)
        die("MD5");
    for (int i = 0; i < 16; i++)
        snprintf(ret_hex + 2 * i, 3, "%02x", sum[i]);
}

static bool parameter(const char *line, const char *name, char *ret_value, size_t size)
{
    const char *at = strstr(line, name);
    if (!at)
        return false;
    at += strlen(name) + 1;
    snprintf(ret_value, size, "%.*s", (int)strcspn(at, "\""), at);
    return true;
}

/* The credentials that the challenge asks for. */
static bool prove(struct text *t, const struct op *op, const char *challenge, const char *method,
                  const char *uri)
{
    bool proxy = strncmp(challenge, "SIP/2.0 407", 11) == 0;
    const char *name = proxy ? "Proxy-Authenticate" : "WWW-Authenticate";
    char line[2 * SHORT], realm[128], nonce[SHORT], opaque[SHORT], ha1[33], ha2[33], proof[33];
    size_t n;
    for (const char *at = header(challenge, NULL, name, &n); at;
         at = header(challenge, at, name, &n)) {
        snprintf(line, sizeof(line), "%.*s", (int)n, at);
        if (strstr(line, "algorithm=SHA-") || !parameter(line, "realm=", realm, sizeof(realm)) ||
            !parameter(line, "nonce=", nonce, sizeof(nonce)))
            continue;
        md5(ha1, "u%06u:%s:%s", op->user, realm, plan.password);
        md5(ha2, "%s:%s", method, uri);
        md5(proof, "%s:%s:00000001:%08x:auth:%s", ha1, nonce, op->serial, ha2);
        put(t,
            "%s: Digest username=\"u%06u\",realm=\"%s\",nonce=\"%s\",uri=\"%s\",response=\"%s\","
            "algorithm=MD5,qop=auth,nc=00000001,cnonce=\"%08x\"",
            proxy ? "Proxy-Authorization" : "Authorization", op->user, realm, nonce, uri, proof,
            op->serial);
        if (parameter(line, "opaque=", opaque, sizeof(opaque)))
            put(t, ",opaque=\"%s\"", opaque);
        put(t, "\r\n");
        return true;
    }
    return false;
}

/* ---- messages ---- */

static const char *const transports[] = {"UDP", "TCP", "TLS"};
static const char *const parameters[] = {"", ";transport=tcp", ";transport=tls"};

static void put_body(struct text *t, const char *type, const char *body)
{
    if (body[0])
        put(t, "Content-Type: %s\r\n", type);
    put(t, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
}

/* A phone that is where its description says, so that its media goes directly. */
static void put_description(struct text *t, const struct way *w)
{
    struct sockaddr_in a = way_local(w);
    char ip[INET_ADDRSTRLEN], body[512];
    inet_ntop(AF_INET, &a.sin_addr, ip, sizeof(ip));
    snprintf(body, sizeof(body),
             "v=0\r\no=load 3900112 3900113 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
             "m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
             "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n",
             ip, ip);
    put_body(t, "application/sdp", body);
}

static void put_contact(struct text *t, const struct op *op, const struct way *w)
{
    struct sockaddr_in a = way_local(w);
    char ip[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &a.sin_addr, ip, sizeof(ip));
    put(t, "Contact: <sip:u%06u@%s:%u%s>\r\n", plan.kind == REGISTER ? op->user : op->peer, ip,
        ntohs(a.sin_port), parameters[plan.transport]);
}

/* The start of a request; `branch` differs for what is a transaction of its own. */
static void start_request(struct text *t, const struct op *op, const char *method, const char *uri,
                          const char *branch)
{
    struct sockaddr_in a = way_local(op->caller);
    char ip[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &a.sin_addr, ip, sizeof(ip));
    t->n = 0;
    put(t,
        "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s:%u;rport;branch=z9hG4bK%x.%x.%u%s\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:u%06u@%s>;tag=c%x\r\n",
        method, uri, transports[plan.transport], ip, ntohs(a.sin_port), mark, op->serial, op->cseq,
        branch, op->user, plan.domain, op->serial);
}

static void put_ids(struct text *t, const struct op *op, const char *method)
{
    put(t, "Call-ID: %x-%x-%x@%s\r\nCSeq: %u %s\r\nUser-Agent: load\r\n", op->serial, op->slot,
        mark, plan.domain, op->cseq, method);
}

static const char *const methods[] = {"OPTIONS", "REGISTER", "INVITE", "MESSAGE", "INVITE"};

/* The request that begins the operation, or with a challenge, the one that answers it. */
static bool first_request(struct op *op, const char *challenge)
{
    struct text *t = &op->request.text;
    const char *method = methods[plan.kind];
    char uri[SHORT];
    op->cseq++;
    if (plan.kind == OPTIONS || plan.kind == REGISTER)
        snprintf(uri, sizeof(uri), "sip:%s", plan.domain);
    else
        snprintf(uri, sizeof(uri), "sip:u%06u@%s", op->peer, plan.domain);
    start_request(t, op, method, uri, "");
    if (plan.kind == OPTIONS)
        put(t, "To: <sip:%s>\r\n", plan.domain);
    else
        put(t, "To: <sip:u%06u@%s>\r\n", plan.kind == REGISTER ? op->user : op->peer, plan.domain);
    put_ids(t, op, method);
    if (challenge && !prove(t, op, challenge, method, uri))
        return false;
    if (plan.kind == MESSAGE) {
        put_body(t, "text/plain",
                 "Five quacking zephyrs jolt my wax bed, and nobody in the office knows why.");
    } else if (plan.kind == OPTIONS) {
        put(t, "Accept: application/sdp\r\n");
        put_body(t, "", "");
    } else {
        put_contact(t, op, plan.kind == REGISTER ? op->callee : op->caller);
        if (plan.kind == REGISTER) {
            put(t, "Expires: 3600\r\n");
            put_body(t, "", "");
        } else {
            put(t, "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, MESSAGE\r\n"
                   "Supported: 100rel, timer, replaces\r\n");
            put_description(t, op->caller);
        }
    }
    return true;
}

/* ACK of a final answer that is no 200: of the INVITE's transaction. */
static void refuse_ack(const struct op *op, const char *answer)
{
    struct text t;
    char uri[SHORT], to[SHORT];
    snprintf(uri, sizeof(uri), "sip:u%06u@%s", op->peer, plan.domain);
    value(answer, "To", to, sizeof(to));
    start_request(&t, op, "ACK", uri, "");
    put(&t, "To: %s\r\n", to);
    put_ids(&t, op, "ACK");
    put_body(&t, "", "");
    way_send(op->caller, t.p, t.n);
}

/* Within the dialog: ACK of the 200, and BYE. */
static void dialog_request(struct op *op, struct text *t, const char *method)
{
    start_request(t, op, method, op->target, method);
    put(t, "%sTo: %s\r\n", op->routes, op->to);
    put_ids(t, op, method);
    put_body(t, "", "");
}

/* What the 200 says about the way of what follows: Record-Route in reverse order (RFC 3261 §12.1.2). */
static void learn_dialog(struct op *op, const char *ok)
{
    char contact[SHORT];
    const char *line[8];
    size_t n[8], count = 0, at = 0;
    value(ok, "To", op->to, sizeof(op->to));
    value(ok, "Contact", contact, sizeof(contact));
    const char *uri = strchr(contact, '<');
    uri = uri ? uri + 1 : contact;
    snprintf(op->target, sizeof(op->target), "%.*s", (int)strcspn(uri, ">"), uri);
    op->routes[0] = 0;
    for (const char *p = NULL; count < 8 && (p = header(ok, p, "Record-Route", &n[count]));)
        line[count++] = p;
    while (count-- > 0 && at + n[count] < sizeof(op->routes))
        at +=
            (size_t)snprintf(op->routes + at, sizeof(op->routes) - at, "%.*s",
                             (int)(n[count] - strlen("Record-")), line[count] + strlen("Record-"));
}

static void answer(struct text *t, const char *request, const char *status, bool tag, bool routes)
{
    t->n = 0;
    put(t, "SIP/2.0 %s\r\n", status);
    copy_headers(t, request, "Via");
    if (routes)
        copy_headers(t, request, "Record-Route");
    copy_headers(t, request, "From");
    copy_headers(t, request, "To");
    if (tag) {
        t->n -= 2;
        put(t, ";tag=callee\r\n");
    }
    copy_headers(t, request, "Call-ID");
    copy_headers(t, request, "CSeq");
}

/* ---- the life of an operation ---- */

static void later(struct queue *q, const struct op *op)
{
    q->item[q->tail++ % OPS_MAX] = (struct item){now() + q->delay, op->slot, op->serial};
}

static void send_repeated(struct repeated *r, struct way *w, uint64_t at)
{
    r->interval = plan.transport == UDP ? T1 : 0;
    r->at = plan.transport == UDP ? at + T1 : 0;
    way_send(w, r->text.p, r->text.n);
}

static void ask(struct op *op)
{
    op->sent = now();
    op->patience = op->sent + PATIENCE;
    send_repeated(&op->request, op->caller, op->sent);
}

static void finish(struct op *op, const char *why)
{
    if (why) {
        counters.failed++;
        if (!counters.why)
            counters.why = strdup(why);
    } else {
        counters.good++;
    }
    way_release(op->caller);
    op->serial = 0;
    op->next_free = first_free;
    first_free = op->slot;
    under_way--;
}

void talk_start(void)
{
    ops = calloc(OPS_MAX, sizeof(*ops));
    answers = (struct queue){.delay = plan.answer, .item = calloc(OPS_MAX, sizeof(struct item))};
    hangups = (struct queue){.delay = plan.hold, .item = calloc(OPS_MAX, sizeof(struct item))};
    if (!ops || !answers.item || !hangups.item)
        die("memory");
    first_free = OPS_MAX;
    mark = (uint32_t)(now() / 1000);
}

bool talk_begin(uint32_t serial)
{
    if (first_free == OPS_MAX && highest == OPS_MAX)
        return false;
    uint32_t slot = highest;
    if (first_free != OPS_MAX) {
        slot = first_free;
        first_free = ops[slot].next_free;
    } else {
        highest++;
    }
    struct op *op = &ops[slot];
    op->serial = serial;
    op->slot = slot;
    op->stage = ASKED;
    op->invited = false;
    op->cseq = 0;
    op->user = plan.first_user + (serial - 1) % plan.users;
    op->peer = plan.first_user + (serial - 1 + plan.users / 2) % plan.users;
    op->final.at = 0;
    op->callee = way_of_callee(plan.kind == REGISTER ? op->user : op->peer);
    op->caller = plan.kind == REGISTER ? op->callee : way_of_caller(serial);
    under_way++;
    first_request(op, NULL);
    ask(op);
    return true;
}

static struct op *find(const char *message)
{
    size_t n;
    unsigned serial, slot, run;
    const char *line = header(message, NULL, "Call-ID", &n);
    if (!line || sscanf(line + 8, " %x-%x-%x", &serial, &slot, &run) != 3 || run != mark ||
        slot >= highest || ops[slot].serial != serial)
        return NULL;
    return &ops[slot];
}

/* ---- the caller ---- */

static void take_ok(struct op *op, const char *message)
{
    if (op->stage == TALKING) {
        counters.repeated++;
        way_send(op->caller, op->ack.p, op->ack.n);
        return;
    }
    learn_dialog(op, message);
    op->stage = TALKING;
    op->patience = 0;
    dialog_request(op, &op->ack, "ACK");
    way_send(op->caller, op->ack.p, op->ack.n);
    if (plan.stand)
        finish(op, NULL);
    else
        later(&hangups, op);
}

static void take_answer(struct op *op, const char *message, uint64_t arrived)
{
    char cseq[64], why[SHORT];
    unsigned status = (unsigned)strtoul(message + 8, NULL, 10);
    value(message, "CSeq", cseq, sizeof(cseq));
    bool invite = strstr(cseq, "INVITE") != NULL;
    bool challenge = status == 401 || status == 407;
    if (strtoul(cseq, NULL, 10) != op->cseq && !(invite && op->stage == ENDING)) {
        counters.repeated++;
        return;
    }
    if (status < 200) {
        if (invite && op->stage <= PROVED)
            op->request.at = 0;
        return;
    }
    if (op->stage >= TALKING && invite) {
        take_ok(op, message);
        return;
    }
    op->request.at = 0;
    if (invite && status >= 300)
        refuse_ack(op, message);
    if (challenge && op->stage == ASKED) {
        op->stage = PROVED;
        if (first_request(op, message))
            ask(op);
        else
            finish(op, "no challenge with MD5");
    } else if (status == 200 && invite && plan.kind != REDIRECT) {
        take_ok(op, message);
    } else if (status == (plan.kind == REDIRECT ? 302u : 200u)) {
        if (plan.kind <= REGISTER || plan.kind == REDIRECT)
            load_sample(arrived ? arrived - op->sent : now() - op->sent);
        finish(op, NULL);
    } else {
        snprintf(why, sizeof(why), "%.*s", (int)strcspn(message, "\r"), message);
        finish(op, why);
    }
}

/* ---- the callee ---- */

static void take_request(struct way *w, struct op *op, const char *message, uint64_t arrived)
{
    struct text t;
    if (strncmp(message, "INVITE ", 7) == 0 && op) {
        if (op->invited)
            counters.repeated++;
        else
            load_sample((arrived ? arrived : now()) - op->sent);
        answer(&t, message, "180 Ringing", true, true);
        put_contact(&t, op, way_of_callee(op->peer));
        put_body(&t, "", "");
        way_send(w, t.p, t.n);
        if (op->invited)
            return;
        op->invited = true;
        op->callee = w;
        answer(&op->final.text, message, "200 OK", true, true);
        put_contact(&op->final.text, op, way_of_callee(op->peer));
        put_description(&op->final.text, op->callee);
        later(&answers, op);
    } else if (strncmp(message, "ACK ", 4) == 0) {
        if (op)
            op->final.at = 0;
    } else if (strncmp(message, "BYE ", 4) == 0 || strncmp(message, "MESSAGE ", 8) == 0) {
        bool text = message[0] == 'M';
        if (text && op && op->invited)
            counters.repeated++;
        else if (text && op)
            load_sample((arrived ? arrived : now()) - op->sent);
        if (op)
            op->invited = true;
        answer(&t, message, "200 OK", text, false);
        put_body(&t, "", "");
        way_send(w, t.p, t.n);
    }
}

void talk_take(struct way *w, const char *text, size_t n, uint64_t arrived)
{
    if (n < 16)
        return; /* a keep-alive */
    struct op *op = find(text);
    if (strncmp(text, "SIP/2.0 ", 8) != 0)
        take_request(w, op, text, arrived);
    else if (op)
        take_answer(op, text, arrived);
}

/* ---- time ---- */

static void repeat(struct repeated *r, struct way *w, uint64_t at)
{
    if (r->at == 0 || at < r->at)
        return;
    r->interval = 2 * r->interval < T2 ? 2 * r->interval : T2;
    r->at = at + r->interval;
    counters.resent++;
    way_send(w, r->text.p, r->text.n);
}

static void sweep(uint64_t at)
{
    char why[64];
    for (uint32_t i = 0; i < highest; i++) {
        struct op *op = &ops[i];
        if (op->serial == 0)
            continue;
        repeat(&op->request, op->caller, at);
        repeat(&op->final, op->callee, at);
        if (op->patience != 0 && at > op->patience) {
            snprintf(why, sizeof(why), "no answer to %.20s", op->request.text.p);
            finish(op, why);
        }
    }
}

static struct op *pop(struct queue *q, uint64_t at)
{
    while (q->head != q->tail && q->item[q->head % OPS_MAX].at <= at) {
        const struct item *i = &q->item[q->head++ % OPS_MAX];
        if (ops[i->slot].serial == i->serial)
            return &ops[i->slot];
    }
    return NULL;
}

uint64_t talk_due(uint64_t at)
{
    struct op *op;
    while ((op = pop(&answers, at)))
        send_repeated(&op->final, op->callee, at);
    while ((op = pop(&hangups, at))) {
        op->stage = ENDING;
        op->cseq++;
        dialog_request(op, &op->request.text, "BYE");
        ask(op);
    }
    if (at - swept > 50 * MS) {
        swept = at;
        sweep(at);
    }
    uint64_t next = swept + 50 * MS;
    if (answers.head != answers.tail && answers.item[answers.head % OPS_MAX].at < next)
        next = answers.item[answers.head % OPS_MAX].at;
    if (hangups.head != hangups.tail && hangups.item[hangups.head % OPS_MAX].at < next)
        next = hangups.item[hangups.head % OPS_MAX].at;
    return next;
}

unsigned talk_under_way(void)
{
    return under_way;
}
