#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A deleted file and a deleted directory have their names for a moment during restart. Killed at any of
the calls around that moment, a restart leaves at most an empty name, and `stasis cleanup` removes it; what
has taken the name meanwhile is left alone."""
import os
import shutil
import subprocess
import sys

from cli import STASIS, done, expect, stasis, state, wait_for

if not shutil.which("strace"):
    sys.exit(77)

PROGRAM = """
import os, time
fd = os.open("gone", os.O_CREAT | os.O_RDWR, 0o600)
os.write(fd, b"contents")
os.unlink("gone")
os.mkdir("folder"); os.chdir("folder"); os.rmdir("../folder")
time.sleep(1000)
"""
p = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)
wait_for(lambda: os.readlink(f"/proc/{p.pid}/cwd").endswith("folder (deleted)") and state(p.pid) == "S",
         "the program has deleted both")
code, _, err = stasis("checkpoint", p.pid, "-o", "image")
expect(code == 0, f"checkpoint: {code} {err}")
p.wait()


def killed_at(call, n):
    """a restart that ends with the n-th such call; whether there was one"""
    # the call itself is made and has its effect when the signal comes
    q = subprocess.run(["strace", "-f", "-o", "trace", "-e", f"trace={call}", "-e",
                        f"inject={call}:signal=KILL:when={n}", STASIS, "restart", "image", "--detach"],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if q.returncode == 0:
        os.kill(int(q.stdout), 9)
    return q.returncode != 0


kills = 0
for call in "linkat", "unlinkat", "mkdirat":
    for n in range(1, 5):
        if not killed_at(call, n):
            break
        kills += 1
        wait_for(lambda: state(p.pid) in (None, "Z"), "the killed restart's tasks are gone")
        names = set(os.listdir(".")) - {"image", "trace"}
        expect(names <= {"gone", "folder"}, f"{call} {n}: left {names}")
        for name in names & {"gone"}:
            expect(os.stat(name).st_size == 0, f"{call} {n}: {name} is not empty")
        code, out, err = stasis("cleanup")
        expect(code == 0, f"{call} {n}: cleanup: {code} {err}")
        names = set(os.listdir(".")) - {"image", "trace"}
        expect(not names, f"{call} {n}: cleanup left {names}")
expect(kills >= 3, f"only {kills} calls were hit")

# somebody else's file of that name is not touched by cleanup
killed_at("unlinkat", 1)
if os.path.exists("gone"):
    os.unlink("gone")
with open("gone", "w") as f:
    f.write("mine")
stasis("cleanup")
expect(os.path.exists("gone"), "cleanup removed a file that is not the restart's")
done()
