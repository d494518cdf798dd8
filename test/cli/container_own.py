#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user's container holds when he checkpoints and restarts it himself: IPC, files that nobody may read, directories of
his, namespaces below, ranges of ids; that nothing is left when either is killed or fails; what takes a capability is refused by its name."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from cli import STASIS, USER, become, done, expect, stasis, wait_for
from containers import IMAGE, bubblewrap, checkpoint, children, count, counting, counts_on, end, inside, mounts, read, restart, start, tree

os.mkdir("user", 0o700)
os.chown("user", USER, USER)
os.chdir("user")
os.chmod("../..", 0o755)
if os.environ.get("STASIS_WITHOUT") == "all":  # which takes user namespaces from users, too
    sys.exit(77)

ISOLATE = [STASIS, "run", "--isolate", "--tmpfs", "/tmp"]
IPC = r"""
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
class Message(ctypes.Structure): _fields_ = [("type", ctypes.c_long), ("text", ctypes.c_char * 16)]
for fd in range(3): os.dup2(os.open("/dev/null", os.O_RDWR), fd)
at = libc.shmat(libc.shmget(0x77, 8192, 0o1600), None, 0)
ctypes.memmove(at + 5000, b"segment", 8)
alone = libc.shmget(0x78, 8192, 0o1600)
there = libc.shmat(alone, None, 0)
ctypes.memmove(there, b"alone", 6)
libc.shmdt(ctypes.c_void_p(there))
semaphores = libc.semget(5, 2, 0o1600)
libc.semctl(semaphores, 1, 16, 7)  # SETVAL
queue = libc.msgget(6, 0o1600)
libc.msgsnd(queue, ctypes.byref(Message(3, b"message")), 8, 0)
posix = libc.mq_open(b"/q", os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o600, None)
libc.mq_send(posix, b"posix", 5, 1)
os.chmod("/dev/mqueue", 0o751)
open("/tmp/count", "w").write("4")
while not os.path.exists("/tmp/go"): time.sleep(0.005)
there = libc.shmat(libc.shmget(0x78, 0, 0), None, 0)
found = Message()
libc.msgrcv(libc.msgget(6, 0), ctypes.byref(found), 16, 0, 0)
text = ctypes.create_string_buffer(8192)
n = libc.mq_receive(posix, text, 8192, None)
open("/tmp/result", "w").write(repr([ctypes.string_at(at + 5000), ctypes.string_at(there), libc.semctl(libc.semget(5, 0, 0), 1, 12),
                                     found.type, found.text, text.raw[:n], libc.shmget(0x77, 0, 0), os.stat("/dev/mqueue/q").st_uid,
                                     *os.stat("/dev/mqueue")[4:6], oct(os.stat("/dev/mqueue").st_mode)]))
time.sleep(1000)
"""
FOUND = "[b'segment', b'alone', 7, 3, b'message', b'posix', 0, 0, 0, 0, '0o40751']"


def begin(what, command):
    runner, pid = start(what, command, preexec_fn=become)
    wait_for(lambda: count(pid) > 3, f"{what}: it works")
    return runner, pid


def there_and_back(what, command, copies=1):
    runner, pid = begin(what, command)
    checkpoint(what, runner, pid, preexec_fn=become)
    return restart(what, copies, preexec_fn=become)


def ipc():
    for root in there_and_back("IPC", [*ISOLATE, "--", "/usr/bin/python3", "-c", IPC], 3):
        subprocess.run(["touch", f"/proc/{root}/root/tmp/go"], preexec_fn=become, check=True)
        wait_for(lambda: inside(root, "tmp/result"), "it has looked")
        expect(inside(root, "tmp/result") == FOUND, "IPC: " + inside(root, "tmp/result"))
        end(root)


def closed():
    """a devpts of his that not even he may enter without the rights that he has in there"""
    root, = there_and_back("closed", [*ISOLATE, "--", "sh", "-c", counting("chmod 600 /dev/pts/ptmx; chmod 0 /dev/pts")])
    for path, mode in ("dev/pts", 0o40000), ("dev/pts/ptmx", 0o20600):
        expect(os.stat(f"/proc/{root}/root/{path}").st_mode == mode, f"closed: /{path}: {os.stat(f'/proc/{root}/root/{path}')}")
    end(root)


def files():
    """that he may not open as himself, deleted ones, and those of a directory of his"""
    os.mkdir("mine")
    os.chown("mine", USER, USER)
    script = counting("""hostname fancy
mkdir -m 0 /tmp/closed; echo unread > /tmp/closed/file; chmod 0 /tmp/closed/file; mkfifo -m 0 /tmp/fifo; ln -s nowhere /tmp/link
echo deleted > /tmp/gone; exec 5< /tmp/gone; rm /tmp/gone; echo mine > /mnt/file; exec 6< /mnt/file; cd /mnt""")
    root, = there_and_back("files", [*ISOLATE, "--bind", os.path.abspath("mine") + ":/mnt", "--", "/bin/bash", "-c", script])
    counts_on("files", root)
    top = f"/proc/{root}/root/tmp"
    expect(inside(root, "tmp/closed/file") == "unread", "files: what nobody may read")
    modes = [oct(os.lstat(f"{top}/{name}").st_mode) for name in ("closed", "closed/file", "fifo", "link")]
    expect(modes == ["0o40000", "0o100000", "0o10000", "0o120777"], f"files: {modes}")
    expect(open(f"/proc/{root}/fd/5").read() == "deleted\n", "files: a deleted one")
    expect(open(f"/proc/{root}/fd/6").read() == "mine\n", "files: one of his own")
    expect(os.readlink(f"/proc/{root}/cwd") == "/mnt", "files: " + os.readlink(f"/proc/{root}/cwd"))
    host = subprocess.run(["nsenter", "-t", str(root), "-u", "hostname"], stdout=subprocess.PIPE, check=True).stdout
    expect(host == b"fancy\n", f"files: {host}")
    end(root)


def deleted():
    """mounts of what has been deleted: a directory and a file"""
    script = counting("""cd /tmp; mkdir gone; echo deleted > file; touch point; mount --bind gone /mnt; mount --bind file point
rm file; rmdir gone""")
    root, = there_and_back("deleted", [*ISOLATE, "--", "/bin/bash", "-c", script])
    counts_on("deleted", root)
    roots = [line.split()[3] for line in read(f"/proc/{root}/mountinfo").splitlines()]
    expect("/gone//deleted" in roots and "/file//deleted" in roots and inside(root, "tmp/point") == "deleted", f"deleted: {roots}")
    expect(not any(name.startswith(".stasis") for name in os.listdir(f"/proc/{root}/root/tmp")), "deleted: nothing is left")
    end(root)


def overlay():
    script = counting("""mkdir /tmp/l /tmp/u /tmp/w /tmp/o; echo low > /tmp/l/low
mount -t overlay -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w o /tmp/o && echo up > /tmp/o/up""")
    root, = there_and_back("overlay", [*ISOLATE, "--", "/bin/bash", "-c", script])
    counts_on("overlay", root)
    if inside(root, "tmp/u/up"):  # not every kernel lets a user
        expect(inside(root, "tmp/o/low") == "low" and inside(root, "tmp/o/up") == "up", "overlay: what it shows")
        expect(" - overlay o " in read(f"/proc/{root}/mountinfo"), "overlay: what it is")
    end(root)


def below():
    """user, mount and pid namespaces in the container"""
    script = counting("""unshare -m sh -c 'mount -t tmpfs a /mnt; echo deep > /mnt/deep; echo a >> /tmp/ready; exec sleep 1000' &
unshare -U --map-user=5 sh -c 'echo b >> /tmp/ready; exec sleep 1000' &
unshare -Urpfmui --mount-proc sh -c 'mount -t tmpfs c /mnt; echo deeper > /mnt/deep; echo c >> /tmp/ready; exec sleep 1000' &
while [ "$(wc -l < /tmp/ready)" != 3 ]; do sleep 0.01; done""")
    root, = there_and_back("below", [*ISOLATE, "--", "/bin/bash", "-c", script])
    counts_on("below", root)
    deep = {inside(pid, "mnt/deep") for pid in tree(root)}  # some have ended meanwhile
    expect(deep == {"", "deep", "deeper"}, f"below: their mounts {deep}")
    maps = {read(f"/proc/{pid}/uid_map")[:1] for pid in tree(root)} - {""}
    expect(maps == {"0", "5"}, f"below: {maps}")
    end(root)


def views():
    """cgroup and time namespaces"""
    root, = there_and_back("views", [*bubblewrap("--unshare-user", "--unshare-cgroup"), counting("")])
    counts_on("views", root)
    expect(os.readlink(f"/proc/{root}/ns/cgroup") != os.readlink("/proc/self/ns/cgroup"), "views: of cgroups")
    end(root)
    for who in {}, {"preexec_fn": become}:
        root, = restart("views", 1, "--clock", "continue", **who)
        counts_on("views", root)
        expect(os.readlink(f"/proc/{root}/ns/time") != os.readlink("/proc/self/ns/time"), "views: of clocks")
        end(root)


def inits():
    """bubblewrap's own init, whose user namespaces have other maps; and one below one that changes no id"""
    for what, command in (("bubblewrap's init", [*bubblewrap("--unshare-user"), counting("")]),
                          ("user namespaces", ["unshare", "-U", "--map-current-user",
                                               *bubblewrap("--unshare-user"), counting("")])):
        command = [word for word in command if word != "--as-pid-1"]
        with open("/dev/null", "w") as null:
            runner, pid = start(what, command, preexec_fn=become, stdout=null, stderr=null)
        wait_for(lambda: count(pid) > 3, f"{what}: it works")
        fd = next(fd for fd in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[eventfd]")
        key = re.search(r"eventfd-id:\s+(\d+)", read(f"/proc/{pid}/fdinfo/{fd}"))
        checkpoint(what, runner, pid, "--subtree", "--external", f"eventfd:[{key[1]}]=status", preexec_fn=become)
        root, = restart(what, 1, "--external", "status=/dev/null", preexec_fn=become)
        counts_on(what, root)
        end(root)


def by_either():
    """what root has written the user restarts, and the other way round"""
    for first, second in ({}, {"preexec_fn": become}), ({"preexec_fn": become}, {}):
        runner, pid = begin("either", [*ISOLATE, "--", "/bin/bash", "-c", counting("")])
        checkpoint("either", runner, pid, **first)
        os.chmod(IMAGE, 0o644)
        root, = restart("either", 1, **second)
        counts_on("either", root)
        end(root)
        os.unlink(IMAGE)


def bind_text(path, text):
    """over a file of the host, in this test's mount namespace"""
    with open(os.path.basename(path), "w") as f:
        f.write(text)
    subprocess.run(["mount", "--bind", os.path.basename(path), path], check=True)


def ids():
    """ranges of ids: those of others are seen by root only; which ones he may have newuidmap(1) knows"""
    MAP = f"0 {USER} 1\n1 100000 1000\n"
    for who, more in (({"preexec_fn": become}, ""), ({}, "setpriv --reuid 7 --clear-groups sleep 1000 &")):
        script = counting(f"touch /tmp/other; chown 5:6 /tmp/other /dev/mqueue; chmod 0 /tmp/other\n{more}")
        ready = 'while ! grep -q . /proc/self/gid_map; do sleep 0.01; done; exec setpriv --reuid 0 --regid 0 --clear-groups "$@"'
        p = subprocess.Popen(["unshare", "-U", "sh", "-c", ready, "sh", *bubblewrap("--mqueue", "/dev/mqueue"), script], stdin=subprocess.DEVNULL,
                             preexec_fn=become)
        wait_for(lambda: os.readlink(f"/proc/{p.pid}/ns/user") != os.readlink("/proc/self/ns/user"), "ids: the namespace")
        for name in "uid_map", "gid_map":
            with open(f"/proc/{p.pid}/{name}", "w") as f:
                f.write(MAP)
        wait_for(lambda: any(count(pid) > 3 for pid in children(p.pid)), "ids: it works")
        pid = children(p.pid)[0]
        p.kill()  # it is in the namespace, too
        p.wait()
        if more:
            code, _, err = stasis("checkpoint", pid, "-o", "none", preexec_fn=become)
            expect(code == 1 and "CAP_DAC_OVERRIDE is needed to see what it holds" in err, f"ids: {code} {err}")
            expect(err.count("STASIS-") == 1, f"ids: nothing else is said: {err}")
        code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force", **who)
        expect(code == 0, f"ids: {code} {err}")
        os.waitpid(pid, 0)
        os.chmod(IMAGE, 0o644)
        code, _, err = stasis("restart", IMAGE, preexec_fn=become, env={"PATH": "/nowhere"})
        expect(code == 1 and "CAP_SETUID is needed for ids" in err and f'newuidmap(1) and newgidmap(1) map them: "{USER}:100000:1000"' in err, f"ids: {code} {err}")
        if shutil.which("newuidmap") and os.path.exists("/etc/subuid") and os.path.exists("/etc/subgid"):
            bind_text("/etc/passwd", read("/etc/passwd") + f"\nsomebody:x:{USER}:{USER}::/:/bin/sh\n")
            bind_text("/etc/subuid", f"{USER}:100000:1000\n")
            bind_text("/etc/subgid", f"{USER}:100000:1000\n")
            root, = restart("ids", 1, preexec_fn=become)
            counts_on("ids", root)
            for path in "tmp/other", "dev/mqueue":
                st = os.stat(f"/proc/{root}/root/{path}")
                expect((st.st_uid, st.st_gid) == (100004, 100005), f"ids: {path}: {st}")
            users = set(re.findall(r"\nUid:\t(\d+)", "".join(read(f"/proc/{pid}/status") for pid in tree(root))))
            expect(users == ({str(USER), "100006"} if more else {str(USER)}), f"ids: {users}")
            end(root)
            for path in "/etc/passwd", "/etc/subuid", "/etc/subgid":
                subprocess.run(["umount", path], check=True)
        os.unlink(IMAGE)


def subordinate():
    """tasks under ids that only root can see from outside: stasis runs in the user namespace that has them, as podman unshare does it"""
    holder = subprocess.Popen(["unshare", "-U", "sleep", "1000"], stdin=subprocess.DEVNULL, preexec_fn=become)
    wait_for(lambda: os.readlink(f"/proc/{holder.pid}/ns/user") != os.readlink("/proc/self/ns/user"), "subordinate: the namespace")
    for name in "uid_map", "gid_map":
        with open(f"/proc/{holder.pid}/{name}", "w") as f:
            f.write(f"0 {USER} 1\n1 100000 1000\n")
    enter = ["nsenter", "-U", "--preserve-credentials", "-t", str(holder.pid)]
    runner, pid = begin("subordinate", [*enter, *bubblewrap("--mqueue", "/dev/mqueue"),
                                        counting("touch /tmp/other; chown 5:6 /tmp/other /dev/mqueue\nsetpriv --reuid 7 --clear-groups sleep 1000 &")])

    def within(*words):
        p = subprocess.run([*enter, "unshare", "-m", STASIS, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, preexec_fn=become)
        return p.returncode, p.stdout, p.stderr.decode()

    code, _, err = stasis("checkpoint", pid, "-o", "none", preexec_fn=become)
    expect(code == 1 and "CAP_DAC_OVERRIDE" in err and "podman unshare" in err, f"subordinate: from outside: {code} {err}")
    code, _, err = within("checkpoint", pid, "-o", IMAGE, "--subtree")
    expect(code == 0, f"subordinate: {code} {err}")
    runner.wait()
    code, out, err = within("restart", IMAGE, "--detach")
    expect(code == 0, f"subordinate: {code} {err}")
    if code == 0:
        root = int(out)
        counts_on("subordinate", root)
        for path in "tmp/other", "dev/mqueue":
            st = os.stat(f"/proc/{root}/root/{path}")
            expect((st.st_uid, st.st_gid) == (100004, 100005), f"subordinate: {path}: {st}")
        users = set(re.findall(r"\nUid:\t(\d+)", "".join(read(f"/proc/{p}/status") for p in tree(root))))
        expect(users == {str(USER), "100006"}, f"subordinate: {users}")
        end(root)
    os.unlink(IMAGE)
    holder.kill()
    holder.wait()


def runtimes():
    """what runc(8) and crun(1) make for a user"""
    if not shutil.which("busybox"):
        return
    here = os.getcwd()
    for folder in "bin", "proc", "dev", "tmp":
        os.makedirs("rootfs/" + folder)
    shutil.copy(shutil.which("busybox"), "rootfs/bin/busybox")
    for applet in "sh", "sleep", "mv", "cat", "hostname":
        os.symlink("busybox", "rootfs/bin/" + applet)
    ids = [{"containerID": 0, "hostID": USER, "size": 1}]
    mounts = [{"destination": d, "type": t, "source": t, **({"options": o.split(",")} if o else {})} for d, t, o in (
        ("/proc", "proc", ""), ("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        ("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620"),
        ("/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"), ("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
        ("/tmp", "tmpfs", "nosuid,nodev,mode=1777"))]
    linux = {"namespaces": [{"type": t} for t in ("pid", "ipc", "uts", "mount", "user")], "uidMappings": ids, "gidMappings": ids,
             "maskedPaths": ["/proc/kcore", "/proc/keys"], "readonlyPaths": ["/proc/bus", "/proc/sys"]}
    with open("config.json", "w") as f:
        json.dump({"ociVersion": "1.0.0", "hostname": "box", "root": {"path": here + "/rootfs", "readonly": True}, "linux": linux,
                   "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh", "-c", counting("")], "env": ["PATH=/bin"],
                               "noNewPrivileges": True}, "mounts": mounts}, f)
    for runtime, option in ("runc", "--rootless=true"), ("crun", "--cgroup-manager=disabled"):
        if not shutil.which(runtime):
            continue
        run = subprocess.run([runtime, "--root", f"{here}/{runtime}", option, "run", "--detach", "--pid-file", here + "/pid", "box"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=become,
                             env=dict(os.environ, XDG_RUNTIME_DIR=here), check=False)
        if run.returncode:  # crun wants one version of cgroups
            print(f"{runtime} makes no containers for a user here", flush=True)
            continue
        pid = int(read("pid"))
        wait_for(lambda: count(pid) > 3, f"{runtime}: it works")
        code, _, err = stasis("checkpoint", pid, "-o", IMAGE, "--force", preexec_fn=become)
        expect(code == 0, f"{runtime}: {code} {err}")
        os.waitpid(pid, 0)
        for root in restart(runtime, 2, preexec_fn=become):
            counts_on(runtime, root)
            end(root)
        os.unlink(IMAGE)


def nobody_left(what):
    """all that was ours has ended; what is dead is waited for"""
    def gone():
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return not children(os.getpid())
            except ChildProcessError:
                return True
    wait_for(gone, f"{what}: nobody is left")


def halfway():
    """a checkpoint and a restart, killed and failing"""
    runner, pid = begin("halfway", [*ISOLATE, "--", "/bin/bash", "-c", counting("")])
    reader, writer = os.pipe()
    p = subprocess.Popen([STASIS, "checkpoint", str(pid), "-o", "-"], stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.DEVNULL,
                         preexec_fn=become)
    os.close(writer)
    os.read(reader, 1)  # it is writing, and waits for us
    p.kill()
    p.wait()
    os.close(reader)
    counts_on("halfway", pid)
    checkpoint("halfway", runner, pid, preexec_fn=become)
    nobody_left("halfway")
    with open(IMAGE, "rb") as f:
        image = f.read()
    p = subprocess.Popen([STASIS, "restart", "-", "--detach"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         preexec_fn=become)
    p.stdin.write(image[:-1000])
    p.stdin.flush()
    wait_for(lambda: len(tree(p.pid)) > 3, "halfway: tasks are made")
    p.kill()
    p.wait()
    p.stdin.close()
    nobody_left("halfway: killed")
    cat = subprocess.Popen(["head", "-c", "-1000", IMAGE], stdout=subprocess.PIPE)  # a pipe's end is not known before
    code, out, err = stasis("restart", "-", "--detach", stdin=cat.stdout, preexec_fn=become)
    cat.stdout.close()
    cat.wait()
    expect(code == 3 and not out, f"halfway: {code} {out} {err}")
    nobody_left("halfway: failed")


def shared():
    """anonymous memory"""
    program = """import mmap, os, time
for fd in range(3): os.dup2(os.open("/dev/null", os.O_RDWR), fd)
m = mmap.mmap(-1, 8192)
m[:1] = b"x"
if os.fork() == 0:
    while True:
        m[1:2] = b"y" if m[1] else b"x"
        time.sleep(0.005)
n = 0
while True:
    n += bool(m[1]) and m[:1] == b"x"
    open("/tmp/count.new", "w").write(str(n))
    os.rename("/tmp/count.new", "/tmp/count")
    m[1] = 0
    time.sleep(0.02)"""
    for root in there_and_back("shared", [*ISOLATE, "--", "/usr/bin/python3", "-c", program], 2):
        counts_on("shared", root)
        end(root)


def hosts():
    """the host's mounts, all together: they are locked, and some are covered; as root it needs no such care"""
    os.makedirs("mnt")
    os.makedirs("mine", exist_ok=True)
    subprocess.run("mount -t tmpfs below mnt && mkdir mnt/a && mount -t tmpfs a mnt/a && mount -t tmpfs above mnt", shell=True, check=True)
    for who in {"preexec_fn": become}, {}:
        for more in ["--unshare-pid", "--as-pid-1"], []:
            for how in ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"], ["--dev-bind", "/", "/", "--tmpfs", "/tmp"]:
                what = " ".join(["hosts:", *how[:1], *more, *who])
                runner, pid = start(what, ["bwrap", *more, *how, "--", "/bin/bash", "-c", counting("")], **who)
                wait_for(lambda: count(pid) > 3, f"{what}: it works")
                if more:
                    code, _, err = stasis("checkpoint", pid, "-o", "none", **who)
                    expect(code == 1 and "mount.shared-outside]" in err and "that is the host's, too: --subtree" in err, f"{what}: {code} {err}")
                before = mounts(pid)
                checkpoint(what, runner, pid, "--subtree", **who)
                root, = restart(what, 1, "--new-pidns", "--mntns", "new", **who)
                counts_on(what, root)
                expect(mounts(root) == before, f"{what}: the mounts {mounts(root)} {before}")
                end(root)
                if not who:
                    continue
                subprocess.run(["mount", "-t", "tmpfs", "later", "mine"], check=True)
                code, _, err = stasis("restart", IMAGE, "--detach", "--new-pidns", "--mntns", "new", **who)
                expect(code == 1 and "takes CAP_SYS_ADMIN" in err and "mount.external-missing]" in err, f"{what}: one more: {code} {err}")
                subprocess.run(["umount", "mine"], check=True)
    subprocess.run("umount mnt; umount -R mnt", shell=True, check=True)


def refused():
    """a user has no mounts without those that are locked on them"""
    os.makedirs("outer/inner")
    runner, pid = begin("refused", [*ISOLATE, "--bind", os.path.abspath("outer") + ":/mnt", "--", "/bin/bash", "-c", counting("")])
    checkpoint("refused", runner, pid, preexec_fn=become)
    subprocess.run(["mount", "-t", "tmpfs", "later", "outer/inner"], check=True)
    code, _, err = stasis("restart", IMAGE, "--detach", preexec_fn=become)
    expect(code == 1 and " /mnt (" in err and "): to leave out what is mounted on it here takes CAP_SYS_ADMIN" in err and "unmount that" in err,
           f"refused: {code} {err}")
    subprocess.run(["umount", "outer/inner"], check=True)
    root, = restart("refused", 1, preexec_fn=become)
    counts_on("refused", root)
    end(root)


for case in (ipc, closed, files, deleted, overlay, below, views, inits, by_either, ids, subordinate, runtimes, halfway, shared, hosts, refused):
    case()
done()
