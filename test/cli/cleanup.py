#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A restart that is killed while it has made names, or runs out of room, leaves nothing behind, at the latest
after `stasis cleanup`; what lives is left alone by it."""
import ctypes
import os
import re
import subprocess

from cli import STASIS, done, expect, live, stasis, wait_for
from steps import steps

CALLS = "linkat,link,unlink,unlinkat,mkdirat,mkdir,fsync,write,pwrite64,ftruncate,openat"
libc = ctypes.CDLL(None)
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"")
os.mkdir("small")
if libc.mount(b"tmpfs", b"small", b"tmpfs", 0, b"size=256k"):
    raise SystemExit(77)


def names():
    return sorted(os.path.join(d, n) for d, folders, files in os.walk(".") for n in folders + files if n not in ("trace",))


def journals():
    return os.listdir("/run/stasis") if os.path.isdir("/run/stasis") else []


# a program with a deleted file of 160 KiB, one that was O_TMPFILE, and a deleted working directory
p = subprocess.Popen(["/usr/bin/python3", "-c", """
import os, sys, time
top = os.getcwd()
f = open("small/deleted", "w+b", buffering=0)
f.write(b"contents" * 20480)
os.unlink("small/deleted")
g = open(os.open("small", os.O_TMPFILE | os.O_RDWR, 0o600), "w+b", buffering=0)
g.write(b"unnamed")
os.mkdir("small/folder")
os.chdir("small/folder")
os.rmdir(top + "/small/folder")
open(top + "/ready", "w").close()
while not os.path.exists(top + "/go"): time.sleep(0.002)
f.seek(0), g.seek(0)
sys.exit(f.read() != b"contents" * 20480 or g.read() != b"unnamed" or os.path.exists("."  + "/x"))
"""], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open("err", "w"), start_new_session=True)
wait_for(lambda: os.path.exists("ready") or p.poll() is not None, "the program is ready")
code, _, err = stasis("checkpoint", p.pid, "-o", "image")
expect(code == 0, f"checkpoint: {err}")
p.wait()
wait_for(lambda: not live(), "it is dead")
before = names()
expect(stasis("cleanup")[2] == "stasis: cleanup: 0 killed restarts, 0 effects undone\n", "nothing to clean up")

# no room: rolled back, with nothing to clean up
with open("small/filler", "wb") as f:
    f.write(b"x" * 200000)
code, _, err = stasis("restart", "image", "--detach")
expect(code == 3 and "No space left" in err, f"a full disk: {code} {err}")
wait_for(lambda: not live(), "nothing is left")
os.unlink("small/filler")
expect(names() == before and not journals(), f"files: {names()} {journals()}")

# killed at each of its calls that may make or remove a name
subprocess.run(["strace", "-o", "trace", "-e", "trace=" + CALLS, STASIS, "restart", "image", "--detach"],
               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
open("go", "w").close()
expect(os.waitstatus_to_exitcode(os.waitpid(p.pid, 0)[1]) == 0, "an undisturbed restart")
os.unlink("go")
found = steps()
journal = [i for i, step in enumerate(found) if "/run/stasis" in step.line]
if not journal:
    raise SystemExit("no journal was written")
undone = 0
for step in found[journal[0]:journal[-1] + 3]:
    subprocess.run(["strace", "-o", "/dev/null", *step.inject("signal=KILL"), STASIS, "restart", "image", "--detach"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    wait_for(lambda: not live(), f"killed at {step}: nothing runs")
    left = names() != before
    code, _, err = stasis("cleanup")
    expect(code == 0, f"killed at {step}, cleanup: {code} {err}")
    undone += left
    expect(names() == before and not journals(), f"killed at {step} ({step.line[:80]}): {set(names()) ^ set(before)} {journals()}")
expect(undone > 0, "no kill left a name: the test tests nothing")

# the journal of one that lives is left alone; a hostile one harms nothing
os.makedirs("/run/stasis", mode=0o700, exist_ok=True)
with open("precious", "w"), open("/run/stasis/1-0", "wb") as f:
    f.write(f"u{os.getcwd()}/precious\0r/\0xyz\0i1:1{os.getcwd()}/precious\0half".encode())
code, _, err = stasis("cleanup")
expect(code == 1 and os.path.exists("precious"), f"a hostile journal: {code} {err}")
os.unlink("/run/stasis/1-0")
import fcntl  # noqa: E402
with open(".stasis-1", "w"), open("/run/stasis/1-1", "wb") as f:
    f.write(f"u{os.getcwd()}/.stasis-1\0".encode())
    f.flush()
    fcntl.flock(f, fcntl.LOCK_EX)
    expect(stasis("cleanup")[0] == 0 and os.path.exists(".stasis-1") and journals(), "a living coordinator's journal")
expect(stasis("cleanup")[0] == 0 and not os.path.exists(".stasis-1") and not journals(), "the same when it is dead")
os.chmod("/run/stasis", 0o777)
code, _, err = stasis("cleanup")
expect(code == 1 and "not ours" in err, f"a folder that others may write to: {code} {err}")
done()
