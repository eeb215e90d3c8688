/* SPDX-License-Identifier: MIT */
/* libcurl on a thread of its own. A call is the thread's from the queue until its mail leaves, then
 * the loop's. */
#include "fetch/fetch.h"
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

enum { IDLE_MS = 1000 };

struct fetch_call {
    struct mail mail; /* back to the loop */
    struct fetch_call *next;
    struct fetch *fetch;
    struct loop *loop;
    void (*done)(void *arg, enum err rc, unsigned status);
    void *arg;
    _Atomic bool cancelled; /* written by the loop, whose mail handler is the one that acts on it */
    enum err rc;
    unsigned status;
    usec time;
    char *url, *body;
    size_t body_n;
    struct curl_slist *headers;
    CURL *easy;
};

struct fetch {
    pthread_t thread;
    pthread_mutex_t lock;
    struct fetch_call *first, **last; /* under the lock */
    CURLM *multi;
    struct fetch_call *running; /* the thread's */
    _Atomic unsigned calls;
    _Atomic bool stopping;
};

static void call_free(struct fetch_call *c)
{
    atomic_fetch_sub(&c->fetch->calls, 1);
    if (c->easy)
        curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    mem_free(c->url);
    mem_free(c->body);
    mem_free(c);
}

/* ---- back on the loop ---- */

static void on_mail(struct loop *at, struct mail *m)
{
    struct fetch_call *c = CONTAINER(m, struct fetch_call, mail);
    bool cancelled = atomic_load(&c->cancelled) || loop_stopping(at);
    void (*done)(void *, enum err, unsigned) = c->done;
    void *arg = c->arg;
    enum err rc = c->rc;
    unsigned status = c->status;
    call_free(c);
    if (!cancelled)
        done(arg, rc, status);
}

/* ---- the thread ---- */

static enum err err_of(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return ERR_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        return ERR_AUTH;
    default:
        return ERR_UNREACHABLE;
    }
}

static size_t discard(char *p, size_t size, size_t n, void *arg)
{
    (void)p;
    (void)arg;
    return size * n;
}

static void finish(struct fetch_call *c, enum err rc, unsigned status)
{
    struct fetch *f = c->fetch;
    struct fetch_call **at = &f->running;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
    if (c->easy) {
        curl_multi_remove_handle(f->multi, c->easy);
        curl_easy_cleanup(c->easy);
        c->easy = NULL;
    }
    c->rc = rc;
    c->status = status;
    c->mail.fn = on_mail;
    if (loop_mail(c->loop, &c->mail))
        call_free(c); /* its loop has stopped */
}

static void set_options(struct fetch_call *c)
{
    CURL *e = c->easy;
    curl_easy_setopt(e, CURLOPT_URL, c->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(c->time / USEC_MS));
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_n);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(e, CURLOPT_PRIVATE, c);
}

static void begin(struct fetch *f, struct fetch_call *c)
{
    c->next = f->running;
    f->running = c;
    c->easy = curl_easy_init();
    if (!c->easy) {
        finish(c, ERR_NOMEM, 0);
        return;
    }
    set_options(c);
    if (curl_multi_add_handle(f->multi, c->easy) != CURLM_OK)
        finish(c, ERR_NOMEM, 0);
}

static struct fetch_call *take(struct fetch *f)
{
    pthread_mutex_lock(&f->lock);
    struct fetch_call *c = f->first;
    if (c)
        f->first = c->next;
    if (!f->first)
        f->last = &f->first;
    pthread_mutex_unlock(&f->lock);
    return c;
}

static void report(struct fetch *f)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(f->multi, &left));) {
        struct fetch_call *c = NULL;
        long status = 0;
        if (m->msg != CURLMSG_DONE ||
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c) != CURLE_OK || !c)
            continue;
        enum err rc = err_of(m->data.result);
        curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        finish(c, rc, (unsigned)status);
    }
}

static void *run(void *arg)
{
    struct fetch *f = arg;
    int running;
    while (!atomic_load(&f->stopping)) {
        for (struct fetch_call *c; (c = take(f));)
            begin(f, c);
        if (curl_multi_perform(f->multi, &running) != CURLM_OK)
            break;
        report(f);
        curl_multi_poll(f->multi, NULL, 0, IDLE_MS, NULL);
    }
    return NULL;
}

/* ---- life ---- */

enum err fetch_new(struct fetch **ret_fetch)
{
    struct fetch *f = MEM_NEW(struct fetch);
    if (!f)
        return ERR_NOMEM;
    f->last = &f->first;
    pthread_mutex_init(&f->lock, NULL);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && (f->multi = curl_multi_init()) &&
        pthread_create(&f->thread, NULL, run, f) == 0) {
        *ret_fetch = f;
        return ERR_OK;
    }
    if (f->multi)
        curl_multi_cleanup(f->multi);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
    return ERR_NOMEM;
}

void fetch_free(struct fetch *f)
{
    if (!f)
        return;
    atomic_store(&f->stopping, true);
    curl_multi_wakeup(f->multi);
    pthread_join(f->thread, NULL);
    for (struct fetch_call *c; (c = take(f));)
        call_free(c);
    for (struct fetch_call *c; (c = f->running);) {
        f->running = c->next;
        curl_multi_remove_handle(f->multi, c->easy);
        call_free(c);
    }
    curl_multi_cleanup(f->multi);
    curl_global_cleanup();
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

/* ---- asking ---- */

static bool plain(sv text)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
            return false;
    }
    return text.n > 0;
}

bool fetch_allowed(sv url)
{
    static const char *const local[] = {"http://127.0.0.1", "http://[::1]", "http://localhost"};
    if (!plain(url) || sv_chr(url, ' ') < url.n)
        return false;
    if (sv_starts(url, SV("https://")))
        return url.n > sizeof("https://") - 1;
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
        sv prefix = sv_of(local[i]);
        if (sv_starts(url, prefix) &&
            (url.n == prefix.n || url.p[prefix.n] == ':' || url.p[prefix.n] == '/'))
            return sv_chr(url, '@') == url.n;
    }
    return false;
}

static char *copy(sv text)
{
    char *p = mem_alloc(text.n + 1);
    if (!p)
        return NULL;
    if (text.n)
        memcpy(p, text.p, text.n);
    p[text.n] = '\0';
    return p;
}

static bool add_header(struct fetch_call *c, sv line)
{
    char *text = plain(line) ? copy(line) : NULL;
    struct curl_slist *longer = text ? curl_slist_append(c->headers, text) : NULL;
    mem_free(text);
    if (longer)
        c->headers = longer;
    return longer != NULL;
}

static bool fill(struct fetch_call *c, const struct fetch_request *rq)
{
    char mem[256];
    struct buf b;
    c->url = copy(rq->url);
    c->body = copy(rq->body);
    c->body_n = rq->body.n;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "Content-Type: ");
    buf_put(&b, rq->type);
    bool ok = c->url && c->body && !b.rc && add_header(c, buf_sv(&b)) &&
              add_header(c, SV("Expect:")); /* no 100 Continue: bodies are short */
    for (unsigned i = 0; i < rq->headers_n && ok; i++)
        ok = add_header(c, rq->headers[i]);
    return ok;
}

enum err fetch_start(struct fetch *f, struct loop *l, const struct fetch_request *rq,
                     struct fetch_call **ret_call)
{
    if (!fetch_allowed(rq->url) || rq->headers_n > FETCH_HEADERS_MAX)
        return ERR_SYNTAX;
    if (rq->body.n > FETCH_BODY_MAX)
        return ERR_TOOBIG;
    if (atomic_fetch_add(&f->calls, 1) >= FETCH_QUEUE) {
        atomic_fetch_sub(&f->calls, 1);
        return ERR_BUSY;
    }
    struct fetch_call *c = MEM_NEW(struct fetch_call);
    if (!c) {
        atomic_fetch_sub(&f->calls, 1);
        return ERR_NOMEM;
    }
    c->fetch = f;
    c->loop = l;
    c->done = rq->done;
    c->arg = rq->arg;
    c->time = rq->time;
    if (!fill(c, rq)) {
        call_free(c);
        return ERR_SYNTAX;
    }
    pthread_mutex_lock(&f->lock);
    *f->last = c;
    f->last = &c->next;
    pthread_mutex_unlock(&f->lock);
    curl_multi_wakeup(f->multi);
    *ret_call = c;
    return ERR_OK;
}

void fetch_cancel(struct fetch_call *c)
{
    if (c)
        atomic_store(&c->cancelled, true);
}
