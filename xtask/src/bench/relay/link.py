"""Carries packets between two network devices as a long line does: at a rate, late, and not all.

ARGUMENTS: the two devices, megabits a second, milliseconds one way, the share of packets lost, and
seconds' worth of bytes that wait for the line before more are dropped, as in a router (0.1).
SIGUSR1 cuts the line, and joins it again.
"""

import collections
import fcntl
import os
import random
import select
import signal
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
PACKET_MAX = 1 << 16


def device(name):
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(opened, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    return opened


class Direction:
    def __init__(self, source, sink, rate, delay, loss, queue):
        self.source, self.sink, self.rate, self.delay = source, sink, rate, delay
        self.loss, self.queue = loss, queue
        self.free = 0.0
        self.under_way = collections.deque()
        self.luck = random.Random(source)

    def take(self, cut):
        while True:
            try:
                packet = os.read(self.source, PACKET_MAX)
            except BlockingIOError:
                return
            now = time.monotonic()
            begin = max(now, self.free)
            if cut or begin - now > self.queue or self.luck.random() < self.loss:
                continue
            self.free = begin + len(packet) / self.rate
            self.under_way.append((self.free + self.delay, packet))

    def give(self):
        now = time.monotonic()
        while self.under_way and self.under_way[0][0] <= now:
            try:
                os.write(self.sink, self.under_way.popleft()[1])
            except OSError:
                pass  # The device is not up.
        return self.under_way[0][0] - now if self.under_way else None


def main(one, other, megabits, milliseconds, loss, queue=0.1):
    ends = [device(one), device(other)]
    how = float(megabits) * 1e6 / 8, float(milliseconds) / 1e3, float(loss), float(queue)
    directions = [Direction(*ends, *how), Direction(*reversed(ends), *how)]
    state = {"cut": False}
    signal.signal(signal.SIGUSR1, lambda *_: state.update(cut=not state["cut"]))
    print("ready", flush=True)
    while True:
        due = [wait for wait in [direction.give() for direction in directions] if wait is not None]
        select.select(ends, [], [], max(min(due), 0) if due else None)
        for direction in directions:
            direction.take(state["cut"])


main(*sys.argv[1:])
