#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A tree in a cgroup that is frozen, as by docker pause, or below one: refused by name, at once, and it goes on when thawed."""
import os
import signal
import subprocess
import sys
import time

from cli import done, expect, stasis, wait_for

V1, V2 = "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/unified"
NAME = os.path.basename(os.path.dirname(os.getcwd()))  # the runner takes away what is called like this
GROUPS = {  # the hierarchy, what freezes a group, how it says that this is done, what thaws it
    "v1": (V1, "freezer.state", "FROZEN", "freezer.state", "FROZEN", "THAWED"),
    "v2": (V2, "cgroup.freeze", "1", "cgroup.events", "frozen 1", "0"),
}
COUNT = "n=0; while :; do n=$((n+1)); echo $n > count.new; mv count.new count; sleep 0.01; done"


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def count():
    try:
        with open("count") as f:
            return int(f.read())
    except (OSError, ValueError):
        return 0


def frozen(what, top, inner, freeze, on, events, said, off):
    """the tree is in the group @inner; @top is frozen"""
    os.makedirs(inner, exist_ok=True)
    p = subprocess.Popen(["/bin/bash", "-c", f"echo $$ > {inner}/cgroup.procs && {COUNT}"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: count() > 3, f"{what}: it counts")
    write(f"{top}/{freeze}", on)
    wait_for(lambda: said in open(f"{top}/{events}").read(), f"{what}: it is frozen")
    seen = count()
    for command in (["checkpoint", p.pid, "-o", "image", "--force", "--timeout", "60000"], ["check", p.pid]):
        begun = time.monotonic()
        code, out, err = stasis(*command)
        text = out.decode() + err
        expect(code == 1 and "cgroup.frozen]" in text and "thaw" in text and f"pid {p.pid} (bash)" in text, f"{what}: {command}: {code} {text}")
        expect(time.monotonic() - begun < 30, f"{what}: {command}: at once")
    expect(count() == seen, f"{what}: it is frozen still")
    write(f"{top}/{freeze}", off)
    wait_for(lambda: count() > seen + 3, f"{what}: it goes on")
    code, _, err = stasis("checkpoint", p.pid, "-o", "image", "--force", "--leave-running", "--cgroup", "ignore")
    expect(code == 0, f"{what}: thawed: {code} {err}")
    os.killpg(p.pid, signal.SIGKILL)
    p.wait()
    os.unlink("count")


tried = 0
for version, (mount, *words) in GROUPS.items():
    if not os.path.isdir(mount):
        continue
    tried += 1
    group = f"{mount}/{NAME}"
    os.makedirs(group, exist_ok=True)
    frozen(version, group, group, *words)
    frozen(f"{version}, by the group above", group, f"{group}/below", *words)
if not tried:
    sys.exit(77)
done()
