# SPDX-License-Identifier: MIT
"""A binding that was answered 200 survives kill -9, and a removal that was answered 200 does too."""
import random

import pytest

from support.load import Load
from support.server import DOMAIN, SANITIZED, Server
from support.sip import Client

PASSWORD = "a-long-password"
USERS = ["u%02d" % n for n in range(20)]


@pytest.fixture(scope="module")
def house():
    """A server with accounts that each test kills and starts as it likes, and that compacts its journal
    often."""
    with Server(environment={"TANDEM_JOURNAL_MIN": "65536"}) as running:
        for user in USERS:
            running.add_user(user, PASSWORD)
        yield running


def forget_all(server):
    for user in USERS:
        with Client(server.port, user=user, password=PASSWORD) as client:
            assert client.forget_all().status == 200


def data(server, pattern):
    return sorted((server.folder / "data").rglob(pattern))


def test_kill_under_load(house, heavy):
    """Every second round the kill waits for a compaction and falls into it."""
    rounds, into_compaction = (20, 10) if heavy else (4, 2)
    chance = random.Random(7)
    forget_all(house)
    load = Load(house.port, USERS, PASSWORD, DOMAIN)
    caught = []

    def compacting():
        return bool(data(house, "*snapshot*new*"))

    def kill():
        assert house.is_alive(), "it died by itself: " + house.log()[-2000:]
        house.kill()
        caught.append(compacting())

    try:
        for number in range(rounds):
            rate = load.run(chance.uniform(0.5, 1.2), kill,
                            compacting if number % 2 else lambda: True)
            settled = sum(b.state is not None for b in load.each())
            assert settled > 100, "too few bindings rest to prove anything"
            house.start()
            wrong = load.broken_promises(house.bindings())
            assert not wrong, "round %d: %s" % (number, wrong)
            assert rate >= 1000 or SANITIZED, "only %d REGISTER/s: no load" % rate
    finally:
        load.close()
    assert sum(caught) >= into_compaction // 2, "too few kills fell into a compaction: %s" % caught


def test_a_connection_that_died_with_the_server_keeps_its_binding(house):
    with Client(house.port, "tcp", "u00", PASSWORD) as client:
        assert client.register().status == 200
        contact = client.contact()
        house.kill()
    house.start()
    assert house.bindings()["u00@" + DOMAIN][contact]["connected"] is False
    with Client(house.port, "tcp", "u00", PASSWORD) as client:
        assert client.register(contact, expires=0).status == 200


def is_torn_reported(server):
    """A line of the start's log says that a torn tail was cut."""
    return any("torn" in line.lower() for line in server.log().splitlines())


@pytest.mark.parametrize("tear", ["garbage", "half a record", "zeros"])
def test_a_torn_tail_is_cut_and_reported(tear):
    account = "u02@" + DOMAIN
    contacts = ["sip:u02@127.0.0.1:%d" % port for port in range(31000, 31005)]
    last = "sip:u02@127.0.0.1:31999"
    with Server() as server:
        server.add_user("u02", PASSWORD)

        def sizes():
            return {file: file.stat().st_size for file in data(server, "location.*.log")}

        def register(*uris):  # one socket: one worker, one file
            for uri in uris:
                assert client.register(uri).status == 200

        with Client(server.port, user="u02", password=PASSWORD) as client:
            register(*contacts)
            before = sizes()
            register(last)
        [file] = [f for f, size in sizes().items() if size > before.get(f, 0)]
        record = sizes()[file] - before.get(file, 0)
        server.kill()
        octets = file.read_bytes()
        if tear == "half a record":
            file.write_bytes(octets[:len(octets) - record // 2])
        else:
            file.write_bytes(octets + (bytes(37) if tear == "zeros" else random.Random(3).randbytes(37)))
        server.start()
        there = set(server.bindings()[account])
        assert there == set(contacts) | (set() if tear == "half a record" else {last})
        assert is_torn_reported(server), server.log()
        # What follows stands behind the cut: the next start finds it and has nothing to report.
        with Client(server.port, user="u02", password=PASSWORD) as client:
            register("sip:u02@127.0.0.1:31777")
        server.kill()
        server.start()
        assert set(server.bindings()[account]) == there | {"sip:u02@127.0.0.1:31777"}
        assert not is_torn_reported(server), server.log()


def test_an_orderly_stop_keeps_bindings_too(house):
    with Client(house.port, user="u03", password=PASSWORD) as client:
        assert client.register("sip:u03@127.0.0.1:32000").status == 200
        assert house.stop() == 0
        house.start()
    kept = house.bindings()["u03@" + DOMAIN]["sip:u03@127.0.0.1:32000"]
    assert 0 < kept["expires"] <= 300
