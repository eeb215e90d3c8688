/* SPDX-License-Identifier: MIT */
/* fuzz/stun_fuzz.c: any octets to a Binding server, and to a client that waits for an answer. */
#include <stdlib.h>

#include "stun/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct addr from = {.family = 6, .port = 5, .ip = {0x20, 1, 0xd, 0xb8, 1}};
    sv octets = {(const char *)data, size};
    char mem[STUN_ANSWER_MAX];
    struct buf b;
    struct stunmsg m;
    buf_init(&b, mem, sizeof mem);
    if (stun_answer(octets, &from, &b))
        must(b.n <= size + 24 && stunmsg_parse(buf_sv(&b), &m) == ERR_OK &&
             (m.class == STUN_SUCCESS || m.class == STUN_ERROR));
    if (stunmsg_parse(octets, &m))
        return 0;
    struct stun_binding s;
    stun_binding_start(&s, &from, m.id, &stun_udp, 0); /* as if the id had been guessed */
    must(stun_txn_step(&s.txn, 0) == STUN_TRANSMIT);
    enum stun_binding_event event = stun_binding_on_message(&s, &m, &from);
    if (event == STUN_BINDING_MAPPED || event == STUN_BINDING_ALTERNATE)
        must(s.mapped.family == 4 || s.mapped.family == 6);
    must((event == STUN_BINDING_NONE) == s.txn.running);
    return 0;
}
