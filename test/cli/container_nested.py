#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers in containers: a pid namespace with mounts of its own, made by busybox, util-linux and bubblewrap inside of one of
`stasis run --isolate`; checkpointed from outside at work, restarted side by side. A restart that fails leaves nothing."""
import ctypes
import os
import shutil
import signal
import subprocess

from cli import STASIS, done, expect, stasis, wait_for

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: detached containers come to us
IMAGE = os.path.abspath("nested.image")

# the inner one counts, and says what it sees of itself: its pid, its processes, its mounts
WORK = """exec </dev/null >/tmp/inner.out 2>&1
(while :; do sleep 0.05; done) &
n=0
while :; do
  n=$((n+1)); seen=$(ls -d /proc/[0-9]* | wc -l)
  echo "$n $$ $seen $(cat /tmp/deep/file)" > /tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.02
done"""
OUTER = """exec </dev/null >/tmp/out 2>&1
mkdir /tmp/deep
(while :; do sleep 0.05; done) &
%s &
wait"""
BUSYBOX = "busybox unshare -p -m -f --mount-proc /bin/sh -c 'mount -t tmpfs none /tmp/deep; echo deep > /tmp/deep/file; . /srv/work'"
# of a user namespace of its own, without mounts of its own: it sees the outer one's processes
USER = "/usr/bin/unshare -U -r -p -f /bin/sh -c 'echo deep > /tmp/deep/file; . /srv/work'"
BWRAP = ("bwrap --as-pid-1 --unshare-pid --dev-bind / / --proc /proc --tmpfs /tmp/deep "
         "/bin/sh -c 'echo deep > /tmp/deep/file; . /srv/work'")
USER_MOUNTS = BUSYBOX.replace("busybox unshare", "/usr/bin/unshare -U -r")
UNSHARE = BUSYBOX.replace("busybox unshare", "/usr/bin/unshare --kill-child -u")


def mountinfo():
    with open("/proc/self/mountinfo") as f:
        return f.read()


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def tree(pid):
    return [pid] + [p for child in children(pid) for p in tree(child)]


def numbers(pid):
    """what it is called on every level from the container's own on"""
    try:
        with open(f"/proc/{pid}/status") as f:
            return next(line for line in f if line.startswith("NSpid")).split()[2:]
    except OSError:
        return []


def counted(pid):
    try:
        with open(f"/proc/{pid}/root/tmp/count") as f:
            return f.read().split()
    except OSError:
        return []


def count(pid):
    return int((counted(pid) or [0])[0])


def nested(pid):
    """the first two in the inner namespace, by all their numbers; what comes later are sleeps that go again"""
    found = [numbers(p) for p in tree(pid)]
    return sorted((n for n in found if len(n) == 2), key=lambda n: int(n[1]))[:2]


def make_root():
    os.makedirs("srv")
    with open("srv/work", "w") as f:
        f.write(WORK)


def start(what, command):
    runner = subprocess.Popen([STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--bind", f"{os.path.abspath('srv')}:/srv",
                               "--", "/bin/sh", "-c", OUTER % command],
                              stdin=subprocess.DEVNULL)
    wait_for(lambda: runner.poll() is not None or children(runner.pid), f"{what}: it has a child")
    if runner.poll() is not None:
        expect(False, f"{what}: it ended with {runner.returncode}")
        return runner, 0
    return runner, children(runner.pid)[0]


def gone(pids):
    return not any(os.path.exists(f"/proc/{p}") for p in pids)


def fail_late(what):
    """the last byte of the memory is another one: found when all tasks are there"""
    before = set(os.listdir("/proc"))
    with open(IMAGE, "rb") as f:
        data = bytearray(f.read())
    data[len(data) * 9 // 10] ^= 0x40
    with open("damaged", "wb") as f:
        f.write(data)
    code, _, err = stasis("restart", "damaged", "--detach")
    expect(code == 3, f"{what}: restart of a damaged image: {code} {err}")
    wait_for(lambda: {p for p in os.listdir("/proc") if p.isdigit()} <= before, f"{what}: nothing is left")


def round_trip(what, command):
    host = mountinfo()
    runner, pid = start(what, command)
    if not pid:
        return
    wait_for(lambda: count(pid) > 3, f"{what}: it counts")
    inner = nested(pid)
    expect(len(inner) == 2 and inner[0][1] == "1", f"{what}: the inner container: {inner}")
    all_pids = tree(pid)
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force")
    expect(code == 0, f"{what}: checkpoint: {code} {err}")
    if code:
        runner.kill()
        return
    runner.wait()
    wait_for(lambda: gone(all_pids), f"{what}: all of it is gone")
    fail_late(what)
    roots = []
    for i in range(2):
        code, out, err = stasis("restart", IMAGE, "--detach")
        expect(code == 0, f"{what}: restart {i}: {code} {err}")
        roots += [int(out)] if code == 0 else []
    for root in roots:
        seen = count(root)
        wait_for(lambda: count(root) > seen, f"{what}: it counts on")
        expect(nested(root) == inner, f"{what}: its pids: {nested(root)}, not {inner}")
        words = counted(root)
        expect(words[1] == "1" and 3 <= int(words[2]) <= 12 and words[3] == "deep", f"{what}: what it sees: {words}")
    if len(roots) == 2:
        os.kill(roots[0], signal.SIGKILL)
        os.waitpid(roots[0], 0)
        seen = count(roots[1])
        wait_for(lambda: count(roots[1]) > seen, f"{what}: the other one counts on")
        os.kill(roots[1], signal.SIGKILL)
        os.waitpid(roots[1], 0)
    expect(mountinfo() == host, f"{what}: the host's mounts have changed")
    os.unlink(IMAGE)


make_root()
round_trip("busybox", BUSYBOX)
round_trip("unshare", UNSHARE)
round_trip("user", USER)
round_trip("user with mounts", USER_MOUNTS)
if shutil.which("bwrap"):
    round_trip("bubblewrap", BWRAP)
done()
