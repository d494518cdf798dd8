# SPDX-License-Identifier: GPL-2.0-or-later
"""A container in cgroups of its own, of both versions; all of it is of this test's own mount and pid namespace."""
import ctypes
import glob
import os
import subprocess
import sys

from cli import stasis, wait_for

V1, V2 = "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"
NAME = os.path.basename(os.path.dirname(os.getcwd()))  # the runner takes away what is called like this

libc = ctypes.CDLL(None)
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"")
if not os.path.isdir(V1) or not os.path.isdir(V2):
    sys.exit(77)


def members():
    """of our groups: who is in them"""
    found = {}
    for top in glob.glob(f"/sys/fs/cgroup/*/{NAME}*"):
        for folder, _, _ in os.walk(top):
            with open(folder + "/cgroup.procs") as f:
                found[folder[len("/sys/fs/cgroup/"):]] = f.read().split()
    return found


def groups():
    """of ours, and how many processes they have"""
    return {group: len(pids) for group, pids in members().items()}


def remove():
    wait_for(lambda: not any(groups().values()), "the groups are empty")
    for top in glob.glob(f"/sys/fs/cgroup/*/{NAME}*"):
        for folder, _, _ in os.walk(top, topdown=False):
            os.rmdir(folder)


def save(setup, unshare="unshare -C", before=":"):
    """the image of a container whose init sleeps in the group /inner of v2; what is left of it are its groups"""
    enter = f"""
for h in {V1} {V2}; do mkdir $h/{NAME} && echo 0 >$h/{NAME}/cgroup.procs || exit; done
mkdir {V2}/{NAME}/inner
{setup}
exec unshare -pf {unshare} sh -c '{before}; echo 0 >{V2}/{NAME}/inner/cgroup.procs; exec sleep 1000'"""
    p = subprocess.Popen(["sh", "-c", enter], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: groups().get(f"unified/{NAME}/inner"), "the container runs")
    init = int(members()[f"unified/{NAME}/inner"][0])
    wait_for(lambda: open(f"/proc/{init}/comm").read() == "sleep\n", "exec of sleep")
    # unshare, its parent, is outside, and has to leave
    for h in (V1, V2):
        with open(h + "/cgroup.procs", "w") as f:
            f.write(str(p.pid))
    code, _, err = stasis("checkpoint", init, "-o", "image", "--subtree")
    if code != 0:
        sys.exit(f"checkpoint: {err}")
    p.wait()
    wait_for(lambda: not any(groups().values()), "the groups are empty")
