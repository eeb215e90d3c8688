# SPDX-License-Identifier: MIT
"""Four kinds of phone, over UDP, TCP, TLS and secure WebSocket: each registers and calls each kind.

The first three are baresip, the fourth is JsSIP in Chromium. Each verifies the server's certificate against the
authority that the server made for itself. There are two of each kind, so that a kind can call itself.
"""
import contextlib

import pytest

from support import browser, tlsclient
from support.phone import Phone
from support.server import DOMAIN, Server

PASSWORD = "a-long-password"
KINDS = ("udp", "tcp", "tls", "wss")


@pytest.fixture(scope="module")
def pages():
    with browser.Pages() as served:
        yield served


@pytest.fixture(scope="module")
def house(pages):
    """A server with two accounts for each kind, such as tls1 and tls2."""
    with Server(doors=("tls", "wss"), origins=[pages.origin]) as server:
        for kind in KINDS:
            for number in (1, 2):
                server.add_user("%s%d" % (kind, number), PASSWORD)
        yield server
        assert server.is_alive(), "the server died: " + server.log()[-4000:]


@contextlib.contextmanager
def eight_phones(server, pages, ip):
    """{kind: (one, another)}, all registered."""
    with contextlib.ExitStack() as stack:
        chromium = stack.enter_context(browser.Chromium(pages, server.ca()))

        def phone(kind, number):
            user = "%s%d" % (kind, number)
            if kind == "wss":
                return chromium.phone(user, PASSWORD, DOMAIN, server.socket("wss", ip))
            return Phone(user, PASSWORD, DOMAIN, server.proxy(kind, ip), ip, 440, ca=server.ca(), browsers=True)
        made = {kind: tuple(stack.enter_context(phone(kind, n)) for n in (1, 2)) for kind in KINDS}
        for pair in made.values():
            for one in pair:
                assert one.registers(), "%s: %s" % (one.user, one.log()[-3000:])
        yield made


def call(caller, callee, ender):
    """A whole call, each step seen by both; "" or what went wrong."""
    since = {phone: len(phone.events) for phone in (caller, callee)}
    caller.dial("sip:%s@%s" % (callee.user, DOMAIN))
    if not callee.rings(since=since[callee]):
        return "it does not ring"
    if not caller.event("CALL_RINGING", since=since[caller]):
        return "the caller does not hear that it rings"
    callee.answer()
    if not caller.talks(since=since[caller]):
        return "the caller is not answered"
    if not callee.talks(since=since[callee]):
        return "the callee gets no ACK"
    # A callee that refused the first way to encrypt the sound told of that as of a call that ended.
    since = {phone: len(phone.events) for phone in (caller, callee)}
    if caller.is_idle(0.1, since[caller]) or callee.is_idle(0, since[callee]):
        return "it ends by itself"
    ender.hang_up()
    if not (caller.is_idle(since=since[caller]) and callee.is_idle(since=since[callee])):
        return "it does not end"
    return ""


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_each_kind_of_phone_calls_each(house, pages, ip):
    wrong = []
    with eight_phones(house, pages, ip) as phones:
        bound = house.bindings()
        for kind in KINDS:  # none of them came in by another's door
            for one in phones[kind]:
                contacts = bound["%s@%s" % (one.user, DOMAIN)]
                assert [c["transport"] for c in contacts.values()] == [kind], (one.user, contacts)
        for number, (a, b) in enumerate((a, b) for a in KINDS for b in KINDS):
            caller, callee = phones[a][0], phones[b][1]
            said = call(caller, callee, (caller, callee)[number % 2])
            if said:
                wrong.append("%s calls %s: %s\n%s\n----\n%s" % (
                    a, b, said, caller.log()[-1500:], callee.log()[-1500:]))
                for phone in (caller, callee):  # nothing of it may be in the way of the next
                    with contextlib.suppress(RuntimeError):
                        phone.hang_up()
    assert not wrong, "\n".join(wrong)


def test_a_phone_that_trusts_another_authority_does_not_register(house, pages, tmp_path):
    """So that the calls above mean something: the phones do look at the certificate."""
    other = tlsclient.Authority(tmp_path).ca
    with Phone("tls1", PASSWORD, DOMAIN, house.proxy("tls"), ca=other) as phone:
        assert not phone.registers(1.5)
    with browser.Chromium(pages, other) as chromium:
        with chromium.phone("wss1", PASSWORD, DOMAIN, house.socket("wss")) as phone:
            assert not phone.registers(1.5)
            assert "ERR_CERT_AUTHORITY_INVALID" in phone.log()


def test_a_page_from_elsewhere_may_not_open_a_websocket(house):
    with browser.Pages() as elsewhere, browser.Chromium(elsewhere, house.ca()) as chromium:
        with chromium.phone("wss1", PASSWORD, DOMAIN, house.socket("wss")) as phone:
            assert not phone.registers(1.5)
            assert "403" in phone.log()
