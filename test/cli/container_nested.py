#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers in containers: a pid namespace with mounts of its own, made by busybox, util-linux and bubblewrap inside of one of
`stasis run --isolate`; checkpointed from outside at work, restarted side by side. A restart that fails leaves nothing."""
import json
import os
import shutil

from cli import STASIS, done, expect, stasis, wait_for
from containers import IMAGE, checkpoint, count, counts_on, end, inside, read, restart, start, tree

# the inner one counts, and says what it sees of itself: its pid, its processes, its mounts
WORK = """exec </dev/null >/tmp/inner.out 2>&1
(while :; do sleep 0.05; done) &
n=0
exec 9</proc/filesystems  # as its own user, and in an IPC namespace that may be another's
while :; do
  n=$((n+1)); seen=$(ls -d /proc/[0-9]* | wc -l)
  echo "$$ $seen $(cat /tmp/deep/file)" > /tmp/seen.new; mv /tmp/seen.new /tmp/seen
  echo $n > /tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.02
done"""
OUTER = """exec </dev/null >/tmp/out 2>&1
mkdir /tmp/deep; touch /tmp/bound; mount --bind /proc/self/ns/uts /tmp/bound
exec 8</proc/self/ns/uts
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


def numbers(pid):
    """what it is called on every level from the container's own on"""
    return next((line.split()[2:] for line in read(f"/proc/{pid}/status").splitlines() if line.startswith("NSpid")), [])


def nested(pid):
    """the first two in the inner namespace, by all their numbers; what comes later are sleeps that go again"""
    found = [numbers(p) for p in tree(pid)]
    return sorted((n for n in found if len(n) == 2), key=lambda n: int(n[1]))[:2]


def make_root():
    os.makedirs("srv")
    with open("srv/work", "w") as f:
        f.write(WORK)


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


def show_namespaces(what):
    """inspect --namespaces: which is below which, and what keeps them"""
    _, out, _ = stasis("inspect", IMAGE, "--namespaces", "--json")
    found = json.loads(out)
    outer, inner = [n for n in found if n["kind"] == "pid_ns"]
    expect(1 in outer["tasks"] and outer["parent"] == 0 and inner["parent"] == outer["object"], f"{what}: pid namespaces: {out}")
    uts = next(n for n in found if n["kind"] == "uts_ns" and 1 in n["tasks"])
    expect({"fd": 8, "tasks": [1]} in uts["descriptors"] and "/tmp/bound" in uts["bound"], f"{what}: what keeps it: {uts}")
    _, out, _ = stasis("inspect", IMAGE, "--namespaces")
    lines = out.decode().splitlines()
    expect(any(f", below {outer['object']}" in line for line in lines), f"{what}: the inner one is below the outer: {lines}")
    expect(any("open as fd 8 of 1" in line and "bound to /tmp/bound" in line for line in lines), f"{what}: what keeps it: {lines}")


def round_trip(what, command):
    host = read("/proc/self/mountinfo")
    runner, pid = start(what, [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--bind", f"{os.path.abspath('srv')}:/srv", "--",
                               "/bin/sh", "-c", OUTER % command])
    wait_for(lambda: count(pid) > 3, f"{what}: it counts")
    inner = nested(pid)
    expect(len(inner) == 2 and inner[0][1] == "1", f"{what}: the inner container: {inner}")
    all_pids = tree(pid)
    checkpoint(what, runner, pid)
    show_namespaces(what)
    wait_for(lambda: gone(all_pids), f"{what}: all of it is gone")
    fail_late(what)
    roots = restart(what, 2)
    for root in roots:
        counts_on(what, root)
        expect(nested(root) == inner, f"{what}: its pids: {nested(root)}, not {inner}")
        words = inside(root, "tmp/seen").split()
        expect(words[0] == "1" and 3 <= int(words[1]) <= 12 and words[2] == "deep", f"{what}: what it sees: {words}")
    end(roots[0])
    counts_on(what, roots[1])
    end(roots[1])
    expect(read("/proc/self/mountinfo") == host, f"{what}: the host's mounts have changed")



make_root()
round_trip("busybox", BUSYBOX)
round_trip("unshare", UNSHARE)
round_trip("user", USER)
round_trip("user with mounts", USER_MOUNTS)
if shutil.which("bwrap"):
    round_trip("bubblewrap", BWRAP)
done()
