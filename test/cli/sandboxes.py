#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers with a busybox for a root file system: a shell as pid 1 with jobs, a container in a container, what
bubblewrap's own init holds, and systemd-nspawn's. Checkpointed at work, restarted side by side, checked."""
import os
import shutil
import signal
import subprocess
import sys
import termios

from cli import STASIS, done, expect, stasis, wait_for
from containers import IMAGE, checkpoint, children, count, counts_on, end, inside, read, restart, tree
from window import Window

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


def round_trip(what, command, names, check, is_init=lambda pid: True, options=lambda pid: (), restart_options=()):
    """@names: files in /tmp that count"""
    print("---", what, flush=True)
    runner = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def inits():
        return [pid for pid in children(runner.pid) if count(pid, "tmp/main") and is_init(pid)]

    wait_for(lambda: runner.poll() is not None or inits(), f"{what}: its init")
    if runner.poll() is not None:
        sys.exit(f"{what}: it ended with {runner.returncode}")
    pid = inits()[0]
    for name in names:
        counts_on(what, pid, f"tmp/{name}")
    before = {name: count(pid, f"tmp/{name}") for name in names}
    checkpoint(what, runner, pid, *options(pid))
    roots = restart(what, 2, *restart_options)
    for root in roots:
        expect(all(count(root, f"tmp/{name}") >= before[name] for name in names), f"{what}: counts from where it was")
        for name in names:
            counts_on(what, root, f"tmp/{name}")
    check(what, roots)
    for root in roots:
        end(root)



def check_cron(what, roots):
    for root in roots:
        wait_for(lambda: inside(root, "tmp/tick") == "tick" and inside(root, "tmp/daily.done") == "done" and inside(root, "tmp/lines") == "100",
                 f"{what}: its jobs work")
    # nothing of it is stopped for that, and children come and go
    for _ in range(20 if what == "jobs" else 0):
        code, out, err = stasis("check", roots[0])
        expect(code == 0 or b"task.changed" in out, f"{what}: check of it at work: {code} {out.decode()} {err}")
    shell = next(p for p in tree(roots[0]) if read(f"/proc/{p}/comm") == "sh")
    os.kill(shell, signal.SIGUSR1)
    wait_for(lambda: inside(roots[0], "tmp/asked") == "asked", f"{what}: the trap of the first")
    expect(not any(inside(r, "tmp/asked") for r in roots[1:]), f"{what}: the others have their own /tmp")


def check_nested(what, roots):
    for root in roots:
        inner = [p for p in tree(root) if count(p, "tmp/inner/pid") == 1]
        expect(len(inner) >= 2, f"{what}: the inner container: {inner}")
        counts_on(what, inner[0], "tmp/inner/count")
        expect(not inside(root, "tmp/inner/count"), f"{what}: the outer one does not see the inner one's mount")


def eventfd_of(pid):
    """bubblewrap's init tells the outside by it how the program has ended"""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[eventfd]":
            with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                return [line.split()[1] for line in f if line.startswith("eventfd-id")][0]
    return 0


make_root("root")
CONTAINER = [STASIS, "run", "--isolate", "--root", "root", "--tmpfs", "/tmp", "--", "/bin/sh", "-c"]
round_trip("jobs", [*CONTAINER, CRON], ("main", "hourly", "daily"), check_cron)

round_trip("a container in a container", [*CONTAINER, NESTED], ("main",), check_nested)

# not --as-pid-1: bubblewrap's own init reaps
round_trip("bubblewrap's init", ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--bind", "root", "/", "--dev", "/dev",
                                 "--proc", "/proc", "--tmpfs", "/tmp", "--", "/bin/sh", "-c", CRON], ("main", "hourly"), check_cron,
           is_init=eventfd_of, options=lambda pid: ("--subtree", "--external", f"eventfd:[{eventfd_of(pid)}]=status"),
           restart_options=("--external", "status=/dev/null"))

# in a cgroup of this test's: nspawn makes groups below it
if shutil.which("systemd-nspawn") and os.path.isdir("/sys/fs/cgroup/unified"):
    os.mkdir("empty")
    NAME = os.path.basename(os.path.dirname(os.getcwd()))
    ENTER = f"""for h in unified systemd; do mkdir -p /sys/fs/cgroup/$h/{NAME} && echo 0 >/sys/fs/cgroup/$h/{NAME}/cgroup.procs; done
exec "$@\""""

    def notify(pid):
        """what systemd would tell nspawn through"""
        st = os.stat(f"/proc/{pid}/root/run/host/notify")
        return f"file:[{os.major(st.st_dev)}:{os.minor(st.st_dev)}:{st.st_ino}]=notify"

    for how in (), ("--as-pid2",), ("--private-users=pick",):
        name = " ".join(("systemd-nspawn", *how))
        round_trip(name, ["sh", "-c", ENTER, "sh", "systemd-nspawn", "-D", "root", "--register=no", "--keep-unit", "--console=pipe",
                          "-q", *how, "/bin/sh", "-c", CRON], ("main", "hourly"), check_cron,
                   options=lambda pid: ("--subtree", "--external", "mount:[/run/host/incoming]=incoming", "--external", notify(pid)),
                   restart_options=("--external", f"incoming={os.getcwd()}/empty"))
    # its console is a terminal of the container's own devpts, bound there
    w = Window(["sh", "-c", ENTER, "sh", "systemd-nspawn", "-D", "root", "--register=no", "--keep-unit", "--console=interactive",
                "-q", "/bin/sh"], PS1="ready> ")
    w.expect("/ # ")
    pid = children(w.pid)[0]
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force", "--subtree", "--external", "mount:[/run/host/incoming]=incoming",
                          "--external", notify(pid))
    expect(code == 0, f"systemd-nspawn on a terminal: checkpoint: {code} {err}")
    w.end()
    w = Window([STASIS, "restart", IMAGE, "--external", f"incoming={os.getcwd()}/empty"])
    w.expect("restart: 1 task.*\n")
    wait_for(lambda: not w.local_flags() & termios.ICANON, "the window's terminal is raw")
    w.send("echo $$ /dev/pts/* > /dev/console; exit 7\r")
    w.expect(r"\n1 /dev/pts/0 /dev/pts/ptmx\r\n")
    expect(w.end() == 7, "systemd-nspawn on a terminal: exit status")
else:
    print("systemd-nspawn is not here", flush=True)
done()
