#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole containers: of `stasis run --isolate` and of bubblewrap; checkpointed at work, restarted side by side."""
import json
import os
import signal
import subprocess

from cli import STASIS, done, expect, stasis, wait_for
from containers import (IMAGE, bubblewrap, checkpoint, children, count, counting, counts_on, end, inside, mounts, read, restart,
                        start)

LOOP = counting("trap 'echo asked > /tmp/asked' USR1")


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


def show_mounts(what, seen):
    """inspect --mounts and --namespaces have what mountinfo had"""
    _, out, _ = stasis("inspect", IMAGE, "--mounts", "--json")
    namespaces = json.loads(out)
    expect(len(namespaces) == 1 and namespaces[0]["tasks"], f"{what}: inspect: {namespaces}")
    expect([m["target"] for m in namespaces[0]["mounts"]] == [line.split()[1] for line in seen], f"{what}: inspect --mounts")
    for mount, line in zip(namespaces[0]["mounts"], seen):
        words = line.split()[-1].split(",")
        expect(["ro" if mount["fs_read_only"] else "rw", *mount["fs_options"]] == words, f"{what}: its options: {mount}, {line}")
    expect({m["comes_back_as"] for m in namespaces[0]["mounts"]} >= {"external", "content", "instance"}, f"{what}: classes")
    _, out, _ = stasis("inspect", IMAGE, "--mounts")
    words = [line.split()[-1] for line in out.decode().splitlines()]
    for line in seen:
        own, of_all = line.split()[2].split(","), line.split()[-1].split(",")
        shown = ",".join(["ro" if "ro" in (own[0], of_all[0]) else "rw", *own[1:], *of_all[1:]])
        expect(shown in words, f"{what}: inspect --mounts has no {shown}: {out}")
    expect("/proc" in out.decode() and "PROPAGATION" in out.decode(), f"{what}: inspect --mounts: {out}")
    _, out, _ = stasis("inspect", IMAGE, "--namespaces", "--json")
    found = {n["kind"] for n in json.loads(out)}
    expect(found >= {"pid_ns", "uts_ns", "mnt_ns", "ipc_ns"}, f"{what}: inspect --namespaces: {found}")


def round_trip(what, command, name):
    host = read("/proc/self/mountinfo")
    runner, pid = start(what, command)
    wait_for(lambda: count(pid) > 3 and inside(pid, "tmp/tick") == "tick", f"{what}: it counts")
    subprocess.run(["nsenter", "-t", str(pid), "-u", "hostname", name], check=True)
    for place, options in ("/tmp", "noatime,nodiratime,noexec"), ("/dev", "strictatime"):
        subprocess.run(["nsenter", "-t", str(pid), "-m", "mount", "-o", f"remount,bind,{options}", place], check=True)
    before = mounts(pid)
    checkpoint(what, runner, pid)
    show_mounts(what, before)
    roots = restart(what, 3)
    for root in roots:
        counts_on(what, root)
        expect(mounts(root) == before, f"{what}: mounts: {set(mounts(root)) ^ set(before)}")
        expect(hostname(root) == name, f"{what}: host name {hostname(root)}")
        expect(len(children(root)) >= 2, f"{what}: its children: {children(root)}")
    os.kill(roots[0], signal.SIGUSR1)
    wait_for(lambda: inside(roots[0], "tmp/asked") == "asked", f"{what}: the trap of the first")
    expect(not any(inside(r, "tmp/asked") for r in roots[1:]), f"{what}: the others have their own /tmp")
    for root in roots:
        end(root)
    expect(read("/proc/self/mountinfo") == host, f"{what}: the host's mounts have changed")


def with_its_maker():
    """unshare(1) stays in the namespaces that it makes: the refusal says that it is to go along, and so it does"""
    runner, pid = start("unshare", ["unshare", "-f", "-p", "-m", "-u", "-i", "--mount-proc", "/bin/bash", "-c",
                                    "mount -t tmpfs tmp /tmp; " + LOOP], start_new_session=True,
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: count(pid) > 3, "unshare: it counts")
    code, _, err = stasis("checkpoint", pid, "-o", "none")
    expect(code == 1 and f"hint: it is the parent of this tree: checkpoint {runner.pid} instead" in err, f"unshare: {code} {err}")
    checkpoint("unshare", runner, runner.pid)
    for root in restart("unshare", 2, "--mntns", "new", "--new-pidns"):
        wait_for(lambda r=root: children(r), "unshare: its child")
        counts_on("unshare", children(root)[0])
        end(root)


make_root()
round_trip("isolate", [STASIS, "run", "--isolate", "--root", "root", "--bind", "/usr:/usr:ro", "--tmpfs", "/tmp", "--",
                       "/bin/bash", "-c", LOOP], "lighthouse")
round_trip("isolate, on the host's root", [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "/bin/bash", "-c", LOOP], "pier")
round_trip("bubblewrap", [*bubblewrap("--hostname", "boat"), LOOP], "boat")
with_its_maker()
done()
