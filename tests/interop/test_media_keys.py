# SPDX-License-Identifier: MIT
"""Keys pressed on a real phone reach the other one once, in order, in the way that is wanted.

baresip sends events (RFC 4733) and understands these and INFO. What it took each key by is in its log.
"""
import time

import pytest

from support.phone import Phone
from support.server import DOMAIN, Server

PASSWORD = "a-long-password"
KEYS = "1590*#"


def taken(phone, since):
    """The keys that it was told of, by whichever way."""
    return "".join(e.get("param", "") for e in phone.events[since:] if e.get("type") == "CALL_DTMF_START")


@pytest.mark.parametrize("dtmf, info", [("auto", False), ("info", True), ("rfc4733", False)])
@pytest.mark.parametrize("codecs", [(("PCMU/8000/1",), ("PCMU/8000/1",)), (("opus/48000/2",), ("PCMA/8000/1",))],
                         ids=["passes", "is converted"])
def test_each_key_is_heard_once(dtmf, info, codecs):
    with Server("media: {mode: always, dtmf: %s}\n" % dtmf) as server:
        server.add_users(["anna", "bert"], PASSWORD)
        with Phone("anna", PASSWORD, DOMAIN, server.proxy("udp", "127.0.0.1"), "127.0.0.1", codecs=codecs[0]) as anna, \
                Phone("bert", PASSWORD, DOMAIN, server.proxy("udp", "127.0.0.1"), "127.0.0.1", codecs=codecs[1]) as bert:
            assert anna.registers() and bert.registers()
            anna.dial("sip:bert@" + DOMAIN)
            assert bert.rings(), bert.log()[-2000:]
            bert.answer()
            assert anna.talks() and bert.talks()
            time.sleep(0.5)
            for presser, hearer in ((anna, bert), (bert, anna)):
                since = len(hearer.events)
                for key in KEYS:
                    presser.command("sndcode", key)
                    time.sleep(0.4)
                time.sleep(0.6)
                assert taken(hearer, since) == KEYS, hearer.log()[-3000:]
            anna.hang_up()
            assert bert.is_idle()
        assert server.metric("tandem_media_keys_total") == (2 * len(KEYS) if info else 0)
        assert server.is_alive()
