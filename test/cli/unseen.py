#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of a set that the caller may not look at: what another user has put into a user's container is refused by its pid,
by the kernel's word or a helper's; root is told what stands against it."""
import os
import subprocess

from cli import STASIS, USER, become, done, expect, stasis, state, wait_for
from containers import IMAGE, count, counting, counts_on, entered, start

os.mkdir("user", 0o700)
os.chown("user", USER, USER)
os.chdir("user")
os.chmod("../..", 0o755)
ISOLATE = [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "/bin/bash", "-c", counting("")]


def refused(what, pid, *unseen, **more):
    """by the user, and by his check; both leave the container as it was"""
    for command in (["checkpoint", pid, "-o", IMAGE], ["check", pid]):
        code, out, err = stasis(*command, preexec_fn=become, **more)
        text = out.decode() + err
        expect(code == 1 and "task.permission" in text, f"{what}: {command}: {code} {text}")
        for p in unseen:
            expect(f"pid {p} " in text, f"{what}: {command}: pid {p} in {text}")
    expect(not os.path.exists(IMAGE), f"{what}: no image")
    for p in unseen:
        expect(state(p) in "SR", f"{what}: {p} lives")
    counts_on(what, pid)


def put_inside(pid):
    """by root, as an administrator has a look; what he has made comes to us"""
    before = set(entered(pid))
    subprocess.run(["nsenter", "-t", str(pid), "-m", "-p", "--no-fork", "/bin/bash", "-c", "sleep 1000 & exit"], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wait_for(lambda: set(entered(pid)) - before, "it is in the container")
    return (set(entered(pid)) - before).pop()


if os.environ.get("STASIS_WITHOUT") != "all":  # which takes user namespaces from users, too
    runner, pid = start("isolate", ISOLATE, preexec_fn=become)
    wait_for(lambda: count(pid) > 3, "it counts")
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--leave-running", preexec_fn=become)
    expect(code == 0, f"alone: {code} {err}")
    os.unlink(IMAGE)
    put = put_inside(pid)
    refused("asked of the kernel", pid, put)
    refused("asked inside", pid, put, env={**os.environ, "STASIS_WITHOUT": "pid_in_pidns"})
    os.kill(put, 9)
    os.waitpid(put, 0)
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--leave-running", preexec_fn=become,
                          env={**os.environ, "STASIS_WITHOUT": "pid_in_pidns"})
    expect(code == 0, f"alone again, asked inside: {code} {err}")
    os.unlink(IMAGE)
    put = put_inside(pid)
    code, _, err = stasis("checkpoint", pid, "-o", IMAGE)
    expect(code == 1 and f"pid {put} (sleep): it has ids that its user namespace has no name for" in err, f"by root: {code} {err}")
    os.kill(put, 9)
    os.waitpid(put, 0)
    os.kill(pid, 9)
    runner.wait()
done()
