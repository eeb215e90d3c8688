/* SPDX-License-Identifier: MIT */
/* sim/sim_trace.c: the trace: a hash over every event, and its lines for whoever asks. The hash
 * never depends on whether someone asks. */
#include "sim/sim_priv.h"

enum { NOTE_MAX = 900 };

bool sim_trace_mix(struct sim *s, uint64_t kind, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t h = sim_mix(s->trace_hash ^ kind, (uint64_t)s->now);
    s->trace_hash = sim_mix(sim_mix(sim_mix(h, a), b), c);
    s->trace_count++;
    return s->trace_fn != NULL;
}

void sim_line_begin(struct sim *s, struct trace_line *t, const char *what)
{
    buf_init(&t->b, t->mem, sizeof(t->mem));
    buf_printf(&t->b, "%lld.%06lld %s", (long long)(s->now / USEC_S), (long long)(s->now % USEC_S),
               what);
}

void sim_line_end(struct sim *s, struct trace_line *t)
{
    s->trace_fn(buf_sv(&t->b), s->trace_arg);
}

void sim_trace_addrs(struct sim *s, const char *what, const struct addr *from,
                     const struct addr *to, sv octets, size_t n)
{
    uint64_t digest = sim_hash(octets.p ? octets.p : "", octets.n);
    uint64_t kind = sim_hash(what, strlen(what));
    if (!sim_trace_mix(s, kind, sim_addr_hash(from), sim_addr_hash(to), sim_mix(digest, n)))
        return;
    struct trace_line t;
    sim_line_begin(s, &t, what);
    buf_char(&t.b, ' ');
    addr_print(&t.b, from);
    buf_str(&t.b, " > ");
    addr_print(&t.b, to);
    buf_printf(&t.b, " %zu %016llx", n, (unsigned long long)digest);
    sim_line_end(s, &t);
}

void sim_trace_loop(struct sim *s, const char *what, const struct sim_loop *l)
{
    const struct sim_host *h = l->proc->host;
    if (!sim_trace_mix(s, sim_hash(what, strlen(what)), h->id, l->loop.worker, 0))
        return;
    struct trace_line t;
    sim_line_begin(s, &t, what);
    buf_printf(&t.b, " %s/%u", h->name, l->loop.worker);
    sim_line_end(s, &t);
}

void sim_trace_host(struct sim *s, const char *what, const struct sim_host *h, sv detail,
                    uint64_t n)
{
    uint64_t digest = sim_hash(detail.p ? detail.p : "", detail.n);
    if (!sim_trace_mix(s, sim_hash(what, strlen(what)), h ? h->id : UINT32_MAX, digest, n))
        return;
    struct trace_line t;
    sim_line_begin(s, &t, what);
    if (h)
        buf_printf(&t.b, " %s", h->name);
    buf_char(&t.b, ' ');
    buf_printable(&t.b, sv_sub(detail, 0, NOTE_MAX / 4)); /* an octet prints as four at most */
    buf_printf(&t.b, " %llu", (unsigned long long)n);
    sim_line_end(s, &t);
}

uint64_t sim_trace_hash(const struct sim *s)
{
    return s->trace_hash;
}

uint64_t sim_trace_count(const struct sim *s)
{
    return s->trace_count;
}

void sim_trace(struct sim *s, void (*fn)(sv line, void *arg), void *arg)
{
    s->trace_fn = fn;
    s->trace_arg = arg;
}

void sim_note(struct sim *s, sv line)
{
    if (!sim_trace_mix(s, sim_hash("note", 4), sim_hash(line.p ? line.p : "", line.n), 0, 0))
        return;
    struct trace_line t;
    sim_line_begin(s, &t, "note ");
    buf_put(&t.b, sv_sub(line, 0, NOTE_MAX));
    sim_line_end(s, &t);
}
