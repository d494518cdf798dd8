#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mq_notify(3) in a tree that goes on: it is asked for by a message, and nothing shows of that. A checkpoint
that is killed at any call around that moment leaves messages and notifications as they were; `check` only looks."""
import os
import shutil
import signal
import subprocess
import sys

from cli import STASIS, done, expect, stasis, state, wait_for
from steps import steps

if not shutil.which("strace"):
    sys.exit(77)

# Two queues, one with messages. When told so it says how often it was notified, and with what, before and
# after it has emptied both queues and sent a message to each.
PROGRAM = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.unshare(0x08000000)
class Attr(ctypes.Structure):
    _fields_ = [(n, ctypes.c_long) for n in ("flags", "maxmsg", "msgsize", "curmsgs", "a", "b", "c", "d")]
class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_uint64), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_char * 48)]
attr = Attr(0, 4, 32, 0)
signals = {signal.SIGUSR1, signal.SIGRTMIN}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
queues = [libc.mq_open(name, os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o600, ctypes.byref(attr)) for name in (b"/a", b"/b")]
for text in (b"1", b"22"):
    libc.mq_send(queues[1], text, len(text), 3)
for q, s, value in zip(queues, sorted(signals), (0xfedcba9876543210, 7)):
    assert libc.mq_notify(q, ctypes.byref(Event(value, s, 0))) == 0
buffer = ctypes.create_string_buffer(32)
def messages(q):
    while (n := libc.mq_receive(q, buffer, 32, None)) >= 0:
        yield buffer.raw[:n].decode()
class Info(ctypes.Structure):
    _fields_ = [("signo", ctypes.c_int), ("errno", ctypes.c_int), ("code", ctypes.c_int), ("pad", ctypes.c_int),
                ("pid", ctypes.c_int), ("uid", ctypes.c_int), ("value", ctypes.c_uint64), ("rest", ctypes.c_char * 96)]
def notified():
    set_, none, info = ctypes.c_uint64(1 << 9 | 1 << 33), (ctypes.c_long * 2)(), Info()
    while libc.syscall(128, ctypes.byref(set_), ctypes.byref(info), none, 8) > 0:
        yield f"{info.signo}:{info.code}:{info.value:x}"
open("ready", "w").close()
while not os.path.exists("go"):
    time.sleep(0.002)
out = [*notified(), "-", *messages(queues[0]), "-", *messages(queues[1]), "-"]
for i in range(2):
    for q in queues:
        libc.mq_send(q, b"x", 1, 1)
        libc.mq_receive(q, buffer, 32, None)
    out += [*notified(), "-"]
open("result", "w").write(" ".join(out))
"""
GOOD = "- - 1 22 - 10:-3:fedcba9876543210 34:-3:7 - -"


def start():
    for name in ("ready", "go", "result"):
        if os.path.exists(name):
            os.unlink(name)
    p = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: os.path.exists("ready"), "the program is ready")
    return p


def finish(p, what):
    with open("go", "w"):
        pass
    wait_for(lambda: os.path.exists("result") and state(p.pid) in (None, "Z"), "the program ends")
    p.wait()
    with open("result") as f:
        result = f.read()
    expect(result == GOOD, f"{what}: {result}")


def named(name):
    """processes of that name"""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                found += [int(pid)] if f.read().startswith(name) else []
        except OSError:
            pass
    return found


def command(p, *options):
    return ["strace", "-o", "trace", *options, STASIS, "checkpoint", str(p.pid), "-o", "image", "--force", "--leave-running"]


def checkpoint(p, *options):
    return subprocess.run(command(p, *options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


p = start()
code, out, err = stasis("check", p.pid)
expect(b"the value of a notification (mq_notify)" in out, f"check: {out} {err}")
finish(p, "check")

p = start()
for i in range(2):
    q = checkpoint(p)
    expect(q.returncode == 0, f"checkpoint: {q.stderr}")
finish(p, "left running")

# at each of the coordinator's calls around those that wait for a helper, which has the questions asked
found = steps()
helpers = [i for i, step in enumerate(found) if "CLONE_VFORK" in step.line]
expect(helpers, "there are helpers")
for i in sorted({i + k for i in helpers for k in range(3)}):
    p = start()
    q = checkpoint(p, *found[i].inject("signal=KILL"))
    expect(q.returncode == -signal.SIGKILL, f"{found[i]}: {q.returncode} {q.stderr}")
    wait_for(lambda: not named("stasis"), "the tracer ends")
    finish(p, f"killed at {found[i]}")

# while a question is being asked, and the process that asks is slow with each of its calls in turn
for call in ("pidfd_open", "mq_timedsend", "mq_timedreceive"):
    p = start()
    q = subprocess.Popen(command(p, "-f", "-e", f"trace={call}", "-e", f"inject={call}:delay_enter=200000"),
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: named("stasis-mq"), "a question is asked")
    with open(f"/proc/{q.pid}/task/{q.pid}/children") as f:
        os.kill(int(f.read().split()[0]), signal.SIGKILL)
    expect(q.wait() == -signal.SIGKILL, f"{call}: {q.returncode}")
    wait_for(lambda: not named("stasis"), "the tracer ends")
    finish(p, f"killed before {call}")
done()
