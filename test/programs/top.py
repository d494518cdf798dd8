#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that keep files of /proc open: top(1) on a terminal, restarted in another window; a monitor
that reads them again and again."""
import os
import shutil
import sys

from program import STASIS, checkpoint, complain, grown, interrupted, output, wait_for
from window import Window

MONITOR = """
import os
stat, memory = open("/proc/stat", "rb", buffering=0), open("/proc/meminfo", "rb", buffering=0)
own, mounts = open("/proc/self/status", "rb", buffering=0), open("/proc/self/mountinfo", "rb", buffering=0)
tasks = os.open("/proc", os.O_RDONLY)
files = {stat: b"cpu ", memory: b"MemTotal:", own: b"Pid:\\t%d\\n" % os.getpid(), mounts: b" / "}
for i in range(8000):
    for file, part in files.items():
        file.seek(0)
        assert part in file.read(), file
    assert str(os.getpid()) in os.listdir(tasks)
    if i % 100 == 0:
        print("fine", flush=True)
print("end")
"""


def program_of(window):
    with open(f"/proc/{window.pid}/comm") as f:
        return f.read().strip()


def links(pid):
    return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


if not shutil.which("top"):
    sys.exit(77)
w = Window(["env", "TERM=vt100", "top", "-d", "0.1"])
w.expect("Cpu")
wait_for(lambda: program_of(w) == "top" and "/proc/stat" in links(w.pid), "top keeps /proc/stat open")
top = w.pid
kept = {link for link in links(top) if link.startswith("/proc")}
checkpoint(w.pid, "--leave-running")
w.expect("Cpu")
checkpoint(w.pid)
w.end()
w = Window([STASIS, "restart", "image"])
w.expect(r"restart: 1 task")
w.expect("Cpu")
w.expect("Cpu")
if not kept <= links(top):
    complain(f"top had {kept}, has {links(top)}")
w.send("q")
if status := w.end():
    complain(f"top ended with {status}")

status = interrupted(["python3", "-c", MONITOR], grown("out", 50))
if status or not output().endswith(b"\nend\n"):
    complain(f"the monitor ended with {status}")
