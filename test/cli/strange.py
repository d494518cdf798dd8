#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels as they may be: with words in /proc that no table has, with a lower kernel.pid_max. What /proc shows
is replaced by bind mounts in the test's own mount namespace."""
import ctypes
import os
import re

from cli import done, expect, sleeper, stasis, state, wait_for

libc = ctypes.CDLL(None, use_errno=True)
MS_BIND = 4096


def replaced(path, change):
    """@path shows its text as @change makes it, until the result is called"""
    with open(path) as f:
        text = change(f.read())
    with open("shown", "w") as f:
        f.write(text)
    if libc.mount(b"shown", path.encode(), None, MS_BIND, None):
        print(f"cannot mount on {path}: {os.strerror(ctypes.get_errno())}")
        raise SystemExit(77)
    return lambda: libc.umount2(path.encode(), 2)


p = sleeper()
task = f"/proc/{p.pid}/task/{p.pid}"
STRANGE = [("status", lambda text: text + "Entanglement:\t7\n", "Entanglement"),
           ("smaps", lambda text: re.sub(r"(VmFlags:.*)\n", r"\1 zz \n", text, count=1), "zz")]
for name, change, word in STRANGE:
    undo = [replaced(f"{folder}/{name}", change) for folder in (task, f"/proc/{p.pid}")]
    for command in ["check"], ["checkpoint", "-o", "image"]:
        code, out, err = stasis(*command, p.pid)
        text = out.decode() + err
        expect(code == 1 and "unknown.state]" in text and word in text, f"{command} with an unknown word in {name}: {code} {text}")
    for again in undo:
        again()
    wait_for(lambda: state(p.pid) == "S", "it sleeps on")

os.mkdir("ns")
for name in os.listdir(f"{task}/ns") + ["vibe"]:
    os.symlink(f"/proc/{p.pid}/ns/{name}", f"ns/{name}")
for folder in task, f"/proc/{p.pid}":
    libc.mount(b"ns", f"{folder}/ns".encode(), None, MS_BIND, None)
for command in ["check"], ["checkpoint", "-o", "image"]:
    code, out, err = stasis(*command, p.pid)
    text = out.decode() + err
    expect(code == 1 and "'vibe'" in text and "namespace.unknown]" in text, f"{command} with an unknown namespace: {code} {text}")
for folder in task, f"/proc/{p.pid}":
    libc.umount2(f"{folder}/ns".encode(), 2)
expect(not os.path.exists("image"), "no image")

code, out, err = stasis("checkpoint", p.pid, "-o", "image")
expect(code == 0, f"with what is known: {code} {err}")
p.wait()
again = replaced("/proc/sys/kernel/pid_max", lambda text: f"{p.pid}\n")
code, out, err = stasis("restart", "image", "--detach")
expect(code == 1 and "pid.max]" in err and f"kernel.pid_max={p.pid + 1}" in err, f"a pid that is too high: {code} {err}")
again()
code, out, err = stasis("restart", "image", "--detach")
expect(code == 0, f"again as it was: {code} {err}")
os.kill(int(out), 9)
done()
