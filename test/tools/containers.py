# SPDX-License-Identifier: GPL-2.0-or-later
"""For test/cli: containers at work, what they say of themselves in files, and their copies."""
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading

from cli import expect, stasis, wait_for

IMAGE = "image"
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: detached containers come to us


def counting(first):
    """a script for pid 1: a shell with a background loop and a pipe; it counts in /tmp/count"""
    return f"""exec </dev/null >/tmp/out 2>&1
{first}
(while :; do echo tick; sleep 0.02; done) | while read x; do echo $x > /tmp/tick; done &
n=0
while :; do n=$((n+1)); echo $n > /tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.02; done"""


def bubblewrap(*more):
    """a command that runs a script in a container on the host's /usr"""
    return ["bwrap", "--as-pid-1", "--unshare-pid", "--unshare-uts", "--unshare-ipc", "--ro-bind", "/usr", "/usr",
            "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
            "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", *more, "--", "/bin/bash", "-c"]


def read(path):
    """without the space at the end; empty when it is not there"""
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return ""


def children(pid):
    return [int(p) for p in read(f"/proc/{pid}/task/{pid}/children").split()]


def tree(pid):
    return [pid] + [p for child in children(pid) for p in tree(child)]


def inside(pid, path):
    return read(f"/proc/{pid}/root/{path}")


def count(pid, path="tmp/count"):
    return int(inside(pid, path) or 0)


def counts_on(what, pid, path="tmp/count"):
    seen = count(pid, path)
    wait_for(lambda: count(pid, path) > seen, f"{what}: {path} goes on")


def mounts(pid):
    """without the ids and device numbers, which are new"""
    text = re.sub(r"(shared|master):\d+", r"\1", read(f"/proc/{pid}/mountinfo"))
    return [re.sub(r"^\d+ \d+ \d+:\d+ ", "", line) for line in text.splitlines()]


def start(what, command, **more):
    """the process that runs the container, and its pid 1"""
    runner = subprocess.Popen(command, stdin=subprocess.DEVNULL, **more)
    wait_for(lambda: runner.poll() is not None or children(runner.pid), f"{what}: it has a child")
    if runner.poll() is not None:
        sys.exit(f"{what}: it ended with {runner.returncode}")
    return runner, children(runner.pid)[0]


def checkpoint(what, runner, pid, *options, **more):
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force", *options, **more)
    if code:
        sys.exit(f"{what}: checkpoint: {code} {err}")
    expect(stasis("verify", IMAGE)[0] == 0, f"{what}: verify")
    runner.wait()


def restart(what, copies, *options, **more):
    """pid 1 of each copy"""
    roots = []
    for i in range(copies):
        code, out, err = stasis("restart", IMAGE, "--detach", *options, **more)
        if code:
            sys.exit(f"{what}: restart {i}: {code} {err}")
        roots.append(int(out))
    return roots


def status(pid, key):
    return re.search(rf"^{key}:\s*(.*)$", read(f"/proc/{pid}/status"), re.M)[1].split()


def entered(pid):
    """who is in its pid namespace with a parent that is not, but its init"""
    own = os.readlink(f"/proc/{pid}/ns/pid")
    found = []
    for p in os.listdir("/proc"):
        try:
            if p.isdigit() and int(p) != pid and os.readlink(f"/proc/{p}/ns/pid") == own:
                ppid = status(p, "PPid")[0]
                if status(p, "NSpid")[-1] != "1" and (ppid == "0" or os.readlink(f"/proc/{ppid}/ns/pid") != own):
                    found.append(int(p))
        except (OSError, TypeError):
            pass
    return found


@contextlib.contextmanager
def reaping(pids):
    """waits for children meanwhile: what has entered a container keeps its init until somebody has"""
    thread = threading.Thread(target=lambda: [os.waitpid(p, 0) for p in pids], daemon=True)
    thread.start()
    yield
    thread.join(60)  # after a failure they live on


def end(pid):
    with reaping(entered(pid)):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
