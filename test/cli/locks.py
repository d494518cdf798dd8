#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A restart is refused while somebody else holds a lock that conflicts with one of the set's."""
import fcntl
import os
import signal
import subprocess

from cli import done, expect, stasis, state, wait_for

SUBJECT = os.path.join(os.environ["BUILD"], "test", "lock.subject")


def checkpoint(which):
    os.makedirs(which)
    os.chdir(which)
    with open("output", "wb") as out:
        p = subprocess.Popen([SUBJECT, which], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                             start_new_session=True)
    wait_for(lambda: os.path.exists("ready"), "the subject is ready")
    code, out, err = stasis("checkpoint", p.pid, "-o", "image")
    expect(code == 0, f"{which}: checkpoint: {code} {err}")
    p.wait()


def restart(which):
    code, out, err = stasis("restart", "image", "--detach")
    expect(code == 0, f"{which}: restart: {code} {err}")
    with open("go", "w"):
        pass
    if code == 0:
        pid = int(out.split()[0])
        wait_for(lambda: state(pid) in (None, "Z"), "the subject ends")
    expect(open("output").read() == "", f"{which}: {open('output').read()}")
    os.chdir("..")


def refused(which, named=True):
    code, out, err = stasis("restart", "image", "--detach")
    expect(code == 1 and "lock.conflict]" in err, f"{which}: refused: {code} {err}")
    expect(os.path.realpath("f") in err, f"{which}: the file is named: {err}")
    expect(not named or f"pid {os.getpid()} holds a lock" in err, f"{which}: the holder is named: {err}")


checkpoint("flock")
with open("f") as f:
    fcntl.flock(f, fcntl.LOCK_SH)
    refused("flock")
restart("flock")

checkpoint("flock_shared")
with open("f") as f:
    fcntl.flock(f, fcntl.LOCK_EX)
    refused("flock_shared")
restart("flock_shared")

# ranges: of the set's write locks one byte at 10 and fifty at 100, read locks from 0 and far above
checkpoint("ranges")
with open("f", "r+") as f:
    for start, length in (149, 1), (100, 50), (10, 1), (0, 0), ((1 << 40) + 9, 1):
        fcntl.lockf(f, fcntl.LOCK_EX, length, start)
        refused("ranges")
        fcntl.lockf(f, fcntl.LOCK_UN, length, start)
    fcntl.lockf(f, fcntl.LOCK_EX, 89, 11)
    fcntl.lockf(f, fcntl.LOCK_SH, 10, 0)
    code, out, err = stasis("restart", "image", "--detach")
    expect(code == 0, f"ranges: what lies beside is no conflict: {code} {err}")
with open("go", "w"):
    pass
os.chdir("..")

checkpoint("ofd")
with open("f", "r+") as f:
    fcntl.lockf(f, fcntl.LOCK_EX, 1, 19)
    refused("ofd")
restart("ofd")

checkpoint("lease_read")
with open("f") as f:
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # the subject has the leases broken
    fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    restart("lease_read")
done()
