#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A restart that makes cgroups is killed at one of its system calls, and `stasis cleanup` comes at once: no group is
left if the tree does not run, and all are if it does. STASIS_TEST_STEPS=all: at each of its calls."""
import os
import signal
import subprocess

from cli import STASIS, done, expect, live, stasis, wait_for
from own_cgroups import NAME, V2, groups, members, remove, save
from steps import steps

STRIDE = 1 if os.environ.get("STASIS_TEST_STEPS") == "all" else 9
# what has to do with groups and the journal, and with letting the tree go
TOLD = ("mkdir", "rmdir", "flock", "unlink", "prctl", "sendmsg", "rt_sigprocmask")


def restart(*strace):
    subprocess.run(["strace", *strace, STASIS, "restart", "image", "--detach"], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end_tree():
    for pid in set(sum(members().values(), [])):
        os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: not live(), "the tree has ended")
    remove()


save(f"mkdir {V2}/{NAME}/empty")
remove()

restart("-o", "trace")
WANT = {f"{h}/{NAME}{below}": n for h, below, n in
        (("pids", "", 1), ("unified", "", 0), ("unified", "/inner", 1), ("unified", "/empty", 0))}
expect(groups() == WANT, f"undisturbed: {groups()}")
end_tree()
found = [s for s in steps() if s.call != "exit_group"]
begin = next(i for i, s in enumerate(found) if NAME in s.line)
chosen = [s for i, s in enumerate(found) if (i >= begin and (s.call in TOLD or "stasis" in s.line or NAME in s.line)) or i % STRIDE == 0]
running = left = 0
for step in chosen:
    restart("-o", "/dev/null", *step.inject("signal=KILL"))
    left += bool(groups())
    code, _, err = stasis("cleanup")
    have = groups()
    expect(code == 0, f"killed at {step}, cleanup: {code} {err}")
    if have:
        expect(have == WANT, f"killed at {step} ({step.line[:90]}): {have}")
        running += 1
    wait_for(lambda: bool(live()) == bool(have), f"killed at {step} ({step.line[:90]}): {have}, and there run {live()}")
    expect(not os.listdir("/run/stasis") if os.path.isdir("/run/stasis") else True, f"killed at {step}: {os.listdir('/run/stasis')}")
    end_tree()
expect(running > 0 and left > running, f"{running} trees ran, {left} had groups: the test tests too little")
print(f"{len(chosen)} of {len(found)} calls, {left} with groups left, {running} trees ran")
done()
