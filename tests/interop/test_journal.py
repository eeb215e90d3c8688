# SPDX-License-Identifier: MIT
"""A binding that was answered 200 survives kill -9, and a removal that was answered 200 does too."""
import random

import pytest

from support.load import Load
from support.server import DOMAIN, Server
from support.sip import Client

PASSWORD = "a-long-password"
USERS = ["u%02d" % n for n in range(20)]


@pytest.fixture(scope="module")
def house():
    """A server with accounts that each test kills and starts as it likes."""
    with Server() as running:
        for user in USERS:
            running.add_user(user, PASSWORD)
        yield running


def forget_all(server):
    for user in USERS:
        with Client(server.port, user=user, password=PASSWORD) as client:
            answer = client.ask("REGISTER", "sip:" + DOMAIN, ["Contact: *", "Expires: 0"],
                                to="<%s>" % client.aor())
            assert answer.status == 200


def test_kill_under_load(house, heavy):
    rounds = 20 if heavy else 3
    chance = random.Random(7)
    forget_all(house)
    load = Load(house.port, USERS, PASSWORD, DOMAIN)
    try:
        for number in range(rounds):
            rate = load.run(chance.uniform(0.7, 1.7), house.kill)
            settled = sum(b.state is not None for b in load.each())
            assert settled > 100, "too few bindings rest to prove anything"
            house.start()
            wrong = load.broken_promises(house.bindings())
            assert not wrong, "round %d: %s" % (number, wrong)
            assert rate >= 1000, "only %d REGISTER/s: no load" % rate
    finally:
        load.close()


def test_a_connection_that_died_with_the_server_keeps_its_binding(house):
    with Client(house.port, "tcp", "u00", PASSWORD) as client:
        assert client.register().status == 200
        contact = client.contact()
        house.kill()
    house.start()
    assert contact in house.bindings()["u00@" + DOMAIN]
    with Client(house.port, "tcp", "u00", PASSWORD) as client:
        assert client.register(contact, expires=0).status == 200


def journal(server):
    """The file that the server appends bindings to: the one that grows with a REGISTER."""
    def sizes():
        return {f: f.stat().st_size for f in (server.folder / "data").rglob("*") if f.is_file()
                and "sqlite" not in f.name and f.suffix not in (".db", ".db-wal", ".db-shm")}
    before = sizes()
    with Client(server.port, user="u01", password=PASSWORD) as client:
        assert client.register("sip:u01@127.0.0.1:30001").status == 200
    grown = [f for f, size in sizes().items() if size > before.get(f, 0)]
    assert len(grown) == 1, grown
    return grown[0]


def is_torn_reported(server):
    """A line of the start's log says that a torn tail was cut."""
    return any("torn" in line.lower() for line in server.log().splitlines())


@pytest.mark.parametrize("tear", ["garbage", "half a record", "zeros"])
def test_a_torn_tail_is_cut_and_reported(house, tear):
    contacts = ["sip:u02@127.0.0.1:%d" % port for port in range(31000, 31005)]
    file = journal(house)
    with Client(house.port, user="u02", password=PASSWORD) as client:
        for contact in contacts:
            assert client.register(contact).status == 200
        before = file.stat().st_size
        assert client.register("sip:u02@127.0.0.1:31999").status == 200
        last = file.stat().st_size - before
    house.kill()
    octets = file.read_bytes()
    lost = set()
    if tear == "half a record":
        file.write_bytes(octets[:len(octets) - last // 2])
        lost = {"sip:u02@127.0.0.1:31999"}
    else:
        file.write_bytes(octets + (b"\x00" * 37 if tear == "zeros" else random.Random(3).randbytes(37)))
    house.start()
    there = set(house.bindings()["u02@" + DOMAIN])
    assert set(contacts) <= there
    assert "sip:u02@127.0.0.1:31999" in there or lost
    assert not there & lost
    assert is_torn_reported(house), house.log()
    # What follows is appended where the cut was: the next start has nothing to report.
    with Client(house.port, user="u02", password=PASSWORD) as client:
        assert client.register("sip:u02@127.0.0.1:31777").status == 200
    house.kill()
    house.start()
    assert "sip:u02@127.0.0.1:31777" in house.bindings()["u02@" + DOMAIN]
    assert not is_torn_reported(house), house.log()
    with Client(house.port, user="u02", password=PASSWORD) as client:
        answer = client.ask("REGISTER", "sip:" + DOMAIN, ["Contact: *", "Expires: 0"],
                            to="<%s>" % client.aor())
        assert answer.status == 200


def test_an_orderly_stop_keeps_bindings_too(house):
    with Client(house.port, user="u03", password=PASSWORD) as client:
        assert client.register("sip:u03@127.0.0.1:32000").status == 200
        assert house.stop() == 0
        house.start()
    kept = house.bindings()["u03@" + DOMAIN]["sip:u03@127.0.0.1:32000"]
    assert 0 < kept["expires"] <= 300
