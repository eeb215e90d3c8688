# SPDX-License-Identifier: MIT
"""Two ordinary phones behind two NATs hear each other, and neither knows of STUN. A browser behind a firewall that
lets no UDP through is heard through our TURN server."""
import contextlib
import time

import pytest

from support import browser, nat, turn
from support.phone import Phone
from support.server import DOMAIN, Server

PASSWORD = "a-long-password"
HZ = {"a": 440, "b": 1000}


@pytest.fixture(scope="module")
def place():
    """The laboratory; everything runs where the server is, unless it says otherwise."""
    browser.bundle()  # while there is a network
    with nat.lab() as made, made.inside("srv"):
        yield made


@pytest.fixture(scope="module")
def lab(place):
    with Server(addresses=[nat.SERVER]) as server:
        server.add_users(HZ, PASSWORD)
        yield place, server


@pytest.mark.parametrize("far", nat.KINDS)
@pytest.mark.parametrize("near", nat.KINDS)
def test_phones_behind_nats_hear_each_other(lab, near, far):
    lab, server = lab
    lab.behind("a", near)
    lab.behind("b", far)

    def phone(side):
        with lab.inside(side):
            made = Phone(side, PASSWORD, DOMAIN, server.proxy("udp", nat.SERVER), nat.PHONE[side], HZ[side])
            made.start()
            return made
    phones = []
    try:
        phones += [phone("a")]
        phones += [phone("b")]
        a, b = phones
        assert a.registers() and b.registers(), a.log()[-2000:]
        a.dial("sip:b@" + DOMAIN)
        assert b.rings(), a.log()[-2000:]
        b.answer()
        assert a.talks() and b.talks(), a.log()[-2000:]
        time.sleep(2.5)
        assert server.metric("tandem_media_sessions") == 1
        a.hang_up()
        assert a.is_idle() and b.is_idle()
        assert a.heard(HZ["b"]) > 0.8 and b.heard(HZ["a"]) > 0.8
    finally:
        for one in phones:
            one.stop()


# --- a browser where only TCP passes -------------------------------------------------------------------

@pytest.fixture(scope="module")
def closed(place):
    """(lab, server, pages): the page is served in the place "a"."""
    with place.inside("a"):
        pages = browser.Pages()
    doors = "turn: {listen: ['udp:%s:3478', 'tcp:%s:3478', 'tls:%s:5349']}\n" % ((nat.SERVER,) * 3)
    with pages, Server(doors, addresses=[nat.SERVER], doors=("ws",), origins=[pages.origin]) as server:
        server.add_users(["page", "desk"], PASSWORD)
        yield place, server, pages


@pytest.mark.parametrize("kind", ["turn:", "turns:"])
@pytest.mark.parametrize("calls", ["page", "desk"])
def test_a_browser_without_udp_is_heard_through_turn(closed, kind, calls):
    lab, server, pages = closed
    lab.behind("a", "random", udp=False)
    given = turn.credentials(server, "page@" + DOMAIN)
    urls = [uri for uri in given["uris"] if uri.startswith(kind) and uri.endswith("transport=tcp")]
    assert urls, given
    ice = {"urls": urls, "username": given["username"], "credential": given["password"]}
    before = server.metric("tandem_turn_relayed_bytes_total")
    with contextlib.ExitStack() as stack:
        with lab.inside("a"):
            chromium = stack.enter_context(browser.Chromium(pages, server.ca()))
        page = stack.enter_context(chromium.phone("page", PASSWORD, DOMAIN, server.socket("ws", nat.SERVER), 440, [ice]))
        with lab.inside("pub"):
            desk = stack.enter_context(Phone("desk", PASSWORD, DOMAIN, server.proxy("udp", nat.SERVER), nat.PUBLIC, 1000))
        assert page.registers() and desk.registers(), page.log()[-2000:]
        caller, callee = (page, desk) if calls == "page" else (desk, page)
        caller.dial("sip:%s@%s" % (callee.user, DOMAIN))
        assert callee.rings(20), caller.log()[-3000:]
        callee.answer()
        assert caller.talks(20) and callee.talks(), caller.log()[-3000:] + callee.log()[-3000:]
        time.sleep(3)
        assert server.metric("tandem_turn_allocations") >= 1
        caller.hang_up()
        assert page.is_idle() and desk.is_idle()
        assert page.heard(desk.hz) > 0.8 and desk.heard(page.hz) > 0.8, (page.heard(desk.hz), desk.heard(page.hz))
    assert server.metric("tandem_turn_relayed_bytes_total") - before > 20000
