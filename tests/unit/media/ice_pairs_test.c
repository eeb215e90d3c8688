/* SPDX-License-Identifier: MIT */
/* Checklists of the full agent from inside: states, limits, who may be paired, and that forgers change no octet. */
#include "ice/ice_priv.h"
#include "ice_world.h"

static const sv ufrag = {"remoteuf", 8}, pwd = {"passwordOfTheRemote12345", 24};

static struct ice_candidate candidate(unsigned component, const char *text, const char *foundation)
{
    struct addr a = at(text);
    struct ice_candidate c = {.type = ICE_HOST,
                              .component = (uint8_t)component,
                              .addr = a,
                              .base = a,
                              .priority = ice_priority(ICE_HOST, a.port, component)};
    c.foundation_n = (uint8_t)strlen(foundation);
    memcpy(c.foundation, foundation, c.foundation_n);
    return c;
}

static void mine(unsigned stream, unsigned component, const char *text, const char *foundation)
{
    struct ice_candidate c = candidate(component, text, foundation);
    c.socket = (uint8_t)peers[0].candidates_n++;
    open_socket(0, stream, component, c.socket, c.addr, -1);
    assert_int_equal(ice_agent_add_local(peers[0].ice, stream, &c, now), ERR_OK);
}

static enum err theirs(unsigned stream, unsigned component, const char *text,
                       const char *foundation)
{
    struct ice_candidate c = candidate(component, text, foundation);
    return ice_agent_add_remote(peers[0].ice, stream, &c, now);
}

static void begin(unsigned n, unsigned each)
{
    clear(5);
    streams = n;
    components = each;
    make_agent(0, true, false);
}

static unsigned pairs(int state)
{
    unsigned n = 0;
    PAIR_EACH(p, peers[0].ice)
    n += state < 0 || p->state == state;
    return n;
}

/* ---- who may be paired ---- */

static void alike_is_paired_with_alike(void **state)
{
    (void)state;
    begin(1, 2);
    mine(0, 1, "198.51.100.1:1", "1");
    mine(0, 2, "198.51.100.1:2", "1");
    mine(0, 1, "[2001:db8::1]:1", "2");
    mine(0, 1, "[fe80::1]:1", "3");
    mine(0, 1, "127.0.0.1:1", "4");
    assert_int_equal(theirs(0, 1, "192.0.2.1:1", "1"), ERR_OK);
    assert_int_equal(pairs(-1), 1);
    assert_int_equal(theirs(0, 2, "192.0.2.1:2", "1"), ERR_OK);
    assert_int_equal(theirs(0, 1, "[2001:db8::9]:1", "2"), ERR_OK);
    assert_int_equal(pairs(-1), 3);
    assert_int_equal(theirs(0, 1, "[fe80::9]:1", "2"), ERR_OK);
    assert_int_equal(theirs(0, 1, "127.0.0.1:9", "2"), ERR_OK);
    assert_int_equal(pairs(-1), 5);
    assert_int_equal(theirs(0, 1, "192.0.2.1:1", "1"), ERR_EXISTS);
    struct ice_candidate c = candidate(1, "198.51.100.1:1", "7");
    assert_int_equal(ice_agent_add_local(peers[0].ice, 0, &c, now), ERR_EXISTS);
    c = candidate(1, "203.0.113.1:1", "7"); /* reflexive: its base is paired already */
    c.type = ICE_SRFLX;
    c.base = at("198.51.100.1:1");
    assert_int_equal(ice_agent_add_local(peers[0].ice, 0, &c, now), ERR_OK);
    assert_int_equal(pairs(-1), 5);
}

/* RFC 8445 §6.1.2.6, RFC 8838 §12: of a foundation the topmost waits, all others when it has succeeded. */
static void of_each_foundation_one_waits(void **state)
{
    struct ice_agent *a;
    (void)state;
    begin(2, 2);
    a = peers[0].ice;
    for (unsigned s = 0; s < 2; s++) {
        for (unsigned c = 2; c >= 1; c--) { /* the order in which they come does not count */
            char text[32];
            snprintf(text, sizeof text, "198.51.100.1:%u", 100 + 10 * s + c);
            mine(s, c, text, "1");
            snprintf(text, sizeof text, "192.0.2.1:%u", 100 + 10 * s + c);
            assert_int_equal(theirs(s, c, text, "1"), ERR_OK);
            snprintf(text, sizeof text, "192.0.2.2:%u", 100 + 10 * s + c);
            assert_int_equal(theirs(s, c, text, "2"), ERR_OK);
        }
    }
    assert_int_equal(pairs(-1), 8);
    assert_int_equal(pairs(PAIR_WAITING), 2);
    PAIR_EACH(p, a)
    if (p->state == PAIR_WAITING)
        assert_int_equal(p->component, 1);
    PAIR_EACH(p, a)
    {
        if (p->state != PAIR_WAITING || pair_remote(a, p)->foundation[0] != '1')
            continue;
        pairs_unfreeze(a, p);
        break;
    }
    assert_int_equal(pairs(PAIR_WAITING), 5);
    /* once checks have begun, a new one of a foundation that has succeeded waits, of another that is under way it
     * is frozen */
    a->checked = true;
    PAIR_EACH(p, a)
    if (pair_remote(a, p)->foundation[0] == '1')
        p->state = PAIR_SUCCEEDED;
    unsigned waiting = pairs(PAIR_WAITING), frozen = pairs(PAIR_FROZEN);
    assert_int_equal(theirs(1, 2, "192.0.2.1:7", "1"), ERR_OK);
    assert_int_equal(pairs(PAIR_WAITING), waiting + 1);
    assert_int_equal(theirs(1, 2, "192.0.2.2:7", "2"), ERR_OK);
    assert_int_equal(pairs(PAIR_FROZEN), frozen + 1);
    assert_int_equal(theirs(1, 1, "192.0.2.3:7", "3"), ERR_OK);
    assert_int_equal(pairs(PAIR_WAITING), waiting + 2);
}

static void a_component_that_one_side_lacks_is_none(void **state)
{
    (void)state;
    begin(1, 2);
    mine(0, 1, "198.51.100.1:1", "1");
    mine(0, 2, "198.51.100.1:2", "1");
    assert_int_equal(theirs(0, 1, "192.0.2.1:1", "1"), ERR_OK);
    ice_agent_end_local(peers[0].ice, 0, now);
    assert_int_equal(peers[0].ice->stream[0].components, 2);
    ice_agent_end_remote(peers[0].ice, 0, now);
    assert_int_equal(peers[0].ice->stream[0].components, 1);
    assert_int_equal(theirs(0, 2, "192.0.2.1:2", "1"), ERR_STATE);
    begin(1, 2);
    mine(0, 2, "198.51.100.1:2", "1");
    assert_int_equal(theirs(0, 2, "192.0.2.1:2", "1"), ERR_OK);
    assert_int_equal(pairs(-1), 1);
    ice_agent_mux(peers[0].ice, 0, now);
    assert_int_equal(pairs(-1), 0);
}

/* ---- limits ---- */

static void everything_has_its_end(void **state)
{
    char text[32];
    (void)state;
    begin(2, 1);
    for (unsigned s = 0; s < 2; s++) {
        for (unsigned i = 0; i < ICE_CANDIDATES_MAX; i++) {
            snprintf(text, sizeof text, "192.0.2.1:%u", 1 + i);
            assert_int_equal(theirs(s, 1, text, "1"), ERR_OK);
        }
        assert_int_equal(theirs(s, 1, "192.0.2.2:1", "1"), ERR_TOOBIG);
        for (unsigned i = 0; i < 4; i++) {
            snprintf(text, sizeof text, "198.51.100.1:%u", 1000 + 10 * s + i);
            mine(s, 1, text, "1");
        }
    }
    assert_int_equal(pairs(-1), ICE_PAIRS_MAX);
    /* the least were left out: what remains of each base goes with the best of theirs */
    PAIR_EACH(p, peers[0].ice)
    assert_true(pair_remote(peers[0].ice, p)->addr.port > 2);
    begin(1, 1);
    peers[0].ice->config.pairs_max = 3;
    mine(0, 1, "198.51.100.1:1", "1");
    for (unsigned i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "192.0.2.1:%u", 1 + i);
        assert_int_equal(theirs(0, 1, text, "1"), ERR_OK);
    }
    assert_int_equal(pairs(-1), 3);
    PAIR_EACH(p, peers[0].ice)
    assert_true(pair_remote(peers[0].ice, p)->addr.port >= 8);
}

static void request(const char *theirs_ufrag, const struct addr *from, sv password)
{
    char mem[ICE_CHECK_MAX], name[64];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    snprintf(name, sizeof name, SV_FMT ":%s", SV_ARG(ufrag_of(0)), theirs_ufrag);
    struct stun_out o =
        stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)"transaction.");
    stunmsg_put(&o, STUN_USERNAME, sv_of(name));
    stunmsg_put_u32(&o, STUN_PRIORITY, 77);
    stunmsg_put_u64(&o, STUN_ICE_CONTROLLED, 7);
    stunmsg_put_integrity(&o, STUN_SHA1, password);
    stunmsg_put_fingerprint(&o);
    ice_agent_on_datagram(peers[0].ice, 0, 1, 0, from, buf_sv(&b), now);
}

/* A peer that shows itself from everywhere is heard from a few places. */
static void reflexive_candidates_are_few(void **state)
{
    struct addr from = at("203.0.113.1:1");
    (void)state;
    begin(1, 1);
    mine(0, 1, "198.51.100.1:1", "1");
    for (int i = 0; i < 2; i++) {
        for (from.port = 1; from.port < 100; from.port++)
            request("remoteuf", &from, pwd_of(0));
        assert_int_equal(peers[0].ice->stream[0].remotes_n, ICE_REFLEXIVE_MAX);
        assert_int_equal(pairs(-1), ICE_REFLEXIVE_MAX);
        assert_int_equal(ice_agent_set_remote(peers[0].ice, 0, ufrag, pwd, now), ERR_OK);
    }
    assert_int_equal(ice_agent_set_remote(peers[0].ice, 0, ufrag, pwd, now), ERR_OK); /* again */
    assert_int_equal(ice_agent_set_remote(peers[0].ice, 0, SV("other"), pwd, now), ERR_STATE);
    /* told in the end: its type is what was told, its priority what it showed */
    assert_int_equal(theirs(0, 1, "203.0.113.1:5", "9"), ERR_OK);
    const struct ice_candidate *c = &peers[0].ice->stream[0].remotes[4];
    assert_int_equal(c->type, ICE_HOST);
    assert_int_equal(c->priority, 77);
    assert_int_equal(c->foundation[0], '9');
}

/* A forked call: two answer the offer's credentials; the one whose answer comes is followed. */
static void early_checks_of_others_are_forgotten(void **state)
{
    struct addr one = at("203.0.113.1:1"), two = at("203.0.113.2:2");
    (void)state;
    begin(1, 1);
    mine(0, 1, "198.51.100.1:1", "1");
    request("remoteuf", &one, pwd_of(0));
    request("stranger", &two, pwd_of(0));
    assert_int_equal(pairs(-1), 2);
    assert_int_equal(sent_n, 2); /* both were answered, nobody was asked */
    assert_int_equal(ice_agent_next(peers[0].ice), USEC_NEVER);
    assert_int_equal(ice_agent_set_remote(peers[0].ice, 0, ufrag, pwd, now), ERR_OK);
    assert_int_equal(pairs(-1), 1);
    request("stranger", &two, pwd_of(0));
    assert_int_equal(pairs(-1), 1);
    flights_n = 0;
    run(now + USEC_S, never);
    PAIR_EACH(p, peers[0].ice)
    assert_true(addr_equal(&pair_remote(peers[0].ice, p)->addr, &one) && p->txn.sent > 0);
}

static void credentials_without_grammar_are_refused(void **state)
{
    (void)state;
    begin(1, 1);
    assert_int_equal(ice_agent_set_remote(peers[0].ice, 0, SV("abc"), pwd, now), ERR_SYNTAX);
    assert_int_equal(ice_agent_set_remote(peers[0].ice, 0, ufrag, SV("short"), now), ERR_SYNTAX);
}

static void what_cannot_be_reached_has_failed(void **state)
{
    (void)state;
    begin(1, 1);
    mine(0, 1, "198.51.100.1:1", "1");
    assert_int_equal(theirs(0, 1, "192.0.2.1:1", "1"), ERR_OK);
    assert_int_equal(ice_agent_set_remote(peers[0].ice, 0, ufrag, pwd, now), ERR_OK);
    ice_agent_timer(peers[0].ice, now);
    assert_int_equal(pairs(PAIR_IN_PROGRESS), 1);
    struct ice_way way = {0, at("192.0.2.1:2")};
    ice_agent_unreachable(peers[0].ice, 0, 1, &way, now); /* another address */
    assert_int_equal(pairs(PAIR_FAILED), 0);
    way.to.port = 1;
    ice_agent_unreachable(peers[0].ice, 0, 1, &way, now);
    assert_int_equal(pairs(PAIR_FAILED), 1);
    struct addr from = at("192.0.2.1:1"); /* its own check brings it back (§7.3.1.4) */
    request("remoteuf", &from, pwd_of(0));
    assert_int_equal(pairs(PAIR_WAITING), 1);
}

/* ---- answers, one by one ---- */

/* A request of this pair is answered by its peer. code 0: success. */
static void answer_to(struct pair *p, const uint8_t *id, unsigned code)
{
    char mem[ICE_CHECK_MAX];
    struct buf b;
    struct ice_agent *a = peers[0].ice;
    struct addr mapped = pair_local(a, p)->addr, from = pair_remote(a, p)->addr;
    buf_init(&b, mem, sizeof mem);
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING, code ? STUN_ERROR : STUN_SUCCESS, id);
    if (code)
        stunmsg_put_error(&o, code, SV(""));
    else
        stun_put_xor_addr(&o, STUN_XOR_MAPPED_ADDRESS, &mapped);
    stunmsg_put_integrity(&o, STUN_SHA1, pwd);
    stunmsg_put_fingerprint(&o);
    ice_agent_on_datagram(a, p->stream, p->component, pair_local(a, p)->socket, &from, buf_sv(&b),
                          now);
}

static void answer(struct pair *p, unsigned code)
{
    answer_to(p, p->now.id, code);
}

/* n streams with a pair each, all of one foundation. */
static void alike(unsigned n)
{
    char text[32];
    begin(n, 1);
    for (unsigned s = 0; s < n; s++) {
        snprintf(text, sizeof text, "198.51.100.1:%u", 100 - s);
        mine(s, 1, text, "1");
        snprintf(text, sizeof text, "192.0.2.1:%u", 100 - s);
        assert_int_equal(theirs(s, 1, text, "1"), ERR_OK);
    }
    for (unsigned s = 0; s < n; s++)
        assert_int_equal(ice_agent_set_remote(peers[0].ice, s, ufrag, pwd, now), ERR_OK);
    for (int i = 0; i < 4; i++) {
        ice_agent_timer(peers[0].ice, now);
        now += ICE_TA_MS * USEC_MS;
    }
}

static void success_unfreezes_its_foundation(void **state)
{
    (void)state;
    alike(4);
    assert_int_equal(pairs(PAIR_IN_PROGRESS), 1);
    assert_int_equal(pairs(PAIR_FROZEN), 3);
    PAIR_EACH(p, peers[0].ice)
    if (p->state == PAIR_IN_PROGRESS) {
        answer(p, 0);
        break;
    }
    assert_int_equal(pairs(PAIR_SUCCEEDED), 1);
    assert_int_equal(pairs(PAIR_FROZEN), 0);
    assert_true(ice_agent_next(peers[0].ice) <= now);
}

static void failure_gives_the_next_of_its_foundation_its_turn(void **state)
{
    (void)state;
    alike(3);
    PAIR_EACH(p, peers[0].ice)
    if (p->state == PAIR_IN_PROGRESS) {
        answer(p, 500);
        break;
    }
    assert_int_equal(pairs(PAIR_FAILED), 1);
    assert_int_equal(pairs(PAIR_FROZEN), 2);
    ice_agent_timer(peers[0].ice, now);
    assert_int_equal(pairs(PAIR_IN_PROGRESS), 1);
    assert_int_equal(pairs(PAIR_FROZEN), 1);
}

/* Many 487s of one conflict are one (§7.2.5.1). */
static void a_conflict_changes_the_role_once(void **state)
{
    struct pair *both[2];
    unsigned n = 0;
    (void)state;
    begin(1, 1);
    mine(0, 1, "198.51.100.1:1", "1");
    assert_int_equal(theirs(0, 1, "192.0.2.1:1", "1"), ERR_OK);
    assert_int_equal(theirs(0, 1, "192.0.2.1:2", "2"), ERR_OK);
    assert_int_equal(ice_agent_set_remote(peers[0].ice, 0, ufrag, pwd, now), ERR_OK);
    ice_agent_timer(peers[0].ice, now);
    now += ICE_TA_MS * USEC_MS;
    ice_agent_timer(peers[0].ice, now);
    PAIR_EACH(p, peers[0].ice)
    both[n++] = p;
    assert_int_equal(pairs(PAIR_IN_PROGRESS), 2);
    uint64_t tiebreaker = peers[0].ice->tiebreaker;
    answer(both[0], 487);
    assert_false(ice_agent_controlling(peers[0].ice));
    assert_true(peers[0].ice->tiebreaker != tiebreaker);
    assert_int_equal(both[0]->state, PAIR_WAITING);
    answer(both[1], 487);
    assert_false(ice_agent_controlling(peers[0].ice));
    assert_int_equal(both[1]->state, PAIR_WAITING);
    struct ice_event e;
    assert_true(ice_agent_event(peers[0].ice, &e));
    assert_int_equal(e.kind, ICE_ROLE);
    assert_false(ice_agent_event(peers[0].ice, &e));
}

static void a_lite_peer_cannot_control(void **state)
{
    (void)state;
    alike(1);
    peers[0].ice->config.peer_lite = true;
    PAIR_EACH(p, peers[0].ice)
    answer(p, 487);
    assert_true(ice_agent_controlling(peers[0].ice));
    assert_int_equal(pairs(PAIR_FAILED), 1);
}

/* Each check of the peer cancels ours; the answers to what was cancelled still count (§7.3.1.4). */
static void overtaken_requests_may_be_answered(void **state)
{
    struct addr from = at("192.0.2.1:100");
    uint8_t id[3][STUN_ID];
    (void)state;
    alike(1);
    struct pair *p = peers[0].ice->pair;
    for (int i = 0; i < 3; i++) {
        memcpy(id[i], p->now.id, STUN_ID);
        if (i == 2)
            break;
        request("remoteuf", &from, pwd_of(0));
        assert_int_equal(p->state, PAIR_WAITING);
        now += ICE_TA_MS * USEC_MS;
        ice_agent_timer(peers[0].ice, now);
        assert_int_equal(p->state, PAIR_IN_PROGRESS);
        assert_memory_not_equal(id[i], p->now.id, STUN_ID);
    }
    answer_to(p, id[0], 0);
    assert_int_equal(p->state, PAIR_SUCCEEDED);
    answer_to(p, id[1], 400); /* says nothing any more */
    assert_int_equal(p->state, PAIR_SUCCEEDED);
    assert_true(p->valid);
}

/* §7.3.1.1: the larger controls, and equal ones count as ours being larger. */
static void the_larger_tiebreaker_controls(void **state)
{
    static const struct {
        bool controlling;
        enum stun_type says;
        int64_t more; /* than ours */
        bool stays, conflict;
    } row[] = {
        {true, STUN_ICE_CONTROLLING, -1, true, true},
        {true, STUN_ICE_CONTROLLING, 0, true, true},
        {true, STUN_ICE_CONTROLLING, 1, false, false},
        {true, STUN_ICE_CONTROLLED, 1, true, false},
        {false, STUN_ICE_CONTROLLED, -1, false, false},
        {false, STUN_ICE_CONTROLLED, 0, false, false},
        {false, STUN_ICE_CONTROLLED, 1, true, true},
        {false, STUN_ICE_CONTROLLING, -1, true, false},
    };
    struct addr from = at("192.0.2.1:1");
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        char mem[ICE_CHECK_MAX], name[32];
        struct buf b;
        struct stunmsg m;
        begin(1, 1);
        mine(0, 1, "198.51.100.1:1", "1");
        peers[0].ice->config.controlling = row[i].controlling;
        peers[0].ice->tiebreaker = 1000;
        buf_init(&b, mem, sizeof mem);
        snprintf(name, sizeof name, SV_FMT ":remoteuf", SV_ARG(ufrag_of(0)));
        struct stun_out o =
            stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)"transaction.");
        stunmsg_put(&o, STUN_USERNAME, sv_of(name));
        stunmsg_put_u64(&o, (uint16_t)row[i].says, (uint64_t)(1000 + row[i].more));
        stunmsg_put_integrity(&o, STUN_SHA1, pwd_of(0));
        stunmsg_put_fingerprint(&o);
        ice_agent_on_datagram(peers[0].ice, 0, 1, 0, &from, buf_sv(&b), now);
        assert_int_equal(ice_agent_controlling(peers[0].ice), row[i].controlling == row[i].stays);
        assert_int_equal(flights_n, 1);
        assert_int_equal(stunmsg_parse((sv){flights[0].octets, flights[0].n}, &m), ERR_OK);
        assert_int_equal(m.class, row[i].conflict ? STUN_ERROR : STUN_SUCCESS);
        assert_int_equal(pairs(-1), !row[i].conflict);
    }
}

/* A nomination that fails: the stream has failed (§7.2.5.3.4). */
static void a_nomination_that_fails_ends_it(void **state)
{
    (void)state;
    alike(1);
    ice_agent_end_local(peers[0].ice, 0, now);
    ice_agent_end_remote(peers[0].ice, 0, now);
    PAIR_EACH(p, peers[0].ice)
    answer(p, 0);
    ice_agent_timer(peers[0].ice, now); /* nothing better can come: it is nominated */
    PAIR_EACH(p, peers[0].ice)
    {
        assert_true(p->now.use && p->state == PAIR_IN_PROGRESS);
        answer(p, 400);
        assert_false(p->valid);
    }
    take_events(&peers[0]);
    assert_int_equal(peers[0].failed, 1);
    assert_int_equal(peers[0].selected, 0);
}

/* ---- forgers ---- */

static void unproven_answers(const uint8_t *id, const struct addr *from)
{
    static const unsigned code[] = {0, 300, 400, 401, 403, 487, 500};
    for (size_t i = 0; i < sizeof code / sizeof code[0]; i++) {
        for (int how = 0; how < 4; how++) {
            char mem[ICE_CHECK_MAX];
            struct buf b;
            buf_init(&b, mem, sizeof mem);
            struct stun_out o =
                stunmsg_begin(&b, STUN_BINDING, code[i] ? STUN_ERROR : STUN_SUCCESS, id);
            if (code[i])
                stunmsg_put_error(&o, code[i], SV(""));
            else
                stun_put_xor_addr(&o, STUN_XOR_MAPPED_ADDRESS, from);
            if (how == 1)
                stunmsg_put_integrity(&o, STUN_SHA1, SV("guessed"));
            if (how == 2)
                stunmsg_put_integrity(&o, STUN_SHA1, pwd_of(0)); /* ours reflected */
            if (how == 3) /* proven, but not as it was asked (RFC 8489 §9.1.4) */
                stunmsg_put_integrity(&o, STUN_SHA256, pwd_of(1));
            stunmsg_put_fingerprint(&o);
            ice_agent_on_datagram(peers[0].ice, 0, 1, 0, from, buf_sv(&b), now);
        }
    }
}

/* With each id that is under way, from the right address: no octet of the agent changes. */
static void forgers_change_no_octet(void **state)
{
    struct addr one = at("198.51.100.11:20101"), spy = at("203.0.113.66:6");
    struct ice_agent *before;
    (void)state;
    clear(9);
    nats[0].kind = nats[1].kind = OPEN;
    furnish(0, &(struct house){.kind = OPEN});
    furnish(1, &(struct house){.kind = OPEN, .nat = 1});
    make_agent(0, true, false);
    make_agent(1, false, false);
    signal(0, now, 0);
    signal(1, now, 0);
    size_t size = agent_size(1);
    before = malloc(size);
    assert_non_null(before);
    for (int phase = 0; phase < 2; phase++) {
        if (phase == 1)
            run(now + 60 * USEC_S, settled);
        for (int turn = 0; turn < 200; turn++) {
            now = next_time();
            due();
            memcpy(before, peers[0].ice, size);
            PAIR_EACH(p, peers[0].ice)
            unproven_answers(p->now.id, &one);
            for (unsigned i = 0; i < CONSENTS; i++)
                unproven_answers(peers[0].ice->stream[0].component[0].consent[i].id, &one);
            unsigned sent = sent_n, flying = flights_n;
            request("whatever", &spy, SV("guessed"));
            request("whatever", &one, pwd_of(1));
            assert_memory_equal(before, peers[0].ice, size);
            assert_int_equal(sent_n - sent, 2); /* 401 both */
            flights_n = flying;
        }
    }
    free(before);
    assert_true(settled());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alike_is_paired_with_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(of_each_foundation_one_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_component_that_one_side_lacks_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(everything_has_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(reflexive_candidates_are_few, setup, teardown),
        cmocka_unit_test_setup_teardown(early_checks_of_others_are_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(credentials_without_grammar_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_reached_has_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(success_unfreezes_its_foundation, setup, teardown),
        cmocka_unit_test_setup_teardown(failure_gives_the_next_of_its_foundation_its_turn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_conflict_changes_the_role_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lite_peer_cannot_control, setup, teardown),
        cmocka_unit_test_setup_teardown(overtaken_requests_may_be_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(the_larger_tiebreaker_controls, setup, teardown),
        cmocka_unit_test_setup_teardown(a_nomination_that_fails_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(forgers_change_no_octet, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
