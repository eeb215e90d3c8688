# SPDX-License-Identifier: MIT
"""Two ordinary phones (baresip) register with Tandem and call each other."""
import contextlib
import time

import pytest

from support.phone import Phone
from support.server import DOMAIN
from support.sip import Client

PASSWORD = "a-long-password"
ALICE, BOB = 440, 1000  # what each plays, in Hz
TALK = 1.5  # seconds of sound; sound takes its time


@contextlib.contextmanager
def phones(server, *accounts, ip="127.0.0.1"):
    """(user, transport, Hz) each: the phones, registered."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(Phone(user, PASSWORD, DOMAIN, server.proxy(transport, ip), ip, hz))
                for user, transport, hz in accounts]
        for phone in made:
            assert phone.registers(), phone.log()[-3000:]
        yield made


def uri(user):
    return "sip:%s@%s" % (user, DOMAIN)


def establish(caller, callee):
    caller.dial(uri(callee.user))
    assert callee.rings(), caller.log()[-3000:]
    callee.answer()
    assert caller.talks() and callee.talks(), caller.log()[-3000:]


def both_heard(a, b):
    for listener, talker in ((a, b), (b, a)):
        assert listener.heard(talker.hz) > 0.8
        assert listener.heard(listener.hz) < 0.05


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("who_ends", ["caller", "callee"])
def test_udp_phone_calls_tcp_phone(server, ip, who_ends):
    with phones(server, ("alice", "udp", ALICE), ("bob", "tcp", BOB), ip=ip) as (alice, bob):
        establish(alice, bob)
        time.sleep(TALK)
        (alice if who_ends == "caller" else bob).hang_up()
        assert alice.is_idle() and bob.is_idle()
        both_heard(alice, bob)


@pytest.mark.parametrize("who_ends", ["caller", "callee"])
def test_tcp_phone_calls_udp_phone(server, who_ends):
    with phones(server, ("alice", "udp", ALICE), ("bob", "tcp", BOB)) as (alice, bob):
        establish(bob, alice)
        time.sleep(TALK)
        (bob if who_ends == "caller" else alice).hang_up()
        assert alice.is_idle() and bob.is_idle()
        both_heard(alice, bob)


def test_an_extension_is_dialled_by_its_number(server):
    with phones(server, ("alice", "udp", ALICE), ("bob", "udp", BOB)) as (alice, bob):
        alice.dial("sip:102@" + DOMAIN)
        assert bob.rings()
        bob.answer()
        assert alice.talks()
        alice.hang_up()
        assert bob.is_idle()


@pytest.mark.parametrize("answers", [0, 1])
def test_all_phones_of_an_account_ring_until_one_answers(server, answers):
    with phones(server, ("alice", "udp", ALICE), ("bob", "tcp", BOB), ("bob", "udp", 700)) as made:
        alice, bobs = made[0], made[1:]
        alice.dial(uri("bob"))
        assert all(bob.rings() for bob in bobs)
        chosen, other = bobs[answers], bobs[1 - answers]
        chosen.answer()
        assert alice.talks() and chosen.talks()
        assert other.is_idle(), "the other phone still rings"
        assert not other.talks(0)
        time.sleep(TALK)
        assert not chosen.is_idle(0)
        alice.hang_up()
        assert chosen.is_idle() and alice.is_idle()
        both_heard(alice, chosen)


def test_a_caller_who_gives_up_stops_all_phones(server):
    with phones(server, ("alice", "tcp", ALICE), ("bob", "tcp", BOB), ("bob", "udp", 700)) as made:
        alice, bobs = made[0], made[1:]
        alice.dial(uri("bob"))
        assert all(bob.rings() for bob in bobs)
        alice.hang_up()
        assert alice.is_idle()
        for bob in bobs:
            assert bob.is_idle(), "a phone still rings"
            assert not bob.talks(0)


def test_one_phone_declines_and_the_other_rings_on(server):
    with phones(server, ("alice", "udp", ALICE), ("bob", "tcp", BOB), ("bob", "udp", 700)) as made:
        alice, declines, answers = made
        alice.dial(uri("bob"))
        assert declines.rings() and answers.rings()
        declines.hang_up()  # 486
        assert declines.is_idle()
        assert not alice.is_idle(0.5), "one phone's 486 ended the call"
        answers.answer()
        assert alice.talks()
        answers.hang_up()
        assert alice.is_idle()


def test_nobody_is_there(server):
    with phones(server, ("alice", "udp", ALICE)) as (alice,):
        alice.dial(uri("carol"))
        assert alice.is_idle()
        assert not alice.talks(0)


def test_a_wrong_password_registers_nobody(server):
    with Phone("carol", "not-the-password", DOMAIN, server.proxy("udp")) as carol:
        assert not carol.registers(1.5)
    assert "carol@" + DOMAIN not in {a for a, contacts in server.bindings().items() if contacts}


def test_a_phone_that_leaves_is_no_longer_listed(server):
    with phones(server, ("carol", "tcp", 700)):
        assert server.bindings()["carol@" + DOMAIN]
    with Client(server.port, user="carol") as client:  # what the phone's own removal left, if any
        client.forget_all()
    assert not server.bindings().get("carol@" + DOMAIN)
