#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""More mounts than fs.mount-max allows: the restart is refused, and leaves nothing behind (case 74 of the design)."""
import fcntl
import os
import sys

from cli import STASIS, done, expect, stasis
from containers import IMAGE, checkpoint, counting, counts_on, end, mounts, read, restart, start, tree

LIMIT = "/proc/sys/fs/mount-max"
LOW = 1500  # of one namespace: nobody else here comes near
DOUBLED = "for i in 0 1 2 3 4 5 6 7 8 9 10; do mkdir /tmp/d$i; mount --rbind /tmp /tmp/d$i; done"  # 2048


def refused():
    before = set(filter(str.isdigit, os.listdir("/proc")))
    code, out, err = stasis("restart", IMAGE, "--detach")
    expect(code == 3 and "mount.limit" in err and "raise fs.mount-max" in err and not out, f"restart: {code} {err[:1000]}")
    expect(set(filter(str.isdigit, os.listdir("/proc"))) <= before, "no process is left")


if read(LIMIT) == "" or int(read(LIMIT)) < 4096:
    sys.exit(77)
runner, pid = start("many mounts", [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "/bin/sh", "-c", counting(DOUBLED)])
counts_on("many mounts", pid)
seen = mounts(pid)
expect(len(seen) > 2048, f"{len(seen)} mounts")
checkpoint("many mounts", runner, pid)
# the limit is the machine's: one at a time, and it is put back whatever happens here, by the runner if we are killed
with open("/tmp/stasis-mount-max.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    limit = read(LIMIT)
    with open("put-back", "w") as f:
        f.write(f"{LIMIT} {limit}\n")
    try:
        with open(LIMIT, "w") as f:
            f.write(str(LOW))
        refused()
    finally:
        with open(LIMIT, "w") as f:
            f.write(limit)
        os.unlink("put-back")
expect(read(LIMIT) == limit, "the limit is as it was")
for root in restart("many mounts", 1):
    expect(mounts(root) == seen, "all mounts are there")
    counts_on("many mounts", root)
    expect(len(tree(root)) >= 2, "its children")
    end(root)
done()
