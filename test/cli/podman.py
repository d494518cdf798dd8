#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A container of podman(1) in the host's network: podman takes away what it has mounted and written for it, which is
named at the checkpoint where it is the host's memory, and only at the restart where it is files."""
import ctypes
import os
import re
import shutil
import subprocess
import sys

from cli import done, expect, stasis, wait_for
from containers import IMAGE, count, counts_on, end, inside, mounts, read

if not all(shutil.which(c) for c in ("podman", "crun", "busybox")):
    print("podman, crun or busybox is not installed")
    sys.exit(77)
HERE = os.getcwd()
NAME = os.path.basename(os.path.dirname(HERE))  # the runner takes away cgroups that are called like this
PODMAN = ["podman", "--root", HERE + "/store", "--runroot", HERE + "/runroot", "--tmpdir", HERE + "/tmp", "--storage-driver", "vfs",
          "--cgroup-manager", "cgroupfs", "--runtime", "crun", "--events-backend", "none"]
WORK = "n=0; while :; do n=$((n+1)); echo line $n; echo $n >/tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done"
FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv")

if os.path.isdir("/sys/fs/cgroup/unified"):  # crun 1.8 wants either v1 or v2
    ctypes.CDLL(None).umount2(b"/sys/fs/cgroup/unified", 2)
for folder in ("/run", "/dev/shm"):  # its locks and what is of all containers
    subprocess.run(["mount", "-t", "tmpfs", "podman", folder], check=True)
for folder in ("bin", "proc", "sys", "dev", "tmp", "etc", "run"):
    os.makedirs("rootfs/" + folder)
shutil.copy(shutil.which("busybox"), "rootfs/bin/busybox")
for applet in ("sh", "sleep", "mv"):
    os.symlink("busybox", "rootfs/bin/" + applet)


def podman(*words):
    return subprocess.run([*PODMAN, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def shown(pid):
    """its mounts, but for what was supplied, the source of cgroups, and the number of the second copy's"""
    return [re.sub(r"- (cgroup2?) \S+", r"- \1", re.sub(r"(libpod-\w+)\.\d+", r"\1", line)) for line in mounts(pid)
            if line.split()[1] not in ("/dev/shm", *FILES)]


run = podman("run", "--detach", "--name", "web", "--network", "host", "--cgroup-parent", "/" + NAME, "--pids-limit", "64",
             "--log-driver", "k8s-file", "--tmpfs", "/tmp", "--rootfs", HERE + "/rootfs", "/bin/sh", "-c", WORK)
if run.returncode:
    print("podman cannot run a container here:", run.stdout)
    sys.exit(77)
pid = int(podman("inspect", "web", "--format", "{{.State.Pid}}").stdout)
wait_for(lambda: count(pid) > 2, "it works")
before, number = shown(pid), count(pid)

code, _, err = stasis("checkpoint", pid, "-o", IMAGE)
keys = re.findall(r"--external (\S+)=NAME", err)
expect(code == 1 and len(keys) == 3 and "mount:[/dev/shm]" in keys, f"its output and its /dev/shm are outside: {code} {err}")
options = [word for i, key in enumerate(keys) for word in ("--external", f"{key}=outside{i}")]
code, _, err = stasis("checkpoint", pid, "-o", IMAGE, *options)
expect(code == 0, f"checkpoint: {err}")
# its monitor tells podman, which cleans up
wait_for(lambda: podman("rm", "--force", "--time", "0", "web").returncode == 0 and not os.path.exists(f"/proc/{pid}"), "it is gone")

code, _, err = stasis("restart", IMAGE, "--detach")
expect(code == 1 and all(f"--external mount:[{name}]=PATH" in err for name in FILES), f"what podman has taken away: {code} {err}")
os.mkfifo("log")
output = os.open("log", os.O_RDWR)
os.mkdir("shm")
supplies = [word for i, key in enumerate(keys) for word in ("--external", f"outside{i}={'shm' if key.startswith('mount') else 'log'}")]
for name in FILES:
    with open(os.path.basename(name), "w") as f:
        f.write("new\n")
    supplies += ["--external", f"mount:[{name}]={HERE}/{os.path.basename(name)}"]
copies = []
for i in range(2):
    code, out, err = stasis("restart", IMAGE, "--detach", *supplies)
    expect(code == 0, f"restart {i}: {err}")
    copies += [int(out)] if code == 0 else []
for copy in copies:
    expect(count(copy) >= number, f"it goes on from where it was: {count(copy)}, {number}")
    counts_on("a copy", copy)
    now = shown(copy)
    expect(now == before, f"mounts: was {[x for x in before if x not in now]}, is {[x for x in now if x not in before]}")
    expect(inside(copy, "etc/hosts") == "new", "/etc/hosts was supplied")
    expect(inside(copy, "sys/fs/cgroup/pids/pids.max") in ("64", ""), "the limit of its cgroup")
expect(b"line " in os.read(output, 4096), "what it writes")
for copy in copies:
    end(copy)
done()
