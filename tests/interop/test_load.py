# SPDX-License-Identifier: MIT
"""SIPp calls through the proxy: none fails, and memory does not grow from run to run."""
from conftest import PASSWORD
from support import sipp
from support.server import SANITIZED, Server

RATE = 100 if SANITIZED else 300


def test_calls_at_a_rate(heavy):
    seconds = 60 if heavy else 10
    after = []
    # What a finished call leaves behind lasts 64*T1 (RFC 6026): with a short T1 the load is steady well before it ends.
    more = "" if heavy else "sip: {t1: 100ms}\n"
    with Server(more) as server:
        run(server, seconds, after)


def run(server, seconds, after):
    for user in ("alice", "bob"):
        server.add_user(user, PASSWORD)
    for _ in range(2):
        result = sipp.calls(server.port, RATE, seconds)
        assert result["failed"] == 0, result
        assert result["calls"] == RATE * seconds
        after.append(server.memory())
    assert server.is_alive()
    # The second run finds the pools that the first one made. What it may add is noise: pages of a heap.
    assert after[1] <= after[0] * 1.05 + 512, "KiB after each run: %s" % after


def test_no_call_is_left_standing(server):
    result = sipp.calls(server.port, 50, 2)
    assert result["failed"] == 0, result
    assert server.json("calls") == []
