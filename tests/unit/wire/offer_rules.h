/* SPDX-License-Identifier: MIT */
/* tests/unit/wire/offer_rules.h: one offer and one answer, under one policy, for the tests of single rules. */
#ifndef OFFER_RULES_H
#define OFFER_RULES_H
#include "offer_world.h"

#define HEAD   "v=0\no=- 1 2 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"
#define ICE    "a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n"
#define DTLS   "a=fingerprint:sha-256 AA:BB\n"
#define EVENTS "a=rtpmap:101 telephone-event/8000\n"

#define CRYPTO(tag, suite, key) "a=crypto:" tag " " suite " inline:" key "\n"
#define CM80                    "AES_CM_128_HMAC_SHA1_80"
#define CM32                    "AES_CM_128_HMAC_SHA1_32"
#define WEB_TAIL                "a=setup:actpass\na=rtcp-mux\n" ICE DTLS

static struct offer_policy policy;
static struct offer_ours *ours[2];
static struct offer_reasons why;
static struct offer_plan plan;
static sv passed, answered;

static inline int setup(void **state)
{
    world_setup(state);
    policy = world_policy;
    ours[0] = world_ours("203.0.113.1", 'a');
    ours[1] = world_ours("203.0.113.2", 'b');
    memset(&plan, 0xa5, sizeof plan);
    passed = answered = SV_NONE;
    return 0;
}

static inline enum err try_pass(const char *offer, enum offer_profile profile)
{
    return offer_pass(world_read(sv_of(offer)), &policy, profile, ours[1], &world, &passed, &why);
}

static inline void pass(const char *offer, enum offer_profile profile)
{
    enum err rc = try_pass(offer, profile);
    if (rc)
        fail_msg("%s: " SV_FMT, err_name(rc), SV_ARG(why.line[why.n - 1]));
}

static inline enum err try_answer(const char *offer, enum offer_profile profile, const char *answer)
{
    pass(offer, profile);
    return offer_answer(world_read(sv_of(offer)), world_read(passed), world_read(sv_of(answer)),
                        &policy, ours[0], ours[1], &world, &answered, &plan, &why);
}

static inline void answer(const char *offer, enum offer_profile profile, const char *text)
{
    enum err rc = try_answer(offer, profile, text);
    if (rc)
        fail_msg("%s: " SV_FMT, err_name(rc), SV_ARG(why.line[why.n - 1]));
    world_read(answered);
}

static inline enum err try_accept(const char *offer)
{
    return offer_accept(world_read(sv_of(offer)), &policy, ours[0], &world, &answered, &plan, &why);
}

static inline sv last_why(void)
{
    assert_true(why.n > 0);
    return why.line[why.n - 1];
}

static inline const struct offer_map *map_of(int way, unsigned from)
{
    for (unsigned i = 0; i < plan.streams[0].map_n[way]; i++)
        if (plan.streams[0].map[way][i].from == from)
            return &plan.streams[0].map[way][i];
    return NULL;
}

static inline void assert_map(int way, unsigned from, unsigned to, bool transcode)
{
    const struct offer_map *m = map_of(way, from);
    if (!m || m->to != to || m->transcode != transcode)
        fail_msg("way %d: %u goes to %d, transcode %d", way, from, m ? m->to : -1,
                 m && m->transcode);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, world_teardown)

#endif
