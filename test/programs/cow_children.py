#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A C program with 100 forked children sharing memory copy-on-write and shared mappings: it checks
itself; the observer compares the sum of Pss (memory shared by fork is shared again)."""
import os
import subprocess
import threading
import time

import observer
from program import checkpoint, complain, restart, start, wait_for

program = os.path.join(os.environ["BUILD"], "test", "cow_children.program")
p = start([program])
wait_for(lambda: len(observer.tree(p.pid)) == 101, "all children are there")
time.sleep(0.3)
checkpoint(p.pid, "--leave-running")
before = sum(observer.pss(t) for t, _ in observer.tree(p.pid))
if before == 0:
    complain("no Pss")
checkpoint(p.pid)
p.wait()
after = []


def look():
    wait_for(lambda: len(observer.tree(p.pid)) == 101, "all children are back", 100)
    after.append(sum(observer.pss(t) for t, _ in observer.tree(p.pid)))


thread = threading.Thread(target=look)
thread.start()
status = restart()
thread.join()
with open("out") as f:
    text = f.read()
if status or "0 failed, 20000 rounds" not in text:
    complain(f"exit status {status}")
print(f"Pss: {before} KiB before, {after} KiB after")
if not after or after[0] > before * 1.05 + 101 * 64:
    complain("the sum of Pss grew by more than 5 %")
