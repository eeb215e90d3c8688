/* SPDX-License-Identifier: MIT */
/* proxy/proxy.h: the stateful proxy: one response context per request.          layer: services
 *
 * Spec    RFC 3261 §16 (all), §9.2, §13.3.1.4, §18.1.1; RFC 3263 §4.3 (the next server); RFC 5658
 *         (double Record-Route); RFC 5393 (loops, breadth); RFC 5626 §5.3 (flow tokens); RFC 6026;
 *         RFC 4320, 4321; RFC 7339 (servers found by name); RFC 4028 §8; RFC 3325 §5; RFC 5630 §5.
 * Shape   proxy_forward takes a request, its targets, and where to report; it owns a response
 *         context: the server transaction, a branch for each target with its servers, one client
 *         transaction for each server that was asked, and Timer C. What happens next is decided by a
 *         pure step (proxy_step.h); the driver performs it.
 *         A server that fails, or says nothing for 8*T1 while others are left, gives way to the next
 *         one of its branch; a late 2xx of it still goes upstream (§16.7 step 10: the caller ends what
 *         it does not want). Requests other than INVITE divide the time that the caller waits (64*T1)
 *         among the servers and ranks that are left.
 * Life    a context ends when its server transaction and all branches have ended.
 * Limits  PROXY_TARGETS_MAX branches in all, those of redirections too; settings.breadth of one rank
 *         (more of either are left out: STAT_LIMIT_BRANCHES; so breadth beyond PROXY_TARGETS_MAX
 *         shows in Max-Breadth only). One branch rings at most PROXY_RINGING_MAX, however often it
 *         says 180.
 * Threads the home's worker.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H
#include "locate/locate.h"
#include "overload/overload.h"
#include "settings/settings.h"
#include "txn/txn.h"

enum { PROXY_TARGETS_MAX = 32, PROXY_REDIRECTS = 5 };
#define PROXY_RINGING_MAX (30 * USEC_MIN)
#define PROXY_END_WAIT    (2 * USEC_S) /* a CANCEL that was lost has been sent three times */

struct proxy;
struct proxy_route;
struct proxy_redirect;

/* One target: where the request may go. Its servers are tried one after the other within the
 * transaction (RFC 3263 §4.3); targets of one rank ring together, the next rank when all of the one
 * before have failed (RFC 3261 §16.6). */
struct proxy_target {
    sv uri;                   /* new Request-URI; SV_NONE: as it is */
    const struct uri *parsed; /* the same, which lives as long; NULL: nobody has */
    /* where it goes; neither flow nor address: found by RFC 3263 from the next hop (the first of path,
     * else the first Route left, else uri) */
    struct dest dest;
    sv path;        /* Route values to put on top (Path of the binding); SV_NONE: none */
    uint16_t rank;  /* higher first: q of a contact (0..1000), or the order of a route's steps */
    bool flow_only; /* RFC 5626 §5.3: no other way than the flow; when it is gone: 430 */
    /* RFC 5626 §7: another flow of the phone that the target before this one reaches: tried in the place
     * of it when that was answered 408 or 430, or nobody was there; not after any other answer */
    bool alternative;
    /* not to be sent to yet: proxy_watch.on_held finds out where to (RFC 8599: a phone that sleeps) */
    bool held;
    bool ice;   /* its Contact says that it speaks ICE (RFC 5768); not looked at here */
    sv account; /* the watcher's own: whose phone it is; not looked at here */
    /* the configuration names it: no address is refused, whoever calls (threats D16) */
    bool trusted;
};

/* What befell a forwarded request, for dialog tracking and records. All optional. Called in turns
 * of the worker. */
struct proxy_watch {
    /* A response goes upstream (1xx but 100, and the final one; each forked 2xx). rx NULL: made
     * here. via: how its sender is reached. t: the target of its branch; NULL: made here, or a 2xx went up before.
     * said: of one from 300 on, as sip_put_said has it. */
    void (*on_response)(void *arg, struct rx *rx, uint16_t status, sv said, const struct dest *via,
                        const struct proxy_target *t);
    /* A branch was redirected (300 to 302 with contacts): may it be followed, and where to? Answer,
     * now or later, with proxy_redirected, once and always, even when the context has ended in the
     * meantime. NULL: redirections go upstream. */
    void (*on_redirect)(void *arg, struct proxy_redirect *redirect, const struct proxy_target *t,
                        struct rx *rx);
    /* A target that is held: its turn has come. Answered like a redirection. Must be there when a
     * target is held. */
    void (*on_held)(void *arg, struct proxy_redirect *held, const struct proxy_target *t);
    /* A target failed for good without an answer from it: its flow is gone, or nobody is there. */
    void (*on_unreachable)(void *arg, const struct proxy_target *t, enum err why);
    /* What became of a request other than INVITE, also when nobody is left to hear it, or when nothing may be said of it
     * (RFC 4320 §4.2).
     *   why  ERR_OK: status is an answer from downstream; ERR_TIMEOUT: there was none; else why it did not arrive */
    void (*on_outcome)(void *arg, uint16_t status, enum err why);
    /* The context has ended; last call. */
    void (*on_gone)(void *arg);
};
/* The branch gives way to these targets, copied, which ring in the place of it: those of their highest
 * rank at once, the others when their rank comes. n 0, or none that was not tried before (§16.5): the
 * 3xx counts as its final response, a target that was held as not available (480). At most PROXY_TARGETS_MAX branches and PROXY_REDIRECTS in a row. */
void proxy_redirected(struct proxy_redirect *redirect, const struct proxy_target *targets,
                      size_t n);

/* ---- session descriptions ---- */

/* A message with or without a body that is about to leave us. */
struct proxy_passing {
    struct rx *rx;   /* as it came */
    sv description;  /* the session description in it (sipmsg_description); SV_NONE: none */
    const char *why; /* there may be one that cannot be exchanged: why; NULL: no such thing */
    uint16_t status; /* as it leaves; 0: a request */
    /* a request: the branch's target, and where it leaves to. A response: NULL, and how its sender was
     * reached */
    const struct proxy_target *target;
    const struct dest *dest;
    struct arena *arena; /* for what is given back: lives long enough */
};
enum proxy_body {
    PROXY_BODY_PASS,    /* as it is */
    PROXY_BODY_REPLACE, /* another description instead */
    /* Of a request: it does not leave, and its branch ends with that, which the caller hears when no other branch
     * has been answered, and he has not given up.
     * Of a 2xx to an INVITE: its branch ends likewise, and who answered is told: we acknowledge the 2xx, each time that it
     * comes, and say BYE (§13.2.2.4 of who cannot take an answer). DEVIATES: §16.7 step 5, a 2xx goes up at once. When
     * another 2xx went up before, it goes on without its description: the caller ends what he does not want.
     * Of another response: it goes on without its description. */
    PROXY_BODY_REFUSE
};
struct proxy_body_new {
    /* REPLACE: at most PROXY_DESCRIPTION_MAX. Empty: the description goes. Of a multipart body only the
     * description's part is exchanged. Where there is a body but no description: nothing is done, unless there may
     * be one (proxy_passing.why) and this is empty: then the whole body goes. */
    sv description;
    sv type; /* Content-Type where there was no body; SV_NONE: application/sdp */
    /* REFUSE, of a 2xx to an INVITE: the description is what our ACK says, when the 2xx has an offer (§13.2.2.4); raise:
     * by how much more than one our BYE's number is above the INVITE's. */
    /* REFUSE, of a request or a 2xx to an INVITE: 400 to 599; another: 500 */
    uint16_t status;
    sv reason; /* SV_NONE: the usual one */
    /* warn-code of a Warning (RFC 3261 §20.43); 0: none. REFUSE; of a response of 300 to 699 also PASS: it is added */
    uint16_t warning;
    sv warning_text; /* without quotes */
    /* PASS and REPLACE, of a request: the number of its CSeq (and in its RAck) is raised by so much, and that of its
     * responses is the caller's again: for a dialog that began with a request that was sent again. */
    uint32_t raise;
};
enum { PROXY_DESCRIPTION_MAX = 65535, PROXY_AGAIN_MAX = 3 };

/* Who exchanges session descriptions on their way through a context: for media that passes through us.
 * DEVIATES: RFC 3261 §16.7 step 9 and §16.6 step 1 leave bodies alone, as we do without one (RFC 5853 §3.2).
 * NULL callbacks: PASS. They are called in turns of the worker, within the proxy's own work: they must
 * not call the proxy. `leg` is a slot of the branch for what is the watcher's, NULL at first.
 *
 * What is sent again is the same octets, without a question: the request of a client transaction, the
 * last response of the server transaction, the same request over UDP when TCP, preferred for its size,
 * failed. What comes again from the other side is asked about again, a 1xx and a 2xx to an INVITE for up
 * to 64*T1: the same answer must come out.
 * A context with a watcher of bodies stays whole until then, where others leave a small echo behind; unless, when a 2xx has
 * gone up, it has no leg: a watcher that need not be asked again takes its legs out of their slots, and is gone. */
struct proxy_bodies {
    /* An INVITE, once, before any of its targets is asked, looked up or woken; m without target and dest. REFUSE: none is,
     * and the caller hears that. */
    enum proxy_body (*on_begin)(void *arg, const struct proxy_passing *m,
                                struct proxy_body_new *ret);
    /* A request is about to leave to a server of a branch; for each server anew, with the same leg. */
    enum proxy_body (*on_request)(void *arg, void **leg, const struct proxy_passing *m,
                                  struct proxy_body_new *ret);
    /* A response of a branch, any but 100, is about to go upstream, a late 2xx of one that lost, too.
     * Of a branch that failed while others went on the leg may be gone: *leg is NULL. */
    enum proxy_body (*on_response)(void *arg, void **leg, const struct proxy_passing *m,
                                   struct proxy_body_new *ret);
    /* The server has refused the request (300 to 699), in a branch that would end by it. True: it is sent to the same
     * server again, after on_request has been asked anew; at most PROXY_AGAIN_MAX times. It has to differ by
     * its CSeq, or it is the same request that came twice (§8.2.2.2). NULL: never. */
    bool (*on_refused)(void *arg, void **leg, uint16_t status);
    /* What was refused (REFUSE) has come to something: the request has failed for it, or a response goes on without its
     * description. So it is not told of a branch beside one that was answered.
     *   rx   the request; that response
     *   why  its status, and its Warning */
    void (*on_told)(void *arg, struct rx *rx, const struct proxy_body_new *why);
    /* Once for each leg that was filled: its branch has ended, and nothing can come of it any more: at
     * once when it failed, 64*T1 after a 2xx to INVITE, or the context has ended. */
    void (*on_leg_gone)(void *arg, void *leg);
    /* The context has ended, all legs before it; last call. Later than proxy_watch.on_gone by up to
     * 64*T1. */
    void (*on_gone)(void *arg);
};

/* per worker. Errors: ERR_NOMEM. */
MUST_USE enum err proxy_new(struct sip *s, struct proxy **ret_proxy);
void proxy_free(struct proxy *p); /* contexts still there end without answers */
size_t proxy_contexts(const struct proxy *p);
/* The server ends: an INVITE without a final response is cancelled as if its caller had (§16.10), but he hears `said` once
 * the phones have confirmed it, or PROXY_END_WAIT is over; a 2xx that was on its way before still goes up, one that comes
 * behind that is acknowledged and its dialog ended by BYE. *most of them, which is less by those that are new to it; NULL:
 * all, and none is waited for. How many had no final response until now. said: its texts are static. */
size_t proxy_end(struct proxy *p, const struct sip_reply *said, size_t *most);
/* INVITEs without a final response. */
size_t proxy_unanswered(const struct proxy *p);
void proxy_settings(struct proxy *p,
                    struct settings *set); /* borrowed; the caller keeps the reference */
/* What finds servers by name; borrowed. Before it, only numeric targets can be reached. */
void proxy_locate(struct proxy *p, struct locate *l);
/* Our own load, told upstream in responses that pass to who asks for it (RFC 7339); borrowed. */
void proxy_overload(struct proxy *p, const struct overload *own);

struct proxy_request {
    /* becomes the context's. Its request: not ACK, not CANCEL; passed proxy_validate */
    struct stxn *server;
    const struct proxy_route *route; /* from proxy_route */
    /* copied; their texts live as long as the request */
    const struct proxy_target *targets;
    size_t n; /* 0: not allowed */
    bool record_route;
    /* It follows a route set of ours to the one place where it can go: no loop is looked for (RFC 5393
     * §4.1). What it comes back with carries nothing to know it by; Max-Forwards ends that. */
    bool in_dialog;
    bool secure;    /* sips: only over TLS (RFC 3261 §26.2.2, RFC 5630 §4) */
    usec step_time; /* how long one rank may ring; 0: settings.ringing */
    /* Identity at the trust boundary (RFC 3325 §5): "P-Asserted-Identity: …" lines to add for who may
     * see them; SV_NONE: none. What came from the caller is always taken out. */
    sv identity;
    /* What is answered when all targets have failed, in place of the best of their answers; 0: that.
     * Not when the caller has given up, nor after a 6xx. */
    uint16_t otherwise;
    sv otherwise_reason;             /* SV_NONE: the usual one */
    const struct proxy_watch *watch; /* may be NULL */
    void *watch_arg;
    const struct proxy_bodies
        *bodies; /* may be NULL: bodies pass as they are, and nobody looks at them */
    void *bodies_arg;
};
/* Takes over: transaction, branches, best response. Refusals (no memory, caps) are answered here
 * too. */
void proxy_forward(struct proxy *p, const struct proxy_request *r);

/* A 2xx's ACK: on to the next hop without state (§16.11); to the first server when it is a name.
 *   as  description and raise, as for PROXY_BODY_REPLACE; they live as long as rx. NULL: as it came */
void proxy_relay(struct proxy *p, struct rx *rx, const struct proxy_route *route,
                 const struct proxy_target *t, const struct proxy_body_new *as);

/* §16.3 Request Validation: scheme, Max-Forwards, loop, Proxy-Require, too short a session timer
 * (RFC 4028 §8.1); a Call-ID or tag of an INVITE longer than WITHIN_ID_MAX (400). A refusal is answered. True: go on. */
bool proxy_validate(struct proxy *p, struct rx *rx);
/* h, Require or Proxy-Require, asks for no extension; else 420 with what is not supported is
 * answered (§8.2.2.3, §16.3 step 5). Known: path, outbound, gruu; to the proxy also timer. True: go on. */
bool proxy_check_extensions(struct proxy *p, struct rx *rx, enum sip_header h);

/* §16.4 Route Information Preprocessing. What it points to lives as long as rx.
 * Errors: ERR_SYNTAX, ERR_NOMEM. */
struct proxy_route {
    /* the Request-URI to route by: the last Route's when a strict router put ours into it */
    const struct uri *uri;
    const struct uri *next; /* the first Route left after ours; NULL: none */
    bool next_loose;        /* it carries ;lr */
    bool routed; /* a Route of ours was on top: the request follows a route set that we made */
    bool
        mark_ok; /* that Route, or the strict router's Request-URI, carried a mark of ours that verifies */
    bool strict;
    unsigned pop; /* how many Routes on top are ours */
    /* flow tokens as they stand in the first and the last Route of ours, nothing of them verified yet:
     * proxy_route_flow; SV_NONE: none */
    sv first_token, token;
};
MUST_USE enum err proxy_route(struct proxy *p, struct rx *rx, struct proxy_route *ret);
/* The flow that a Route of ours says the request is to leave on (RFC 5626 §5.3).
 *   ret_same  likewise of the side that the request comes from: it is the flow that it came on, and
 *             two Routes of ours say so. Then its sender is who was at that end of the dialog.
 * False: none that verifies. */
bool proxy_route_flow(struct proxy *p, const struct rx *rx, const struct proxy_route *route,
                      struct flow *ret_flow, bool *ret_same);

#endif
