/* SPDX-License-Identifier: MIT */
/* rtcpmsg/rtcpmsg_priv.h: what reading and printing share. */
#ifndef RTCPMSG_RTCPMSG_PRIV_H
#define RTCPMSG_RTCPMSG_PRIV_H
#include "rtcpmsg/rtcpmsg.h"

/* Sizes in octets: of parts of packets, and of XR blocks behind their headers. */
enum {
    RTCP_SENDER = 20,
    RTCP_BLOCK = 24,
    RTCP_FEEDBACK = 8, /* behind the header: two SSRCs */
    RTCP_NACK = 4,
    RTCP_FIR_ENTRY = 8,
    RTCP_TMMB_ENTRY = 8,
    RTCP_XR_HEADER = 4,
    RTCP_XR_RRTR_BODY = 8,
    RTCP_XR_DLRR_SUB = 12,
    RTCP_XR_SUMMARY_BODY = 36,
    RTCP_XR_VOIP_BODY = 32
};
/* FMT, RFC 4585 §6.2 and §6.3, 5104 §4. */
enum { FMT_NACK = 1, FMT_TMMBR = 3, FMT_TMMBN = 4, FMT_TWCC = 15 };
enum { FMT_PLI = 1, FMT_SLI = 2, FMT_RPSI = 3, FMT_FIR = 4, FMT_AFB = 15 };

static inline uint8_t rtcp_u8(sv s, size_t at)
{
    return (uint8_t)s.p[at];
}
static inline uint16_t rtcp_u16(sv s, size_t at)
{
    return (uint16_t)(rtcp_u8(s, at) << 8 | rtcp_u8(s, at + 1));
}
static inline uint32_t rtcp_u32(sv s, size_t at)
{
    return (uint32_t)rtcp_u16(s, at) << 16 | rtcp_u16(s, at + 2);
}
static inline uint64_t rtcp_u64(sv s, size_t at)
{
    return (uint64_t)rtcp_u32(s, at) << 32 | rtcp_u32(s, at + 4);
}

#endif
