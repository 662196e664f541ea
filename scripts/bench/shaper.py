"""A wire with a rate and a delay between two namespaces, for kernels without netem.

    shaper.py NETNS_A NETNS_B MBIT DELAY_MS

Two TUN devices `wire` and this program between them: a packet leaves when those
before it have passed at the rate, and arrives after the delay. What would have to
wait for more than 100 ms is dropped, as a router would. Says `ready` when both ends
are there.
"""
import collections
import ctypes
import fcntl
import os
import select
import signal
import struct
import sys
import time

CLONE_NEWNET, TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x40000000, 0x400454CA, 0x0001, 0x1000
QUEUE_SECONDS = 0.1


def tun(netns):
    with open("/run/netns/" + netns) as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter " + netns)
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH14s", b"wire", IFF_TUN | IFF_NO_PI, b""))
    return end


def pump(ends, rate, delay):
    """Each direction is a queue of (due, packet); one thread does all."""
    queues, free = (collections.deque(), collections.deque()), [0.0, 0.0]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        due = min((q[0][0] for q in queues if q), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        # The kernel wakes us late rather than early: the last stretch is not slept.
        ready, _, _ = select.select(ends, (), (), wait if wait is None or wait > 0.0003 else 0)
        now = time.monotonic()
        for way, end in enumerate(ends):
            if end in ready:
                try:
                    while True:
                        packet = os.read(end, 65536)
                        begin = max(now, free[way])
                        if begin - now <= QUEUE_SECONDS:
                            free[way] = begin + len(packet) * 8 / rate
                            queues[way].append((free[way] + delay, packet))
                except BlockingIOError:
                    pass
        for way, queue in enumerate(queues):
            while queue and queue[0][0] <= now:
                try:
                    os.write(ends[1 - way], queue.popleft()[1])
                except OSError:
                    pass  # the other end is down: the packet is lost


def main():
    a, b, mbit, delay_ms = sys.argv[1:5]
    ends = [tun(a), tun(b)]
    print("ready", flush=True)
    pump(ends, float(mbit) * 1e6, float(delay_ms) / 1e3)


main()
