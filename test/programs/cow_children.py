#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A C program with 100 forked children sharing memory copy-on-write and shared mappings: it checks
itself; the observer compares which pages share a frame, and the sum of Pss (shared by fork is shared again)."""
import os

import observer
from program import checkpoint, checkpoint_observed, complain, restart_observed, start, wait_for

program = os.path.join(os.environ["BUILD"], "test", "cow_children.program")
p = start([program])
wait_for(lambda: len(observer.tree(p.pid)) == 101, "all children are there")
checkpoint(p.pid, "--leave-running")
if observer.pss(p.pid) == 0:
    complain("no Pss")
before = checkpoint_observed(p)
if not any(key.endswith("/shared pages") for key in before):
    complain("the observer sees no pages that are shared by fork")
status = restart_observed(p.pid, before)
with open("out") as f:
    text = f.read()
if status or "0 failed, 20000 rounds" not in text:
    complain(f"exit status {status}")
