#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers whose root is an overlay on a tmpfs, as engines make them: pid 1 is bash, with a child at work.

The layers stay mounted in one (the root is taken by chroot), and are out of sight in the other (pivot_root and
umount of all that is below).
"""
import ctypes
import os
import re
import shutil
import signal
import subprocess

from cli import done, expect, stasis, wait_for

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: detached containers come to us
IMAGE = os.path.abspath("container.image")
PROGRAMS = ["bash", "sleep", "mv", "cat", "mkdir", "umount"]

# changes of all sorts in the root, then work without end
INSIDE = """exec </dev/null >/tmp/out 2>&1
[ -z "$OLD" ] || umount -l /old
echo changed > /etc/motto
(while :; do echo tick; sleep 0.02; done) | while read x; do echo $x > /tmp/tick; done &
trap 'cat /etc/motto > /tmp/asked' USR1
n=0
while :; do n=$((n+1)); echo $n > /tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.02; done"""

OUTSIDE = """set -e
mount --make-rprivate /
mkdir -p layers
mount -t tmpfs layers layers
mkdir layers/u layers/w layers/m
mount -t overlay root -o lowerdir=$PWD/root,upperdir=$PWD/layers/u,workdir=$PWD/layers/w layers/m
cd layers/m
rm etc/gone
mount -t proc proc proc
mknod -m 666 dev/null c 1 3
exec </dev/null >/dev/null 2>&1
"""


def make_root():
    for name in ("bin", "etc", "tmp", "proc", "dev", "old"):
        os.makedirs("root/" + name)
    for name in PROGRAMS:
        path = shutil.which(name)
        shutil.copy(path, "root/bin/")
        out = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", out):
            os.makedirs("root" + os.path.dirname(library), exist_ok=True)
            shutil.copy(library, "root" + library)
    for name in ("motto", "gone"):
        with open("root/etc/" + name, "w") as f:
            f.write("as it was\n")


def inside(pid, name):
    try:
        with open(f"/proc/{pid}/root/{name}") as f:
            return f.read().strip()
    except OSError:
        return ""


def count(pid):
    return int(inside(pid, "tmp/count") or 0)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def neutral(pid):
    with open(f"/proc/{pid}/mountinfo") as f:
        lines = [re.sub(r"^\d+ \d+ \d+:\d+ ", "", line) for line in f]
    return [re.sub(r"(shared|master):\d+", r"\1", line) for line in lines]


def check(what, pid, mounts):
    seen = count(pid)
    wait_for(lambda: count(pid) > seen, f"{what}: it counts on")
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: inside(pid, "tmp/asked") == "changed", f"{what}: its trap reads what it had written")
    expect(not os.path.exists(f"/proc/{pid}/root/etc/gone"), f"{what}: what was deleted is back")
    expect(neutral(pid) == mounts, f"{what}: mounts: {set(neutral(pid)) ^ set(mounts)}")


def round_trip(what, script, *options):
    runner = subprocess.Popen(["unshare", "-p", "-f", "unshare", "-m", "bash", "-c", script], stdin=subprocess.DEVNULL,
                              env={**os.environ, "INSIDE": INSIDE})
    wait_for(lambda: runner.poll() is not None or children(runner.pid), f"{what}: it has a child")
    pid = children(runner.pid)[0]
    wait_for(lambda: count(pid) > 3 and inside(pid, "tmp/tick") == "tick", f"{what}: it counts")
    mounts = neutral(pid)
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force", *options)
    expect(code == 0, f"{what}: checkpoint: {code} {err}")
    if code:
        runner.kill()
        return
    runner.wait()
    for i in range(2):
        code, out, err = stasis("restart", IMAGE, "--detach")
        expect(code == 0, f"{what}: restart {i}: {code} {err}")
        if code == 0:
            check(f"{what} {i}", int(out), mounts)
            os.kill(int(out), signal.SIGKILL)
            os.waitpid(int(out), 0)
    with open("root/etc/motto") as f:
        expect(f.read() == "as it was\n", f"{what}: the lower layer has been written to")
    os.unlink(IMAGE)


make_root()
round_trip("out of sight", OUTSIDE + 'pivot_root . old; cd /; OLD=1 exec /bin/bash -c "$INSIDE"')
round_trip("mounted", OUTSIDE + 'exec chroot . /bin/bash -c "$INSIDE"', "--subtree")
done()
