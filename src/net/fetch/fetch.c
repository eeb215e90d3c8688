/* SPDX-License-Identifier: MIT */
/* libcurl on a thread of its own. A call is the thread's from the queue until its mail leaves, then
 * the loop's.
 *
 * The library comes with who is going to call, the thread with the first call: the library brings a dozen
 * others (4 MiB that are touched), and most servers never call. */
#include "fetch/fetch.h"
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { IDLE_MS = 1000, LINES_MAX = FETCH_HEADERS_MAX + 2 };

#define CURL_LIST(X)       \
    X(easy_cleanup)        \
    X(easy_getinfo)        \
    X(easy_init)           \
    X(easy_setopt)         \
    X(global_cleanup)      \
    X(global_init)         \
    X(multi_add_handle)    \
    X(multi_cleanup)       \
    X(multi_info_read)     \
    X(multi_init)          \
    X(multi_perform)       \
    X(multi_poll)          \
    X(multi_remove_handle) \
    X(multi_wakeup)        \
    X(slist_append)        \
    X(slist_free_all)

/* What is called of libcurl; written once, before anybody calls. LOCK: curl_lock, until it is loaded. */
static pthread_mutex_t curl_lock = PTHREAD_MUTEX_INITIALIZER;
static bool curl_loaded;
static struct {
#define X(name) __typeof__(curl_##name) *name;
    CURL_LIST(X)
#undef X
} curl;

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
    char *url, *body, *line[LINES_MAX];
    size_t body_n;
    unsigned lines;
    struct curl_slist *headers; /* the thread's, as easy */
    CURL *easy;
};

struct fetch {
    pthread_t thread;
    pthread_mutex_t lock;
    struct fetch_call *first, **last; /* LOCK: lock, and all below */
    CURLM *multi;                     /* NULL: the thread does not wait in it yet */
    bool started, missing;            /* the thread was; there is no library */
    struct fetch_call *running;       /* the thread's */
    _Atomic unsigned calls;
    _Atomic bool stopping;
};

static void call_free(struct fetch_call *c)
{
    atomic_fetch_sub(&c->fetch->calls, 1);
    for (unsigned i = 0; i < c->lines; i++)
        mem_free(c->line[i]);
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
        curl.multi_remove_handle(f->multi, c->easy);
        curl.easy_cleanup(c->easy);
        c->easy = NULL;
        curl.slist_free_all(c->headers);
        c->headers = NULL;
    }
    c->rc = rc;
    c->status = status;
    c->mail.fn = on_mail;
    if (loop_mail(c->loop, &c->mail))
        call_free(c); /* its loop has stopped */
}

static bool set_headers(struct fetch_call *c)
{
    for (unsigned i = 0; i < c->lines; i++) {
        struct curl_slist *longer = curl.slist_append(c->headers, c->line[i]);
        if (!longer)
            return false;
        c->headers = longer;
    }
    return true;
}

static void set_options(struct fetch_call *c)
{
    CURL *e = c->easy;
    curl.easy_setopt(e, CURLOPT_URL, c->url);
    curl.easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl.easy_setopt(e, CURLOPT_PROXY, "");
    curl.easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl.easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(c->time / USEC_MS));
    curl.easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    curl.easy_setopt(e, CURLOPT_POST, 1L);
    curl.easy_setopt(e, CURLOPT_POSTFIELDS, c->body);
    curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_n);
    curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, discard);
    curl.easy_setopt(e, CURLOPT_PRIVATE, c);
}

static void begin(struct fetch *f, struct fetch_call *c)
{
    c->next = f->running;
    f->running = c;
    c->easy = curl.easy_init();
    if (!c->easy || !set_headers(c)) {
        finish(c, ERR_NOMEM, 0);
        return;
    }
    set_options(c);
    if (curl.multi_add_handle(f->multi, c->easy) != CURLM_OK)
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
    for (CURLMsg *m; (m = curl.multi_info_read(f->multi, &left));) {
        struct fetch_call *c = NULL;
        long status = 0;
        if (m->msg != CURLMSG_DONE ||
            curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c) != CURLE_OK || !c)
            continue;
        enum err rc = err_of(m->data.result);
        curl.easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        finish(c, rc, (unsigned)status);
    }
}

/* LOCK: curl_lock held. It stays loaded: its libraries do not all take their leave. */
static bool load(void)
{
    void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return false;
#define X(name)                                       \
    *(void **)&curl.name = dlsym(lib, "curl_" #name); \
    if (!curl.name)                                   \
        return false;
    CURL_LIST(X)
#undef X
    return true;
}

enum err fetch_load(void)
{
    pthread_mutex_lock(&curl_lock);
    curl_loaded = curl_loaded || load();
    enum err rc = curl_loaded ? ERR_OK : ERR_UNSUPPORTED;
    pthread_mutex_unlock(&curl_lock);
    return rc;
}

/* From here on calls are taken, or refused. */
static CURLM *open_multi(struct fetch *f)
{
    CURLM *multi = NULL;
    if (!fetch_load() && curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        multi = curl.multi_init();
    pthread_mutex_lock(&f->lock);
    f->multi = multi;
    f->missing = !multi;
    pthread_mutex_unlock(&f->lock);
    return multi;
}

static void *run(void *arg)
{
    struct fetch *f = arg;
    CURLM *multi = open_multi(f);
    int running;
    if (!multi)
        for (struct fetch_call *c; (c = take(f));)
            finish(c, ERR_UNREACHABLE, 0);
    while (multi && !atomic_load(&f->stopping)) {
        for (struct fetch_call *c; (c = take(f));)
            begin(f, c);
        if (curl.multi_perform(multi, &running) != CURLM_OK)
            break;
        report(f);
        curl.multi_poll(multi, NULL, 0, IDLE_MS, NULL);
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
    *ret_fetch = f;
    return ERR_OK;
}

/* LOCK: f->lock held. Signals are for the thread that began the process. */
static bool start(struct fetch *f)
{
    sigset_t all, before;
    if (f->started)
        return true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    f->started = pthread_create(&f->thread, NULL, run, f) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return f->started;
}

static void wake(struct fetch *f)
{
    pthread_mutex_lock(&f->lock);
    CURLM *multi = f->multi;
    pthread_mutex_unlock(&f->lock);
    if (multi) /* else it looks once more before it waits */
        curl.multi_wakeup(multi);
}

void fetch_free(struct fetch *f)
{
    if (!f)
        return;
    atomic_store(&f->stopping, true);
    wake(f);
    if (f->started)
        pthread_join(f->thread, NULL);
    for (struct fetch_call *c; (c = take(f));)
        call_free(c);
    for (struct fetch_call *c; (c = f->running);) {
        f->running = c->next;
        curl.multi_remove_handle(f->multi, c->easy);
        curl.easy_cleanup(c->easy);
        curl.slist_free_all(c->headers);
        call_free(c);
    }
    if (f->multi) {
        curl.multi_cleanup(f->multi);
        curl.global_cleanup();
    }
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
    char *text = plain(line) && c->lines < LINES_MAX ? copy(line) : NULL;
    if (text)
        c->line[c->lines++] = text;
    return text != NULL;
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
    enum err rc = f->missing ? ERR_UNREACHABLE : start(f) ? ERR_OK : ERR_NOMEM;
    if (!rc) {
        *f->last = c;
        f->last = &c->next;
    }
    pthread_mutex_unlock(&f->lock);
    if (rc) {
        call_free(c);
        return rc;
    }
    wake(f);
    *ret_call = c;
    return ERR_OK;
}

void fetch_cancel(struct fetch_call *c)
{
    if (c)
        atomic_store(&c->cancelled, true);
}
