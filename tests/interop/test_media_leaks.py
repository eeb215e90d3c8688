# SPDX-License-Identifier: MIT
"""Calls with media leave nothing behind: no descriptor, no memory, no session."""
import time

from support import media
from support.server import SANITIZED

# Transactions are kept for 64 * T1 (RFC 6026 section 7.1): short, so that they end within the test.
CONFIG = "media: {mode: always, ports: 24000-24999}\nsip: {t1: 50ms, t2: 100ms, t4: 100ms}\nsecurity: {trusted: [127.0.0.0/8]}\n"
LINGER = 64 * 0.05 + 0.5
SOUND = 0.06  # seconds of sound in a call


def test_calls_with_media_leave_nothing_behind(heavy):
    rounds, calls = (20, 1000) if heavy else (3, 200)
    warm = 2000 if heavy else 1500  # until every table and pool has its size
    with media.house(CONFIG) as (server, alice, bob):
        def a_round(calls):
            assert bob.register().status == 200  # for another 300 s
            with media.SoundCallee(bob):
                for number in range(calls):
                    answer, call = media.dial(alice)
                    assert call, answer
                    if number % 10 == 0:
                        media.talk((alice, bob), SOUND)
                        assert server.metric("tandem_media_sessions") == 1
                    assert call.bye().status == 200
                    alice.sound.got.clear()
                    bob.sound.got.clear()
                    bob.callee.requests.clear()
            assert media.wait(lambda: server.metric("tandem_media_sessions") == 0, 5)
            time.sleep(LINGER)
            return server.descriptors(), server.memory("Private_Dirty")
        seen = [a_round(warm)] + [a_round(calls) for _ in range(rounds - 1)]
        print("descriptors and KiB:", seen)
        # The allocator gives back some of it at times: the most of the first third is what it was.
        first, last = tuple(map(max, zip(*seen[:rounds // 3]))), seen[-1]
        assert last[0] <= first[0], "descriptors: %d, then %d" % (first[0], last[0])
        assert SANITIZED or last[1] <= first[1] * (1.05 if heavy else 1.025), "KiB: %d, then %d" % (first[1], last[1])
