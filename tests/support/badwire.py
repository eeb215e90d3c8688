# SPDX-License-Identifier: MIT
"""A phone behind a wire that loses and delays, made in user space: kernels without netem have it too.

    near 11.98.0.20 ---- wire ---- 11.98.0.10 srv 11.97.0.10 ---- 11.97.0.20 far

What is heard and told of the wire is what it did, not what it was asked to do: for each RTP packet it notes when it
really left, or that it did not. Frames keep their order, as on a wire. Only UDP with RTP or RTCP in it suffers. Needs root.

As a program (in the namespace of the wire) it takes orders line by line: `set LOSS JITTER` (a share, seconds: packets
take JITTER plus or minus as much, by chance), `tell`.
"""
import array
import contextlib
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

if __name__ != "__main__":
    import pytest

    from . import nat

NEAR, SERVER, OTHER, FAR = "11.98.0.20", "11.98.0.10", "11.97.0.10", "11.97.0.20"
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
PACKET_IGNORE_OUTGOING = 23


# --- the wire ------------------------------------------------------------------------------------
def rtp_of(frame):
    """(ports it goes from and to, (SSRC, number, timestamp, payload type)) of the RTP in a frame; (ports, None): RTCP; None:
    neither."""
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return None
    at = 14 + 4 * (frame[14] & 15) + 8
    if len(frame) < at + 12 or frame[at] >> 6 != 2:
        return None
    ports = struct.unpack_from("!HH", frame, at - 8)
    if 192 <= frame[at + 1] <= 223:
        return ports, None
    number, stamp, ssrc = struct.unpack_from("!HII", frame, at + 2)
    return ports, (ssrc, number, stamp, frame[at + 1] & 127)


class Ends:
    def __init__(self, names):
        self.sockets = []
        for name in names:
            one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            one.bind((name, 0))
            one.setsockopt(263, PACKET_IGNORE_OUTGOING, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
            one.setblocking(False)
            self.sockets.append(one)
        self.chance = random.Random(7)
        self.loss = self.jitter = 0.0
        self.free_at, self.waiting, self.order = [0.0, 0.0], [], 0
        # for each way: [port of the near phone, SSRC, number, timestamp, payload type, when it left or None], and of RTCP
        # [port, when it came, whether it left]
        self.notes, self.reports = ([], []), ([], [])

    def note(self, way, rtp, left):
        ports, packet = rtp
        if packet:
            self.notes[way].append([ports[way], *packet, left])

    def take(self, way):
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, now = self.sockets[way].recv(65535), time.monotonic()
                rtp = rtp_of(frame)
                gone = rtp and self.chance.random() < self.loss
                if rtp and not rtp[1]:
                    self.reports[way].append([rtp[0][way], now, not gone])
                if gone:
                    self.note(way, rtp, None)
                    continue
                due = now + (self.chance.uniform(0, 2 * self.jitter) if rtp else 0)
                if rtp:  # behind the one before it
                    due = self.free_at[way] = max(due, self.free_at[way])
                self.order += 1
                heapq.heappush(self.waiting, (due, self.order, way, frame, rtp))

    def give(self):
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, _, way, frame, rtp = heapq.heappop(self.waiting)
            with contextlib.suppress(OSError):
                self.sockets[not way].send(frame)
            if rtp:
                self.note(way, rtp, time.monotonic())

    def obey(self, line):
        words = line.split()
        if words[0] == "set":
            self.loss, self.jitter = float(words[1]), float(words[2])
            print("{}", flush=True)
        else:
            print(json.dumps([self.notes, self.reports]), flush=True)

    def run(self):
        print("{}", flush=True)
        while True:
            left = self.waiting[0][0] - time.monotonic() if self.waiting else 0.1
            ready = select.select([*self.sockets, sys.stdin], [], [], max(0, min(left, 0.1)))[0]
            for way in (0, 1):
                if self.sockets[way] in ready:
                    self.take(way)
            self.give()
            if sys.stdin in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                self.obey(line)


# --- the laboratory ------------------------------------------------------------------------------
def no_checksum_offload(name):
    """What leaves by this interface has its checksums in it: the wire passes octets on, and nothing else."""
    value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL,
                    struct.pack("16sP16x", name.encode(), value.buffer_info()[0]))


def lab_class():
    class Line(nat.Lab):
        """Namespaces near, wire, srv, far; and the program in the middle one."""

        def join(self, place, name, address, other, far_name, far_address=None):
            self.ip(place, "link", "add", name, "type", "veth", "peer", "name", far_name, "netns", self.space(other))
            for at, device, ip in ((place, name, address), (other, far_name, far_address)):
                if ip:
                    self.ip(at, "addr", "add", ip + "/24", "dev", device)
                self.ip(at, "link", "set", device, "up")

        def build(self):
            for place in ("near", "wire", "srv", "far"):
                self.add(place)
            self.join("near", "eth0", NEAR, "wire", "p0")
            self.join("srv", "eth0", SERVER, "wire", "p1")
            self.join("srv", "eth1", OTHER, "far", "eth0", FAR)
            for place, gate in (("near", SERVER), ("far", OTHER)):
                self.ip(place, "route", "add", "default", "via", gate)
            for place in ("near", "srv"):
                with self.inside(place):
                    no_checksum_offload("eth0")
            self.wire = subprocess.Popen(["ip", "netns", "exec", self.space("wire"), sys.executable, __file__, "p0", "p1"],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.wire.stdout.readline()

        def ask(self, order):
            self.wire.stdin.write(order + "\n")
            self.wire.stdin.flush()
            return json.loads(self.wire.stdout.readline())

        def set(self, loss=0.0, jitter=0.0):
            self.ask("set %f %f" % (loss, jitter))

        def told(self, way, port=None):
            """What the wire did to the RTP of one way, 0: from the near phone; of one that has this port, and then it is
            all of one source."""
            notes = [note for note in self.ask("tell")[0][way] if port in (None, note[0])]
            assert port is None or len({note[1] for note in notes}) == 1, "more sources than one"
            return [note[2:] for note in notes]

        def reports(self, port):
            """When RTCP that arrived left the near phone that has this port."""
            return [at for there, at, left in self.ask("tell")[1][0] if there == port and left]

        def remove(self):
            if hasattr(self, "wire"):
                self.wire.stdin.close()
                self.wire.wait(5)
            super().remove()
    return Line


@contextlib.contextmanager
def lab():
    if os.geteuid() != 0:
        pytest.skip("network namespaces are root's to make")
    made = lab_class()()
    try:
        try:
            made.build()
        except RuntimeError as why:
            pytest.skip("no namespaces: %s" % why)
        yield made
    finally:
        made.remove()


# --- what it did, in figures ---------------------------------------------------------------------
def lost(notes):
    return sum(note[-1] is None for note in notes)


def jitter(notes, hz):
    """RFC 3550 A.8's D of what left the wire: the mean of |D| in seconds, and J after each packet: [(when, J)]."""
    passed = [(stamp, at) for _, stamp, _, at in notes if at is not None]
    total, smooth, ran = 0.0, 0.0, []
    for (stamp, at), (stamp2, at2) in zip(passed, passed[1:]):
        ahead = (stamp2 - stamp + 2 ** 31) % 2 ** 32 - 2 ** 31
        d = abs((at2 - at) - ahead / hz)
        total += d
        smooth += (d - smooth) / 16
        ran.append((at2, smooth))
    return (total / len(ran) if ran else 0.0), ran


def reported_jitter(notes, hz, reports):
    """The mean of the J that a listener had at the times of its reports; one that had heard nothing yet said none."""
    ran = jitter(notes, hz)[1]
    told = [j for report in reports for _, j in [pair for pair in ran if pair[0] <= report][-1:]]
    return sum(told) / len(told) if told else 0.0


if __name__ == "__main__":
    Ends(sys.argv[1:]).run()
