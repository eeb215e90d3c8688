# SPDX-License-Identifier: MIT
"""Calls with media leave nothing behind: no descriptor, no memory, no session."""
import statistics
import time
from collections import namedtuple

from support import media

# Transactions are kept for 64 * T1 (RFC 6026 section 7.1): short, so that they end within the test.
CONFIG = "media: {mode: always, ports: 24000-24999}\nsip: {t1: 50ms, t2: 100ms, t4: 100ms}\nsecurity: {trusted: [127.0.0.0/8]}\n"
LINGER = 64 * 0.05 + 0.5
SOUND = 0.06  # seconds of sound in a call
REGION = 2 * 1024 * 1024  # what objects are cut from comes by so many octets, and stays
TRANSACTION = 2048  # octets of what stands because of a transaction, at most
HEAP = 160  # KiB that libraries find in their heap for what they keep: SQLite its pages

# After a round: descriptors, octets allocated, octets of regions, KiB of the libraries' heap; in it: the most transactions.
Seen = namedtuple("Seen", "descriptors allocated regions heap stood")


def most(rounds):
    return Seen(*map(max, zip(*rounds)))


def test_calls_with_media_leave_nothing_behind(heavy):
    rounds, calls, warm = (20, 1000, 2000) if heavy else (4, 200, 600)
    with media.house(CONFIG) as (server, alice, bob):
        def a_round(calls):
            stood = 0
            assert bob.register().status == 200  # for another 300 s
            with media.SoundCallee(bob):
                for number in range(calls):
                    answer, call = media.dial(alice)
                    assert call, answer
                    if number % 10 == 0:
                        media.talk((alice, bob), SOUND)
                        assert server.metric("tandem_media_sessions") == 1
                        stood = max(stood, server.metric("tandem_sip_transactions"))
                    assert call.bye().status == 200
                    alice.sound.got.clear()
                    bob.sound.got.clear()
                    bob.callee.requests.clear()
            assert media.wait(lambda: server.metric("tandem_media_sessions") == 0, 5)
            time.sleep(LINGER)
            seen = Seen(server.descriptors(), server.metric("tandem_memory_allocated_bytes"),
                        server.metric("tandem_memory_regions_bytes"), server.heap(), stood)
            print(seen, "private KiB:", server.memory("Private_Dirty"))
            return seen
        seen = [a_round(warm)] + [a_round(calls) for _ in range(rounds - 1)]
    first, last = most(seen[:rounds // 3]), seen[-1]
    assert last.descriptors <= first.descriptors
    # A leak grows in each round; a table that has its size by the most that stood at once, in few.
    growth = statistics.median(b.allocated - a.allocated for a, b in zip(seen, seen[1:]))
    assert growth < (4 if heavy else 16) * calls, "octets that a call leaves behind: %g" % (growth / calls)
    # What stood at once is kept for the next time, and a part of a region is one.
    more = max(0, most(seen).stood - first.stood)
    assert last.regions <= first.regions + REGION + more * TRANSACTION
    assert last.heap <= first.heap + HEAP
