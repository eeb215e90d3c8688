# SPDX-License-Identifier: MIT
"""The TURN server of a running Tandem: a client written for the test, over UDP, TCP and TLS; and coturn's."""
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest
from support import nat
from support import server as servers
from support import turn
from support.dns import Dns

OPEN = "127.0.0.1"  # the address that `turn.peers` names


class TurnServer(servers.Server):
    """One with a TURN server; .turn[transport] is its port. Two workers, as a machine has them."""

    def __init__(self, peers=OPEN, more="", rest=""):
        self.turn = {"udp": servers.free_port(), "tls": servers.free_port()}
        self.turn["tcp"] = self.turn["udp"]
        first = 21000 + servers.free_port() % 4000
        doors = ", ".join('"%s:%s:%d"' % (t, a, self.turn[t])
                          for a in (OPEN, "[::1]") for t in ("udp", "tcp", "tls"))
        super().__init__("workers: 2\nmedia: {ports: %d-%d}\nturn: {listen: [%s], peers: [%s]%s}\n%s"
                         % (first, first + 199, doors, peers, more, rest))
        self.first = first

    def start(self, *arguments):
        super().start(*arguments)
        self.add_user("alice")

    def client(self, transport="udp", address=OPEN, login=None, **more):
        login = login or turn.credentials(self, "alice")
        return turn.Client((address, self.turn[transport]), transport, login["username"],
                           login["password"], ca=self.ca(), **more)

    def metric(self, line):
        import contextlib
        with contextlib.closing(turn.Unix(self.folder / "data/control.sock")) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        return sum(float(row.split()[-1]) for row in text.splitlines() if row.startswith(line))


@pytest.fixture(scope="module")
def server():
    with TurnServer() as running:
        yield running
        assert running.is_alive(), "the server died: " + running.log()[-4000:]


@pytest.fixture(scope="module")
def login(server):
    return turn.credentials(server, "alice")


def test_the_status_names_listeners_and_ports(server):
    status = server.json("status")
    assert status["turn"] == ["%s:%s:%d" % (t, a, server.turn[t])
                              for a in (OPEN, "[::1]") for t in ("udp", "tcp", "tls")]
    assert status["media_ports"] == "%d-%d" % (server.first, server.first + 199)
    assert status["media_ports_used"] == 0
    lines = dict(line.split(None, 1) for line in server.run("status").splitlines())
    assert lines["turn"] == ", ".join(status["turn"])
    assert lines["media_ports_used"] == "0"
    assert server.wait_log("ready")["turn"] == " ".join(status["turn"])
    assert server.json("check")["turn"] == status["turn"]
    assert "turn.listen %s\n" % " ".join(status["turn"]) in server.run("check")


def test_status_stands_in_columns(server):
    columns = {re.match(r"\S+ +", line).end() for line in server.run("status").splitlines()}
    assert len(columns) == 1


def test_the_control_api_hands_out_credentials_that_end(server):
    before = int(time.time())
    answer = turn.credentials(server, "alice")
    expires, account = answer["username"].split(":")
    assert account == "alice@example.test" and answer["ttl"] == 3600
    assert before + 3600 <= int(expires) <= time.time() + 3600
    assert sorted(answer["uris"]) == sorted(
        "%s:%s:%d?transport=%s" % ("turns" if t == "tls" else "turn", a, server.turn[t],
                                   "udp" if t == "udp" else "tcp")
        for a in (OPEN, "[::1]") for t in ("udp", "tcp", "tls"))
    assert turn.credentials(server, "alice@example.test", ttl=60)["ttl"] == 60
    for body, status in (({"account": "nobody"}, 404), ({"account": "alice", "ttl": 3601}, 422),
                         ({"account": "alice", "ttl": 0}, 422), ({}, 422), ([], 422),
                         ({"account": "@"}, 422), ({"account": "alice@example.org"}, 404)):
        assert turn.ask(server, body)[0] == status, body
    for ttl in (0, -1, 3601, "60", 1.5, None):
        status, answer = turn.ask(server, {"account": "alice", "ttl": ttl})
        assert status == 422 and "1 to 3600 seconds" in answer["error"], ttl


def test_who_is_elsewhere_is_not_sent_to_himself():
    """A machine without IPv6 has ::1 all the same: nobody else reaches that."""
    def uris(lab, place):
        with lab.inside(place), servers.Server("turn: {}\n") as running:
            running.add_user("alice")
            return turn.credentials(running, "alice")["uris"]

    ways = ["turn:%s:3478?transport=udp", "turn:%s:3478?transport=tcp", "turns:%s:5349?transport=tcp"]
    with nat.lab() as lab:
        assert uris(lab, "srv") == [way % nat.SERVER for way in ways]
        lab.add("alone")
        assert sorted(uris(lab, "alone")) == sorted(way % a for way in ways for a in (OPEN, "[::1]"))


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("sha256", [True, False])
def test_a_peer_is_reached_and_heard(server, login, transport, sha256):
    with turn.Echo() as peer, server.client(transport, login=login, sha256=sha256) as client:
        client.allocate()
        assert client.lifetime == 600
        assert client.mapped == client.socket.getsockname()[:2]
        assert client.relayed[0] == OPEN
        assert server.first <= client.relayed[1] < server.first + 200
        client.permit(peer.address)
        client.send(peer.address, b"by an indication")
        assert client.wait_data() == (peer.address, b"by an indication", None)
        assert peer.seen[-1] == (client.relayed, b"by an indication")
        client.bind(0x4001, peer.address)
        for n in (0, 1, 2, 3, 4, 1200):
            client.send_channel(0x4001, bytes(n))
            assert client.wait_data() == (peer.address, bytes(n), 0x4001)
        assert client.refresh(0) == 0
        with pytest.raises(turn.Refused) as gone:
            client.refresh(600)
        assert gone.value.code == 437


def test_both_families_on_one_allocation(server, login):
    with server.client("udp", address="::1", login=login) as client:
        answer = client.allocate((turn.ADDITIONAL_FAMILY, struct.pack("!Bxxx", 2)))
        relayed = [turn.unxor(v, answer.transaction) for v in answer.all(turn.RELAYED)]
        assert sorted(a for a, _ in relayed) == [OPEN, "::1"]
        client.refresh(0)


REFUSED = ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "169.254.169.254", "0.0.0.0",
           "0.1.2.3", "127.0.0.2", "224.0.0.1", "255.255.255.255", "240.0.0.1"]
REFUSED6 = ["::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
            "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001::1"]


@pytest.mark.parametrize("family,addresses", [(1, REFUSED), (2, REFUSED6)])
def test_special_addresses_are_refused_and_nothing_goes_there(server, login, family, addresses):
    with turn.Echo("127.0.0.2", 0) as inside, server.client(login=login) as client:
        client.allocate((turn.FAMILY, struct.pack("!Bxxx", family)))
        for address in addresses:
            peer = (address, inside.address[1])
            for ask in (lambda: client.permit(peer), lambda: client.bind(0x4000, peer)):
                with pytest.raises(turn.Refused) as refused:
                    ask()
                assert refused.value.code == 403, address
            client.send(peer, b"smuggled")
            client.send_channel(0x4000, b"smuggled")
        time.sleep(0.2)
        assert inside.seen == []
        client.refresh(0)


def test_our_own_addresses_are_refused_but_for_another_clients_relay():
    """On this server no peer is open: 127.0.0.1 is its own address, and special."""
    with TurnServer(peers="") as server:
        login = turn.credentials(server, "alice")
        with server.client(login=login) as one, server.client(login=login) as two:
            one.allocate()
            two.allocate()
            for port in (server.port, server.turn["udp"], server.first + 199):
                with pytest.raises(turn.Refused) as refused:
                    one.permit((OPEN, port))
                assert refused.value.code == 403
            one.permit(two.relayed)
            two.permit(one.relayed)
            one.send(two.relayed, b"from one relay to the other")
            assert two.wait_data() == (one.relayed, b"from one relay to the other", None)
            one.send((OPEN, server.port), b"OPTIONS sip:x SIP/2.0\r\n\r\n")  # permitted by address, not by port
            two.refresh(0)
            one.send(two.relayed, b"it is gone")
            assert one.nothing_comes()
        assert server.metric('tandem_turn_refusals_total{reason="forbidden_peer"}') >= 5


def code_of(call):
    with pytest.raises(turn.Refused) as refused:
        call()
    return refused.value.code


def failures(server):
    return [line for line in server.log_events() if line["event"] == "auth.failure"]


def test_who_is_not_let_in(server, login):
    wrong = dict(login, password="no" + login["password"][2:])
    later = dict(login, username=str(int(login["username"].split(":")[0]) + 10) + ":alice@example.test")
    other = dict(login, username=login["username"].replace("alice", "bob"))
    plain = {"username": "alice", "password": "a-long-password"}  # what a phone registers with
    reasons = ("unauthenticated", "wrong_credentials", "expired")

    def refused():
        return [server.metric('tandem_turn_refusals_total{reason="%s"}' % reason) for reason in reasons]

    before, told = refused(), len(failures(server))
    for bad in (wrong, later, other, plain):
        with server.client(login=bad) as client:
            assert code_of(client.allocate) == 401
    short = turn.credentials(server, "alice", ttl=1)
    time.sleep(1.2)
    with server.client("tls", login=short) as client:
        assert code_of(client.allocate) == 401
        source = "%s:%d" % client.socket.getsockname()[:2]
    # the first request of each has no credentials, as the RFC wants it, and is none that is wrong
    assert [after - was for after, was in zip(refused(), before)] == [5, 4, 1]
    lines = failures(server)[told:]
    assert [line["why"] for line in lines] == 3 * ["wrong password"] + ["unknown user", "expired"]
    assert [line["user"] for line in lines[2:]] == [other["username"], "alice", short["username"]]
    assert lines[-1]["source"] == source and lines[-1]["module"] == "turn"
    assert not any(bad["password"] in server.log() for bad in (wrong, plain))


def test_an_account_has_its_quota_over_all_workers(server):
    with TurnServer(more=", quota: 3") as server:
        login = turn.credentials(server, "alice")
        clients = [server.client(("udp", "tcp", "tls", "udp")[i], login=login) for i in range(4)]
        for client in clients[:3]:
            client.allocate()
        assert code_of(clients[3].allocate) == 486
        assert server.metric("tandem_turn_allocations ") == 3
        clients[1].close()  # its connection was its allocation
        until = time.monotonic() + 5
        while server.metric("tandem_turn_allocations ") != 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        clients[3].allocate()
        for client in clients:
            client.close()


def test_a_reload_opens_and_closes_peers(server):
    with TurnServer(peers="") as server, turn.Echo() as peer:
        with server.client() as client:
            client.allocate()
            assert code_of(lambda: client.permit(peer.address)) == 403
            file = server.file.read_text()
            server.file.write_text(file.replace("peers: []", "peers: [127.0.0.1]"))
            server.run("reload")
            client.bind(0x4000, peer.address)
            client.send_channel(0x4000, b"x")
            assert client.wait_data()[1] == b"x"
            server.file.write_text(file)
            server.run("reload")
            client.send_channel(0x4000, b"x")
            assert client.nothing_comes() and len(peer.seen) == 1
            client.refresh(0)


def forbidden(client, peer):
    try:
        client.permit(peer)
    except turn.Refused as refused:
        return refused.code == 403
    return False


def test_a_server_that_a_route_names_is_no_peer():
    """It takes calls from our address. Its own is open as one of a network, but for that."""
    route = 'routes: [{when: {from: accounts, user: "9*"}, to: "sip:gate.turn.test:5070"}]\n'
    with Dns({"turn.test": "gate A 127.0.0.2\n"}) as dns, turn.Echo("127.0.0.2") as gate, \
            TurnServer(peers="127.0.0.0/8", rest='dns: {servers: ["%s"]}\n%s' % (dns.address, route)) as server, \
            server.client() as client:
        client.allocate()
        end = time.monotonic() + 10  # the DNS says where it is a moment after the start
        while not forbidden(client, gate.address):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert code_of(lambda: client.bind(0x4000, gate.address)) == 403
        file = server.file.read_text()
        server.file.write_text(file.replace(route, ""))
        server.run("reload")
        client.bind(0x4000, gate.address)
        client.send_channel(0x4000, b"x")
        assert client.wait_data()[1] == b"x"
        server.file.write_text(file)
        server.run("reload")
        end = time.monotonic() + 10
        while not forbidden(client, gate.address):
            assert time.monotonic() < end
            time.sleep(0.05)
        client.send_channel(0x4000, b"x")
        assert client.nothing_comes() and len(gate.seen) == 1
        client.refresh(0)


def test_strangers_are_answered_briefly_and_not_often(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((OPEN, server.turn["udp"]))
        s.settimeout(0.5)
        request = turn.Message(turn.ALLOCATE, turn.REQUEST).add(turn.TRANSPORT, b"\x11\0\0\0").octets()
        s.send(request)
        assert len(s.recv(2048)) <= 130
        answers = 0
        for _ in range(400):
            s.send(request)
        try:
            while s.recv(2048):
                answers += 1
        except (TimeoutError, socket.timeout):
            pass
        assert answers <= 110  # fifty a second of each of two workers
    time.sleep(1)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_nonsense_ends_a_connection_and_nothing_else(server, login, transport):
    with server.client(transport, login=login) as bad, server.client(transport, login=login) as good:
        good.allocate()
        bad.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((EOFError, ConnectionError, OSError)):
            while bad.receive():
                pass
        # octets one by one are as good as all at once
        octets = good.sign(turn.Message(turn.REFRESH, turn.REQUEST))
        for i in range(len(octets)):
            good.socket.sendall(octets[i:i + 1])
        assert turn.parse(good.receive()).kind == turn.SUCCESS
        good.refresh(0)


# --- TCP to peers (RFC 6062) --------------------------------------------------------------------------
class Listener:
    """A peer that takes connections, and sends back what they bring."""

    def __enter__(self):
        self.socket = socket.create_server((OPEN, 0))
        self.socket.settimeout(0.1)
        self.address = self.socket.getsockname()[:2]
        self.seen, self.connections, self.end = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run)]
        self.threads[0].start()
        return self

    def run(self):
        while not self.end.is_set():
            try:
                s, source = self.socket.accept()
            except (TimeoutError, socket.timeout):
                continue
            self.seen.append(source[:2])
            self.connections.append(s)
            self.threads.append(threading.Thread(target=self.echo, args=(s,)))
            self.threads[-1].start()

    def echo(self, s):
        try:
            while octets := s.recv(65536):
                s.sendall(octets)
        except OSError:
            pass
        s.close()

    def __exit__(self, *_):
        self.end.set()
        for s in self.connections:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join()
        self.socket.close()


def exactly(s, n):
    """So many octets of a socket, or of a data connection: some may have come with its last answer."""
    octets, read = b"", s
    if isinstance(s, turn.Client):
        octets, s.buffer, read = s.buffer, b"", s.socket
    while len(octets) < n:
        more = read.recv(65536)
        assert more, "the connection ended after %d of %d octets" % (len(octets), n)
        octets += more
    return octets


def bound(server, login, transport, connection):
    """A data connection for that CONNECTION-ID."""
    client = server.client(transport, login=login)
    client.request(turn.CONNECTION_BIND, (turn.CONNECTION_ID, connection))
    return client


def ends(s):
    s.settimeout(5)
    try:
        return s.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_client_connects_to_a_peer(server, login, transport):
    """Several times: the data connection comes to either worker."""
    with Listener() as peer:
        for _ in range(6):
            with server.client(transport, login=login) as control:
                control.allocate(transport=turn.TCP)
                answer = control.request(turn.CONNECT, (turn.PEER, peer.address))
                assert code_of(lambda: control.request(turn.CONNECT, (turn.PEER, peer.address))) == 446
                data = bound(server, login, transport, answer.get(turn.CONNECTION_ID))
                # A megabyte at once: queues fill, readers rest. (Python's TLS cannot read while it writes.)
                many, times = bytes(range(256)) * (4096 if transport == "tcp" else 64), 1 if transport == "tcp" else 16
                for _ in range(times):
                    writer = threading.Thread(target=data.socket.sendall, args=(many,))
                    writer.start()
                    if transport == "tls":
                        writer.join()
                    assert exactly(data, len(many)) == many
                    writer.join()
                assert peer.seen[-1] == control.relayed
                peer.connections[-1].shutdown(socket.SHUT_RDWR)
                assert ends(data.socket)
                data.close()


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_peer_connects_to_a_client(server, login, transport):
    for _ in range(4):
        with server.client(transport, login=login) as control:
            control.allocate(transport=turn.TCP)
            with socket.create_connection(control.relayed, timeout=5) as stranger:
                assert ends(stranger)  # no permission
            control.permit((OPEN, 0))
            with socket.create_connection(control.relayed, timeout=5) as peer:
                peer.sendall(b"before it is bound")
                attempt = control.wait_attempt()
                assert attempt.xor(turn.PEER) == peer.getsockname()[:2]
                data = bound(server, login, transport, attempt.get(turn.CONNECTION_ID))
                assert exactly(data, 18) == b"before it is bound"
                data.socket.sendall(b"and after")
                assert exactly(peer, 9) == b"and after"
                control.refresh(0)  # the allocation's end is theirs
                assert ends(peer) and ends(data.socket)
                data.close()


def test_connections_that_are_refused(server, login):
    with server.client("tcp", login=login) as control, server.client("udp", login=login) as udp:
        assert code_of(lambda: udp.allocate(transport=turn.TCP)) == 400
        control.allocate(transport=turn.TCP)
        assert code_of(lambda: control.request(turn.CONNECT, (turn.PEER, ("10.0.0.1", 80)))) == 403
        assert code_of(lambda: control.request(turn.CONNECT, (turn.PEER, ("127.0.0.2", 80)))) == 403
        assert code_of(lambda: control.request(turn.CONNECT)) == 400
        closed = servers.free_port()
        assert code_of(lambda: control.request(turn.CONNECT, (turn.PEER, (OPEN, closed)))) == 447
        for worker in range(3):  # one of them is not there
            for n in (0, 77):
                connection = struct.pack("!I", worker << 26 | n)
                assert code_of(lambda: bound(server, login, "tcp", connection)) == 400
        server.add_user("mallory")
        control.permit((OPEN, 0))
        with socket.create_connection(control.relayed, timeout=5):
            connection = control.wait_attempt().get(turn.CONNECTION_ID)
            thief = turn.credentials(server, "mallory")
            assert code_of(lambda: bound(server, thief, "tcp", connection)) == 441
            bound(server, login, "tcp", connection).close()


# --- an independent client: coturn's ------------------------------------------------------------------
def echoes():
    """Two peers at ports in a row, as RTP and RTCP are."""
    for _ in range(100):
        first = turn.Echo()
        try:
            return first, turn.Echo(port=first.address[1] + 1)
        except OSError:
            first.socket.close()
    raise AssertionError("no two ports in a row are free")


# By indications (-s): for channels it takes numbers from 0x5000 on, which RFC 8656 §12 took back. It asks for an even
# port, and for the next one by its token.
@pytest.mark.parametrize("how,options", [("udp", []), ("tls", ["-t", "-S"])])
def test_coturns_client_gets_everything_back(server, login, how, options):
    tool = shutil.which("turnutils_uclient")
    assert tool, "turnutils_uclient is missing: tools/install-deps --test"
    rtp, rtcp = echoes()
    with rtp, rtcp:
        ended = subprocess.run(
            [tool, "-u", login["username"], "-w", login["password"], "-p", str(server.turn[how]),
             "-e", OPEN, "-r", str(rtp.address[1]), "-n", "20", "-m", "1", "-l", "170", "-s", *options, OPEN],
            capture_output=True, text=True, timeout=60)
    print(ended.stdout[-3000:], ended.stderr[-1000:])
    assert ended.returncode == 0
    assert "tot_send_msgs=40, tot_recv_msgs=40" in ended.stdout
    assert len(rtp.seen) + len(rtcp.seen) == 40
