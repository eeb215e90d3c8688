# SPDX-License-Identifier: MIT
"""An orderly stop (SIGTERM): phones whose sound goes through the server hear BYE, the others talk on without it."""
import json
import signal
import time

from support import media, sipp
from support.media import DOMAIN, PASSWORD
from support.phone import Phone
from support.server import Server

REASON = 'SIP;cause=503;text="the server ends"'
RELAYED = "media: {mode: always}\n"


def term(server):
    server.process.send_signal(signal.SIGTERM)


def ends(server, timeout):
    """Seconds until the process has ended; it ended well."""
    began = time.monotonic()
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
