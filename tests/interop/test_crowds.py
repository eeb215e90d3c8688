# SPDX-License-Identifier: MIT
"""Thousands of idle connections, each registered: what they cost, and how soon the last of them rings."""
import contextlib

from support.crowd import Crowd, seconds_to_ring
from support.server import DOMAIN, SANITIZED, Server
from support.sip import Client

FULL, SAMPLE = 9000, 300  # connections of each kind
PER_USER = 5
RING = 0.1 if not SANITIZED else 0.5  # seconds from a call to the INVITE at the callee
# The crowd comes from few addresses, as no crowd of strangers would.
CONFIG = "security: {trusted: [127.0.0.0/8], limits: {total_connections: 19500}}\n"
# KiB: no idle connection with its registration may cost more. It is 2 to 3 times what is measured.
MOST = {"tls": 48, "wss": 48, "ws": 8}


def test_idle_connections(heavy):
    count = FULL if heavy else SAMPLE
    crowds = [("tls", count, 30), ("wss", count // 2, 40), ("ws", count - count // 2, 50)]
    users = {kind: ["%s%d" % (kind, n) for n in range(-(-size // PER_USER))] for kind, size, _ in crowds}
    with Server(CONFIG, doors=("tls", "ws", "wss")) as server, contextlib.ExitStack() as stack:
        server.add_users([*(u for some in users.values() for u in some), "lasttls", "lastwss", "caller"])
        standing, cost = [], {}
        for kind, size, host in crowds:
            before = server.memory()
            crowd = stack.enter_context(crowd_of(server, kind, users[kind], size, host))
            connected, registered = crowd.connect(), crowd.register()
            standing.append(crowd)
            cost[kind] = (server.memory() - before) / size
            print("%s: %d connected in %.1f s, registered in %.1f s, %.1f KiB each" % (
                kind, size, connected, registered, cost[kind]))
        contacts = sum(len(contacts) for contacts in server.bindings().values())
        assert contacts == 2 * count, "%d contacts" % contacts
        for kind, host in (("tls", 60), ("wss", 61)):  # the last of all
            last = stack.enter_context(crowd_of(server, kind, ["last" + kind], 1, host, processes=1))
            last.connect()
            last.register()
            with Client(server.port, user="caller") as caller:
                times = [seconds_to_ring(caller, "last" + kind, last) for _ in range(5)]
            print("the last of %s rings after %s ms" % (kind, ", ".join("%.1f" % (t * 1000) for t in times)))
            assert max(times) < RING
        # One in the midst of the crowd rings too: its connection is alive, not only remembered.
        for kind, crowd in (("tls", standing[0]), ("wss", standing[1]), ("ws", standing[2])):
            with Client(server.port, user="caller") as caller:
                assert seconds_to_ring(caller, users[kind][len(users[kind]) // 2], crowd) < RING
        assert [crowd.lost() for crowd in standing] == [0, 0, 0]
    if not SANITIZED:
        assert all(cost[kind] < MOST[kind] for kind in cost), cost


def crowd_of(server, kind, users, size, host, processes=2):
    return Crowd(kind, server.ports[kind], users, "a-long-password", size, host, processes, server.ca(), DOMAIN)
