# SPDX-License-Identifier: MIT
"""SIPp calls through the proxy: none fails, and memory does not grow from run to run."""
from support import sipp
from support.server import SANITIZED, Server

RATE = 100 if SANITIZED else 300
NOISE = 1024  # KiB: a third of one for each call of a short run
# Ended transactions stay 64*T1 (RFC 3261 section 17): memory is level once a run is longer than that.
SHORT = "sip: {t1: 100ms, t2: 400ms, t4: 500ms}\n"


def test_calls_at_a_rate(heavy):
    seconds = 60 if heavy else 10
    ports = [sipp.free_port(ip) for ip in (sipp.CALLEE, sipp.CALLER)]
    after = []
    with Server("" if heavy else SHORT) as server:
        for user in ("alice", "bob"):
            server.add_user(user)
        # A run finds the pools that the ones before it made, unless its peak is higher; a leak grows in each.
        while len(after) < 2 or (len(after) < 4 and after[-1] > after[-2] + NOISE):
            result = sipp.calls(server.port, RATE, seconds, ports)
            assert result["failed"] == 0, result
            assert result["calls"] == RATE * seconds
            after.append(server.memory())
        assert server.json("calls") == []
    assert after[-1] <= after[-2] + NOISE, "KiB after each run: %s" % after
