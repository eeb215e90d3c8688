# SPDX-License-Identifier: MIT
"""A small internet of network namespaces: a server, a phone with a public address, two phones behind two NATs.

          pub 11.99.0.20     srv 11.99.0.10
               |                  |
    ----- the switch: 11.99.0.0/24 ----------
          |                          |
    gwa 11.99.0.2              gwb 11.99.0.3        masquerade, by nftables
          |                          |
     a 10.1.0.10                b 10.2.0.10

A thread goes inside, and what it makes there (sockets, processes) stays there. Needs root; `lab` skips the test where
that, or nftables, is not to be had. Nothing of the machine's own network is touched.
"""
import contextlib
import ctypes
import os
import secrets
import shutil
import socket
import struct
import subprocess
import time

import pytest

SERVER, PUBLIC = "11.99.0.10", "11.99.0.20"
GATEWAY = {"a": "11.99.0.2", "b": "11.99.0.3"}
PHONE = {"a": "10.1.0.10", "b": "10.2.0.10"}
KINDS = {"keeps": "masquerade", "random": "masquerade random,fully-random"}
CLONE_NEWNET = 0x40000000


def run(*words, text=None):
    ended = subprocess.run(words, input=text, capture_output=True, text=True, timeout=20)
    if ended.returncode:
        raise RuntimeError("%s: %s" % (" ".join(words), ended.stderr.strip() or ended.returncode))


class Lab:
    def __init__(self):
        self.name = "lab" + secrets.token_hex(2)
        self.made = []

    def space(self, place):
        return "%s-%s" % (self.name, place)

    def add(self, place):
        run("ip", "netns", "add", self.space(place))
        self.made.append(place)
        self.ip(place, "link", "set", "lo", "up")

    def ip(self, place, *words):
        run("ip", "-n", self.space(place), *words)

    def plug(self, place, name, address):
        """A cable to the switch."""
        self.ip(place, "link", "add", name, "type", "veth", "peer", "name", "to-" + place, "netns", self.space("switch"))
        self.ip("switch", "link", "set", "to-" + place, "master", "br0", "up")
        self.ip(place, "addr", "add", address + "/24", "dev", name)
        self.ip(place, "link", "set", name, "up")

    def build(self):
        for place in ("switch", "srv", "pub", "gwa", "gwb", "a", "b"):
            self.add(place)
        self.ip("switch", "link", "add", "br0", "type", "bridge")
        self.ip("switch", "link", "set", "br0", "up")
        self.plug("srv", "eth0", SERVER)
        self.plug("pub", "eth0", PUBLIC)
        self.ip("srv", "route", "add", "default", "via", PUBLIC)  # so that packets to anywhere leave
        for side in ("a", "b"):
            gate, lan = "gw" + side, PHONE[side].rsplit(".", 1)[0] + ".1"
            self.plug(gate, "wan", GATEWAY[side])
            self.ip(gate, "link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", self.space(side))
            self.ip(gate, "addr", "add", lan + "/24", "dev", "lan")
            self.ip(gate, "link", "set", "lan", "up")
            self.ip(side, "addr", "add", PHONE[side] + "/24", "dev", "eth0")
            self.ip(side, "link", "set", "eth0", "up")
            self.ip(side, "route", "add", "default", "via", lan)
            run("ip", "netns", "exec", self.space(gate), "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def behind(self, side, kind, udp=True):
        """What kind of NAT a phone is behind: keeps its ports, or makes them up for each destination.
        Without udp, it is a firewall as well, which lets only TCP through."""
        run("ip", "netns", "exec", self.space("gw" + side), "nft", "-f", "-", text="""
            flush ruleset
            table ip nat {
                chain out { type nat hook postrouting priority 100; oifname "wan" %s; }
            }
            table ip gate {
                chain through { type filter hook forward priority 0; %s
                    iifname "wan" ct state established,related accept; iifname "wan" drop; }
            }
            """ % (KINDS[kind], "" if udp else "meta l4proto != tcp drop;"))

    @contextlib.contextmanager
    def inside(self, place):
        with open("/proc/thread-self/ns/net") as here, open("/run/netns/" + self.space(place)) as there:
            enter(there.fileno())
            try:
                yield
            finally:
                enter(here.fileno())

    def remove(self):
        for place in self.made:
            subprocess.run(["ip", "netns", "del", self.space(place)], capture_output=True, timeout=20)


def enter(space):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(space, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def lab():
    if os.geteuid() != 0:
        pytest.skip("network namespaces are root's to make")
    for program in ("ip", "nft"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            pytest.skip("there is no program " + program)
    made = Lab()
    try:
        try:
            made.build()
            for side in ("a", "b"):
                made.behind(side, "keeps")
        except RuntimeError as why:
            pytest.skip("no namespaces, or no NAT in them: %s" % why)
        yield made
    finally:
        made.remove()


class Wire:
    """Every packet that leaves the namespace in which it was made, or goes over its loopback interface."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def sounds(self, settle=0.05):
        """[(to, port, the last octet)] of the UDP packets that were sent since the last time."""
        time.sleep(settle)
        sent = []
        while True:
            try:
                octets, (_, protocol, kind, *_) = self.socket.recvfrom(65536)
            except BlockingIOError:
                return sent
            if kind != socket.PACKET_OUTGOING:
                continue
            if protocol == 0x0800 and len(octets) >= 28 and octets[9] == 17:
                at, to = 4 * (octets[0] & 15), socket.inet_ntop(socket.AF_INET, octets[16:20])
            elif protocol == 0x86DD and len(octets) >= 48 and octets[6] == 17:
                at, to = 40, socket.inet_ntop(socket.AF_INET6, octets[24:40])
            else:
                continue
            sent.append((to, struct.unpack_from("!H", octets, at + 2)[0], octets[-1]))
