#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a container has from outside: found again where it was, given from elsewhere, or refused by name."""
import os
import shutil
import subprocess

from cli import STASIS, TOP, done, expect, sleeper, stasis, wait_for
from containers import IMAGE, checkpoint, children, end, inside, read

LOOP = """exec </dev/null >/tmp/out 2>&1
n=0
while :; do n=$((n+1)); cat /data/word > /tmp/word; echo $n > /tmp/count; sleep 0.02; done"""


def folder(name, word):
    os.mkdir(name)
    with open(f"{name}/word", "w") as f:
        f.write(word + "\n")


def make_root(name):
    for part in ("usr", "proc", "dev", "tmp", "data", "shm"):
        os.makedirs(f"{name}/{part}")
    for part in ("bin", "lib", "lib64"):
        os.symlink("usr/" + part, f"{name}/{part}")


def start(*more):
    runner = subprocess.Popen([STASIS, "run", "--isolate", "--root", "root", "--bind", "/usr:/usr:ro", "--bind",
                               os.path.abspath("data") + ":/data:ro", "--tmpfs", "/tmp", *more, "--", "/bin/sh", "-c", LOOP],
                              stdin=subprocess.DEVNULL)
    wait_for(lambda: children(runner.pid) and inside(children(runner.pid)[0], "tmp/count"), "it counts")
    return runner, children(runner.pid)[0]


def restart(what, word, *more, **settings):
    code, out, err = stasis("restart", IMAGE, "--detach", *more, **settings)
    expect(code == 0, f"{what}: {code} {err}")
    if code:
        return
    pid = int(out)
    seen = inside(pid, "tmp/count")
    wait_for(lambda: inside(pid, "tmp/count") != seen and inside(pid, "tmp/word") == word, f"{what}: it reads {word}")
    with open(f"/proc/{pid}/mountinfo") as f:
        expect(any(line.split()[4] == "/data" and line.split()[5].startswith("ro") for line in f), f"{what}: /data is read-only")
    end(pid)


def refused(what, words, *command):
    code, _, err = stasis(*command)
    expect(code == 1 and all(w in err for w in words), f"{what}: {code} {err}")


def a_bind_with_a_name():
    runner, pid = start()
    refused("a name of nothing", ["external.unused"], "checkpoint", pid, "-o", "none", "--external", "mount:[/nothing]=x")
    checkpoint("a bind with a name", runner, pid, "--external", "mount:[/data]=data")
    restart("where it was", "one")
    restart("another directory in its place", "two", "--external", "data=other")
    fd = os.open("other", os.O_PATH)
    restart("a descriptor", "two", "--external", f"data=fd:{fd}", pass_fds=[fd])
    refused("a file for a directory", ["external.missing", "no directory"], "restart", IMAGE, "--detach",
            "--external", "data=other/word")
    refused("nothing there", ["nowhere"], "restart", IMAGE, "--detach", "--external", "data=nowhere")
    os.rename("data", "moved")
    refused("it is gone", ["mount.external-missing", "--external data=PATH", "not there any more"], "restart", IMAGE, "--detach")
    folder("data", "three")
    refused("it was replaced", ["mount.external-missing", "replaced"], "restart", IMAGE, "--detach")
    restart("it was replaced, which is allowed", "three", "--files-changed", "allow")
    shutil.rmtree("data")
    restart("it is gone, but supplied", "one", "--external", "data=moved")
    os.rename("moved", "data")


def the_root_elsewhere():
    runner, pid = start()
    checkpoint("the root elsewhere", runner, pid)
    os.rename("root", "new root")
    refused("the root is gone", ["mount.external-missing", "mount"], "restart", IMAGE, "--detach")
    restart("the root has moved", "one", "--root", "new root")
    refused("no such root", ["--root nowhere", "hint: --root DIR"], "restart", IMAGE, "--detach", "--root", "nowhere")
    shutil.rmtree("new root")
    make_root("root")
    restart("another root", "one", "--root", "root")


def supplied_late():
    """named only at the restart; it stands for no other mount"""
    runner, pid = start()
    checkpoint("a bind without a name", runner, pid)
    os.rename("data", "data=]=moved")
    refused("a bind without a name is gone", ["mount.external-missing", "--external mount:[/data]=PATH"], "restart", IMAGE, "--detach")
    restart("a bind without a name", "two", "--external", "mount:[/data]=other")
    restart("a bind with an odd place", "one", "--external", "mount:[/data]=data=]=moved")
    for key, code in ("mount:[/nothing]", "external.unused"), ("mount:[/tmp]", "external.unused"):
        refused(key, [code], "restart", IMAGE, "--detach", "--external", "mount:[/data]=other", "--external", key + "=other")
    refused("a file", ["external.missing", "no directory"], "restart", IMAGE, "--detach", "--external", "mount:[/data]=other/word")
    os.rename("data=]=moved", "data")


def root_on_top():
    """of several on "/" it is the one that tasks see"""
    outside = read("/proc/self/mountinfo")
    root, data = os.path.abspath("root"), os.path.abspath("data")
    script = f"""mount --bind {root} {root}; cd {root}
for i in usr dev; do mount --bind /$i $i; done; mount --bind {data} data; mount -t tmpfs tmp tmp
mount --move . /; exec chroot . /bin/sh -c '{LOOP}'"""
    runner = subprocess.Popen(["unshare", "-p", "-f", "unshare", "-m", "sh", "-c", script], stdin=subprocess.DEVNULL)
    wait_for(lambda: children(runner.pid) and inside(children(runner.pid)[0], "tmp/count"), "it counts")
    checkpoint("a root on top", runner, children(runner.pid)[0], "--subtree")
    os.rename("root", "moved root")
    refused("the root on top is gone", ["mount.external-missing", "hint: --root DIR"], "restart", IMAGE, "--detach")
    code, out, err = stasis("restart", IMAGE, "--detach", "--root", "moved root")
    expect(code == 0, f"the root on top has moved: {code} {err}")
    if code == 0:
        seen = inside(int(out), "tmp/count")
        wait_for(lambda: inside(int(out), "tmp/count") != seen, "the root on top has moved: it counts")
        end(int(out))
    os.rename("moved root", "root")
    expect(read("/proc/self/mountinfo") == outside, "the host's mounts")


def around_the_root():
    """what is supplied for one mount takes no other's place, even if that lies in it"""
    runner, pid = start("--bind", os.path.abspath(".") + ":/shm")
    checkpoint("around the root", runner, pid, "--external", "mount:[/shm]=around")
    restart("the directory around the root", "one", "--external", "around=other")
    code, out, err = stasis("inspect", IMAGE, "--mounts")
    expect(out.decode().count("(--external around)") == 1, f"inspect: {out}")


def root_for_nothing():
    p = sleeper()
    checkpoint("sleep", p, p.pid)
    refused("an image without mounts", ["root.unused"], "restart", IMAGE, "--detach", "--root", "/")


def memory_of_the_host():
    """a tmpfs that the host has mounted, too, is not copied behind its back"""
    runner, pid = start("--bind", "/dev/shm:/shm")
    refused("a tmpfs of the host", ["mount.shared-outside", f"pid {pid} (", "mnt:[", " /shm (tmpfs, root /, dev 0:", "--external mount:[/shm]=NAME"], "checkpoint", pid, "-o", "none")
    checkpoint("memory of the host", runner, pid, "--external", "mount:[/shm]=shm")
    with open("/dev/shm/of-the-host", "w") as f:
        f.write("here\n")
    code, out, err = stasis("restart", IMAGE, "--detach")
    expect(code == 0, f"the host's tmpfs: {code} {err}")
    expect(inside(int(out), "shm/of-the-host") == "here", "it is the host's tmpfs")
    end(int(out))
    os.unlink("/dev/shm/of-the-host")


def one_key_for_two():
    runner, pid = start("--tmpfs", "/shm", "--tmpfs", "/shm")
    refused("two mounts on one place", ["mount.ambiguous", "--external mount:["], "checkpoint", pid, "-o", "none",
            "--external", "mount:[/shm]=shm")
    runner.kill()
    runner.wait()


def peer_of_the_host():
    """what the host mounts there later appears in the container, if that was said"""
    place = os.path.abspath("peer")
    os.mkdir(place)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    subprocess.run(["mount", "--make-shared", place], check=True)
    os.mkdir(place + "/point")
    runner = subprocess.Popen([os.path.join(TOP, "test/container"), "sleep", "1000"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "SHARED": place})
    wait_for(lambda: children(runner.pid) and inside(children(runner.pid)[0], f"proc/1/comm") == "sleep", "the container")
    pid = children(runner.pid)[0]
    refused("a peer of the host", ["mount.peer-outside", f"--external mount:[{place}]=NAME"], "checkpoint", pid, "-o", "none")
    checkpoint("a peer of the host", runner, pid, "--external", f"mount:[{place}]=peer")
    code, out, err = stasis("restart", IMAGE, "--detach")
    expect(code == 0, f"restart as a peer: {code} {err}")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place + "/point"], check=True)
    with open(place + "/point/seen", "w") as f:
        f.write("x\n")
    expect(inside(int(out), place + "/point/seen") == "x", "what the host mounts appears in the container")
    end(int(out))
    subprocess.run(["umount", place + "/point", place], check=True)


def out_of_sight():
    """a namespace of others that shows not all: whether it shares something with the container cannot be known"""
    other = subprocess.Popen(["/usr/bin/python3", "-c", """
import ctypes, os, time
libc = ctypes.CDLL(None)
context = libc.fsopen(b"tmpfs", 1)
libc.fsconfig(context, 6, None, None, 0)
root = libc.fsmount(context, 1, 0)  # older than the namespace: then the kernel shows it to nobody outside
os.mkdir("below", dir_fd=root)
libc.unshare(0x20000)
libc.mount(None, b"/", None, 0x44000, None)
libc.move_mount(root, b"", -100, b"/", 4)
os.fchdir(root)
libc.syscall(155, b".", b".")
libc.umount2(b".", 2)
libc.mount(b"t", b"/", b"tmpfs", 0, None)
os.chroot("below")
print("hidden", flush=True)
time.sleep(1000)"""], stdout=subprocess.PIPE)
    expect(other.stdout.readline() == b"hidden\n", "the namespace is there")
    runner, pid = start()
    refused("a namespace out of sight", ["mount.hidden", "--subtree"], "checkpoint", pid, "-o", "none")
    other.kill()
    other.wait()
    checkpoint("out of sight", runner, pid)


before = read("/proc/self/mountinfo")
make_root("root")
folder("data", "one")
folder("other", "two")
a_bind_with_a_name()
the_root_elsewhere()
supplied_late()
root_on_top()
around_the_root()
root_for_nothing()
memory_of_the_host()
one_key_for_two()
peer_of_the_host()
out_of_sight()
expect(read("/proc/self/mountinfo") == before, "the host's mounts have changed")
done()
