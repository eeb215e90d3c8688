# SPDX-License-Identifier: MIT
"""Relayed calls that go wrong or end: no codec in common, media that falls silent, a server that dies."""
import signal
import time

from support import media
from support.media import DOMAIN, PASSWORD
from support.phone import Phone


def ended_by_us(phone, timeout=15):
    """The BYE that comes to a raw phone; it is answered."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        message = phone.receive(0.5)
        if message is not None and not message.is_response and message.method == "BYE":
            phone.send(phone.response(message, 200, "OK"))
            return message
    return None


def nothing_left(server):
    return media.wait(lambda: server.metric("tandem_media_sessions") == 0 and server.metric("tandem_calls ") == 0, 5)


def test_who_answers_with_another_codec_hears_bye_and_the_caller_both_lists():
    with media.house("media: {transcode: never, mode: always}\n") as (server, alice, bob):
        bob.codecs = (8,)
        answer, made = media.call(alice, bob)
        assert made is None and answer.status == 488, answer.octets
        assert answer["warning"].startswith("305 "), answer.octets
        assert "PCMU" in answer["warning"] and "PCMA" in answer["warning"], answer.octets
        assert media.wait(lambda: bob.methods() == ["INVITE", "ACK", "BYE"], 3), bob.methods()
        bye = bob.callee.requests[-1]
        assert bye["reason"].startswith("SIP;cause=488;") and bye["cseq"].split()[1] == "BYE"
        assert nothing_left(server)
        assert media.wait(lambda: server.records("status") == [(488,)], 5)
        assert server.records("reason")[0][0] == "Not Acceptable Here: " + answer["warning"].split('"')[1]


def test_when_both_fall_silent_both_hear_bye():
    with media.house("media: {mode: always, silence: 5s}\n") as (server, alice, bob):
        with media.SoundCallee(bob):
            answer, made = media.dial(alice)
            assert made is not None, answer
            media.talk((alice, bob), 1)
            assert alice.sound.marks() and bob.sound.marks()
            bye = ended_by_us(alice)
            assert bye is not None
            assert bye["reason"] == 'SIP;cause=408;text="no media from either side"', bye.octets
            assert media.wait(lambda: "BYE" in bob.methods(), 3)
            assert bob.callee.requests[-1]["reason"] == bye["reason"]
            assert nothing_left(server)


def test_who_refuses_bye_does_not_keep_the_caller():
    with media.house("media: {mode: always, quota: 1}\n") as (server, alice, bob), media.SoundCallee(bob):
        _, made = media.dial(alice)
        assert made is not None
        plain, bob.response = bob.response, lambda request, status, *rest, **how: (
            plain(request, 500, "No") if request.method == "BYE" else plain(request, status, *rest, **how))
        assert made.bye().status == 500
        assert media.wait(lambda: bob.methods().count("BYE") == 2, 3), bob.methods()
        assert "hung up" in bob.callee.requests[-1]["reason"]
        assert nothing_left(server)
        assert media.wait(lambda: server.records("ended_by") == [("caller",)], 5)
        _, made = media.dial(alice)
        assert made is not None, "her quota is hers again"
        bob.response = plain
        assert made.bye().status == 200


def test_when_a_phone_dies_the_other_is_not_left_alone():
    with media.house("media: {mode: always, silence: 5s}\n") as (server, _, bob):
        server.add_user("carol", PASSWORD)
        with Phone("carol", PASSWORD, DOMAIN, server.proxy("udp")) as carol, media.SoundCallee(bob):
            assert carol.registers()
            carol.dial("sip:bob@" + DOMAIN)
            assert media.wait(lambda: "ACK" in bob.methods(), 8), bob.methods()
            media.talk((bob,), 1)
            assert bob.sound.got
            carol.process.kill()
            assert media.wait(lambda: "BYE" in bob.methods(), 15), bob.methods()
            assert bob.callee.requests[-1]["reason"].startswith("SIP;cause=408;")
            assert nothing_left(server)


def test_an_echo_that_falls_silent_ends_as_a_relayed_call_does():
    with media.house("media: {silence: 5s}\n") as (server, alice, _):
        answer, made = media.dial(alice, "*43")
        assert made is not None, answer
        bye = ended_by_us(alice)
        assert bye is not None and bye["reason"] == 'SIP;cause=408;text="no media from the caller"', bye
        assert nothing_left(server)
        assert media.wait(lambda: server.records("ended_by, reason") == [("media", "no media from the caller")], 5)
        [event] = [event for event in server.log_events() if event.get("event") == "media.silent"]
        assert event["side"] == "caller"


def test_an_echo_hears_that_the_server_ends():
    with media.house("drain: 0s\n") as (server, alice, _):
        answer, made = media.dial(alice, "*43")
        assert made is not None, answer
        server.process.send_signal(signal.SIGTERM)
        bye = ended_by_us(alice)
        assert bye is not None and bye["reason"] == 'SIP;cause=503;text="the server ends"', bye
        assert server.process.wait(10) == 0
        assert server.records("ended_by, reason") == [("stop", "the server ends")]


def test_a_call_ends_as_its_phones_say_though_the_server_died():
    with media.house("media: {mode: always}\n") as (server, alice, bob):
        with media.SoundCallee(bob):
            answer, made = media.dial(alice)
            assert made is not None, answer
            media.talk((alice, bob), 0.5)
            server.kill()
            server.start()
            bye = made.bye()
            assert bye is not None and bye.status == 200, bye
            assert "BYE" in bob.methods()
            assert server.is_alive() and nothing_left(server)
        # and the next call is as any other
        answer, bye = media.call(alice, bob, lambda: media.talk((alice, bob), 0.3))
        assert answer.status == 200 and bye.status == 200
        assert nothing_left(server)


def test_what_exceeds_the_bandwidth_is_refused_and_passes_when_there_is_room():
    with media.house("media: {mode: always, bandwidth: 100kbit/s}\n") as (server, alice, bob):
        with media.SoundCallee(bob):
            answer, made = media.dial(alice)
            assert made is not None, answer
            media.talk((alice, bob), 0.3)
            assert alice.sound.marks() and bob.sound.marks()
            assert server.metric("tandem_media_reserved_bits_per_second") == 80000
            answer, second = media.dial(alice)
            assert second is None and answer.status == 488, answer.octets
            assert answer["warning"].startswith("370 ") and "Insufficient bandwidth" in answer["warning"], answer.octets
            assert bob.methods() == ["INVITE", "ACK"], bob.methods()
            assert server.metric('tandem_limit_refusals_total{limit="media_bandwidth"}') == 1
            assert made.bye().status == 200
            answer, third = media.dial(alice)
            assert third is not None, answer.octets
            assert third.bye().status == 200
        assert nothing_left(server)
        assert server.metric("tandem_media_reserved_bits_per_second") == 0


def test_when_nobody_acknowledges_it_ends():
    with media.house("media: {mode: always, silence: never, quota: 1}\nsip: {t1: 100ms}\n") as (server, alice, bob):
        def offer(invite):
            bob.send(bob.response(invite, 200, "OK", [f"Contact: <{bob.contact()}>", "Content-Type: application/sdp"],
                                  body=bob.description()))
        with media.SoundCallee(bob) as callee:
            callee.answer = offer
            answer = alice.ask("INVITE", "sip:bob@" + DOMAIN, [f"Contact: <{alice.contact()}>"], tag="t1", call_id="late")
            assert answer.status == 200, answer.octets
            refused, _ = media.dial(alice, "*43")
            assert refused.status == 403, refused.octets
            bye = ended_by_us(alice)
            assert bye is not None
            assert bye["reason"] == 'SIP;cause=408;text="no ACK"', bye.octets
            assert media.wait(lambda: "BYE" in bob.methods(), 3)
            assert nothing_left(server)
            assert media.wait(lambda: ("media", "no ACK") in server.records("ended_by, reason"), 5)
            taken, echo = media.dial(alice, "*43")
            assert taken.status == 200, taken.octets
            echo.bye()
