#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Not root: a user's own program is checkpointed, and restarted with --new-pidns in a new user namespace. What
needs a capability is refused by its name."""
import os
import subprocess
import sys

from cli import STASIS, done, expect, sleeper, state, wait_for

USER = 1000
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all"]


def as_user(*words):
    p = subprocess.run([*AS_USER, STASIS, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout, p.stderr.decode(errors="replace")


def status(pid, key):
    with open(f"/proc/{pid}/status") as f:
        return next(line.split(":", 1)[1].split() for line in f if line.startswith(key + ":"))


if subprocess.run([*AS_USER, "unshare", "--user", "true"], stderr=subprocess.DEVNULL).returncode:
    print("users may not make user namespaces here")
    sys.exit(77)
os.chmod(".", 0o777)
p = subprocess.Popen([*AS_USER, "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)
wait_for(lambda: open(f"/proc/{p.pid}/comm").read() == "sleep\n", "exec of sleep")
before = {key: status(p.pid, key) for key in ("Uid", "Gid", "CapPrm", "CapEff", "CapBnd", "Groups")}

code, out, err = as_user("check", p.pid)
expect(code == 0, f"check of one's own program: {code} {out} {err}")
code, out, err = as_user("checkpoint", p.pid, "-o", "image")
expect(code == 0, f"checkpoint of one's own program: {code} {err}")
p.wait()
code, out, err = as_user("restart", "image", "--new-pidns", "--detach")
expect(code == 0, f"restart in a new user namespace: {code} {err}")
if code == 0:
    pid = int(out)
    wait_for(lambda: state(pid) == "S", "the program sleeps on")
    after = {key: status(pid, key) for key in before}
    expect(before == after, f"its credentials: {before}, {after}")
    os.kill(pid, 9)

# what processes share: anonymous memory; deleted files, one that is also open, and a semaphore, which is not
p = subprocess.Popen([*AS_USER, sys.executable, "-c", """
import mmap, multiprocessing, os, time
value, anonymous = multiprocessing.Value("L", 0), mmap.mmap(-1, 1 << 24)
anonymous[1 << 23] = 7
if os.fork() == 0:
    while True:
        with value.get_lock():
            value.value += 1
        anonymous[:4] = value.value.to_bytes(4, "little")
        time.sleep(0.005)
while True:
    with open("shared.new", "w") as f:
        print(value.value, int.from_bytes(anonymous[:4], "little"), anonymous[1 << 23], file=f)
    os.rename("shared.new", "shared")
    time.sleep(0.01)"""], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def shared():
    if not os.path.exists("shared"):
        return 0
    with open("shared") as f:
        of_file, of_memory, mark = map(int, f.read().split())
    expect(of_memory >= of_file - 1 and mark == 7, f"what is shared: {of_file}, {of_memory}, {mark}")
    return of_file


wait_for(lambda: shared() > 3, "they work")
code, out, err = as_user("checkpoint", p.pid, "-o", "image4")
expect(code == 0, f"checkpoint of what is shared: {code} {err}")
p.wait()
seen = shared()
code, out, err = as_user("restart", "image4", "--new-pidns", "--detach")
expect(code == 0, f"restart of what is shared: {code} {err}")
if code == 0:
    wait_for(lambda: shared() > seen + 3, "they go on")
    os.kill(int(out), 9)

# files of /proc that stay open: the program's own directory has another number there now
p = subprocess.Popen([*AS_USER, sys.executable, "-c", """
import os, time
stat, own = open("/proc/stat", "rb", buffering=0), open("/proc/self/comm", "r+b", buffering=0)
while True:
    own.seek(0); stat.seek(0)
    own.write(b"counts")
    if stat.read(3) == b"cpu" and open("/proc/self/comm").read() == "counts\\n":
        open("proc.seen", "a").write("x")
    time.sleep(0.01)"""], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def looks():
    return os.path.getsize("proc.seen") if os.path.exists("proc.seen") else 0


wait_for(lambda: looks() > 3, "it looks into /proc")
code, out, err = as_user("checkpoint", p.pid, "-o", "image6")
expect(code == 0, f"checkpoint of what has files of /proc open: {code} {err}")
p.wait()
seen = looks()
code, out, err = as_user("restart", "image6", "--new-pidns", "--detach")
expect(code == 0, f"restart of what has files of /proc open: {code} {err}")
if code == 0:
    wait_for(lambda: looks() > seen + 3, "it goes on looking")
    os.kill(int(out), 9)

# mapped files that their user may not reach any more, or that have no name
for n, hide in enumerate(["os.chmod('folder', 0)", "os.unlink('folder/mapped')"]):
    p = subprocess.Popen([*AS_USER, sys.executable, "-c", f"""
import ctypes, mmap, os, time
os.makedirs("folder", exist_ok=True)
f = open("folder/mapped", "w+b")
f.write(b"x" * 8192)
f.flush()
ctypes.CDLL(None).mmap(None, 8192, mmap.PROT_READ, mmap.MAP_PRIVATE, f.fileno(), 0)
f.close()
{hide}
os.mkdir("ready{n}")
time.sleep(1000)"""], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: os.path.exists(f"ready{n}") and state(p.pid) == "S", "a file is mapped")
    for command in ["check"], ["checkpoint", "-o", "image5"]:
        code, out, err = as_user(*command, p.pid)
        expect(code == 1 and "mm.file-link]" in out.decode() + err, f"{command} after {hide}: {code} {out} {err}")
    p.kill()
    p.wait()
    os.chmod("folder", 0o755)

# another user's program, and an image of one
other = sleeper()
code, out, err = as_user("checkpoint", other.pid, "-o", "image2")
expect(code == 1 and "task.permission]" in err, f"checkpoint of root's program: {code} {err}")
wait_for(lambda: state(other.pid) == "S", "it sleeps on")
code = subprocess.run([STASIS, "checkpoint", str(other.pid), "-o", "image3"]).returncode
expect(code == 0, f"checkpoint as root: {code}")
other.wait()
os.chmod("image3", 0o644)
code, out, err = as_user("restart", "image3", "--new-pidns", "--detach")
expect(code == 1 and "cred.capability]" in err and "CAP_SETUID" in err, f"restart of root's program: {code} {err}")
done()
