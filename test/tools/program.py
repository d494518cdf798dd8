# SPDX-License-Identifier: GPL-2.0-or-later
"""For test/programs: run a real program, checkpoint it in the middle of work, restart it, compare.

    interrupted(command, in_the_middle) -> exit status; what it wrote is in the file "out"
"""
import contextlib
import os
import signal
import subprocess
import sys
import time

import observer

STASIS = os.environ["STASIS"]
IMAGE = os.path.abspath("image")


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds * observer.SLOW
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what}: did not happen within {seconds} s")
        time.sleep(0.005)


def grown(path, size):
    """a condition: the file has at least that many bytes"""
    return lambda: os.path.exists(path) and os.path.getsize(path) >= size


def start(command, **more):
    with open("out", "wb") as out, open("err", "wb") as err:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, **more)


def complain(text):
    print(text)
    for name in ("out", "err"):
        if os.path.exists(name):
            with open(name, errors="replace") as f:
                print(f"--- end of {name}:\n" + f.read()[-2000:])
    sys.exit(1)


def checkpoint(pid, *options):
    if os.path.exists(IMAGE):
        os.unlink(IMAGE)
    p = subprocess.run([STASIS, "checkpoint", str(pid), "-o", IMAGE, *options], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(p.stdout.decode(errors="replace"), end="")
    if p.returncode:
        complain(f"checkpoint: exit {p.returncode}")


def restart(*options):
    """in the foreground: returns the program's own exit status, -SIG if a signal ended it"""
    p = subprocess.run([STASIS, "restart", IMAGE, *options], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200 * observer.SLOW)
    print(p.stdout.decode(errors="replace"), end="")
    return p.returncode


def all_stopped(root):
    tids = observer.tree(root)
    return tids and all(observer.stat_fields(observer.read(f"/proc/{t[0]}/task/{t[1]}/stat"))["class"] in "TZ" for t in tids)


def end_tree(p):
    """SIGKILL to all of a stopped tree; init reaps what is not ours"""
    tgids = sorted({t[0] for t in observer.tree(p.pid)})
    for tgid in tgids:
        with contextlib.suppress(ProcessLookupError):  # a zombie, which init reaps when its parent is dead
            os.kill(tgid, signal.SIGKILL)
    p.wait()
    wait_for(lambda: not any(os.path.exists(f"/proc/{t}") for t in tgids), "the tree is dead")


def snapshot_stopped(root):
    """
    without SIGCHLD: after the image was made, parents were told that their children stopped, and may
    have begun to take that signal before they stopped themselves
    """
    found = observer.snapshot(root)
    for key in [k for k in found if k.endswith(("/status/ShdPnd", "/status/SigBlk"))]:
        found[key] = f"{int(found[key], 16) & ~(1 << (signal.SIGCHLD - 1)):016x}"
    return found


def checkpoint_observed(p):
    """leaves the image and a dead tree; what the observer saw of it when it was stopped"""
    checkpoint(p.pid, "--leave-stopped")
    wait_for(lambda: all_stopped(p.pid), "the tree is left stopped")
    before = snapshot_stopped(p.pid)
    end_tree(p)
    return before


def restart_observed(root, before, exceptions=()):
    """restart --leave-stopped, compare, go on; the exit status as restart() gives it"""
    with subprocess.Popen([STASIS, "restart", IMAGE, "--leave-stopped"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
        print(p.stdout.readline().decode(errors="replace"), end="")
        wait_for(lambda: p.poll() is not None or all_stopped(root), "the tree is restarted and left stopped")
        if p.poll() is not None:
            complain(f"restart: exit {p.returncode}\n" + p.stdout.read().decode(errors="replace"))
        found = observer.differences(before, snapshot_stopped(root), exceptions)
        if found:
            p.kill()
            complain("the observer finds a difference after restart:\n  " + "\n  ".join(found[:40]))
        for tgid in sorted({t[0] for t in observer.tree(root)}, reverse=True):
            os.kill(tgid, signal.SIGCONT)
        p.communicate(timeout=200 * observer.SLOW)
        return p.returncode


def interrupted(command, in_the_middle, exceptions=(), **more):
    """
    Starts the command, waits for the condition, checkpoints, ends and restarts the tree; returns the exit
    status of the restart. First a --leave-running checkpoint must not matter. What the observer sees of the
    stopped tree must be the same before and after.
    """
    p = start(command, **more)
    wait_for(lambda: in_the_middle() or p.poll() is not None, "the program is in the middle of its work")
    if p.poll() is not None:
        complain(f"it ended early with {p.returncode}")
    checkpoint(p.pid, "--leave-running")
    if p.poll() is not None:
        complain(f"it ended after a checkpoint --leave-running with {p.returncode}")
    return restart_observed(p.pid, checkpoint_observed(p), exceptions)


def uninterrupted(command, **more):
    """exit status; its output is in "out" """
    return start(command, **more).wait()


def output():
    with open("out", "rb") as f:
        return f.read()


def same_result(command, in_the_middle, **more):
    """the whole test of a program that writes its result to standard output"""
    want_status = uninterrupted(command, **more)
    want = output()
    os.unlink("out")
    status = interrupted(command, in_the_middle, **more)
    if status != want_status:
        complain(f"exit status {status} after restart, {want_status} uninterrupted")
    if output() != want:
        complain(f"output differs: {output()[-300:]!r} after restart, {want[-300:]!r} uninterrupted")
