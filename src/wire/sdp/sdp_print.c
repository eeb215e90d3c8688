/* SPDX-License-Identifier: MIT */
/* sdp/sdp_print.c: from a description to text. Spec RFC 8866 §9 (order of lines).
 *
 * Views may come from anywhere: each is checked for its class before it is written, so no value can
 * begin a line or a field of its own.
 */
#include "sdp/sdp.h"

#include "sdp/sdp_priv.h"

static void put(struct buf *b, bool fits, sv s)
{
    if (!fits && b->rc == ERR_OK)
        b->rc = ERR_SYNTAX;
    buf_put(b, s);
}

static void text(struct buf *b, sv s)
{
    put(b, sdp_is_text(s), s);
}

static void word(struct buf *b, sv s)
{
    put(b, sdp_is_word(s), s);
}

static void token(struct buf *b, sv s)
{
    put(b, sdp_is_token(s), s);
}

static void text_line(struct buf *b, const char *type, sv s)
{
    if (!sv_present(s))
        return;
    buf_str(b, type);
    text(b, s);
    buf_str(b, "\r\n");
}

static void conn_fields(struct buf *b, const struct sdp_conn *c)
{
    token(b, c->nettype);
    buf_char(b, ' ');
    token(b, c->addrtype);
    buf_char(b, ' ');
    word(b, c->address);
    if (sv_present(c->scope)) {
        buf_char(b, '/');
        word(b, c->scope);
    }
}

static void conn_line(struct buf *b, const struct sdp_conn *c)
{
    buf_str(b, "c=");
    conn_fields(b, c);
    buf_str(b, "\r\n");
}

static void bandwidth_lines(struct buf *b, const struct sdp_bandwidth *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_str(b, "b=");
        token(b, list[i].type);
        buf_char(b, ':');
        buf_u64(b, list[i].value);
        buf_str(b, "\r\n");
    }
}

static void attribute_lines(struct buf *b, const struct sdp_attrs *attrs)
{
    for (size_t i = 0; i < attrs->n; i++) {
        buf_str(b, "a=");
        token(b, attrs->v[i].name);
        if (sv_present(attrs->v[i].value)) {
            buf_char(b, ':');
            text(b, attrs->v[i].value);
        }
        buf_str(b, "\r\n");
    }
}

static void repeat_line(struct buf *b, const struct sdp_repeat *r)
{
    buf_str(b, "r=");
    buf_u64(b, r->interval_s);
    buf_char(b, ' ');
    buf_u64(b, r->duration_s);
    for (size_t i = 0; i < r->n_offsets; i++) {
        buf_char(b, ' ');
        buf_u64(b, r->offsets_s[i]);
    }
    buf_str(b, "\r\n");
}

static void time_lines(struct buf *b, const struct sdp_time *t)
{
    buf_str(b, "t=");
    buf_u64(b, t->start);
    buf_char(b, ' ');
    buf_u64(b, t->stop);
    buf_str(b, "\r\n");
    for (size_t i = 0; i < t->n_repeats; i++)
        repeat_line(b, &t->repeats[i]);
    if (t->n_zones == 0)
        return;
    buf_str(b, "z=");
    for (size_t i = 0; i < t->n_zones; i++) {
        if (i > 0)
            buf_char(b, ' ');
        buf_u64(b, t->zones[i].at);
        buf_char(b, ' ');
        buf_i64(b, t->zones[i].offset_s);
    }
    buf_str(b, "\r\n");
}

static void media_lines(struct buf *b, const struct sdp_media *m)
{
    buf_str(b, "m=");
    token(b, m->type);
    buf_char(b, ' ');
    buf_u64(b, m->port);
    if (m->ports > 1) {
        buf_char(b, '/');
        buf_u64(b, m->ports);
    }
    buf_char(b, ' ');
    word(b, m->proto);
    for (size_t i = 0; i < m->n_formats; i++) {
        buf_char(b, ' ');
        token(b, m->formats[i]);
    }
    buf_str(b, "\r\n");
    text_line(b, "i=", m->info);
    for (size_t i = 0; i < m->n_conns; i++)
        conn_line(b, &m->conns[i]);
    bandwidth_lines(b, m->bandwidths, m->n_bandwidths);
    attribute_lines(b, &m->attrs);
}

void sdp_print(struct buf *b, const struct sdp *s)
{
    buf_str(b, "v=0\r\no=");
    text(b, s->origin.username);
    buf_char(b, ' ');
    word(b, s->origin.session_id);
    buf_char(b, ' ');
    word(b, s->origin.version);
    buf_char(b, ' ');
    conn_fields(b, &s->origin.addr);
    buf_str(b, "\r\n");
    text_line(b, "s=", s->name.n > 0 ? s->name : SV("-"));
    text_line(b, "i=", s->info);
    text_line(b, "u=", s->uri);
    for (size_t i = 0; i < s->n_emails; i++)
        text_line(b, "e=", s->emails[i]);
    for (size_t i = 0; i < s->n_phones; i++)
        text_line(b, "p=", s->phones[i]);
    if (s->conn)
        conn_line(b, s->conn);
    bandwidth_lines(b, s->bandwidths, s->n_bandwidths);
    for (size_t i = 0; i < s->n_times; i++)
        time_lines(b, &s->times[i]);
    if (s->n_times == 0)
        buf_str(b, "t=0 0\r\n");
    attribute_lines(b, &s->attrs);
    for (size_t i = 0; i < s->n_media; i++)
        media_lines(b, &s->media[i]);
}
