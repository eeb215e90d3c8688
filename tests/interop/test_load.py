# SPDX-License-Identifier: MIT
"""SIPp calls through the proxy: none fails, and memory does not grow from run to run."""
import time

from conftest import PASSWORD
from support import sipp
from support.server import SANITIZED, Server

RATE = 100 if SANITIZED else 300


def quiet(server):
    """Wait until what finished calls leave behind for 64*T1 (RFC 6026) is gone; the memory then."""
    for _ in range(400):
        if server.json("status")["transactions"] == 0:
            return server.memory()
        time.sleep(0.1)
    raise AssertionError("transactions outlive their timers: %s" % server.json("status"))


def run(server, seconds):
    result = sipp.calls(server.port, RATE, seconds)
    assert result["failed"] == 0, result
    assert result["calls"] == RATE * seconds
    assert server.json("calls") == []


def test_calls_at_a_rate_and_memory_after_them(heavy):
    seconds = 60 if heavy else 8
    # One worker: with two, it is chance which one a run's only port leads to, and whose pools it fills.
    more = "workers: 1\n" + ("" if heavy else "sip: {t1: 100ms}\n")
    with Server(more) as server:
        for user in ("alice", "bob"):
            server.add_user(user, PASSWORD)
        after = []
        for _ in range(2):
            run(server, seconds)
            after.append(quiet(server))
        # What the second run may add is noise: pages of a heap.
        assert after[1] <= after[0] * 1.05 + 512, "KiB after each run: %s" % after


def test_calls_over_all_workers(server):
    run(server, 4)
