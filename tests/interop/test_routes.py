# SPDX-License-Identifier: MIT
"""What a request looks like when it has passed: RFC 3261 section 16.6, seen by the phone that gets it."""
import re
import secrets
import time

import pytest

from support.server import DOMAIN
from support.sip import Call, Callee, Client

BOB = "sip:bob@" + DOMAIN


class Recording(Client):
    """Keeps what it sent."""

    def send(self, octets):
        self.sent = octets if isinstance(octets, bytes) else octets.encode()
        super().send(octets)


@pytest.fixture
def bob(server):
    with Client(server.port, user="bob") as phone:
        assert phone.register().status == 200
        yield phone
        assert phone.register(expires=0).status == 200


@pytest.fixture
def alice(server):
    with Recording(server.port) as phone:
        yield phone


def contact(client):
    return ["Contact: <%s>" % client.contact()]


def pass_one(alice, bob, method="MESSAGE", headers=(), status=200, replace=None):
    """Send a request to bob; what he got, what he answered with, what alice was told."""
    if replace:
        plain = alice.request
        alice.request = lambda *a, **k: re.sub(replace[0], replace[1], plain(*a, **k))
    with Callee(bob, status) as callee:
        answer = alice.ask(method, BOB, headers, call_id=secrets.token_hex(8))
    if replace:
        alice.request = plain
    return callee.requests[0] if callee.requests else None, answer


def test_one_hop_less_and_the_rest_as_it_was(alice, bob):
    got, answer = pass_one(alice, bob, headers=["X-Odd:  a ,, b", "Subject: one", "x-odd: c"])
    assert answer.status == 200
    assert got["max-forwards"] == "69"
    assert [v for n, v in got.headers if n in ("x-odd", "subject")] == ["a ,, b", "one", "c"]
    assert got.uri == bob.contact()
    assert got["proxy-authorization"] == "", "the credentials were for the server"


def test_a_request_of_rfc_2543_gets_its_70(alice, bob):
    got, _ = pass_one(alice, bob, replace=(rb"Max-Forwards: 70\r\n", b""))
    assert got["max-forwards"] == "70"


def test_our_via_is_on_top_and_the_callers_says_where_it_came_from(server, alice, bob):
    got, answer = pass_one(alice, bob)
    ours, theirs = got.all("via")
    assert re.match(r"SIP/2\.0/UDP 127\.0\.0\.1:%d;" % server.port, ours)
    assert ";branch=z9hG4bK" in ours and ";rport" in ours
    assert ";received=127.0.0.1" in theirs and ";rport=%d" % alice.port in theirs
    assert len(answer.all("via")) == 1, "our own Via came back"
    again, _ = pass_one(alice, bob)
    assert again.all("via")[0] != ours, "a branch was used twice"


def test_credentials_of_other_realms_travel_on(alice, bob):
    other = 'Proxy-Authorization: Digest username="x", realm="else.where", nonce="n", uri="sip:x", response="0"'
    got, _ = pass_one(alice, bob, headers=[other])
    assert got.all("proxy-authorization") == [other.split(": ", 1)[1]]


def test_a_loop_is_noticed_and_a_second_visit_is_not_one(server, alice, bob):
    """RFC 5393 section 4.2: what comes back unchanged loops; another Request-URI makes it a spiral."""
    got, answer = pass_one(alice, bob)
    assert answer.status == 200
    vias = "".join("Via: %s\r\n" % v for v in [alice.via(), *got.all("via")])
    again = re.sub(rb"Via: [^\r]*\r\n", vias.encode(), alice.sent, count=1)
    alice.send(again)
    assert alice.final().status == 482
    elsewhere = again.replace(b" sip:bob@", b" sip:carol@", 1)
    alice.send(re.sub(rb"branch=[^;\r]*", b"branch=z9hG4bK" + secrets.token_hex(8).encode(), elsewhere, count=1))
    assert alice.final().status in (407, 480)


def test_breadth_is_shared_and_too_little_is_said(server, alice, bob):
    """RFC 5393 section 5.3.3."""
    with Client(server.port, user="bob") as second:
        assert second.register().status == 200
        with Callee(bob) as one, Callee(second) as two:
            alice.ask("MESSAGE", BOB, ["Max-Breadth: 7"], call_id=secrets.token_hex(8))
            alice.receive(0.2)
        shares = sorted(int(c.requests[0]["max-breadth"]) for c in (one, two))
        assert sum(shares) == 7 and shares[0] >= 1
        answer = alice.ask("MESSAGE", BOB, ["Max-Breadth: 1"], call_id=secrets.token_hex(8))
        assert answer.status == 440
        assert second.register(expires=0).status == 200


def test_the_challenges_of_all_phones_come_up_together(server, alice, bob):
    """RFC 3261 section 16.7 step 7, RFC 8760 section 2.5."""
    class Challenging(Callee):
        def answer(self, invite):
            line = 'WWW-Authenticate: Digest realm="%s", nonce="n"' % self.name_of
            self.client.send(self.client.response(invite, 401, "Unauthorized", [line]))
    alice_again = Client(server.port)
    with alice_again, Client(server.port, user="bob") as second:
        assert second.register().status == 200
        with Challenging(bob) as one, Challenging(second) as two:
            one.name_of, two.name_of = "one", "two"
            answer = alice_again.ask("INVITE", BOB, contact(alice_again))
        assert answer.status == 401
        realms = re.findall(r'realm="(\w+)"', " ".join(answer.all("www-authenticate")))
        assert sorted(realms) == ["one", "two"]
        assert second.register(expires=0).status == 200


def test_a_503_is_the_phones_and_not_ours(alice, bob):
    """RFC 3261 section 16.7 step 6: upstream it would say that this whole server is out of service."""
    _, answer = pass_one(alice, bob, "INVITE", contact(alice), status=503)
    assert answer.status == 500


def standing_call(alice, bob):
    """An answered call; (alice's side, what bob got)."""
    tag, call_id = secrets.token_hex(4), secrets.token_hex(8)
    with Callee(bob) as callee:
        answer = alice.ask("INVITE", BOB, contact(alice), tag=tag, call_id=call_id)
        assert answer.status == 200
        call = Call(alice, answer, BOB, "<%s>;tag=%s" % (alice.aor(), tag))
        call.ack()
        while "ACK" not in callee.methods():
            time.sleep(0.01)
    return call, callee.requests


def test_a_repeated_ack_keeps_its_branch(alice, bob):
    """RFC 3261 section 16.11: without state, the same request has the same branch."""
    call, _ = standing_call(alice, bob)
    ack = alice.sent
    branches = []
    for _ in range(2):
        alice.send(ack)
        got = bob.receive()
        assert got.method == "ACK"
        branches.append(re.search(r"branch=([^;]+)", got.all("via")[0])[1])
    assert branches[0] == branches[1]
    with Callee(bob):
        assert call.bye().status == 200


def test_a_strict_router_before_us(alice, bob):
    """RFC 3261 section 16.4: our Record-Route stands in the Request-URI, the target is the last Route."""
    call, _ = standing_call(alice, bob)
    route = re.search(r"<([^>]*)>", call.routes[0])[1]
    rest = [*call.routes[1:], "Route: <%s>" % call.target]
    with Callee(bob) as callee:
        assert alice.ask("BYE", route, rest, **call.how).status == 200
    bye = next(r for r in callee.requests if r.method == "BYE")
    assert bye.uri == call.target
    assert bye.all("route") == []


def test_a_loose_route_of_ours_is_taken_off(alice, bob):
    call, got = standing_call(alice, bob)
    routes = [r for r in got if r.method == "INVITE"][0].all("record-route")
    assert routes and all(";lr" in r for r in routes)
    with Callee(bob) as callee:
        assert call.bye().status == 200
    bye = next(r for r in callee.requests if r.method == "BYE")
    assert bye.all("route") == [] and bye.uri == bob.contact()
