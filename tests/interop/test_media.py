# SPDX-License-Identifier: MIT
"""Whoever calls whoever: both hear each other, and nothing was configured for it.

The kinds are phones as they come: sound in the clear, encrypted by keys of the description (optional or demanded), by
DTLS, with ICE, and a browser. Every phone plays a tone of its own; what was heard is looked for in recorded sound.
"""
import contextlib
import threading
import time

import pytest

from support import browser
from support.phone import Phone
from support.server import DOMAIN, Server

PASSWORD = "a-long-password"
TALK = 2.5  # seconds of sound
PURE = 0.8  # the share of the tone in what was heard
KINDS = {
    "plain": {"codecs": ("opus/48000/2", "G722/16000/1", "PCMU/8000/1", "PCMA/8000/1")},
    "srtp": {"mediaenc": "srtp"},
    "srtp-mand": {"mediaenc": "srtp-mand"},
    "dtls": {"mediaenc": "dtls_srtp"},
    "ice": {"medianat": "ice"},
    "browser": None,
}


def uri(user):
    return "sip:%s@%s" % (user, DOMAIN)


@pytest.fixture(scope="module")
def pages():
    with browser.Pages() as served:
        yield served


@pytest.fixture(scope="module")
def house(pages):
    """A server with nothing said of media, and accounts for a caller and a callee of each kind."""
    with Server(doors=("wss",), origins=[pages.origin]) as server:
        server.add_users(["%s-%d" % (kind, n) for kind in KINDS for n in (1, 2)] + ["one", "two"], PASSWORD)
        yield server
        assert server.is_alive(), "the server died: " + server.log()[-4000:]


@contextlib.contextmanager
def phones(server, pages, ip, kinds):
    """{kind: (caller, callee)}, registered, each with a tone of its own."""
    with contextlib.ExitStack() as stack:
        chromium = stack.enter_context(browser.Chromium(pages, server.ca())) if "browser" in kinds else None
        tones = iter(range(300, 1500, 97))

        def phone(kind, number):
            user = "%s-%d" % (kind, number)
            if kind == "browser":
                return chromium.phone(user, PASSWORD, DOMAIN, server.socket("wss", ip), next(tones))
            return Phone(user, PASSWORD, DOMAIN, server.proxy("udp", ip), ip, next(tones), **KINDS[kind])
        made = {kind: tuple(stack.enter_context(phone(kind, n)) for n in (1, 2)) for kind in kinds}
        for pair in made.values():
            for one in pair:
                assert one.registers(), "%s: %s" % (one.user, one.log()[-3000:])
        yield made


def call(caller, callee, to=None):
    """A whole call with sound; "" or what went wrong."""
    since = {phone: len(phone.events) for phone in (caller, callee)}
    for phone in (caller, callee):
        phone.forget()
    caller.dial(to or uri(callee.user))
    if not callee.rings(since=since[callee]):
        return "it does not ring"
    callee.answer()
    if not caller.talks(since=since[caller]):
        return "the caller is not answered"
    if not callee.talks(since=since[callee]):
        return "the callee gets no ACK"
    since = {phone: len(phone.events) for phone in (caller, callee)}
    time.sleep(TALK)
    if caller.is_idle(0, since[caller]) or callee.is_idle(0, since[callee]):
        return "it ends by itself"
    caller.hang_up()
    if not (caller.is_idle(since=since[caller]) and callee.is_idle(since=since[callee])):
        return "it does not end"
    wrong = ""
    for listener, talker in ((caller, callee), (callee, caller)):
        there, own = listener.heard(talker.hz), listener.heard(listener.hz)
        if there < PURE or own > 0.05:
            wrong += "%s hears %.2f of %s and %.2f of itself; " % (listener.user, there, talker.user, own)
    return wrong


def call_at_once(pairs):
    """All of the pairs call at the same time; {pair: what went wrong}."""
    said = {}

    def one(pair):
        try:
            said[pair] = call(*pair)
        except Exception as wrong:  # what a thread raises, nobody sees
            said[pair] = repr(wrong)
        if said[pair]:
            for phone in pair:  # nothing of it may be in the way of the next
                with contextlib.suppress(RuntimeError):
                    phone.hang_up()
    threads = [threading.Thread(target=one, args=(pair,)) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {pair: text for pair, text in said.items() if text}


def can_hear(kind, other):
    """baresip with ICE waits for ever for a caller's candidates when there are none."""
    return other != "ice" or kind in ("ice", "browser")


def each_with_each(made):
    """Rounds in which every phone has one call, until every caller had every callee."""
    kinds, wrong = list(made), []
    for shift in range(len(kinds)):
        turned = kinds[shift:] + kinds[:shift]
        pairs = [(made[a][0], made[b][1]) for a, b in zip(kinds, turned) if can_hear(a, b)]
        for (caller, callee), text in call_at_once(pairs).items():
            wrong.append("%s calls %s: %s\n%s\n----\n%s" % (
                caller.user, callee.user, text, caller.log()[-1500:], callee.log()[-1500:]))
    return wrong


@pytest.mark.parametrize("ip, kinds", [("127.0.0.1", tuple(KINDS)),
                                       ("::1", ("plain", "srtp", "srtp-mand", "dtls", "browser"))])
def test_each_kind_hears_each(house, pages, ip, kinds):
    with phones(house, pages, ip, kinds) as made:
        wrong = each_with_each(made)
    assert not wrong, "\n".join(wrong)
