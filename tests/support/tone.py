# SPDX-License-Identifier: MIT
"""Which tone is in a WAV file? Goertzel's filter on the standard library alone."""
import math
import struct
import wave


def samples(path):
    """(first channel as floats in -1..1, samples a second) of a 16-bit WAV file."""
    with wave.open(str(path), "rb") as wav:
        if wav.getsampwidth() != 2:
            raise ValueError("%s: not 16-bit" % path)
        channels, rate, count = wav.getnchannels(), wav.getframerate(), wav.getnframes()
        octets = wav.readframes(count)
    values = struct.unpack("<%dh" % (len(octets) // 2), octets)
    return [v / 32768 for v in values[::channels]], rate


def write(path, hz, seconds, rate=8000):
    """A WAV file of that tone."""
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, rate, 0, "NONE", ""))
        wav.writeframes(b"".join(struct.pack("<h", int(12000 * math.sin(2 * math.pi * hz * i / rate)))
                                 for i in range(int(seconds * rate))))


def share(values, rate, hz):
    """How much of the sound's energy is at hz: 1.0 for that pure tone, near 0 for another."""
    energy = sum(v * v for v in values)
    if not values or energy / len(values) < 1e-6:
        return 0.0
    turn = 2 * math.cos(2 * math.pi * hz / rate)
    last = before = 0.0
    for v in values:
        last, before = v + turn * last - before, last
    power = last * last + before * before - turn * last * before
    return 2 * power / (len(values) * energy)


def middle_second(values, rate):
    """A second of the middle: starts and ends of calls hold clicks and silence."""
    middle = len(values) // 2
    half = min(rate // 2, middle)
    return values[middle - half:middle + half]


def best_half_second(values, rate, hz):
    """The share in the half second that has most of it: a busy machine records with gaps, and a jump in the sound
    is no tone."""
    length = rate // 10
    shares = [share(values[at:at + length], rate, hz) for at in range(0, len(values) - length + 1, length)]
    return max((sum(shares[at:at + 5]) / 5 for at in range(len(shares) - 4)), default=0.0)


def heard(path, hz):
    """The share of hz in the middle second of a recording."""
    values, rate = samples(path)
    return share(middle_second(values, rate), rate, hz)
