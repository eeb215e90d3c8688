/* SPDX-License-Identifier: MIT */
/* tls/tls_write.c: plain octets become records. */
#include "tls/tls_priv.h"

enum err tls_write_plain(struct tls_stream *s, const char *p, size_t n)
{
    size_t done;
    tls_clear_errors();
    if (SSL_write_ex(s->ssl, p, n, &done) == 1)
        return ERR_OK;
    return tls_verdict(s);
}

enum err tls_write_turn(struct tls_stream *s)
{
    struct block *turn = s->turn;
    s->turn = NULL;
    enum err rc = turn ? tls_write_plain(s, turn->p, turn->n) : ERR_OK;
    block_unref(turn);
    return rc;
}

enum err tls_write_pieces(struct tls_stream *s, const sv *pieces, size_t n)
{
    char record[TLS_PLAIN_MAX];
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        sv rest = pieces[i];
        while (rest.n > 0) {
            size_t k = rest.n < sizeof(record) - have ? rest.n : sizeof(record) - have;
            memcpy(record + have, rest.p, k);
            have += k;
            rest = sv_sub(rest, k, rest.n);
            if (have < sizeof(record))
                continue;
            TRY(tls_write_plain(s, record, have));
            have = 0;
        }
    }
    return have > 0 ? tls_write_plain(s, record, have) : ERR_OK;
}
