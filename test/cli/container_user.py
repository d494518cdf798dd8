#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of an ordinary user, who is root in them by a user namespace: checkpointed by root from outside and by the
user himself, restarted side by side by either; what is refused to others."""
import fcntl
import json
import os
import re
import subprocess

from cli import STASIS, USER, become, done, expect, stasis, wait_for
from containers import IMAGE, bubblewrap, checkpoint, count, counting, counts_on, end, inside, mounts, restart, start

NS_GET_USERNS, NS_GET_OWNER_UID = 0xB701, 0xB704
os.mkdir("user", 0o700)
os.chown("user", USER, USER)
os.chdir("user")
os.chmod("../..", 0o755)
LOOP = counting("echo kept > /tmp/kept")


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
    return ids, maps, owners, mounts(pid)


def refused(what, pid):
    """to another user; and to root while somebody else is in the namespace"""
    code, _, err = stasis("checkpoint", pid, "-o", "/tmp/none", preexec_fn=lambda: become(USER + 1))
    expect(code == 1 and "task.permission" in err, f"{what}: by another user: {code} {err}")
    other = subprocess.Popen(["nsenter", "-t", str(pid), "-U", "--preserve-credentials", "sleep", "1000"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    user = os.stat(f"/proc/{pid}/ns/user").st_ino
    wait_for(lambda: os.stat(f"/proc/{other.pid}/ns/user").st_ino == user, "it is in the user namespace")
    code, _, err = stasis("checkpoint", pid, "-o", "none")
    expect(code == 1 and f"user:[{user}]: also held by pid {other.pid} (" in err, f"{what}: with another inside: {code} {err}")
    other.kill()
    other.wait()
    counts_on(what, pid)


def namespaces():
    """how many of each kind the image has"""
    return [ns["kind"] for ns in json.loads(stasis("inspect", IMAGE, "--namespaces", "--json")[1])]


def round_trip(what, command, nested, **by):
    runner, pid = start(what, command, preexec_fn=become)
    wait_for(lambda: count(pid) > 3 and inside(pid, "tmp/tick") == "tick", f"{what}: it counts")
    refused(what, pid)
    before = shown(pid)
    expect(before[2] == [not nested, USER] * 4, f"{what}: owners {before[2]}")
    checkpoint(what, runner, pid, **by)
    had = namespaces()
    roots = restart(what, 2, **by)
    for root in roots:
        counts_on(what, root)
        after = shown(root)
        expect(after == before, f"{what}: before: {before} after: {after}")
        expect(inside(root, "tmp/kept") == "kept", f"{what}: its files")
        made = os.stat(f"/proc/{root}/root/tmp/count")
        expect((made.st_uid, made.st_gid) == (USER, USER), f"{what}: what it makes is {made.st_uid}:{made.st_gid}'s")
    code, _, err = stasis("checkpoint", roots[0], "-o", IMAGE, "--force", **by)
    expect(code == 0, f"{what}: once more: {code} {err}")
    expect(namespaces() == had, f"{what}: had {had}, has {namespaces()}")
    os.unlink(IMAGE)
    os.waitpid(roots[0], 0)
    end(roots[1])



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


CONTAINERS = {
    "isolate": ([STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "/bin/bash", "-c", LOOP], False),
    # whose program is in another one below, so that it is not root
    "bubblewrap": ([*bubblewrap("--unshare-user"), LOOP], True),
}
users = os.environ.get("STASIS_WITHOUT") != "all"  # which takes user namespaces from users, too
for name, (argv, below) in CONTAINERS.items():
    round_trip(f"{name} by root", argv, below)
    if users:
        round_trip(f"{name} by himself", argv, below, preexec_fn=become)
if users:
    by_himself()
done()
