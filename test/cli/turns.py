#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Several of us at work on one machine: who looks at another's container is not taken for somebody who is in it."""
import os
import signal
import subprocess

from cli import STASIS, TOP, done, expect, wait_for
from containers import children, inside

ROUNDS = 25


def start():
    runner = subprocess.Popen([TOP + "/test/container", "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    wait_for(lambda: children(runner.pid) and inside(children(runner.pid)[0], "proc/1/comm") == "sleep", "the container")
    return runner, children(runner.pid)[0]


def check_at_once(pids):
    looking = [subprocess.Popen(["sh", "-c", f"for i in $(seq {ROUNDS}); do {STASIS} check {pid} || exit 1; done"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for pid in pids]
    for p in looking:
        out, _ = p.communicate()
        expect(p.returncode == 0, f"check: {out.decode()[:600]}")


# mountinfo takes hold of each namespace, by a process that enters it; there it takes longest
os.environ["STASIS_WITHOUT"] = "statmount_ns"
containers = [start(), start()]
check_at_once([pid for _, pid in containers])
for runner, pid in containers:
    os.kill(pid, signal.SIGKILL)
    runner.wait()
done()
