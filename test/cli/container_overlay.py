#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers whose root is an overlay on a tmpfs, as engines make them: pid 1 is bash, with a child at work.

The layers stay mounted in one (the root is taken by chroot), and are out of sight in the other (pivot_root and
umount of all that is below).
"""
import os
import re
import shutil
import signal
import subprocess

from cli import done, expect, wait_for
from containers import checkpoint, count, counting, counts_on, end, inside, mounts, restart, start

PROGRAMS = ["bash", "sleep", "mv", "cat", "mkdir", "umount"]

# changes of all sorts in the root, then work without end
INSIDE = counting("""[ -z "$OLD" ] || umount -l /old
echo changed > /etc/motto
trap 'cat /etc/motto > /tmp/asked' USR1""")

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


def check(what, pid, before):
    counts_on(what, pid)
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: inside(pid, "tmp/asked") == "changed", f"{what}: its trap reads what it had written")
    expect(not os.path.exists(f"/proc/{pid}/root/etc/gone"), f"{what}: what was deleted is back")
    expect(mounts(pid) == before, f"{what}: mounts: {set(mounts(pid)) ^ set(before)}")


def round_trip(what, script, *options):
    runner, pid = start(what, ["unshare", "-p", "-f", "unshare", "-m", "bash", "-c", script], env={**os.environ, "INSIDE": INSIDE})
    wait_for(lambda: count(pid) > 3 and inside(pid, "tmp/tick") == "tick", f"{what}: it counts")
    before = mounts(pid)
    checkpoint(what, runner, pid, *options)
    for root in restart(what, 2):
        check(what, root, before)
        end(root)
    with open("root/etc/motto") as f:
        expect(f.read() == "as it was\n", f"{what}: the lower layer has been written to")



make_root()
round_trip("out of sight", OUTSIDE + 'pivot_root . old; cd /; OLD=1 exec /bin/bash -c "$INSIDE"')
round_trip("mounted", OUTSIDE + 'exec chroot . /bin/bash -c "$INSIDE"', "--subtree")
done()
