#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Deleted files, FIFOs and directories have their names for a moment during restart. Killed at any of the
calls around that moment, a restart leaves at most an empty name, and `stasis cleanup` removes it; what has
taken the name meanwhile is left alone. The same on a mount that only a container's namespace has."""
import os
import shutil
import signal
import subprocess
import sys

from cli import STASIS, done, expect, stasis, state, wait_for
from steps import steps

if not shutil.which("strace"):
    sys.exit(77)

PROGRAM = """
import os, time
fd = os.open("gone", os.O_CREAT | os.O_RDWR, 0o600)
os.write(fd, b"contents")
os.link("gone", "second")
other = os.open("second", os.O_RDONLY)
os.unlink("gone")
os.unlink("second")
os.mkfifo("fifo")
fifo = os.open("fifo", os.O_RDWR)
os.unlink("fifo")
os.mkdir("folder"); os.chdir("folder"); os.rmdir("../folder")
time.sleep(1000)
"""
ORDINARY = {"image", "trace"}
MADE = {"gone", "second", "fifo", "folder"}


def start(*under):
    """the program, and the pid that it has here"""
    p = subprocess.Popen([*under, sys.executable, "-c", PROGRAM], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    children = f"/proc/{p.pid}/task/{p.pid}/children"
    if under:
        wait_for(lambda: open(children).read(), "unshare has a child")
    pid = int(open(children).read()) if under else p.pid
    wait_for(lambda: os.readlink(f"/proc/{pid}/cwd").endswith("folder (deleted)") and state(pid) == "S",
             "the program has deleted all")
    code, _, err = stasis("checkpoint", pid, "-o", "image", "--force", *(["--subtree"] if under else []))
    expect(code == 0, f"checkpoint: {code} {err}")
    p.wait()
    return pid


CALLS = "linkat,unlinkat,mkdirat,mknodat,openat,open_by_handle_at"


def restart(*options):
    """under strace, but not -f: stubs have a tracer already. All that it made is gone when it returns."""
    q = subprocess.run(["strace", "-o", "trace", "-e", f"trace={CALLS}", *options, STASIS, "restart", "image",
                        "--detach"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if q.returncode == 0:
        os.kill(int(q.stdout), 9)
        wait_for(lambda: state(int(q.stdout)) in (None, "Z"), "it is dead")
    return q


def killed_at(step):
    """dies before it has its effect"""
    q = restart(*step.inject("signal=KILL"))
    expect(q.returncode == -signal.SIGKILL, f"{step}: {q.returncode} {q.stderr}")


def calls():
    """from the first to behind the last that makes a name or removes one, in an undisturbed restart"""
    q = restart()
    expect(q.returncode == 0, f"restart: {q.stderr}")
    found = steps()
    names = [i for i, step in enumerate(found) if step.call in ("linkat", "unlinkat", "mkdirat", "mknodat")]
    expect(len(names) >= 8, f"{names}")
    return found[names[0]:names[-1] + 2]


def names():
    return set(os.listdir(".")) - ORDINARY


def sweep(what, gone):
    left = set()
    for n in calls():
        killed_at(n)
        wait_for(gone, "its tasks are gone")
        here = names()
        left |= {"temporary" if x.startswith(".stasis-") else x for x in here}
        if "gone" in here:
            expect(os.stat("gone").st_size == 0, f"{what}: {n}: gone is not empty")
        code, out, err = stasis("cleanup")
        expect(code == 0, f"{what}: {n}: cleanup: {code} {err}")
        expect(not names(), f"{what}: {n}: cleanup left {names()} of {here}")
    expect(left == MADE | {"temporary"}, f"{what}: it is never killed where {MADE - left} is there")


pid = start()
sweep("here", lambda: state(pid) in (None, "Z"))

# somebody else's file of that name is not touched by cleanup
killed_at(calls()[1])
if os.path.exists("gone"):
    os.unlink("gone")
with open("gone", "w") as f:
    f.write("mine")
stasis("cleanup")
expect(os.path.exists("gone"), "cleanup removed a file that is not the restart's")
os.unlink("gone")

# on the host's file system, but in a mount namespace that goes away with the restart
start("unshare", "-p", "-f", "unshare", "-m", "--mount-proc")
sweep("in a mount namespace", lambda: True)
done()
