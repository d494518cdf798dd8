#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A restart that makes cgroups is killed at one of its system calls, and `stasis cleanup` comes at once: no group is
left if the tree does not run, and all are if it does. STASIS_TEST_STEPS=all: at each of its calls."""
import ctypes
import glob
import os
import signal
import subprocess
import sys

from cli import STASIS, done, expect, live, stasis, wait_for
from steps import steps

V1, V2 = "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"
NAME = os.path.basename(os.path.dirname(os.getcwd()))  # the runner takes away what is called like this
STRIDE = 1 if os.environ.get("STASIS_TEST_STEPS") == "all" else 9
# what has to do with groups and the journal, and with letting the tree go
TOLD = ("mkdir", "rmdir", "flock", "unlink", "prctl", "sendmsg", "rt_sigprocmask")
libc = ctypes.CDLL(None)
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"")
if not os.path.isdir(V1) or not os.path.isdir(V2):
    sys.exit(77)

ENTER = f"""
for h in {V1} {V2}; do mkdir $h/{NAME} && echo 0 >$h/{NAME}/cgroup.procs || exit; done
mkdir {V2}/{NAME}/inner {V2}/{NAME}/empty
exec unshare -pf unshare -C sh -c 'echo 0 >{V2}/{NAME}/inner/cgroup.procs; exec sleep 1000'"""


def groups():
    """of ours, and who is in them"""
    found = {}
    for top in glob.glob(f"/sys/fs/cgroup/*/{NAME}*"):
        for folder, _, _ in os.walk(top):
            with open(folder + "/cgroup.procs") as f:
                found[folder[len("/sys/fs/cgroup/"):]] = f.read().split()
    return found


def remove():
    wait_for(lambda: not any(groups().values()), "the groups are empty")
    for top in glob.glob(f"/sys/fs/cgroup/*/{NAME}*"):
        for folder, _, _ in os.walk(top, topdown=False):
            os.rmdir(folder)


def restart(*strace):
    subprocess.run(["strace", *strace, STASIS, "restart", "image", "--detach"], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end_tree():
    for pid in set(sum(groups().values(), [])):
        os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: not live(), "the tree has ended")
    remove()


p = subprocess.Popen(["sh", "-c", ENTER], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wait_for(lambda: groups().get(f"unified/{NAME}/inner"), "the container runs")
init = int(groups()[f"unified/{NAME}/inner"][0])
wait_for(lambda: open(f"/proc/{init}/comm").read() == "sleep\n", "exec of sleep")
# unshare, its parent, is outside, and has to leave
for h in (V1, V2):
    with open(h + "/cgroup.procs", "w") as f:
        f.write(str(p.pid))
code, _, err = stasis("checkpoint", init, "-o", "image", "--subtree")
if code != 0:
    sys.exit(f"checkpoint: {err}")
p.wait()
remove()

restart("-o", "trace")
WANT = {f"{h}/{NAME}{below}": n for h, below, n in
        (("pids", "", 1), ("unified", "", 0), ("unified", "/inner", 1), ("unified", "/empty", 0))}
expect({g: len(pids) for g, pids in groups().items()} == WANT, f"undisturbed: {groups()}")
end_tree()
found = [s for s in steps() if s.call != "exit_group"]
begin = next(i for i, s in enumerate(found) if NAME in s.line)
chosen = [s for i, s in enumerate(found) if (i >= begin and (s.call in TOLD or "stasis" in s.line or NAME in s.line)) or i % STRIDE == 0]
running = left = 0
for step in chosen:
    restart("-o", "/dev/null", *step.inject("signal=KILL"))
    left += bool(groups())
    code, _, err = stasis("cleanup")
    have = {g: len(pids) for g, pids in groups().items()}
    expect(code == 0, f"killed at {step}, cleanup: {code} {err}")
    if have:
        expect(have == WANT, f"killed at {step} ({step.line[:90]}): {have}")
        running += 1
    wait_for(lambda: bool(live()) == bool(have), f"killed at {step} ({step.line[:90]}): {have}, and there run {live()}")
    expect(not os.listdir("/run/stasis") if os.path.isdir("/run/stasis") else True, f"killed at {step}: {os.listdir('/run/stasis')}")
    end_tree()
expect(running > 0 and left > running, f"{running} trees ran, {left} had groups: the test tests too little")
print(f"{len(chosen)} of {len(found)} calls, {left} with groups left, {running} trees ran")
done()
