/* SPDX-License-Identifier: MIT */
/* Calls that end at the server, through routing: answered, refused, changed, ended by either side, and
 * what becomes of those that nobody acknowledges or refreshes. */
#include "rig.h"

#define ECHO    "sip:*43@example.com"
#define PARTIES "From: <sip:alice@example.com>;tag=a1\r\nTo: <" ECHO ">\r\n"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"
#define SDP     "v=0\r\ns=-\r\n"
#define OURS    "v=0\r\ns=ours\r\n"

struct desk {
    struct rig *r;
    struct answer_call *call; /* NULL: ended */
    enum settings_target_kind kind;
    char file[64], offer[64], ack[64];
    unsigned calls, acks, offers, infos, ends;
    enum answer_end why;
    bool wait, end_in_offer, accepted;
    struct answer_reply reply; /* to offers */
};

static void keep(char *to, size_t room, sv text)
{
    snprintf(to, room, SV_FMT, SV_ARG(text));
}

static void on_ack(void *arg, struct answer_call *c, sv description)
{
    struct desk *d = arg;
    assert_ptr_equal(c, d->call);
    d->acks++;
    keep(d->ack, sizeof(d->ack), description);
}
static void on_offer(void *arg, struct answer_call *c, struct rx *rx, sv offer,
                     struct answer_reply *ret)
{
    struct desk *d = arg;
    assert_non_null(rx);
    d->offers++;
    keep(d->offer, sizeof(d->offer), offer);
    *ret = d->reply;
    if (d->end_in_offer)
        answer_end(c, NULL);
}
static uint16_t on_info(void *arg, struct answer_call *c, struct rx *rx)
{
    struct desk *d = arg;
    assert_non_null(c);
    assert_non_null(rx);
    d->infos++;
    return 0;
}
static void on_end(void *arg, struct answer_call *c, enum answer_end why)
{
    struct desk *d = arg;
    if (c == d->call)
        d->call = NULL;
    d->ends++;
    d->why = why;
}
static const struct answer_handler handler = {
    .on_ack = on_ack, .on_offer = on_offer, .on_info = on_info, .on_end = on_end};

static void on_call(void *arg, struct answer_call *call, sv payer,
                    const struct settings_target *what)
{
    (void)payer;
    struct desk *d = arg;
    d->calls++;
    d->call = call;
    d->kind = what->kind;
    keep(d->file, sizeof(d->file), what->file);
    keep(d->offer, sizeof(d->offer), answer_offer(call));
    assert_non_null(answer_rx(call));
    answer_handle(call, &handler, d);
    if (!d->wait)
        assert_int_equal(answer_accept(call, SV(OURS)), ERR_OK);
}
static const struct routing_media media = {.on_call = on_call};

static int setup(void **state)
{
    struct desk *d = MEM_NEW(struct desk);
    assert_non_null(d);
    d->r = rig_new(SETTINGS_AUTH_REGISTER);
    d->r->set->codes.echo = SV("*43");
    d->r->set->session_timer = 0;
    d->reply.description = SV(OURS);
    routing_media(d->r->routing, &media, d);
    *state = d;
    return 0;
}
static int teardown(void **state)
{
    struct desk *d = *state;
    rig_free(d->r);
    mem_free(d);
    return 0;
}

/* text, which ends without a body, with this one. */
static const char *with(const char *text, const char *type, const char *body)
{
    char *out = scratch();
    const char *end = strstr(text, "Content-Length: 0\r\n\r\n");
    assert_non_null(end);
    snprintf(out, MESSAGE, "%.*sContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
             (int)(end - text), text, type, strlen(body), body);
    return out;
}

static void invite(struct desk *d, const char *call_id, const char *more)
{
    say(d->r, ALICE,
        with(request(d->r, ALICE, "INVITE", ECHO, PARTIES, call_id, more), "application/sdp", SDP));
}

/* The URI in angle brackets of the first field of this name. */
static const char *uri_in(const char *raw, const char *name)
{
    char *out = scratch();
    const char *v = value(raw, name), *from = strchr(v, '<');
    assert_non_null(from);
    snprintf(out, MESSAGE, "%.*s", (int)strcspn(from + 1, ">"), from + 1);
    return out;
}

/* A request in the dialog that ok, our 200, made. */
static const char *inside(const char *ok, const char *method, unsigned cseq, const char *more)
{
    static unsigned serial;
    char *out = scratch();
    snprintf(out, MESSAGE,
             "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKin%u;rport\r\n"
             "From: <sip:alice@example.com>;tag=a1\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %u %s\r\n"
             "Max-Forwards: 70\r\n%sContent-Length: 0\r\n\r\n",
             method, uri_in(ok, "Contact"), ++serial, value(ok, "To"), value(ok, "Call-ID"), cseq,
             method, more);
    return out;
}

/* A call that stands; our 200. */
static const char *standing(struct desk *d, const char *call_id, const char *more)
{
    static char ok[MESSAGE];
    rig_clear(d->r);
    invite(d, call_id, more);
    snprintf(ok, sizeof(ok), "%s", find_raw(d->r, ALICE, "SIP/2.0 200"));
    assert_true(ok[0]);
    say(d->r, ALICE, inside(ok, "ACK", 1, ""));
    rig_clear(d->r);
    return ok;
}

static void quiet(struct desk *d)
{
    rig_quiet(d->r);
    assert_int_equal(answer_count(routing_answer(d->r->routing)), 0);
    assert_int_equal(d->ends, d->calls);
    assert_int_equal(home_entries(sip_home(d->r->sip)), 0);
}

static void has_body(const char *raw, const char *want)
{
    const char *body = strstr(raw, "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body + 4, want);
}

/* RFC 3261 §13.3.1.4: 200 again and again until the ACK; then BYE. */
static void test_whole(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    invite(d, "whole",
           CONTACT "Record-Route: <sip:p1.example.net;lr>, <sip:p2.example.net;lr>\r\n");
    assert_int_equal(d->kind, TARGET_ECHO);
    assert_string_equal(d->offer, SDP);
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", find_raw(r, ALICE, "SIP/2.0 200 OK"));
    has_body(ok, OURS);
    assert_string_equal(value(ok, "Content-Type"), "application/sdp");
    assert_string_equal(value(ok, "Record-Route"),
                        "<sip:p1.example.net;lr>, <sip:p2.example.net;lr>");
    assert_non_null(strstr(value(ok, "To"), ";tag="));
    assert_non_null(strstr(uri_in(ok, "Contact"), "-here@192.0.2.1:5060"));
    assert_string_equal(value(ok, "Allow"), "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO");
    rig_run(r, 1600 * USEC_MS); /* after 0.5 and 1 s */
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 3);
    assert_int_equal(d->acks, 0);
    say(r, ALICE, with(inside(ok, "ACK", 1, ""), "application/sdp", SDP));
    assert_int_equal(d->acks, 1);
    assert_string_equal(d->ack, SDP);
    say(r, ALICE, inside(ok, "ACK", 1, ""));
    rig_run(r, 40 * USEC_S);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 3);
    assert_int_equal(d->acks, 1);
    rig_clear(r);
    say(r, ALICE, inside(ok, "BYE", 2, ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(d->ends, 1);
    assert_int_equal(d->why, ANSWER_BY_CALLER);
    assert_int_equal(r->dir.records, 1); /* the books know it */
    assert_string_equal(r->dir.ended_by, "caller");
    assert_int_equal(r->dir.last.status, 200);
    assert_int_not_equal(r->dir.last.answer, 0);
    /* it is over */
    say(r, ALICE, inside(ok, "BYE", 3, ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 481 "), 1);
    rig_clear(r);
    say(r, ALICE, inside(ok, "ACK", 3, ""));
    assert_int_equal(heard(r, ALICE, ""), 0);
    assert_int_equal(stat_get(&r->group->loop[0]->stats, STAT_CALLS), 0);
    quiet(d);
}

/* Our BYE: the route set in order, his Contact, the parties turned round. */
static void test_our_bye(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    standing(d, "ours",
             CONTACT "Record-Route: <sip:p1.example.net;lr>\r\nRecord-Route: "
                     "<sip:p2.example.net;lr>\r\n");
    answer_end(d->call, NULL);
    assert_int_equal(d->why, ANSWER_BY_US);
    rig_run(r, 50 * USEC_MS);
    const char *bye = find_raw(r, ALICE, "BYE sip:alice@192.0.2.11:5060 SIP/2.0\r\n");
    assert_non_null(
        strstr(bye, "Route: <sip:p1.example.net;lr>\r\nRoute: <sip:p2.example.net;lr>\r\n"));
    assert_string_equal(value(bye, "To"), "<sip:alice@example.com>;tag=a1");
    assert_non_null(strstr(value(bye, "From"), "<" ECHO ">;tag="));
    assert_string_equal(value(bye, "CSeq"), "1 BYE");
    assert_string_equal(value(bye, "Max-Forwards"), "70");
    assert_string_equal(value(bye, "Reason"), ""); /* there is nothing to say */
    rig_run(r, 600 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "BYE"), 2); /* it is repeated by itself */
    say(r, ALICE, reply(bye, 200, NULL, ""));
    rig_run(r, 10 * USEC_S);
    assert_int_equal(heard(r, ALICE, "BYE"), 2);
    /* §12.2.1.1: a strict router */
    standing(d, "strict",
             CONTACT "Record-Route: <sip:p1.example.net>\r\nRecord-Route: "
                     "<sip:p2.example.net;lr>\r\n");
    answer_end(d->call, NULL);
    rig_run(r, 50 * USEC_MS);
    bye = find_raw(r, ALICE, "BYE sip:p1.example.net SIP/2.0\r\n");
    assert_non_null(strstr(bye, "Route: <sip:p2.example.net;lr>\r\nRoute: "
                                "<sip:alice@192.0.2.11:5060>\r\n"));
    assert_null(strstr(bye, "Route: <sip:p1"));
    quiet(d);
}

/* §15: not before the ACK. */
static void test_ends_before_the_ack(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    invite(d, "early", CONTACT);
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", find_raw(r, ALICE, "SIP/2.0 200 OK"));
    answer_end(d->call, NULL);
    rig_run(r, USEC_S);
    assert_int_equal(heard(r, ALICE, "BYE"), 0);
    assert_int_equal(d->ends, 0);
    say(r, ALICE, inside(ok, "ACK", 1, ""));
    assert_int_equal(heard(r, ALICE, "BYE"), 1);
    assert_int_equal(d->why, ANSWER_BY_US);
    assert_int_equal(d->acks, 0);
    quiet(d);
}

static void test_no_ack(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    invite(d, "mute", CONTACT);
    rig_run(r, 31 * USEC_S);
    assert_int_equal(d->ends, 0);
    rig_run(r, 2 * USEC_S);
    assert_int_equal(d->ends, 1);
    assert_int_equal(d->why, ANSWER_NO_ACK);
    assert_int_equal(heard(r, ALICE, "BYE") > 0, 1);
    quiet(d);
}

static void test_cancelled(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    d->wait = true;
    invite(d, "gone", CONTACT);
    assert_int_equal(d->calls, 1);
    say(r, ALICE, request(r, ALICE, "CANCEL", ECHO, PARTIES, "gone", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 1);
    assert_int_equal(d->why, ANSWER_BY_CALLER);
    quiet(d);
}

static void test_rejected(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    d->wait = true;
    invite(d, "no", CONTACT);
    answer_refuse(d->call, 488, 304, SV("none"));
    rig_run(r, 20 * USEC_MS);
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 488 "), "Warning"),
                        "304 " SERVER_IP ":5060 \"none\"");
    assert_int_equal(d->why, ANSWER_BY_US);
    assert_int_equal(r->dir.last.status, 488);
    assert_string_equal(r->dir.reason, "Not Acceptable Here: none");
    invite(d, "reason", CONTACT);
    answer_reject(d->call, 488, SV("No Codec"));
    rig_run(r, 20 * USEC_MS);
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 488 No Codec\r\n"), "Warning"), "");
    assert_string_equal(r->dir.reason, "No Codec");
    invite(d, "later", CONTACT);
    answer_end(d->call, NULL);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 1);
    /* answered once */
    d->wait = false;
    const char *ok = standing(d, "twice", CONTACT);
    assert_int_equal(answer_accept(d->call, SV(OURS)), ERR_STATE);
    answer_reject(d->call, 486, SV_NONE);
    assert_non_null(d->call);
    assert_null(answer_rx(d->call));
    say(r, ALICE, inside(ok, "BYE", 2, ""));
    quiet(d);
}

/* §14.2, RFC 3311. */
static void test_changes(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    const char *ok = standing(d, "change", CONTACT);
    char second[MESSAGE];
    d->reply.description = SV("v=0\r\ns=two\r\n");
    snprintf(second, sizeof(second), "%s",
             with(inside(ok, "INVITE", 2, "Contact: <sip:alice@192.0.2.11:5062>\r\n"),
                  "application/sdp", "v=0\r\ns=hold\r\n"));
    say(r, ALICE, second);
    assert_string_equal(d->offer, "v=0\r\ns=hold\r\n");
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), "v=0\r\ns=two\r\n");
    /* one at a time */
    say(r, ALICE, with(inside(ok, "INVITE", 3, CONTACT), "application/sdp", SDP));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 500"), "Retry-After"), "3");
    say(r, ALICE, with(inside(ok, "UPDATE", 4, CONTACT), "application/sdp", SDP));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 500"), 2);
    rig_run(r, 600 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200"), 2);
    say(r, ALICE, inside(ok, "ACK", 2, ""));
    assert_int_equal(d->acks, 2);
    rig_clear(r);
    /* without an offer: ours, and the ACK brings the answer */
    say(r, ALICE, inside(ok, "INVITE", 5, "Contact: <sip:alice@192.0.2.11:5062>\r\n"));
    assert_string_equal(d->offer, "");
    assert_int_equal(d->offers, 2);
    say(r, ALICE, with(inside(ok, "ACK", 5, ""), "application/sdp", SDP));
    assert_string_equal(d->ack, SDP);
    /* refused: the session stays; the next one is taken at once */
    d->reply = (struct answer_reply){.status = 488};
    say(r, ALICE, with(inside(ok, "INVITE", 6, CONTACT), "application/sdp", SDP));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 488"), 1);
    d->reply = (struct answer_reply){.description = SV(OURS)};
    rig_clear(r);
    say(r, ALICE, with(inside(ok, "UPDATE", 7, CONTACT), "application/sdp", SDP));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), OURS);
    assert_int_equal(d->offers, 4);
    rig_clear(r);
    say(r, ALICE, inside(ok, "UPDATE", 8, CONTACT)); /* refreshes only */
    assert_int_equal(d->offers, 4);
    assert_non_null(strstr(find_raw(r, ALICE, "SIP/2.0 200"), "Content-Length: 0\r\n"));
    /* §12.2.2: out of order */
    rig_clear(r);
    say(r, ALICE, inside(ok, "UPDATE", 3, CONTACT));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 500"), 1);
    /* what it cannot read */
    say(r, ALICE, with(inside(ok, "INVITE", 9, CONTACT), "text/plain", "hi"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 415"), 1);
    say(r, ALICE, inside(ok, "INVITE", 10, CONTACT "Require: magic\r\n"));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 420"), "Unsupported"), "magic");
    /* ended within the question */
    d->end_in_offer = true;
    say(r, ALICE, with(inside(ok, "INVITE", 11, CONTACT), "application/sdp", SDP));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487"), 1);
    assert_int_equal(heard(r, ALICE, "BYE"), 1);
    assert_int_equal(d->why, ANSWER_BY_US);
    quiet(d);
}

/* A re-INVITE's new Contact is where our BYE is for. */
static void test_refreshes(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    const char *ok = standing(d, "moves", CONTACT);
    say(r, ALICE, inside(ok, "UPDATE", 2, "Contact: <sip:alice@192.0.2.11:5999>\r\n"));
    answer_end(d->call, NULL);
    rig_run(r, 50 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "BYE sip:alice@192.0.2.11:5999 SIP/2.0"), 1);
    quiet(d);
}

static void test_other_methods(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    const char *ok = standing(d, "methods", CONTACT);
    say(r, ALICE, inside(ok, "INFO", 2, ""));
    assert_int_equal(d->infos, 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200"), 1);
    say(r, ALICE, inside(ok, "OPTIONS", 3, ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200"), 2);
    say(r, ALICE, inside(ok, "PRACK", 4, "RAck: 1 1 INVITE\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 481"), 1);
    say(r, ALICE, inside(ok, "REFER", 5, "Refer-To: <sip:x@example.com>\r\n" CONTACT));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 405"), 1);
    say(r, ALICE, inside(ok, "JUMP", 6, ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 501"), 1);
    /* a To tag that is not ours, and our mark under another Call-ID */
    char *other = scratch();
    snprintf(other, MESSAGE, "%s", inside(ok, "BYE", 7, ""));
    char *tag = strstr(other, "To: <" ECHO ">;tag=");
    assert_non_null(tag);
    tag[strlen("To: <" ECHO ">;tag=")] ^= 1;
    say(r, ALICE, other);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 481"), 2);
    snprintf(other, MESSAGE, "%s", inside(ok, "BYE", 7, ""));
    char *id = strstr(other, "Call-ID: methods");
    assert_non_null(id);
    id[9] = 'M';
    rig_clear(r);
    say(r, ALICE, other);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200"), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 481"), 0); /* it is not even asked */
    assert_int_equal(heard(r, ALICE, "SIP/2.0 4"), 1);
    assert_int_equal(d->ends, 0);
    say(r, ALICE, inside(ok, "BYE", 8, ""));
    quiet(d);
}

/* RFC 4028 §9, §10: the caller refreshes; who does not has died. */
static void test_session_timer(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    static char first[MESSAGE];
    invite(d, "timed", CONTACT "Supported: timer\r\nSession-Expires: 300\r\n");
    snprintf(first, sizeof(first), "%s", find_raw(r, ALICE, "SIP/2.0 200"));
    assert_string_equal(value(first, "Session-Expires"), "300;refresher=uac");
    assert_string_equal(value(first, "Require"), "timer");
    say(r, ALICE, inside(first, "ACK", 1, ""));
    rig_run(r, 200 * USEC_S);
    rig_clear(r);
    say(r, ALICE,
        inside(first, "UPDATE", 2, CONTACT "Supported: timer\r\nSession-Expires: 300\r\n"));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 200"), "Session-Expires"),
                        "300;refresher=uac");
    rig_run(r, 260 * USEC_S);
    assert_int_equal(d->ends, 0);
    rig_run(r, 10 * USEC_S); /* 32 s before it expires */
    assert_int_equal(d->ends, 1);
    assert_int_equal(d->why, ANSWER_EXPIRED);
    assert_int_equal(heard(r, ALICE, "BYE") > 0, 1);
    /* ours, where he knows them and asks for none; none where he wants us to refresh, or knows none */
    r->set->session_timer = 1800 * USEC_S;
    rig_clear(r);
    invite(d, "known", CONTACT "Supported: timer\r\n");
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 200"), "Session-Expires"),
                        "1800;refresher=uac");
    rig_clear(r);
    invite(d, "uas", CONTACT "Supported: timer\r\nSession-Expires: 300;refresher=uas\r\n");
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 200"), "Session-Expires"), "");
    rig_clear(r);
    invite(d, "none", CONTACT "Session-Expires: 300\r\n");
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 200"), "Session-Expires"), "");
    quiet(d);
}

/* §8.2.2: what is not understood; what is too much. */
static void test_refused(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    static char text[MESSAGE];
    invite(d, "magic", CONTACT "Require: timer, magic, 100rel\r\n");
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 420"), "Unsupported"), "magic");
    say(r, ALICE,
        with(request(r, ALICE, "INVITE", ECHO, PARTIES, "type", CONTACT), "text/plain", "hi"));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 415"), "Accept"), "application/sdp");
    invite(d, "nowhere", "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 400"), 1);
    int n = snprintf(text, MESSAGE, CONTACT);
    for (unsigned i = 0; n < 7500; i++)
        n += snprintf(text + n, (size_t)(MESSAGE - n), "Record-Route: <sip:p%u.example.net;lr>\r\n",
                      i);
    invite(d, "far", text);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 513"), 1);
    say(r, ALICE,
        request(r, ALICE, "INVITE", ECHO,
                "From: <sip:alice@example.com>;tag=a1\r\nTo: <" ECHO ">;tag=old\r\n", "old",
                CONTACT));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 481"), 1);
    assert_int_equal(d->calls, 0);
    say(r, ALICE, request(r, ALICE, "MESSAGE", ECHO, PARTIES, "text", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 405"), 1);
    /* a stranger's *43 is no code */
    say(r, STRANGER,
        request(r, STRANGER, "INVITE", ECHO,
                "From: <sip:eve@else.where>;tag=e\r\nTo: <" ECHO ">\r\n", "eve", CONTACT));
    assert_int_equal(heard(r, STRANGER, "SIP/2.0 403"), 1);
    /* nobody answers them here */
    routing_media(r->routing, NULL, NULL);
    invite(d, "noone", CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 501 No Media Service Is Running"), 1);
    r->set->codes.echo = SV("");
    invite(d, "nocode", CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480"), 1);
    quiet(d);
}

static void count_left(void *arg)
{
    (*(unsigned *)arg)++;
}

/* The server ends: one stands, one waits for its ACK, one is not answered yet. */
static void test_server_leaves(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    char ok[MESSAGE];
    unsigned left = 0;
    standing(d, "stands", CONTACT);
    d->wait = true;
    invite(d, "asked", CONTACT);
    d->wait = false;
    invite(d, "said", CONTACT);
    snprintf(ok, sizeof(ok), "%s", find_raw(r, ALICE, "SIP/2.0 200 OK"));
    routing_leave(r->routing, count_left, &left);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 503 Shutting Down"), 1);
    assert_int_equal(heard(r, ALICE, "BYE "), 1);
    assert_string_equal(value(find_raw(r, ALICE, "BYE "), "Call-ID"), "stands");
    ack_refusal(r, ECHO, "asked", find_raw(r, ALICE, "SIP/2.0 503 "));
    say(r, ALICE, reply(find_raw(r, ALICE, "BYE "), 200, NULL, ""));
    assert_int_equal(d->ends, 2);
    assert_int_equal(r->dir.records, 2);
    assert_int_equal(left, 0);
    rig_clear(r);
    say(r, ALICE, inside(ok, "ACK", 1, ""));
    assert_int_equal(heard(r, ALICE, "BYE "), 1);
    assert_int_equal(d->why, ANSWER_STOPPED);
    assert_string_equal(r->dir.ended_by, "stop");
    assert_int_equal(left, 0);
    say(r, ALICE, reply(find_raw(r, ALICE, "BYE "), 200, NULL, ""));
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(left, 1);
    quiet(d);
}

static void test_full(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    struct answer *a;
    assert_int_equal(answer_new(r->sip, NULL, 0, &a), ERR_OK);
    answer_settings(a, r->set);
    d->wait = true;
    invite(d, "first", CONTACT);
    struct stxn *txn;
    assert_int_equal(stxn_new(r->sip, answer_rx(d->call), NULL, NULL, &txn), ERR_OK);
    assert_null(answer_take(a, txn, SV_NONE, NULL, NULL));
    assert_int_equal(r->group->loop[0]->stats.refusals[STAT_LIMIT_ANSWERED], 1);
    rig_run(r, 20 * USEC_MS);
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 503"), "Retry-After"), "5");
    answer_free(a);
    answer_end(d->call, NULL);
    quiet(d);
}

/* Whatever cannot be allocated: the call ends once, for the books too. */
static void test_no_memory(void **state)
{
    unsigned answered = 0, refused = 0;
    for (unsigned n = 1; n < 25; n++) {
        teardown(state);
        setup(state);
        struct desk *d = *state;
        struct rig *r = d->r;
        struct addr to = address(SERVER_IP, 5060);
        const char *text = with(request(r, ALICE, "INVITE", ECHO, PARTIES, "short", CONTACT),
                                "application/sdp", SDP);
        sv piece = sv_of(text);
        d->wait = true;
        assert_int_equal(udp_send(r->peer[ALICE].udp, NULL, &to, &piece, 1), ERR_OK);
        mem_fail_after(n);
        rig_run(r, 20 * USEC_MS);
        if (d->call)
            (void)!answer_accept(d->call, SV(OURS));
        mem_fail_after(0);
        rig_run(r, 20 * USEC_MS);
        const char *ok = find_raw(r, ALICE, "SIP/2.0 200");
        if (ok[0]) {
            char kept[MESSAGE];
            snprintf(kept, sizeof(kept), "%s", ok);
            say(r, ALICE, inside(kept, "ACK", 1, ""));
            text = with(inside(kept, "INVITE", 2, CONTACT), "application/sdp", SDP);
            piece = sv_of(text);
            assert_int_equal(udp_send(r->peer[ALICE].udp, NULL, &to, &piece, 1), ERR_OK);
            mem_fail_after(n);
            rig_run(r, 20 * USEC_MS);
            mem_fail_after(0);
            say(r, ALICE, inside(kept, "ACK", 2, ""));
            say(r, ALICE, inside(kept, "BYE", 3, ""));
            answered++;
        } else {
            if (d->call)
                answer_reject(d->call, 500, SV_NONE);
            refused++;
        }
        quiet(d);
    }
    assert_true(answered > 0 && refused > 0);
}

/* A route of the configuration. */
static void test_route(void **state)
{
    struct desk *d = *state;
    struct rig *r = d->r;
    static const struct settings_route route = {
        .when = {.user = {{"closed", 6}}, .user_n = 1},
        .action = ACTION_TO,
        .target = {{.kind = TARGET_PLAY, .file = {"/srv/closed.wav", 15}}},
        .targets_n = 1};
    r->set->routes = &route;
    r->set->routes_n = 1;
    say(r, ALICE, request(r, ALICE, "INVITE", "sip:closed@example.com", PARTIES, "route", CONTACT));
    assert_int_equal(d->kind, TARGET_PLAY);
    assert_string_equal(d->file, "/srv/closed.wav");
    assert_string_equal(d->offer, "");
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), OURS);
    quiet(d);
}

/* The rig ends with the call in it. */
static void test_server_ends(void **state)
{
    struct desk *d = *state;
    standing(d, "end", CONTACT);
    rig_run(d->r, 40 * USEC_S);
    assert_int_equal(d->ends, 0);
    assert_non_null(d->call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_our_bye, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends_before_the_ack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_ack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rejected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refreshes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_session_timer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_route, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_ends, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
