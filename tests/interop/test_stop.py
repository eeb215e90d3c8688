# SPDX-License-Identifier: MIT
"""An orderly stop (SIGTERM): calls that ring are given up on both sides, phones whose sound goes through the server hear
BYE, the others talk on without it."""
import contextlib
import json
import signal
import threading
import time

import pytest

from support import media, sipp
from support.media import DOMAIN, PASSWORD
from support.phone import Phone
from support.server import Server
from support.sip import Callee

REASON = 'SIP;cause=503;text="the server ends"'
RELAYED = "media: {mode: always}\n"


def term(server):
    server.process.send_signal(signal.SIGTERM)


def ends(server, timeout, began=None):
    """Seconds (since it began) until the process has ended; it ended well."""
    began = began or time.monotonic()
    assert server.process.wait(timeout) == 0
    return time.monotonic() - began


def records(server):
    """[(status, who ended the call, its media)], of a server that has ended."""
    return [(status, by, json.loads(text) if text else None)
            for status, by, text in server.records("status, ended_by, media")]


def bye_of(phone, timeout=5):
    """The next BYE that comes to a raw phone, which does not answer."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        message = phone.receive(0.2)
        if message is not None and not message.is_response and message.method == "BYE":
            return message
    return None


def test_phones_hear_bye_when_the_server_that_carries_their_sound_stops():
    with Server(RELAYED + "drain: 1s\n", doors=("tls",)) as server:
        server.add_users(["alice", "bob"], PASSWORD)
        with Phone("alice", PASSWORD, DOMAIN, server.proxy("udp")) as alice, \
                Phone("bob", PASSWORD, DOMAIN, server.proxy("tls"), hz=620, ca=server.ca()) as bob:
            assert alice.registers() and bob.registers()
            alice.dial("sip:bob@" + DOMAIN)
            assert bob.rings()
            bob.answer()
            assert alice.talks() and bob.talks()
            time.sleep(1)
            assert server.metric("tandem_media_sessions") == 1
            since = len(alice.events), len(bob.events)
            term(server)
            assert not alice.is_idle(0.5, since[0]), "it does not wait for `drain`"
            assert ends(server, 5) < 4
            assert alice.is_idle(2, since[0]) and bob.is_idle(2, since[1])
        [(status, by, how)] = records(server)
        assert (status, by, how["media"]) == (200, "stop", "relay")
        assert how["caller"]["mos"] > 3 and how["callee"]["packets"] > 40, how


def test_a_direct_call_goes_on_without_the_server():
    with media.house("drain: 0ms\n") as (server, alice, bob):
        with media.SoundCallee(bob):
            answer, made = media.dial(alice)
            assert made is not None, answer
            assert server.metric("tandem_media_sessions") == 0
            term(server)
            assert ends(server, 5) < 2
            assert bye_of(alice, 1) is None
            assert bob.methods() == ["INVITE", "ACK"], bob.methods()
            media.talk((alice, bob), 0.3)
            assert alice.sound.marks() and bob.sound.marks()
        assert [row[:2] for row in records(server)] == [(200, "stop")]


def test_who_does_not_answer_is_told_again_and_not_waited_for_long():
    with media.house(RELAYED + "drain: 0ms\n") as (server, alice, bob):
        with media.SoundCallee(bob):
            answer, made = media.dial(alice)
            assert made is not None, answer
            term(server)
            said = [bye_of(alice) for _ in range(3)]
            assert all(said) and {bye["reason"] for bye in said} == {REASON}, said
            assert len({bye["via"] for bye in said}) == 1
            assert ends(server, 8) > 1
            assert bob.methods() == ["INVITE", "ACK", "BYE"], bob.methods()
            assert bob.callee.requests[-1]["reason"] == REASON


def test_a_second_signal_ends_at_once():
    with media.house(RELAYED + "drain: 30s\n") as (server, alice, bob):
        with media.SoundCallee(bob):
            answer, made = media.dial(alice)
            assert made is not None, answer
            term(server)
            server.wait_log("drain")
            assert bye_of(alice, 1) is None
            term(server)
            assert ends(server, 5) < 1.5
            assert bye_of(alice)["reason"] == REASON
            assert bye_of(alice, 1) is None
            assert media.wait(lambda: bob.methods() == ["INVITE", "ACK", "BYE"], 1), bob.methods()
        cut = server.wait_log("cut")
        assert (cut["relayed"], cut["ringing"], cut["unanswered"]) == (1, 0, 0), cut
        assert [row[:2] for row in records(server)] == [(200, "stop")]
    # also while BYEs wait for their answers
    with media.house(RELAYED + "drain: 0ms\n") as (server, alice, bob):
        with media.SoundCallee(bob):
            answer, made = media.dial(alice)
            assert made is not None, answer
            term(server)
            assert bye_of(alice)
            term(server)
            assert ends(server, 5) < 1.5
            assert server.wait_log("cut")["unanswered"] in (1, 2)  # hers, and his 200 may be on its way


# --- calls that ring -----------------------------------------------------------------------------

class Ringer(Callee):
    """Rings, and says what a test tells it to; to CANCEL by default 200, and 487 to what it is about."""

    def __init__(self, phone, provisional=180, obeys=True):
        super().__init__(phone)
        phone.callee = self
        self.provisional, self.obeys, self.invite = provisional, obeys, None

    def answer(self, invite):
        self.invite = invite
        if self.provisional:
            self.say(self.provisional, "Ringing")

    def say(self, status, reason):
        more, body = ["Contact: <%s>" % self.client.contact()], ""
        if status == 200:
            more.append("Content-Type: application/sdp")
            body = self.client.description()
            self.client.peer = media.told(self.invite.body)
        self.client.send(self.client.response(self.invite, status, reason, more, body=body))

    def on_cancel(self):
        self.say(487, "Request Terminated")

    def run(self):
        while not self.over:
            request = self.client.receive(0.05)
            if request is None or request.is_response:
                continue
            self.requests.append(request)
            if request.method == "INVITE":
                self.answer(request)
            elif request.method != "ACK" and (request.method != "CANCEL" or self.obeys):
                self.client.send(self.client.response(request, 200, "OK"))
                if request.method == "CANCEL":
                    self.on_cancel()


class Dial(threading.Thread):
    """alice calls bob; .answer and .call when there is a final response, .waited for so long."""

    def __init__(self, alice):
        super().__init__(daemon=True)
        self.alice, self.answer, self.call, self.ended = alice, None, None, None
        self.start()

    def run(self):
        self.answer, self.call = media.dial(self.alice)
        self.ended = time.monotonic()

    def waited(self, since):
        self.join(10)
        assert self.answer is not None
        return self.ended - since


@contextlib.contextmanager
def ringing(more="", transport="udp", ringer=Ringer, **how):
    """(server, bob's ringer, alice's call to him), as soon as it rings, or was heard of."""
    with media.house("drain: 0ms\n" + more, transport) as (server, alice, bob), ringer(bob, **how) as callee:
        dial = Dial(alice)
        assert media.wait(lambda: callee.invite, 5)
        if callee.provisional:
            assert media.wait(lambda: [c["state"] for c in server.json("calls")] == ["ringing"], 5), server.json("calls")
        yield server, callee, dial


def gave_up(server, dial):
    """The caller was told, and the record says so."""
    assert dial.answer.status == 503 and dial.answer["retry-after"] == "10", dial.answer
    assert server.records("status, ended_by, reason") == [(503, "stop", "Shutting Down")]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("more", ["", RELAYED])
def test_a_call_that_rings_is_given_up_on_both_sides(more, transport):
    with ringing(more, transport) as (server, callee, dial):
        began = time.monotonic()
        term(server)
        assert ends(server, 5) < 1.5
        assert dial.waited(began) < 1
        assert callee.methods() == ["INVITE", "CANCEL", "ACK"], callee.methods()
        assert callee.requests[1]["reason"] == REASON
        gave_up(server, dial)
        leave = server.wait_log("leave")
        assert (leave["calls"], leave["ringing"]) == (1, 1), leave
        assert "cut" not in [line.get("event") for line in server.log_events()]


def test_real_phones_that_ring_are_told():
    with Server("drain: 1s\n", doors=("tls",)) as server:
        server.add_users(["alice", "bob"], PASSWORD)
        with Phone("alice", PASSWORD, DOMAIN, server.proxy("udp")) as alice, \
                Phone("bob", PASSWORD, DOMAIN, server.proxy("tls"), hz=620, ca=server.ca()) as bob:
            assert alice.registers() and bob.registers()
            alice.dial("sip:bob@" + DOMAIN)
            assert bob.rings()
            since = len(alice.events), len(bob.events)
            term(server)
            assert ends(server, 5) < 3
            assert alice.is_idle(2, since[0]) and bob.is_idle(2, since[1])
        assert server.records("status, ended_by") == [(503, "stop")]


def test_who_has_not_answered_at_all_is_not_waited_for_long():
    """RFC 3261 section 9.1: no CANCEL before a provisional response."""
    with ringing(provisional=None) as (server, callee, dial):
        began = time.monotonic()
        term(server)
        assert 1.5 < dial.waited(began) < 3
        assert 5.5 < ends(server, 10, began) < 9
        assert set(callee.methods()) == {"INVITE"}
        gave_up(server, dial)
        assert server.wait_log("cut")["unanswered"] == 1


def test_who_does_not_answer_cancel_is_not_waited_for_long():
    with ringing(obeys=False) as (server, callee, dial):
        began = time.monotonic()
        term(server)
        assert 1.5 < dial.waited(began) < 3
        assert 5.5 < ends(server, 10, began) < 9
        assert callee.methods().count("CANCEL") >= 3, callee.methods()
        gave_up(server, dial)


def test_a_caller_who_misses_it_hears_it_again():
    with media.house("drain: 0ms\n") as (server, alice, bob), Ringer(bob) as callee:
        send = alice.send
        dial = Dial(alice)
        assert media.wait(lambda: callee.invite, 5)
        alice.send = lambda octets: octets.startswith(b"ACK") or send(octets)
        began = time.monotonic()
        term(server)
        dial.waited(0)
        assert [alice.final(3).status for _ in range(2)] == [503, 503]
        assert 5.5 < ends(server, 10, began) < 9
        assert server.wait_log("cut")["unanswered"] == 1


class Late(Ringer):
    """Answers the call in spite of CANCEL."""
    after = 0.0

    def on_cancel(self):
        time.sleep(self.after)
        self.say(200, "OK")


class TooLate(Late):
    after = 3.0


def test_an_answer_that_crosses_the_cancel_makes_a_call_that_is_hung_up():
    with ringing(RELAYED, ringer=Late) as (server, callee, dial):
        term(server)
        assert dial.waited(0) and dial.call, dial.answer
        bye = bye_of(dial.alice)
        assert bye["reason"] == REASON
        dial.alice.send(dial.alice.response(bye, 200, "OK"))
        assert ends(server, 5) < 2
        assert callee.methods() == ["INVITE", "CANCEL", "ACK", "BYE"], callee.methods()
        assert server.records("status, ended_by") == [(200, "stop")]


def test_an_answer_that_crosses_the_cancel_makes_a_call_that_goes_on():
    with ringing(ringer=Late) as (server, callee, dial):
        term(server)
        assert dial.waited(0) and dial.call, dial.answer
        assert ends(server, 5) < 2
        assert bye_of(dial.alice, 0.5) is None
        assert callee.methods() == ["INVITE", "CANCEL", "ACK"], callee.methods()
        assert server.records("status, ended_by") == [(200, "stop")]


@pytest.mark.parametrize("more", ["", RELAYED])
def test_an_answer_behind_the_refusal_is_ended(more):
    with ringing(more, ringer=TooLate) as (server, callee, dial):
        began = time.monotonic()
        term(server)
        assert 1.5 < dial.waited(began) < 3
        assert ends(server, 8) < 5
        assert callee.methods() == ["INVITE", "CANCEL", "ACK", "BYE"], callee.methods()
        assert callee.requests[-1]["reason"] == REASON
        gave_up(server, dial)


def test_of_a_fork_all_are_given_up():
    with media.house("drain: 0ms\n") as (server, alice, bob), media.RawPhone(server, "bob", 0xB3) as desk:
        assert desk.register().status == 200
        with Ringer(bob) as rings, Ringer(desk, provisional=None) as silent:
            dial = Dial(alice)
            assert media.wait(lambda: rings.invite and silent.invite, 5)
            began = time.monotonic()
            term(server)
            assert media.wait(lambda: rings.methods() == ["INVITE", "CANCEL", "ACK"], 1), rings.methods()
            # no word of one is enough for a CANCEL
            silent.say(100, "Trying")
            assert dial.waited(began) < 1
            assert ends(server, 5) < 2
            assert silent.methods()[-2:] == ["CANCEL", "ACK"], silent.methods()
        gave_up(server, dial)


def test_a_second_signal_gives_up_calls_that_ring():
    with ringing(obeys=False) as (server, callee, dial):
        began = time.monotonic()
        term(server)
        assert media.wait(lambda: "CANCEL" in callee.methods(), 2)
        term(server)
        assert dial.waited(began) < 1
        assert ends(server, 5) < 1
        gave_up(server, dial)
        assert server.wait_log("cut")["ringing"] == 1


def test_new_calls_are_refused_meanwhile():
    with ringing(obeys=False) as (server, callee, dial):
        term(server)
        dial.waited(0)
        answer, made = media.dial(dial.alice)
        assert made is None and answer.status == 503 and answer["retry-after"] == "10", answer
        assert callee.methods().count("INVITE") == 1


def test_a_crowd_that_rings_is_given_up(heavy):
    calls, rate = (2500, 250) if heavy else (400, 200)
    with Server("drain: 0ms\n") as server:
        server.add_users(["alice", "bob"], PASSWORD)
        port = sipp.register(server.port, "bob", sipp.CALLEE)
        each = ["-m", str(calls), "-l", str(calls), "-recv_timeout", "60000"]
        with sipp.Sipp("ringing", server.port, "-nd", *each, ip=sipp.CALLEE, port=port) as callee:
            callee.wait_open()
            with sipp.Sipp("refused", server.port, "-nd", *each, "-r", str(rate), ip=sipp.CALLER) as caller:
                def ringing():
                    return sum(call["state"] == "ringing" for call in server.json("calls")) == calls
                assert media.wait(ringing, calls / rate + 20), caller.errors()
                term(server)
                took = ends(server, 8)
                results = [phone.finish(20) for phone in (caller, callee)]
        print("503 to %d calls took %.1f s" % (calls, took), results)
        assert took < 5
        for result in results:
            assert (result["calls"], result["failed"], result["code"]) == (calls, 0, 0), results
        assert server.records("status, ended_by") == [(503, "stop")] * calls
        assert "cut" not in [line.get("event") for line in server.log_events()]


def test_a_crowd_hears_bye(heavy):
    calls, rate = (2500, 250) if heavy else (400, 200)
    with Server(RELAYED + "drain: 0ms\n") as server:
        server.add_users(["alice", "bob"], PASSWORD)
        port = sipp.register(server.port, "bob", sipp.CALLEE)
        each = ["-m", str(calls), "-l", str(calls), "-recv_timeout", "60000"]
        with sipp.Sipp("callee", server.port, "-nd", *each, ip=sipp.CALLEE, port=port) as callee:
            callee.wait_open()
            with sipp.Sipp("waiting", server.port, "-nd", *each, "-r", str(rate), ip=sipp.CALLER) as caller:
                def standing():
                    return server.metric("tandem_media_sessions") == calls and \
                        sum(call["state"] == "up" for call in server.json("calls")) == calls
                assert media.wait(standing, calls / rate + 20), caller.errors()
                term(server)
                took = ends(server, 8)
                results = [phone.finish(20) for phone in (caller, callee)]
        print("BYE to %d calls took %.1f s" % (calls, took), results)
        assert took < 5
        for result in results:
            assert (result["calls"], result["failed"], result["code"]) == (calls, 0, 0), results
        ended = [row[1] for row in records(server)]
        assert ended == ["stop"] * calls, {by: ended.count(by) for by in ended}


def test_however_often_it_is_told_to_stop_it_ends_by_itself():
    for _ in range(6):
        with Server("drain: 0ms\n") as server:
            while server.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    term(server)
                time.sleep(0.00005)
            assert ends(server, 1) is not None
