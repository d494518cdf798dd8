#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of crun(1) and runc(8), with the config.json that engines write: restarted when the runtime has forgotten them."""
import ctypes
import json
import os
import re
import shutil
import stat
import subprocess
import sys

from cli import done, expect, stasis, wait_for
from containers import count, counts_on, end, entered, mounts, read, reaping

libc = ctypes.CDLL(None)
HERE = os.getcwd()
NAME = os.path.basename(os.path.dirname(HERE))  # the runner takes away cgroups that are called like this
RUNTIMES = [r for r in ("crun", "runc") if shutil.which(r)]
if not RUNTIMES or not shutil.which("busybox"):
    print("neither crun nor runc is installed, or no busybox")
    sys.exit(77)
# crun 1.8 wants either v1 or v2
if os.path.isdir("/sys/fs/cgroup/unified"):
    libc.umount2(b"/sys/fs/cgroup/unified", 2)

WORK = """n=0
(while :; do echo; sleep 0.02; done) | while read x; do n=$((n+1)); echo $n >/tmp/new; mv /tmp/new /tmp/pipe; done &
while :; do n=$((n+1)); echo line $n; echo $n >/tmp/new.1; mv /tmp/new.1 /tmp/count; sleep 0.05; done"""
EXEC = """n=0
exec </dev/null >/tmp/log 2>&1
while :; do n=$((n+1)); echo $n >/tmp/new.2; mv /tmp/new.2 /tmp/exec; sleep 0.05; done"""
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"]
MOUNTS = [
    ("/proc", "proc", "proc", ""),
    ("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
    ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
    ("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
    ("/tmp", "tmpfs", "tmpfs", "nosuid,nodev,mode=1777"),
    ("/var", "bind", HERE + "/volume", "rbind,rw,rprivate"),
    ("/etc/resolv.conf", "bind", HERE + "/resolv.conf", "bind,ro,rprivate"),
]


def make_files():
    for folder in ("bin", "proc", "sys", "dev", "tmp", "etc", "var"):
        os.makedirs("rootfs/" + folder)
    os.makedirs("volume")
    os.chmod("rootfs/tmp", 0o1777)
    shutil.copy(shutil.which("busybox"), "rootfs/bin/busybox")
    for applet in ("sh", "sleep", "mv", "mount"):
        os.symlink("busybox", "rootfs/bin/" + applet)
    for name in ("rootfs/etc/resolv.conf", "resolv.conf"):
        with open(name, "w") as f:
            f.write("nameserver 192.0.2.1\n")
    os.mkfifo("log")


def configuration(name, user):
    sets = ("bounding", "effective", "permitted")
    spaces = [{"type": t} for t in ("pid", "ipc", "uts", "mount", "cgroup") + (("user", "network") if user else ())]
    linux = {"namespaces": spaces, "cgroupsPath": f"/{NAME}/{name}",
             "resources": {"pids": {"limit": 64}, "devices": [{"allow": False, "access": "rwm"}]},
             "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"],
             "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
             "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount", "keyctl"], "action": "SCMP_ACT_ERRNO"}]}}
    if user:
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        os.chmod(HERE, 0o755)
    return {"ociVersion": "1.0.0", "hostname": "box", "linux": linux, "root": {"path": HERE + "/rootfs", "readonly": True},
            "process": {"user": {"uid": 7, "gid": 8, "additionalGids": [9]}, "cwd": "/", "args": ["sh", "-c", WORK],
                        "env": ["PATH=/bin"], "noNewPrivileges": True, "oomScoreAdj": 100,
                        "capabilities": {s: CAPABILITIES for s in sets},
                        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 512}]},
            "mounts": [{"destination": d, "type": t, "source": s, **({"options": o.split(",")} if o else {})} for d, t, s, o in MOUNTS]}


def state(pid):
    """what must be as it was: mounts but for their numbers and the source of cgroups, credentials, limits, cgroups"""
    lines = [re.sub(r"- (cgroup2?) \S+", r"- \1", line) for line in mounts(pid)]
    lines += [line for line in read(f"/proc/{pid}/status").splitlines()
              if re.match("(Cap|Uid|Gid|Groups|NoNewPrivs|Seccomp)", line)]
    for name in ("limits", "oom_score_adj", "uid_map", "gid_map"):
        lines += read(f"/proc/{pid}/{name}").splitlines()
    sees = subprocess.run(["nsenter", "-t", str(pid), "-C", "cat", f"/proc/{pid}/cgroup"], stdout=subprocess.PIPE, text=True, check=True)
    return [re.sub(re.escape(NAME) + r"/\w+(\.\d+)?", "GROUP", line) for line in lines] + sees.stdout.splitlines()


def compare(what, before, after):
    expect(before == after, f"{what}: was {[x for x in before if x not in after]}, is {[x for x in after if x not in before]}")


def goes_on(pid, what):
    for name in ("count", "pipe", "exec"):
        counts_on(what, pid, f"tmp/{name}")



def run(runtime, *words, **more):
    """runc gives its standard input to the container's root: not the machine's /dev/null"""
    manager = ["--cgroup-manager=cgroupfs"] if runtime == "crun" else []
    with open("null", "rb") as null:
        return subprocess.run([runtime, "--root", HERE + "/state", *manager, *words], check=False, stdin=null, **more)


def start(runtime, name, user):
    os.makedirs(name)
    with open(name + "/config.json", "w") as f:
        json.dump(configuration(name, user), f)
    r, w = os.pipe()
    ran = run(runtime, "run", "--detach", "--pid-file", "pid", name, cwd=name, stdout=w, stderr=w)
    os.close(w)
    if ran.returncode:
        print(f"{runtime} cannot run a container here: {os.read(r, 4096).decode()}")
        return 0, r
    return int(read(name + "/pid")), r


def container(runtime, user):
    name = runtime + ("_user" if user else "")
    pid, shim = start(runtime, name, user)
    if not pid:
        return False
    run(runtime, "exec", "--detach", name, "sh", "-c", EXEC, stdout=subprocess.DEVNULL)
    wait_for(lambda: all(count(pid, f"tmp/{x}") > 2 for x in ("pipe", "count", "exec")), f"{name} works")
    expect(len(entered(pid)) == 1, f"{name}: exec has no parent inside: {entered(pid)}")
    options, restart = [], ["--external", "log=log"]
    code, _, err = stasis("checkpoint", pid, "-o", name + ".image")
    expect(code == 1 and f"also held by pid {os.getpid()}" in err, f"{name}: the pipe of its output: {code} {err}")
    for word in re.findall(r"--external (pipe:\S+|net:\S+)=NAME", err):
        options += ["--external", word + ("=log" if word.startswith("pipe") else "=net")]
    if user:
        open("net", "w").close()
        subprocess.run(["mount", "--bind", f"/proc/{pid}/ns/net", "net"], check=True)
        restart += ["--external", "net=net"]
    before = state(pid) + state(*entered(pid))
    code, _, err = stasis("checkpoint", pid, "-o", name + ".image", "--leave-running", *options)
    expect(code == 0, f"{name}: {err}")
    goes_on(pid, f"{name} after a checkpoint")
    compare(f"{name} after a checkpoint", before, state(pid) + state(*entered(pid)))
    with reaping(entered(pid)):
        code, _, err = stasis("checkpoint", pid, "-o", name + ".image", "--force", *options)
    expect(code == 0, f"{name}: {err}")
    os.waitpid(pid, 0)
    os.close(shim)
    run(runtime, "delete", "--force", name, stderr=subprocess.DEVNULL)

    output = os.open("log", os.O_RDWR)
    pids = []
    for i in range(2):
        code, out, err = stasis("restart", name + ".image", "--detach", *restart)
        expect(code == 0, f"{name}: restart {i}: {err}")
        pids += [int(out)] if code == 0 else []
    for pid in pids:
        goes_on(pid, name)
        compare(name, before, state(pid) + state(*entered(pid)))
        limit = [read(f"/proc/{pid}/root/sys/fs/cgroup/{where}pids.max") for where in ("", "pids/")]
        expect("64" in limit, f"{name}: the limit of its cgroup is {limit}")
    expect(b"line " in os.read(output, 4096), f"{name}: what it writes")
    os.close(output)
    for pid in pids:
        end(pid)
    if user:
        libc.umount2(b"net", 2)
    return True


make_files()
os.mknod("null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
if not all([container(r, user) for r in RUNTIMES for user in (False, True)]):
    sys.exit(77)
done()
