#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of a set that the caller may not look at: what another user has put into a user's container is refused by its pid,
by the kernel's word or a helper's; root is told what stands against it."""
import os
import re
import subprocess

from cli import STASIS, USER, become, done, expect, kernel, stasis, state, wait_for
from containers import IMAGE, children, count, counts_on, entered, start

os.mkdir("user", 0o700)
os.chown("user", USER, USER)
os.chdir("user")
os.chmod("../..", 0o755)
COUNT = """# without children that come and go, which keep a check busy
import os, time
n = 0
while True:
    n += 1
    with open("/tmp/count.new", "w") as f: f.write(str(n))
    os.rename("/tmp/count.new", "/tmp/count")
    time.sleep(0.02)"""
PYTHON = ["/usr/bin/python3", "-c", COUNT]
ISOLATE = [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", *PYTHON]


def refused(what, pid, *unseen, path="tmp/count", **more):
    """by the user, and by his check; both leave the container as it was"""
    for command in (["checkpoint", pid, "-o", IMAGE], ["check", pid]):
        code, out, err = stasis(*command, preexec_fn=become, **more)
        text = out.decode() + err
        expect(code == 1 and "task.permission" in text, f"{what}: {command}: {code} {text}")
        for p in unseen:
            expect(re.search(rf"pid {p}\b", text), f"{what}: {command}: pid {p} in {text}")
    expect(not os.path.exists(IMAGE), f"{what}: no image")
    for p in unseen:
        expect(state(p) in "SR", f"{what}: {p} lives")
    counts_on(what, pid, path)


def put_inside(pid):
    """by root, as an administrator has a look; what he has made comes to us"""
    before = set(entered(pid))
    subprocess.run(["nsenter", "-t", str(pid), "-m", "-p", "--no-fork", "/bin/bash", "-c", "sleep 1000 & exit"], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wait_for(lambda: set(entered(pid)) - before, "it is in the container")
    return (set(entered(pid)) - before).pop()


def in_container():
    runner, pid = start("isolate", ISOLATE, preexec_fn=become, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: count(pid) > 3, "it counts")
    without = {**os.environ, "STASIS_WITHOUT": "pid_in_pidns"}
    for how in ("off", "noaccess", "invisible", "ptraceable"):
        hide(how)
        put = put_inside(pid)
        lists = how in ("off", "noaccess")  # before 6.11 nothing tells what /proc does not even list
        if kernel() >= (6, 11):
            refused(f"hidepid={how}, asked of the kernel", pid, put)
        refused(f"hidepid={how}, asked inside", pid, *([put] if lists else []), env=without)
        os.kill(put, 9)
        os.waitpid(put, 0)
        code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--leave-running", preexec_fn=become, env=without)
        expect(code == 0 if lists else "cannot be seen" in err, f"hidepid={how}, alone, asked inside: {code} {err}")
        if lists or kernel() >= (6, 11):
            code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force", "--leave-running", preexec_fn=become)
            expect(code == 0, f"hidepid={how}, alone: {code} {err}")
            os.unlink(IMAGE)
    hide("off")
    put = put_inside(pid)
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE)
    expect(code == 1 and f"pid {put} (sleep): it has ids that its user namespace has no name for" in err, f"by root: {code} {err}")
    os.kill(put, 9)
    os.waitpid(put, 0)
    os.kill(pid, 9)
    runner.wait()


def below_root():
    """the container belongs to a process that is outside of it"""
    outer = subprocess.Popen(["unshare", "-Urpmf", "--mount-proc", "/bin/sh", "-c", 'mount -t tmpfs t /tmp; exec "$@"', "sh", *PYTHON],
                             preexec_fn=become, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: children(outer.pid) and count(children(outer.pid)[0]) > 3, "it counts")
    pid, = children(outer.pid)
    put = put_inside(pid)
    refused("below the root", outer.pid, put)
    os.kill(put, 9)
    os.waitpid(put, 0)
    os.kill(pid, 9)
    outer.wait()


def hide(how):
    """in this test's own /proc; the caller is root, and sees all"""
    subprocess.run(["mount", "-o", f"remount,hidepid={how}", "/proc"], check=True)


def owner(pid):
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:  # one that comes and goes
        return None


def child():
    """a user's process with a child that is root's, as by a set-user-ID program"""
    script = f"""
import os, sys
if os.fork() == 0: os.execvp("sleep", ["sleep", "1000"])
os.setgroups([])
os.setresgid({USER}, {USER}, {USER})
os.setresuid({USER}, {USER}, {USER})
os.execvp("sh", ["sh", "-c", sys.argv[1]])"""
    loop = "n=0; while :; do n=$((n+1)); echo $n > count.new; mv count.new count; sleep 0.02; done"
    p = subprocess.Popen(["/usr/bin/python3", "-c", script, loop], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: os.path.exists("count"), "the user's program counts")
    unseen, = [c for c in children(p.pid) if owner(c) == 0]
    for how in ("off", "noaccess", "invisible", "ptraceable"):
        hide(how)
        refused(f"a child, hidepid={how}", p.pid, unseen, path=f"{os.getcwd()}/count")
    if_hidden(p.pid, unseen)
    hide("off")
    os.kill(unseen, 9)
    p.kill()
    p.wait()


def if_hidden(pid, unseen):
    """what is to be checkpointed itself; and root may look at all"""
    code, _, err = stasis("checkpoint", unseen, "-o", IMAGE, preexec_fn=become)
    expect(code == 1 and "task.permission" in err and f"pid {unseen}" in err, f"a root that is hidden: {code} {err}")
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--leave-running")
    expect(code == 0, f"by root: {code} {err}")
    os.unlink(IMAGE)


child()
if os.environ.get("STASIS_WITHOUT") != "all":  # which takes user namespaces from users, too
    in_container()
    below_root()
done()
