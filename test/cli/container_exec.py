#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What has come into a container from outside (docker exec, crun exec, nsenter) is saved with it, and has no parent inside."""
import os
import signal
import subprocess

from cli import STASIS, done, expect, wait_for
from containers import IMAGE, checkpoint, children, count, counting, counts_on, entered, read, reaping, restart, start, status, tree

# a shell with a child, and one that it leaves to pid 1
SHELL = """exec </dev/null >/tmp/exec 2>&1
sh -c 'sleep 1001 & echo $! > /tmp/left'
sleep 1002 &
n=0
while :; do n=$((n+1)); echo $n > /tmp/entered.new; mv /tmp/entered.new /tmp/entered; sleep 0.02; done"""


def enter(pid, new_session):
    """as a container's engine: who enters the namespaces makes the child and ends, so that it comes to us"""
    words = ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-p", "--no-fork", "/bin/bash", "-c", '"$@" & exit', "-",
             *(["setsid"] if new_session else []), "/bin/bash", "-c", SHELL]
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True)


def inner_init(pid):
    """of the pid namespace below; None: there is none"""
    return next((t for t in tree(pid) if read(f"/proc/{t}/cmdline").startswith("sh\x00-c\x00sleep 1003")), None)


def from_outside(pid):
    inner = inner_init(pid)
    return entered(pid) + (entered(inner) if inner else [])


def end(pid):
    with reaping(from_outside(pid)):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def shape(pid):
    """of those that stay, by their numbers inside: those of the parent, group and session, and the command line"""
    level, inner = len(status(pid, "NSpid")) - 1, inner_init(pid)
    tops = [pid, *from_outside(pid)]
    tasks = [t for top in tops for t in tree(top) if t in [*tops, inner] or read(f"/proc/{t}/cmdline").startswith("sleep\x00100")]
    numbers = {t: tuple(status(t, "NSpid")[level:]) for t in tasks}
    return {numbers[t]: (numbers.get(int(status(t, "PPid")[0]), "0"), status(t, "NSpgid")[level:], status(t, "NSsid")[level:],
                         read(f"/proc/{t}/cmdline")) for t in tasks if t != inner}


def round_trip(what, new_session, inner=""):
    runner, pid = start(what, [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "/bin/bash", "-c", counting(inner)])
    wait_for(lambda: count(pid) > 3 and (not inner or inner_init(pid)), f"{what}: it counts")
    enter(inner_init(pid) if inner else pid, new_session)
    wait_for(lambda: count(pid, "tmp/entered") > 3, f"{what}: what has entered counts")
    before = shape(pid)
    expect(sum(parent == "0" for parent, *_ in before.values()) == 2, f"{what}: pid 1 and one more from outside: {before}")
    if inner:
        expect(sum(len(numbers) == 2 for numbers in before) == 4, f"{what}: three in the inner namespace, and its own: {before}")
    with reaping(from_outside(pid)):
        checkpoint(what, runner, pid)
    for root in restart(what, 2):
        counts_on(what, root)
        counts_on(what, root, "tmp/entered")
        expect(shape(root) == before, f"{what}: {shape(root)} instead of {before}")
        end(root)
    foreground(what)
    undone(what)


def foreground(what):
    """stasis is the parent of both, and waits for both"""
    restarted = subprocess.Popen([STASIS, "restart", IMAGE], stdin=subprocess.DEVNULL)
    wait_for(lambda: len(children(restarted.pid)) == 2, f"{what}: pid 1 and what has entered")
    root = min(children(restarted.pid), key=lambda p: int(status(p, "NSpid")[-1]))
    wait_for(lambda: count(root, "tmp/entered"), f"{what}: its /tmp is there")
    counts_on(what, root, "tmp/entered")
    os.kill(root, signal.SIGKILL)
    expect(restarted.wait() == -signal.SIGKILL, f"{what}: in the foreground: {restarted.returncode}")


def undone(what):
    """a stream that ends too early: all that was made has gone"""
    with open(IMAGE, "rb") as f:
        image = f.read()
    p = subprocess.run([STASIS, "restart", "--detach", "-"], input=image[:-100], stderr=subprocess.PIPE, check=False)
    expect(p.returncode == 3 and not children(os.getpid()), f"{what}: half an image: {p.returncode} {p.stderr} {children(os.getpid())}")


round_trip("exec", True)
round_trip("exec in the session outside", False)
INNER = "unshare -p -f sh -c 'sleep 1003 & wait; sleep 1004' &"
round_trip("exec in an inner pid namespace", True, INNER)
round_trip("exec in an inner pid namespace, in the session outside", False, INNER)
done()
