# SPDX-License-Identifier: MIT
"""SIPp calls through the proxy: none fails, and memory does not grow from run to run."""
from support import sipp
from support.server import SANITIZED

RATE = 100 if SANITIZED else 300


def test_calls_at_a_rate(server, heavy):
    seconds = 60 if heavy else 10
    after = []
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
