# SPDX-License-Identifier: MIT
"""Two ordinary phones behind two NATs hear each other, and neither knows of STUN."""
import time

import pytest

from support import nat
from support.phone import Phone
from support.server import DOMAIN, Server

PASSWORD = "a-long-password"
HZ = {"a": 440, "b": 1000}


@pytest.fixture(scope="module")
def lab():
    with nat.lab() as made:
        with made.inside("srv"):
            server = Server(addresses=[nat.SERVER])
            with server:
                server.add_users(HZ, PASSWORD)
                yield made, server


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
