#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A subtree of cgroup v2 that root has handed over to a user (cgroups(7), "Cgroups delegation"): he checkpoints and
restarts what is in it, from within; from elsewhere he may not move processes there, which is said beforehand."""
import ctypes
import os
import signal
import subprocess
import sys

from cli import STASIS, USER, become, done, expect, live, stasis, wait_for
from containers import children

V2 = "/sys/fs/cgroup/unified"
NAME = os.path.basename(os.path.dirname(os.getcwd()))  # the runner takes away what is called like this
TOP = f"{V2}/{NAME}"
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def write(path, text):
    with open(path, "w") as f:
        f.write(str(text))


def groups(top):
    return sorted(folder[len(TOP):] for folder, _, _ in os.walk(top))


def remove(top):
    for folder in reversed(groups(top)):
        wait_for(lambda: not read(TOP + folder + "/cgroup.procs").strip(), f"{folder} is empty")
        os.rmdir(TOP + folder)


def hand_over(group):
    os.makedirs(group)
    for name in ("", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control"):
        os.chown(group + name, USER, USER)


def as_user(group, *words):
    """stasis, by the user, from a process in that group"""
    def begin():
        write(group + "/cgroup.procs", os.getpid())
        become()
    return stasis(*words, preexec_fn=begin)


def start(script):
    """by the user, in TOP/shell"""
    def begin():
        write(TOP + "/shell/cgroup.procs", os.getpid())
        become()
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            preexec_fn=begin, start_new_session=True)


def make_as_user(group):
    subprocess.run(["mkdir", group], preexec_fn=become, check=True)


def container():
    """of the user, in TOP/shell; the pid of its init"""
    runner = start(f"exec {STASIS} run --isolate -- sleep 1000")
    wait_for(lambda: any(read(f"/proc/{c}/comm") == "sleep\n" for c in children(runner.pid)), "the container runs")
    return children(runner.pid)[0]


def end(pid):
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not live(), "all have ended")


if not os.path.isdir(V2):
    print(f"skipped: nothing at {V2}")
    sys.exit(77)
os.chmod(os.path.dirname(os.getcwd()), 0o755)
os.mkdir("images")
os.chown("images", USER, USER)
os.makedirs(TOP)
hand_over(TOP + "/d")
OUT, TOP = TOP, TOP + "/d"
for below in ("/shell", "/c"):
    os.mkdir(TOP + below)
    for folder, _, names in os.walk(TOP + below):
        for name in [""] + names:
            os.chown(os.path.join(folder, name), USER, USER)
os.mkdir(OUT + "/elsewhere")

# a process in a group beside: it goes back there
p = start(f"echo $$ >{TOP}/c/cgroup.procs; exec sleep 1000")
wait_for(lambda: read(TOP + "/c/cgroup.procs").strip() == str(p.pid) and read(f"/proc/{p.pid}/comm") == "sleep\n", "it is there")
code, _, err = as_user(OUT + "/elsewhere", "checkpoint", p.pid, "-o", "images/image")
expect(code == 1 and "cgroup.permission" in err,
       f"a checkpoint from elsewhere: {code} {err}")
expect(p.poll() is None, "it goes on")
code, _, err = as_user(TOP + "/shell", "checkpoint", p.pid, "-o", "images/image")
if code:
    sys.exit(f"a checkpoint from within: {err}")
p.wait()
code, _, err = as_user(OUT + "/elsewhere", "restart", "images/image", "--detach", "--new-pidns")
expect(code == 1 and "cgroup.permission" in err and not live(), f"a restart from elsewhere: {code} {err}")
code, out, err = as_user(TOP + "/shell", "restart", "images/image", "--detach", "--new-pidns")
expect(code == 0 and read(TOP + "/c/cgroup.procs").strip() == out.decode().strip(), f"a restart from within: {code} {err}")
end(int(out))
code, out, err = as_user(OUT + "/elsewhere", "restart", "images/image", "--detach", "--new-pidns", "--cgroup", "ignore")
expect(code == 0, f"--cgroup ignore: {code} {err}")
end(int(out))

# a container with groups of its own, which its user makes anew
init = container()
make_as_user(TOP + "/c/below")
write(TOP + "/c/below/cgroup.max.depth", 5)
write(TOP + "/c/cgroup.procs", init)
owners = {g: os.stat(TOP + g).st_uid for g in groups(TOP + "/c")}
code, _, err = as_user(TOP + "/shell", "checkpoint", init, "-o", "images/container")
if code:
    sys.exit(f"the container: {code} {err}")
wait_for(lambda: not live(), "it has ended")
remove(TOP + "/c")
code, out, err = as_user(TOP + "/shell", "restart", "images/container", "--detach")
expect(code == 0, f"the container's restart: {code} {err}")
expect({g: os.stat(TOP + g).st_uid for g in groups(TOP + "/c")} == owners, f"owners: {groups(TOP + '/c')}")
expect(read(TOP + "/c/below/cgroup.max.depth") == "5\n" and read(TOP + "/c/cgroup.procs").strip(), "its groups")
if code == 0:
    end(int(out))
    remove(TOP + "/c")

# one that root made in the user's folder: it would be the user's if it were made anew
os.mkdir(TOP + "/c")
init = container()
write(TOP + "/c/cgroup.procs", init)
os.chown(TOP + "/c/cgroup.procs", USER, USER)
code, _, err = as_user(TOP + "/shell", "checkpoint", init, "-o", "images/roots")
expect(code == 1 and "cgroup.permission" in err and "another user's" in err, f"root's group: {code} {err}")
code, _, err = stasis("checkpoint", init, "-o", "images/roots")
if code:
    sys.exit(f"by root: {err}")
os.chmod("images/roots", 0o644)
wait_for(lambda: not live(), "it has ended")
remove(TOP + "/c")
code, _, err = as_user(TOP + "/shell", "restart", "images/roots", "--detach")
expect(code == 1 and "another user's" in err and not live() and not groups(TOP + "/c"), f"root's group made by the user: {code} {err}")
done()
