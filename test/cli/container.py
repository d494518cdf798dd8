#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole containers: of `stasis run --isolate` and of bubblewrap; checkpointed at work, restarted side by side."""
import ctypes
import json
import os
import re
import signal
import subprocess

from cli import STASIS, done, expect, stasis, wait_for

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: detached containers come to us
IMAGE = os.path.abspath("container.image")

# pid 1 is a shell with a background loop and a pipe; it counts in a file of its own tmpfs
LOOP = """exec </dev/null >/tmp/out 2>&1
trap 'echo asked > /tmp/asked' USR1
(while :; do echo tick; sleep 0.02; done) | while read x; do echo $x > /tmp/tick; done &
n=0
while :; do n=$((n+1)); echo $n > /tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.02; done"""


def mountinfo():
    with open("/proc/self/mountinfo") as f:
        return f.read()


def neutral(pid):
    """its mounts without the ids, which are new"""
    with open(f"/proc/{pid}/mountinfo") as f:
        lines = [re.sub(r"^\d+ \d+ \d+:\d+ ", "", line) for line in f]
    return [re.sub(r"(shared|master):\d+", r"\1", line) for line in lines]


def inside(pid, name):
    try:
        with open(f"/proc/{pid}/root/tmp/{name}") as f:
            return f.read().strip()
    except OSError:
        return ""


def count(pid):
    return int(inside(pid, "count") or 0)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def hostname(pid):
    return subprocess.run(["nsenter", "-t", str(pid), "-u", "hostname"], stdout=subprocess.PIPE, text=True).stdout.strip()


def make_root():
    os.mkdir("root")
    for name in ("usr", "proc", "dev", "tmp", "etc"):
        os.mkdir("root/" + name)
    for name in ("bin", "lib", "lib64", "sbin"):
        os.symlink("usr/" + name, "root/" + name)
    with open("root/etc/motto", "w") as f:
        f.write("festina lente\n")


def show_mounts(what, mounts):
    """inspect --mounts and --namespaces have what mountinfo had"""
    _, out, _ = stasis("inspect", IMAGE, "--mounts", "--json")
    namespaces = json.loads(out)
    expect(len(namespaces) == 1 and namespaces[0]["tasks"], f"{what}: inspect: {namespaces}")
    expect([m["target"] for m in namespaces[0]["mounts"]] == [line.split()[1] for line in mounts], f"{what}: inspect --mounts")
    expect({m["comes_back_as"] for m in namespaces[0]["mounts"]} >= {"external", "content", "instance"}, f"{what}: classes")
    _, out, _ = stasis("inspect", IMAGE, "--mounts")
    expect("/proc" in out.decode() and "PROPAGATION" in out.decode(), f"{what}: inspect --mounts: {out}")
    _, out, _ = stasis("inspect", IMAGE, "--namespaces", "--json")
    found = {n["kind"] for n in json.loads(out)}
    expect(found >= {"pid_ns", "uts_ns", "mnt_ns", "ipc_ns"}, f"{what}: inspect --namespaces: {found}")


def round_trip(what, command, name):
    host = mountinfo()
    runner = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    wait_for(lambda: runner.poll() is not None or children(runner.pid), f"{what}: it has a child")
    if runner.poll() is not None:
        expect(False, f"{what}: it ended with {runner.returncode}")
        return
    pid = children(runner.pid)[0]
    wait_for(lambda: count(pid) > 3 and inside(pid, "tick") == "tick", f"{what}: it counts")
    if name:
        subprocess.run(["nsenter", "-t", str(pid), "-u", "hostname", name], check=True)
    mounts = neutral(pid)
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force")
    expect(code == 0, f"{what}: checkpoint: {code} {err}")
    if code:
        runner.kill()
        return
    runner.wait()
    show_mounts(what, mounts)
    roots = []
    for i in range(3):
        code, out, err = stasis("restart", IMAGE, "--detach")
        expect(code == 0, f"{what}: restart {i}: {code} {err}")
        roots += [int(out)] if code == 0 else []
    for root in roots:
        seen = count(root)
        wait_for(lambda: count(root) > seen, f"{what}: it counts on")
        expect(neutral(root) == mounts, f"{what}: mounts: {set(neutral(root)) ^ set(mounts)}")
        expect(hostname(root) == name, f"{what}: host name {hostname(root)}")
        expect(len(children(root)) >= 2, f"{what}: its children: {children(root)}")
    if roots:
        os.kill(roots[0], signal.SIGUSR1)
        wait_for(lambda: inside(roots[0], "asked") == "asked", f"{what}: the trap of the first")
        expect(not any(inside(r, "asked") for r in roots[1:]), f"{what}: the others have their own /tmp")
    for root in roots:
        os.kill(root, signal.SIGKILL)
        os.waitpid(root, 0)
    expect(mountinfo() == host, f"{what}: the host's mounts have changed")
    os.unlink(IMAGE)


make_root()
round_trip("isolate", [STASIS, "run", "--isolate", "--root", "root", "--bind", "/usr:/usr:ro", "--tmpfs", "/tmp", "--",
                       "/bin/bash", "-c", LOOP], "lighthouse")
round_trip("isolate, on the host's root", [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "/bin/bash", "-c", LOOP], "pier")
round_trip("bubblewrap", ["bwrap", "--as-pid-1", "--unshare-pid", "--unshare-uts", "--unshare-ipc", "--hostname", "boat",
                          "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
                          "--symlink", "usr/lib64", "/lib64", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
                          "--", "/bin/bash", "-c", LOOP], "boat")
done()
