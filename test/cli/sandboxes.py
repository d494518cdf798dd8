#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers with a busybox for a root file system: a shell as pid 1 with jobs, a container in a container, what
bubblewrap's own init holds, and systemd-nspawn's. Checkpointed at work, restarted side by side, checked."""
import ctypes
import os
import shutil
import signal
import subprocess
import sys

from cli import STASIS, done, expect, stasis, wait_for

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: detached containers come to us
IMAGE = os.path.abspath("image")
APPLETS = ("sh", "sleep", "cat", "echo", "mv", "seq", "mount", "unshare", "mkdir", "date", "wc", "head", "sync", "true")

# a shell as pid 1: jobs that start processes now and then, one with a pipe, one that dies and is started again
CRON = """exec </dev/null >/tmp/log 2>&1
job() { n=0; while :; do n=$((n+1)); $2; echo $n >/tmp/$1.new; mv /tmp/$1.new /tmp/$1; sleep 0.05; done; }
hourly() { seq 100 | wc -l >/tmp/lines; }
daily() { (sleep 0.01; echo done >/tmp/daily.done) & wait; }
job hourly hourly &
job daily daily &
(while :; do echo tick; sleep 0.05; done) | while read x; do echo $x >/tmp/tick; done &
trap 'echo asked >/tmp/asked' USR1
job main true"""

NESTED = """exec </dev/null >/tmp/log 2>&1
count() { n=0; while :; do n=$((n+1)); echo $n >$1.new; mv $1.new $1; sleep 0.05; done; }
mkdir -p /tmp/inner
unshare -m -p -f -u --mount-proc sh -c 'mount -t tmpfs inner /tmp/inner
echo $$ >/tmp/inner/pid
echo >/tmp/ready
(while :; do sleep 0.05; done) &
n=0; while :; do n=$((n+1)); echo $n >/tmp/inner/new; mv /tmp/inner/new /tmp/inner/count; sleep 0.05; done' &
while [ ! -e /tmp/ready ]; do sleep 0.05; done
count /tmp/main"""

if not shutil.which("busybox"):
    sys.exit(77)


def make_root(name):
    for folder in ("bin", "proc", "sys", "dev", "tmp", "etc", "run", "usr", "var"):
        os.makedirs(f"{name}/{folder}")
    shutil.copy(shutil.which("busybox"), f"{name}/bin/busybox")
    for applet in APPLETS:
        os.symlink("busybox", f"{name}/bin/{applet}")
    open(f"{name}/etc/os-release", "w").close()


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def descendants(pid):
    found = [pid]
    for p in found:
        found += children(p)
    return found


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


def inside(pid, name):
    try:
        with open(f"/proc/{pid}/root/tmp/{name}") as f:
            return f.read().strip()
    except OSError:
        return ""


def number(pid, name):
    return int(inside(pid, name) or 0)


def goes_on(what, pid, names):
    for name in names:
        seen = number(pid, name)
        wait_for(lambda: number(pid, name) > seen, f"{what}: {name} goes on")


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def round_trip(what, command, names, check, init=lambda child: number(child, "main") and child, checkpoint=(), restart=(), copies=2):
    """@init: of the runner's child; @names: files in /tmp that count"""
    print("---", what, flush=True)
    runner = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = []

    def find_init():
        seen.extend(pid for pid in (init(child) for child in children(runner.pid)[:1]) if pid)
        return seen

    wait_for(lambda: runner.poll() is not None or find_init(), f"{what}: its init")
    if runner.poll() is not None:
        expect(False, f"{what}: it ended with {runner.returncode}")
        return
    pid = seen[-1]
    goes_on(what, pid, names)
    before = {name: number(pid, name) for name in names}
    words = [w() if callable(w) else w for w in checkpoint]
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force", *words)
    expect(code == 0, f"{what}: checkpoint: {code} {err}")
    if code:
        runner.kill()
        runner.wait()
        return
    runner.wait()
    roots = []
    for i in range(copies):
        code, out, err = stasis("restart", IMAGE, "--detach", *restart)
        expect(code == 0, f"{what}: restart {i}: {code} {err}")
        roots += [int(out)] if code == 0 else []
    for root in roots:
        expect(all(number(root, name) >= before[name] for name in names), f"{what}: counts from where it was")
        goes_on(what, root, names)
    check(what, roots)
    for root in roots:
        end(root)
    os.unlink(IMAGE)


def check_cron(what, roots):
    for root in roots:
        wait_for(lambda: inside(root, "tick") == "tick" and inside(root, "daily.done") == "done" and inside(root, "lines") == "100",
                 f"{what}: its jobs work")
    shell = next(p for p in descendants(roots[0]) if comm(p) == "sh")
    os.kill(shell, signal.SIGUSR1)
    wait_for(lambda: inside(roots[0], "asked") == "asked", f"{what}: the trap of the first")
    expect(not any(inside(r, "asked") for r in roots[1:]), f"{what}: the others have their own /tmp")


def check_nested(what, roots):
    for root in roots:
        inner = [p for p in descendants(root) if number(p, "inner/pid") == 1]
        expect(len(inner) >= 2, f"{what}: the inner container: {inner}")
        goes_on(what, inner[0], ["inner/count"])
        expect(not inside(root, "inner/count"), f"{what}: the outer one does not see the inner one's mount")


def eventfd_of(pid):
    """bubblewrap's init tells the outside by it how the program has ended"""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[eventfd]":
            with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                return [line.split()[1] for line in f if line.startswith("eventfd-id")][0]
    return 0


def bubblewrap_init(pid):
    if not number(pid, "main") or not eventfd_of(pid):
        return 0
    found.append(eventfd_of(pid))
    return pid


make_root("root")
CONTAINER = [STASIS, "run", "--isolate", "--root", "root", "--tmpfs", "/tmp", "--", "/bin/sh", "-c"]
round_trip("jobs", [*CONTAINER, CRON], ("main", "hourly", "daily"), check_cron)

round_trip("a container in a container", [*CONTAINER, NESTED], ("main",), check_nested)

# not --as-pid-1: bubblewrap's own init reaps
found = []
round_trip("bubblewrap's init", ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--bind", "root", "/", "--dev", "/dev",
                                 "--proc", "/proc", "--tmpfs", "/tmp", "--", "/bin/sh", "-c", CRON], ("main", "hourly"), check_cron,
           init=bubblewrap_init,
           checkpoint=("--subtree", "--external", lambda: f"eventfd:[{found[-1]}]=status"), restart=("--external", "status=/dev/null"))

# in a cgroup of this test's: nspawn makes groups below it
if shutil.which("systemd-nspawn") and os.path.isdir("/sys/fs/cgroup/unified"):
    os.mkdir("empty")
    NAME = os.path.basename(os.path.dirname(os.getcwd()))
    ENTER = f"""for h in unified systemd; do mkdir -p /sys/fs/cgroup/$h/{NAME} && echo 0 >/sys/fs/cgroup/$h/{NAME}/cgroup.procs; done
exec "$@\""""
    for how, name in (((), "systemd-nspawn"), (("--as-pid2",), "systemd-nspawn --as-pid2")):
        round_trip(name, ["sh", "-c", ENTER, "sh", "systemd-nspawn", "-D", "root", "--register=no", "--keep-unit", "--console=pipe",
                          "-q", *how, "/bin/sh", "-c", CRON], ("main", "hourly"), check_cron,
                   checkpoint=("--subtree", "--external", "mount:[/run/host/incoming]=incoming"),
                   restart=("--external", f"incoming={os.getcwd()}/empty"))
else:
    print("systemd-nspawn is not here", flush=True)
done()
