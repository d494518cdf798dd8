#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of an ordinary user, who is root in them by a user namespace: checkpointed by root from outside, restarted
side by side; what the user may do himself, and what is refused to him."""
import ctypes
import fcntl
import os
import re
import signal
import subprocess

from cli import STASIS, done, expect, stasis, wait_for

USER = 1234
NS_GET_USERNS, NS_GET_OWNER_UID = 0xB701, 0xB704
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: detached containers come to us
os.mkdir("user", 0o700)
os.chown("user", USER, USER)
os.chdir("user")
os.chmod("../..", 0o755)
IMAGE = os.path.abspath("image")

LOOP = """exec </dev/null >/tmp/out 2>&1
echo kept > /tmp/kept
(while :; do echo tick; sleep 0.02; done) | while read x; do echo $x > /tmp/tick; done &
n=0
while :; do n=$((n+1)); echo $n > /tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.02; done"""


def become():
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def inside(pid, name):
    try:
        with open(f"/proc/{pid}/root/tmp/{name}") as f:
            return f.read().strip()
    except OSError:
        return ""


def count(pid):
    return int(inside(pid, "count") or 0)


def neutral(pid):
    with open(f"/proc/{pid}/mountinfo") as f:
        return [re.sub(r"^\d+ \d+ \d+:\d+ ", "", line) for line in f]


def shown(pid):
    """all that must come back"""
    with open(f"/proc/{pid}/status") as f:
        ids = [line for line in f if re.match("Uid|Gid|Groups|Cap|NoNewPrivs", line)]
    maps = [open(f"/proc/{pid}/{name}").read() for name in ("uid_map", "gid_map", "setgroups")]
    owners = []
    user = os.stat(f"/proc/{pid}/ns/user").st_ino
    for name in ("mnt", "pid", "uts", "ipc"):
        fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)
        owner = fcntl.ioctl(fd, NS_GET_USERNS)
        owners.append(os.fstat(owner).st_ino == user)
        uid = fcntl.ioctl(owner, NS_GET_OWNER_UID, b"\0\0\0\0")
        owners.append(int.from_bytes(uid, "little"))
        os.close(owner)
        os.close(fd)
    return ids, maps, owners, neutral(pid)


def start(what, command):
    runner = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=become)
    wait_for(lambda: runner.poll() is not None or children(runner.pid), f"{what}: it has a child")
    if runner.poll() is not None:
        expect(False, f"{what}: it ended with {runner.returncode}")
        return None, None
    pid = children(runner.pid)[0]
    wait_for(lambda: count(pid) > 3 and inside(pid, "tick") == "tick", f"{what}: it counts")
    return runner, pid


def refused(what, pid):
    """to the user himself, by name; and to root while somebody else is in the namespace"""
    code, _, err = stasis("checkpoint", pid, "-o", "none", preexec_fn=become)
    expect(code == 1 and "capability.missing" in err and "IPC namespace" in err, f"{what}: by the user: {code} {err}")
    other = subprocess.Popen(["nsenter", "-t", str(pid), "-U", "--preserve-credentials", "sleep", "1000"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    user = os.stat(f"/proc/{pid}/ns/user").st_ino
    wait_for(lambda: os.stat(f"/proc/{other.pid}/ns/user").st_ino == user, "it is in the user namespace")
    code, _, err = stasis("checkpoint", pid, "-o", "none")
    expect(code == 1 and f"user:[{user}]: also held by pid {other.pid} (" in err, f"{what}: with another inside: {code} {err}")
    other.kill()
    other.wait()
    seen = count(pid)
    wait_for(lambda: count(pid) > seen, f"{what}: it counts on after refusals")


def round_trip(what, command, nested):
    runner, pid = start(what, command)
    if not pid:
        return
    refused(what, pid)
    before = shown(pid)
    expect(before[2] == [not nested, USER] * 4, f"{what}: owners {before[2]}")
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force")
    expect(code == 0, f"{what}: checkpoint: {code} {err}")
    if code:
        runner.kill()
        return
    runner.wait()
    roots = []
    for i in range(2):
        code, out, err = stasis("restart", IMAGE, "--detach")
        expect(code == 0, f"{what}: restart {i}: {code} {err}")
        roots += [int(out)] if code == 0 else []
    for root in roots:
        seen = count(root)
        wait_for(lambda: count(root) > seen, f"{what}: it counts on")
        after = shown(root)
        expect(after == before, f"{what}: before: {before} after: {after}")
        expect(inside(root, "kept") == "kept", f"{what}: its files")
        made = os.stat(f"/proc/{root}/root/tmp/count")
        expect((made.st_uid, made.st_gid) == (USER, USER), f"{what}: what it makes is {made.st_uid}:{made.st_gid}'s")
    code, out, err = stasis("checkpoint", roots[0], "-o", IMAGE, "--force")
    expect(code == 0, f"{what}: once more: {code} {err}")
    for root in roots:
        if root != roots[0]:
            os.kill(root, signal.SIGKILL)
        os.waitpid(root, 0)
    os.unlink(IMAGE)


def by_himself():
    """no namespace but the user namespace: nothing that takes more rights than a user has"""
    program = """
import os, threading, time
t = threading.Thread(target=lambda: [time.sleep(0.002) for _ in iter(lambda: os.path.exists("go"), True)])
t.start()
pid = os.fork()
if pid == 0:
    while not os.path.exists("go"): time.sleep(0.002)
    os._exit(9 if os.getuid() == 0 else 1)
open("ready", "w").close()
t.join()
status = os.waitpid(pid, 0)[1]
open("result", "w").write(repr([os.getuid(), os.getgid(), os.WEXITSTATUS(status), os.stat("ready").st_uid]))
"""
    p = subprocess.Popen(["unshare", "-Ur", "/usr/bin/python3", "-c", program], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=become)
    wait_for(lambda: os.path.exists("ready") or p.poll() is not None, "the user's program is ready")
    code, _, err = stasis("checkpoint", p.pid, "-o", "mine", preexec_fn=become)
    expect(code == 0, f"by himself: checkpoint: {code} {err}")
    p.wait()
    code, out, err = stasis("restart", "mine", "--detach", "--new-pidns", preexec_fn=become)
    expect(code == 0, f"by himself: restart: {code} {err}")
    open("go", "w").close()
    wait_for(lambda: os.path.exists("result") and os.path.getsize("result"), "the user's program has ended")
    expect(open("result").read() == "[0, 0, 9, 0]", "by himself: " + open("result").read())


round_trip("isolate", [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "/bin/bash", "-c", LOOP], False)
# whose program is in another one below, so that it is not root
round_trip("bubblewrap", ["bwrap", "--as-pid-1", "--unshare-user", "--unshare-pid", "--unshare-uts", "--unshare-ipc",
                          "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
                          "--symlink", "usr/lib64", "/lib64", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
                          "--", "/bin/bash", "-c", LOOP], True)
if os.environ.get("STASIS_WITHOUT") != "all":  # which takes user namespaces from users, too
    by_himself()
done()
