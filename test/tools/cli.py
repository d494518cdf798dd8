# SPDX-License-Identifier: GPL-2.0-or-later
"""For test/cli: run the command, and say what it should have done."""
import os
import subprocess
import sys
import time

import observer

STASIS = os.environ["STASIS"]
TOP = os.environ["TOP"]
USER = 1234  # an ordinary one
failures = []


def stasis(*words, **more):
    """exit status (negative: ended by that signal), standard output (bytes), standard error (text)"""
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.PIPE)
    mounts = observer.read("/proc/self/mountinfo")
    p = subprocess.run([STASIS, *map(str, words)], stderr=subprocess.PIPE, timeout=60 * observer.SLOW, **more)
    expect(observer.read("/proc/self/mountinfo") == mounts, f"stasis {words} has changed the mounts of its own namespace")
    return p.returncode, p.stdout, p.stderr.decode(errors="replace")


def expect(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what, flush=True)


def kernel():
    """its version, as (6, 18)"""
    return tuple(map(int, os.uname().release.split(".")[:2]))


def done():
    sys.exit(1 if failures else 0)


def wait_for(condition, what, seconds=20):
    end = time.monotonic() + seconds * observer.SLOW
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what}: did not happen within {seconds} s")
        time.sleep(0.005)


def sleeper(seconds=1000):
    """a process that can be checkpointed: its own session, nothing inherited but /dev/null"""
    p = subprocess.Popen(["sleep", str(seconds)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: open(f"/proc/{p.pid}/comm").read() == "sleep\n", "exec of sleep")
    return p


def state(pid):
    """the letter of /proc/PID/stat, None when there is no such process"""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def become(user=USER):
    """preexec_fn: an ordinary user without groups and capabilities"""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def live():
    """all processes but this one and the namespace's init; the dead are reaped"""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    return [p for p in os.listdir("/proc") if p.isdigit() and int(p) not in (1, os.getpid())]
