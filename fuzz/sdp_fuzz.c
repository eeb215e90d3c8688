/* SPDX-License-Identifier: MIT */
/* fuzz/sdp_fuzz.c: any octets as a session description. Views stay inside the text, memory is
 * bounded by it, every attribute reader stands what it is given, and what is printed parses to an
 * equal one. */
#include <stdlib.h>

#include "sdp/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sv input;

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void inside(sv s)
{
    must(s.n == 0 || (s.p >= input.p && s.p + s.n <= input.p + input.n));
}

/* ---- equality; views of a are checked on the way ---- */

static void same_sv(sv a, sv b)
{
    inside(a);
    must(sv_present(a) == sv_present(b) && sv_eq(a, b));
}

static void same_conn(const struct sdp_conn *a, const struct sdp_conn *b)
{
    same_sv(a->nettype, b->nettype);
    same_sv(a->addrtype, b->addrtype);
    same_sv(a->address, b->address);
    same_sv(a->scope, b->scope);
    must(a->ip_n == b->ip_n && memcmp(a->ip, b->ip, sizeof a->ip) == 0);
    must(a->ttl == b->ttl && a->addresses == b->addresses && a->addresses > 0);
}

static void same_texts(const sv *a, size_t n_a, const sv *b, size_t n_b)
{
    must(n_a == n_b);
    for (size_t i = 0; i < n_a; i++)
        same_sv(a[i], b[i]);
}

static void same_bandwidths(const struct sdp_bandwidth *a, size_t n_a,
                            const struct sdp_bandwidth *b, size_t n_b)
{
    must(n_a == n_b);
    for (size_t i = 0; i < n_a; i++) {
        same_sv(a[i].type, b[i].type);
        must(a[i].value == b[i].value);
    }
}

static void same_attrs(const struct sdp_attrs *a, const struct sdp_attrs *b)
{
    must(a->n == b->n && a->n <= SDP_ATTRS_MAX);
    for (size_t i = 0; i < a->n; i++) {
        same_sv(a->v[i].name, b->v[i].name);
        same_sv(a->v[i].value, b->v[i].value);
    }
}

static void same_time(const struct sdp_time *a, const struct sdp_time *b)
{
    must(a->start == b->start && a->stop == b->stop);
    must(a->n_repeats == b->n_repeats && a->n_zones == b->n_zones);
    for (size_t i = 0; i < a->n_repeats; i++) {
        const struct sdp_repeat *r = &a->repeats[i], *s = &b->repeats[i];
        must(r->interval_s == s->interval_s && r->duration_s == s->duration_s);
        must(r->n_offsets == s->n_offsets);
        for (size_t k = 0; k < r->n_offsets; k++)
            must(r->offsets_s[k] == s->offsets_s[k]);
    }
    for (size_t i = 0; i < a->n_zones; i++)
        must(a->zones[i].at == b->zones[i].at && a->zones[i].offset_s == b->zones[i].offset_s);
}

static void same_media(const struct sdp_media *a, const struct sdp_media *b)
{
    same_sv(a->type, b->type);
    same_sv(a->proto, b->proto);
    same_sv(a->info, b->info);
    must(a->port == b->port && a->ports == b->ports && a->n_conns == b->n_conns);
    same_texts(a->formats, a->n_formats, b->formats, b->n_formats);
    for (size_t i = 0; i < a->n_conns; i++)
        same_conn(&a->conns[i], &b->conns[i]);
    same_bandwidths(a->bandwidths, a->n_bandwidths, b->bandwidths, b->n_bandwidths);
    same_attrs(&a->attrs, &b->attrs);
}

static void same_sdp(const struct sdp *a, const struct sdp *b)
{
    same_sv(a->origin.username, b->origin.username);
    same_sv(a->origin.session_id, b->origin.session_id);
    same_sv(a->origin.version, b->origin.version);
    same_conn(&a->origin.addr, &b->origin.addr);
    must(sv_eq(a->name, b->name)); /* may be the "-" that stands for an absent one */
    same_sv(a->info, b->info);
    same_sv(a->uri, b->uri);
    same_texts(a->emails, a->n_emails, b->emails, b->n_emails);
    same_texts(a->phones, a->n_phones, b->phones, b->n_phones);
    must(!a->conn == !b->conn);
    if (a->conn)
        same_conn(a->conn, b->conn);
    same_bandwidths(a->bandwidths, a->n_bandwidths, b->bandwidths, b->n_bandwidths);
    must(a->n_times == b->n_times && a->n_times > 0);
    for (size_t i = 0; i < a->n_times; i++)
        same_time(&a->times[i], &b->times[i]);
    same_attrs(&a->attrs, &b->attrs);
    must(a->n_media == b->n_media);
    for (size_t i = 0; i < a->n_media; i++)
        same_media(&a->media[i], &b->media[i]);
}

/* ---- every reader on every value ---- */

static void read_value(sv value)
{
    union {
        struct sdp_rtpmap map;
        struct sdp_fmtp fmtp;
        uint32_t us;
        struct sdp_rtcp rtcp;
        struct sdp_crypto crypto;
        struct sdp_fingerprint fp;
        enum sdp_setup setup;
        struct sdp_candidate candidate;
        struct sdp_group group;
        struct sdp_ssrc ssrc;
    } u;
    sv name, text;
    if (sdp_rtpmap_read(value, &u.map) == ERR_OK)
        must(u.map.pt < 128 && u.map.clock_hz > 0 && u.map.channels > 0);
    if (sdp_fmtp_read(value, &u.fmtp) == ERR_OK) {
        inside(u.fmtp.params);
        while (sdp_fmtp_next(&u.fmtp.params, &name, &text)) {
            inside(name);
            inside(text);
        }
    }
    if (sdp_ptime_read(value, &u.us) == ERR_OK)
        must(u.us > 0);
    if (sdp_rtcp_read(value, &u.rtcp) == ERR_OK && u.rtcp.has_addr)
        inside(u.rtcp.addr.address);
    if (sdp_crypto_read(value, &u.crypto) == ERR_OK)
        inside(u.crypto.session_params);
    if (sdp_fingerprint_read(value, &u.fp) == ERR_OK)
        must(u.fp.n > 0 && u.fp.n <= SDP_DIGEST_MAX);
    if (sdp_setup_read(value, &u.setup) == ERR_OK)
        must(u.setup <= SDP_HOLDCONN);
    if (sdp_candidate_read(value, &u.candidate) == ERR_OK) {
        inside(u.candidate.extensions);
        must(u.candidate.component >= 1 && u.candidate.component <= 256);
    }
    if (sdp_group_read(value, &u.group) == ERR_OK)
        while (sdp_word_next(&u.group.tags, &text))
            inside(text);
    if (sdp_ssrc_read(value, &u.ssrc) == ERR_OK)
        inside(u.ssrc.value);
}

static void read_all(const struct sdp *s)
{
    sv ufrag, pwd;
    struct sdp_rtpmap map;
    for (size_t i = 0; i < s->attrs.n; i++)
        read_value(s->attrs.v[i].value);
    for (size_t i = 0; i < s->n_media; i++) {
        const struct sdp_media *m = &s->media[i];
        for (size_t k = 0; k < m->attrs.n; k++)
            read_value(m->attrs.v[k].value);
        must(m->port == 0 || (sdp_conn_of(s, m) && m->n_formats > 0));
        must(sdp_direction_of(s, m) < SDP_DIRECTIONS);
        if (sdp_ice_of(s, m, &ufrag, &pwd) == ERR_OK)
            must(ufrag.n >= 4 && pwd.n >= 22);
        for (size_t k = 0; k < m->n_formats; k++) {
            uint64_t pt;
            inside(sdp_fmtp_find(m, m->formats[k]));
            if (sv_u64(m->formats[k], 127, &pt) == ERR_OK &&
                sdp_rtpmap_find(m, (uint8_t)pt, &map) == ERR_OK)
                must(map.pt == pt);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a, a2;
    struct sdp s, again;
    struct sdp_fault fault = {0};
    struct buf b;
    input = (sv){(const char *)data, size};
    arena_init(&a, NULL, 0, 64 * 1024 + 64 * size);
    enum err rc = sdp_parse(input, &a, &s, &fault);
    must(rc != ERR_NOMEM);
    must(rc == ERR_OK || fault.why);
    if (rc == ERR_OK) {
        /* printing may grow a text: r=1d becomes r=86400, LF becomes CRLF */
        buf_init_heap(&b, 4096 + 8 * size);
        sdp_print(&b, &s);
        must(b.rc == ERR_OK);
        arena_init(&a2, NULL, 0, 64 * 1024 + 64 * b.n);
        rc = sdp_parse(buf_sv(&b), &a2, &again, &fault);
        must(rc == ERR_OK || (rc == ERR_TOOBIG && b.n > SDP_MAX));
        if (rc == ERR_OK)
            same_sdp(&s, &again);
        read_all(&s);
        arena_done(&a2);
        buf_done(&b);
    }
    arena_done(&a);
    return 0;
}
