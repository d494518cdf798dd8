#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Cgroup v2 with all its controllers: groups in groups with limits, threaded ones, and a group above that does not hand
on what is needed. Here only where no controller is in use by v1; tools/test-vm has such a kernel."""
import ctypes
import os
import signal
import subprocess
import sys

from cli import done, expect, live, stasis, wait_for

V2 = "/sys/fs/cgroup/unified"
NAME = os.path.basename(os.path.dirname(os.getcwd()))  # the runner takes away what is called like this
TOP = f"{V2}/{NAME}"
NEEDED = "cpu cpuset memory pids".split()
libc = ctypes.CDLL(None)
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

# in a new pid, cgroup and mount namespace, whose root is TOP/c
THREADS = """
import os, threading, time
def work(group):
    with open("{c}/threads/" + group + "/cgroup.threads", "w") as f:
        f.write(str(threading.get_native_id()))
    while True:
        time.sleep(1000)
with open("{c}/threads/cgroup.procs", "w") as f:
    f.write(str(os.getpid()))
for group in ("x", "y"):
    threading.Thread(target=work, args=(group,), daemon=True).start()
while not os.path.exists("{d}/never"):
    time.sleep(1000)
"""
INSIDE = """exec </dev/null >{d}/out 2>&1
mount -t cgroup2 cgroup2 /mnt && cd /mnt && mkdir init && echo 1 >init/cgroup.procs || exit
until sh -c 'echo "+cpu +cpuset +memory +pids" >cgroup.subtree_control' 2>/dev/null; do sleep 0.05; done
mkdir a threads none
echo '+cpu +memory +pids' >a/cgroup.subtree_control
mkdir a/deep 'a/two words'
echo 67108864 >a/memory.max; echo 33554432 >a/memory.low; echo 30 >a/pids.max; echo 33 >a/cpu.weight
echo 0 >a/cpuset.cpus; echo 150000 100000 >a/cpu.max
echo 16777216 >a/deep/memory.high; echo 7 >a/deep/pids.max; echo 1 >a/deep/memory.oom.group; echo 3 >none/cgroup.max.depth
mkdir threads/x threads/y; echo threaded >threads/x/cgroup.type; echo threaded >threads/y/cgroup.type
echo '+cpu +pids' >threads/cgroup.subtree_control
echo 44 >threads/x/cpu.weight; echo 20 >threads/y/pids.max
(sh -c 'echo 0 >a/deep/cgroup.procs; cd /; exec sleep 1000') &
(cd /; exec /usr/bin/python3 {d}/threads.py) &
cd /; exec sleep 1001"""


def groups(top):
    return sorted(folder for folder, _, _ in os.walk(top))


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError as e:
        return f"error {e.errno}"


def settings():
    """all that can be read and written in our groups but what counts: (group, file): text"""
    found = {}
    for folder in groups(TOP):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.stat(path).st_mode & 0o600 == 0o600 and not name.endswith(
                    (".procs", ".threads", ".pressure", ".peak")):
                found[folder[len(TOP):], name] = read(path)
        found[folder[len(TOP):], "cgroup.controllers"] = read(folder + "/cgroup.controllers")
    return found


def who():
    """where the threads are, by their names"""
    found = {}
    for folder in groups(TOP):
        for tid in read(folder + "/cgroup.threads").split():
            found.setdefault(folder[len(TOP):], []).append(read(f"/proc/{tid}/comm").strip())
    return {folder: sorted(names) for folder, names in found.items()}


def end(pid):
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not live(), "all have ended")


def remove(top):
    for folder in reversed(groups(top)):
        wait_for(lambda: not read(folder + "/cgroup.threads").strip(), f"{folder} is empty")
        os.rmdir(folder)


if not os.path.isdir(V2) or set(NEEDED) - set(read(V2 + "/cgroup.controllers").split()):
    print(f"skipped: of {', '.join(NEEDED)} cgroup v2 has only {read(V2 + '/cgroup.controllers')!r}")
    sys.exit(77)
hand_on = " ".join("+" + c for c in NEEDED)
for folder in (V2, TOP):
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/cgroup.subtree_control", "w") as f:
        f.write(hand_on)
here = os.getcwd()
with open("threads.py", "w") as f:
    f.write(THREADS.format(c="/mnt", d=here))
ENTER = f"""mkdir {TOP}/c && echo 0 >{TOP}/c/cgroup.procs && exec unshare -pf unshare -C -m --mount-proc sh -c "$0" """
p = subprocess.Popen(["sh", "-c", ENTER, INSIDE.format(d=here)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL)
wait_for(lambda: read(f"{TOP}/c/init/cgroup.procs").strip().isdigit(), "the container runs")
init = int(read(f"{TOP}/c/init/cgroup.procs").split()[0])
WHO = {"/c/init": ["sleep"], "/c/a/deep": ["sleep"], "/c/threads": ["python3"], "/c/threads/x": ["python3"], "/c/threads/y": ["python3"]}
# unshare, its parent, is outside, and has to leave, for the subtree to be handed on, too
with open(V2 + "/cgroup.procs", "w") as f:
    f.write(str(p.pid))
wait_for(lambda: who() == WHO, f"they are where they should be: {who()} {read('out')}")
mounted = read("/proc/self/mountinfo")
before = settings()
expect(before.get(("/c/a", "memory.max")) == "67108864\n" and before.get(("/c/threads", "cgroup.type")) == "domain threaded\n",
       f"the groups: {before}")
expect(read("out") == "", f"the container says {read('out')}")
code, _, err = stasis("checkpoint", init, "-o", "image", "--subtree", "--leave-running")
expect(code == 0 and settings() == before and who() == WHO, f"checkpoint --leave-running: {err}")
code, _, err = stasis("checkpoint", init, "-o", "image", "--subtree", "--force")
if code:
    sys.exit(f"checkpoint: {err}")
p.wait()
wait_for(lambda: not live(), "all have ended")
remove(TOP + "/c")

# all of it is made anew
code, out, err = stasis("restart", "image", "--detach")
expect(code == 0, f"restart: {err}")
after = settings()
for key in sorted(set(before) | set(after)):
    expect(before.get(key) == after.get(key), f"{key}: {before.get(key)!r}, now {after.get(key)!r}")
expect(who() == WHO, f"threads: {who()}")
# beside it, under another name; limits are not shared
code, second, err = stasis("restart", "image", "--detach", "--new-pidns")
expect(code == 0 and os.path.isdir(TOP + "/c.1/a/deep"), f"a second one: {err} {groups(TOP)}")
if code == 0:
    expect(read(TOP + "/c.1/a/deep/pids.max") == "7\n" and read(TOP + "/c.1/a/deep/cgroup.procs").strip(), "its limits")
    os.kill(int(second), signal.SIGKILL)
end(int(out))
remove(TOP + "/c.1")

# what is left can be taken again, with its controllers
code, out, err = stasis("restart", "image", "--detach")
expect(code == 0 and who() == WHO, f"restart again: {err} {who()}")
after = settings()
for key in sorted(set(before) | set(after)):
    expect(before.get(key) == after.get(key), f"again, {key}: {before.get(key)!r}, now {after.get(key)!r}")
end(int(out))
remove(TOP + "/c")

# the group above hands on less than before: said before anything is made
with open(TOP + "/cgroup.subtree_control", "w") as f:
    f.write("-memory")
code, _, err = stasis("restart", "image", "--detach")
expect(code == 1 and "cgroup.controller" in err and "memory" in err, f"without memory: {code} {err}")
expect(groups(TOP) == [TOP] and not live(), f"left: {groups(TOP)} {live()}")
code, _, err = stasis("restart", "image", "--detach", "--cgroup", "ignore")
expect("cgroup.controller" not in err and groups(TOP) == [TOP], f"ignored: {code} {err}")
expect(read("/proc/self/mountinfo") == mounted, "the options of the host's cgroup2")
print("nsdelegate" if "nsdelegate" in mounted else "no nsdelegate here")
done()
