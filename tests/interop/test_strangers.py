# SPDX-License-Identifier: MIT
"""Nothing is relayed for strangers, nobody speaks for another, and a guess learns nothing."""
import contextlib
import re
import socket

import pytest

from support import sip
from support.server import DOMAIN, Server
from support.sip import Client, Credentials

PASSWORD = "a-long-password"


@pytest.fixture
def bob(server):
    """bob's phone, registered; whatever reaches it is to be read from it."""
    with Client(server.port, user="bob") as phone:
        assert phone.register().status == 200
        yield phone
        assert phone.register(expires=0).status == 200


@pytest.fixture
def outside():
    """A host outside that nobody may be sent to."""
    class Outside:
        def __init__(self):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.bind(("127.0.0.77", 0))
            self.socket.settimeout(0.3)
            self.where = "127.0.0.77:%d" % self.socket.getsockname()[1]

        def heard(self):
            with contextlib.suppress(OSError):
                return self.socket.recv(65536)
            return None
    host = Outside()
    yield host
    host.socket.close()


def stranger(server, **how):
    return Client(server.port, user="mallory", password="", domain="elsewhere.test", **how)


def contact(client):
    return ["Contact: <%s>" % client.contact()]


def is_refused(answer):
    return answer is not None and 400 <= answer.status < 700


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE"])
def test_a_foreign_from_reaches_no_user(server, bob, transport, method):
    with stranger(server, transport=transport) as mallory:
        answer = mallory.ask(method, "sip:bob@" + DOMAIN, contact(mallory))
        assert is_refused(answer) and answer.status != 407, answer
    assert bob.receive(0.2) is None


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "OPTIONS", "REGISTER"])
def test_nothing_is_relayed_to_another_domain(server, outside, method):
    with stranger(server) as mallory:
        assert is_refused(mallory.ask(method, "sip:x@" + outside.where, contact(mallory)))
    assert outside.heard() is None


def test_a_route_header_is_no_way_out(server, outside):
    for route in ("<sip:%s;lr>" % outside.where,
                  "<sip:127.0.0.1:%d;lr>, <sip:%s;lr>" % (server.port, outside.where)):
        for target in ("sip:bob@" + DOMAIN, "sip:x@" + outside.where):
            with stranger(server) as mallory:
                answer = mallory.ask("INVITE", target, [*contact(mallory), "Route: " + route])
                assert is_refused(answer)
    assert outside.heard() is None


def test_a_made_up_dialog_is_no_way_out(server, outside):
    """A To tag does not make a stranger's request one of a call."""
    for method in ("BYE", "INVITE", "INFO", "ACK"):
        with stranger(server) as mallory:
            mallory.send(mallory.request(method, "sip:x@" + outside.where, [
                *contact(mallory), "Route: <sip:127.0.0.1:%d;lr>" % server.port],
                to="<sip:bob@%s>;tag=made-up" % DOMAIN))
            answer = mallory.final(1)
            assert answer is None if method == "ACK" else is_refused(answer)
    assert outside.heard() is None


def test_a_forged_via_is_no_reflector(server, outside):
    """RFC 3581: a response goes where the request came from, not where its Via says."""
    with stranger(server) as mallory:
        octets = mallory.request("OPTIONS", "sip:" + DOMAIN)
        mallory.send(re.sub(rb"UDP [^;]*", b"UDP " + outside.where.encode(), octets))
        answer = mallory.final()
        assert answer is not None
        assert answer.param("via", "received") == "127.0.0.1"
        assert answer.param("via", "rport") == str(mallory.port)
    assert outside.heard() is None


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_local_from_is_asked_to_prove_it(server, bob, transport):
    with Client(server.port, transport, "alice", password="") as alice:
        answer = alice.ask("INVITE", "sip:bob@" + DOMAIN, contact(alice))
        assert answer.status == 407
        assert len(answer.all("proxy-authenticate")) == 1, "one challenge only: see security.digest"
        fields = sip.challenge_fields(answer["proxy-authenticate"])
        assert fields["realm"] == DOMAIN and "auth" in fields["qop"].split(",")
    assert bob.receive(0.2) is None


def test_a_wrong_password_places_no_call(server, bob):
    with Client(server.port, user="alice", password="not-the-password") as alice:
        assert alice.ask("INVITE", "sip:bob@" + DOMAIN, contact(alice)).status in (403, 407)
    assert bob.receive(0.2) is None


def test_nobody_calls_in_the_name_of_another(server, bob):
    with Client(server.port, user="alice") as alice:
        answer = alice.ask("INVITE", "sip:bob@" + DOMAIN, contact(alice),
                           frm="<sip:carol@%s>;tag=x1" % DOMAIN)
        assert answer.status == 403
    assert bob.receive(0.2) is None


def test_nobody_registers_for_another(server):
    with Client(server.port, user="alice") as alice:
        answer = alice.ask("REGISTER", "sip:" + DOMAIN, contact(alice), to="<sip:carol@%s>" % DOMAIN)
        assert answer.status == 403
    assert not server.bindings().get("carol@" + DOMAIN)


def test_nobody_takes_a_registration_away(server, bob):
    with Client(server.port, user="bob", password="not-the-password") as other:
        answer = other.ask("REGISTER", "sip:" + DOMAIN, ["Contact: *", "Expires: 0"],
                           to="<sip:bob@%s>" % DOMAIN)
        assert answer.status in (401, 403)
    assert bob.contact() in server.bindings()["bob@" + DOMAIN]


def shape(answer, user):
    """The octets of an answer without what differs from answer to answer."""
    text = answer.octets.decode().replace(user, "USER")
    text = re.sub(r'(nonce|opaque)="[^"]*"', r'\1="N"', text)
    text = re.sub(r"(To|t)( ?:[^\r]*;tag=)[^;\r]*", r"\1\2T", text)
    return re.sub(r"(Date|Expires): [^\r]*", r"\1: D", text)


def steps(server, transport, user, method):
    """What a guesser sees: the first challenge, and the answer to a proof with a wrong password."""
    with Client(server.port, transport, user, "a-wrong-password") as guesser:
        uri = "sip:" + DOMAIN if method == "REGISTER" else "sip:bob@" + DOMAIN
        how = dict(tag="f1", call_id="c1-%s" % guesser.port, branch="z9hG4bKfixed1",
                   to="<sip:%s@%s>" % (user, DOMAIN))
        guesser.send(guesser.request(method, uri, contact(guesser), cseq=1, **how))
        first = guesser.final()
        register = method == "REGISTER"
        asked = first["www-authenticate" if register else "proxy-authenticate"]
        proof = Credentials(asked, user, "a-wrong-password").answer(method, uri)
        if method == "INVITE":
            guesser.send(guesser.request("ACK", uri, cseq=1, **{**how, "to": first["to"]}))
        how["branch"] = "z9hG4bKfixed2"
        name = "Authorization: " if register else "Proxy-Authorization: "
        guesser.send(guesser.request(method, uri, [*contact(guesser), name + proof], cseq=2, **how))
        second = guesser.final()
        if method == "INVITE":
            guesser.send(guesser.request("ACK", uri, cseq=2, **{**how, "to": second["to"]}))
        place = "%s:%d" % (guesser.host, guesser.port)
        return [shape(answer, user).replace(place, "PLACE").replace(str(guesser.port), "PORT")
                for answer in (first, second)]


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_an_unknown_user_looks_like_a_wrong_password(server, transport, method):
    known = steps(server, transport, "alice", method)
    unknown = steps(server, transport, "nobdy", method)
    assert known == unknown
    assert "401" in known[0] or "407" in known[0]


def test_a_replayed_proof_is_not_taken_twice(server):
    """RFC 7616 section 3.4: a nonce count that was seen is no proof."""
    with Client(server.port) as alice:
        alice.send(alice.request("REGISTER", "sip:" + DOMAIN, to="<%s>" % alice.aor()))
        proofs = Credentials(alice.final()["www-authenticate"], "alice", PASSWORD)
        proof = "Authorization: " + proofs.answer("REGISTER", "sip:" + DOMAIN)
        for expected in (200, 401):
            alice.send(alice.request("REGISTER", "sip:" + DOMAIN, [*contact(alice), proof],
                                     to="<%s>" % alice.aor()))
            assert alice.final().status == expected
        assert alice.register(expires=0).status == 200


def test_a_made_up_nonce_is_stale_or_wrong_never_right(server):
    with Client(server.port) as alice:
        alice.send(alice.request("REGISTER", "sip:" + DOMAIN, to="<%s>" % alice.aor()))
        challenge = alice.final()["www-authenticate"]
        forged = re.sub(r'nonce="[^"]*"', 'nonce="0123456789abcdef0123456789abcdef"', challenge)
        proof = Credentials(forged, "alice", PASSWORD).answer("REGISTER", "sip:" + DOMAIN)
        alice.send(alice.request("REGISTER", "sip:" + DOMAIN, [
            *contact(alice), "Authorization: " + proof], to="<%s>" % alice.aor()))
        assert alice.final().status == 401


def test_sha_256_is_accepted_where_it_is_offered():
    with Server("security: {digest: [sha-256, md5]}\n") as server:
        server.add_user("alice", PASSWORD)
        with Client(server.port) as alice:
            alice.send(alice.request("REGISTER", "sip:" + DOMAIN, to="<%s>" % alice.aor()))
            offered = alice.final().all("www-authenticate")
            assert [sip.challenge_fields(c)["algorithm"].upper() for c in offered] == ["SHA-256", "MD5"]
            # One nonce for both: its count goes on rising, whatever the algorithm.
            for count, challenge in enumerate(offered, 1):
                proof = Credentials(challenge, "alice", PASSWORD).answer("REGISTER", "sip:" + DOMAIN, count)
                alice.send(alice.request("REGISTER", "sip:" + DOMAIN, [
                    *contact(alice), "Authorization: " + proof], to="<%s>" % alice.aor()))
                assert alice.final().status == 200


def test_a_cancel_from_elsewhere_cancels_nothing(server):
    """Who has only seen the branch, such as another callee, ends nobody's call (RFC 3261 section 9.1)."""
    with Client(server.port) as alice, Client(server.port, user="bob") as bob, \
            Client(server.port, ip="127.0.0.9") as thief:
        assert bob.register().status == 200
        target = "sip:bob@" + DOMAIN
        how = dict(tag="cancel-tag", call_id="cancel-call", frm=None)
        alice.send(alice.request("INVITE", target, contact(alice), cseq=7, **how))
        challenge = alice.final()
        alice.send(alice.request("ACK", target, cseq=7, branch=challenge.param("via", "branch"), **how))
        proof = Credentials(challenge["proxy-authenticate"], "alice", PASSWORD).answer("INVITE", target)
        invite = alice.request("INVITE", target, [*contact(alice), "Proxy-Authorization: " + proof],
                               cseq=8, branch="z9hG4bKseen", **how)
        alice.send(invite)
        ringing = bob.receive()
        assert ringing.method == "INVITE"
        bob.send(bob.response(ringing, 180, "Ringing"))
        wrong = dict(how, call_id="another-call")
        for client, changed in ((thief, how), (alice, wrong)):
            octets = client.request("CANCEL", target, cseq=8, branch="z9hG4bKseen", **changed)
            if client is thief:  # the same Via, octet for octet
                octets = octets.replace(client.via("z9hG4bKseen").encode(), alice.via("z9hG4bKseen").encode())
            client.send(octets)
            assert client.final(method="CANCEL").status == 481
        assert bob.receive(0.3) is None
        alice.send(alice.request("CANCEL", target, cseq=8, branch="z9hG4bKseen", **how))
        assert alice.final(method="CANCEL").status == 200
        cancel = bob.receive()
        assert cancel.method == "CANCEL"
        bob.send(bob.response(cancel, 200, "OK"))
        bob.send(bob.response(ringing, 487, "Request Terminated"))
        assert alice.final(method="INVITE").status == 487
        assert bob.receive().method == "ACK"
        assert bob.register(expires=0).status == 200


def test_a_seen_route_set_speaks_for_nobody(server):
    """A mark of a call that is over opens neither another user nor another name."""
    with Client(server.port) as alice, Client(server.port, user="bob") as bob, \
            Client(server.port, user="carol") as carol, Client(server.port, ip="127.0.0.9") as thief:
        assert bob.register().status == 200 and carol.register().status == 200
        target = "sip:bob@" + DOMAIN
        alice.send(alice.request("INVITE", target, contact(alice), call_id="seen", tag="a", cseq=1))
        challenge = alice.final()
        proof = Credentials(challenge["proxy-authenticate"], "alice", PASSWORD).answer("INVITE", target)
        alice.send(alice.request("INVITE", target, [*contact(alice), "Proxy-Authorization: " + proof],
                                 call_id="seen", tag="a", cseq=2))
        seen = bob.receive()
        route = "Route: " + seen["record-route"]
        bob.send(bob.response(seen, 486, "Busy Here"))
        assert alice.final().status == 486
        for method in ("MESSAGE", "INVITE", "REGISTER", "OPTIONS", "PUBLISH"):
            thief.send(thief.request(method, carol.contact(), [route, *contact(thief)], call_id="seen",
                                     frm="<%s>;tag=x" % alice.aor(), to="<%s>;tag=y" % carol.aor()))
            assert thief.final(method=method).status in (401, 407, 481), method
        assert carol.receive(0.3) is None
        for phone in (bob, carol):
            assert phone.register(expires=0).status == 200


def test_stun_tells_whoever_asks_his_own_address_and_no_more(server, outside):
    """RFC 5626 §8; one datagram for one, little larger, and only so many a second (D15)."""
    request = bytes.fromhex("000100002112a442") + b"twelve octet"
    outside.socket.sendto(request, ("127.0.0.1", server.port))
    answer = outside.heard()
    ip, port = outside.socket.getsockname()
    assert answer[:8] == bytes.fromhex("0101000c2112a442") and answer[8:20] == b"twelve octet"
    assert answer[20:26] == bytes.fromhex("002000080001")
    assert int.from_bytes(answer[26:28], "big") == port ^ 0x2112
    assert bytes(a ^ b for a, b in zip(answer[28:], request[4:8])) == socket.inet_aton(ip)
    for _ in range(1000):
        outside.socket.sendto(request, ("127.0.0.1", server.port))
    answers = 0
    while outside.heard():
        answers += 1
    assert 100 <= answers <= 450, answers
