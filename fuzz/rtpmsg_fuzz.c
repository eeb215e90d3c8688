/* SPDX-License-Identifier: MIT */
/* fuzz/rtpmsg_fuzz.c: any octets as an RTP packet, in the clear and protected; what is understood must
 * survive print and parse, and the short way must say what the long one says. */
#include <stdlib.h>

#include "rtpmsg/rtpmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool within(sv part, sv whole)
{
    return !sv_present(part) || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static bool same_fields(const struct rtpmsg *a, const struct rtpmsg *b)
{
    return a->ts == b->ts && a->ssrc == b->ssrc && a->seq == b->seq && a->profile == b->profile &&
           a->pt == b->pt && a->padding == b->padding && a->marker == b->marker &&
           sv_eq(a->csrcs, b->csrcs) && sv_eq(a->extension, b->extension) &&
           sv_present(a->extension) == sv_present(b->extension) && sv_eq(a->payload, b->payload);
}

/* Elements lie within, and written anew they are the same ones. */
static void walk(const struct rtpmsg *m)
{
    struct rtp_ext_walk w = {0}, w2 = {0};
    struct rtp_ext e, e2;
    struct buf b;
    size_t n = 0;
    buf_init_heap(&b, m->extension.n + 8);
    for (; rtpmsg_ext_next(m, &w, &e); n++) {
        must(within(e.data, m->extension) && e.id != 0);
        rtpmsg_ext_put(&b, m->profile, e.id, e.data);
    }
    must(n <= m->extension.n && !rtpmsg_ext_next(m, &w, &e));
    rtpmsg_ext_pad(&b, 0);
    must(b.rc == ERR_OK && b.n % 4 == 0);
    struct rtpmsg again = {.profile = m->profile, .extension = buf_sv(&b)};
    w = (struct rtp_ext_walk){0};
    while (rtpmsg_ext_next(m, &w, &e))
        must(rtpmsg_ext_next(&again, &w2, &e2) && e.id == e2.id && sv_eq(e.data, e2.data));
    must(!rtpmsg_ext_next(&again, &w2, &e2));
    buf_done(&b);
}

static void check(sv octets, bool protected)
{
    struct rtpmsg m, any, again;
    enum err rc = protected ? rtpmsg_parse_protected(octets, &m) : rtpmsg_parse(octets, &m);
    must(rc == rtpmsg_parse_any(octets, protected, &any));
    if (rc)
        return;
    must(same_fields(&m, &any) && m.payload.p == any.payload.p);
    enum rtpmsg_kind kind = rtpmsg_kind(octets);
    must(kind == RTPMSG_RTP || kind == RTPMSG_RTCP);
    must(within(m.csrcs, octets) && within(m.extension, octets) && within(m.payload, octets));
    must(m.csrcs.n + m.extension.n + m.payload.n + m.padding + RTP_HEADER <= octets.n);
    must(rtpmsg_payload_at(&m) + m.payload.n + m.padding == octets.n);
    walk(&m);
    struct buf b;
    buf_init_heap(&b, octets.n + 1);
    rtpmsg_print(&b, &m);
    must(b.rc == ERR_OK && b.n <= octets.n && rtpmsg_parse(buf_sv(&b), &again) == ERR_OK);
    must(same_fields(&m, &again));
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv octets = {(const char *)data, size};
    must(rtpmsg_kind(octets) <= RTPMSG_RTCP);
    check(octets, false);
    check(octets, true);
    return 0;
}
