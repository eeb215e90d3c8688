/* SPDX-License-Identifier: MIT */
/* websocket_priv.h: the handshake (websocket_accept.c), what is read (websocket_read.c) and what is said
 * (websocket.c). */
#ifndef WEBSOCKET_PRIV_H
#define WEBSOCKET_PRIV_H
#include "websocket/websocket.h"
#include <wslay/wslay.h>

/* RFC 6455 §5.2 */
enum {
    FIN = 0x80,
    RESERVED = 0x70,
    OPCODE = 0x0f,
    CONTROL = 0x08, /* of the opcode: §5.5 */
    MASK = 0x80,
    LENGTH_16 = 126,   /* two octets of length follow */
    LENGTH_64 = 127,   /* eight */
    CONTROL_MAX = 125, /* octets in a control frame */
    HEADER_MAX = 14,   /* octets of a header, with its mask */
};

struct websocket {
    struct stream base;
    struct stream *lower; /* NULL: gone */
    const struct stream_handler *h;
    void *arg;
    size_t message_max;
    usec message_time, ping, heard;
    struct timer alive, whole, resume;
    usec due;                       /* away, between two loops: when alive would fire */
    wslay_event_context_ptr frames; /* NULL: between messages */
    struct buf message;             /* what came of the present one */
    struct buf held;                /* octets that wslay has not had */
    struct buf pong;                /* owed, while the peer does not read; the latest */
    sv feed;                        /* octets for wslay, inside wslay_event_recv */
    struct buf *reply;              /* of wslay, inside wslay_event_send */
    /* the frame under way: octets of its header so far, how many those will be, payload to come */
    uint8_t header[HEADER_MAX];
    uint8_t header_n, header_need;
    uint64_t left;
    size_t cost;   /* of the further frames of this message */
    uint16_t fail; /* close code, decided inside wslay_event_recv */
    uint8_t busy;  /* calls of ours below on the stack, that look at it afterwards */
    bool text;     /* what we send is text */
    bool begun;    /* a message has begun */
    bool data;     /* the frame under way is one of a message */
    bool complete; /* the message is whole */
    bool too_big;  /* it would be, with this frame */
    bool paused, pinged, gone;
};

/* NULL: out of memory. */
struct websocket *websocket_new(const struct websocket_config *c, const struct stream_handler *h,
                                void *arg);
void websocket_free(struct websocket *w); /* one that never started; NULL is fine */
/* lower and rest are w's from here on; w is its stream's. */
struct stream *websocket_start(struct websocket *w, struct stream *lower, struct buf *rest);

/* A control frame, also over queue_max: it is small, and said once at a time. */
void websocket_say(struct websocket *w, unsigned opcode, sv payload);
void websocket_pong(struct websocket *w, sv payload);
/* The user is told; the lower stream closes. fail: after a Close with this code (§7.1.7). */
void websocket_end(struct websocket *w, enum err why, bool flush);
void websocket_fail(struct websocket *w, uint16_t code, enum err why);

/* Octets from the lower stream, and those that were held while the user paused. The caller has w
 * busy: the user may close it here. */
void websocket_read(struct websocket *w, sv octets);
void websocket_read_held(struct websocket *w);
/* A frame or message has begun. */
bool websocket_under_way(const struct websocket *w);
/* wslay's memory and the message's. */
void websocket_drop_frames(struct websocket *w);

#endif
