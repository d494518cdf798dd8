#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of namespaces, mounts, IPC and cgroups as an enemy writes them for root to restart. Each edit is refused by its code, fails
when the kernel does, or is harmless; nothing hangs, nothing is left, and nothing outside the new namespaces is touched."""
import ctypes
import os
import re
import subprocess
import sys

from cli import STASIS, TOP, done, expect, kernel, live, stasis, wait_for
from containers import children, end, read

EDIT = os.path.join(os.environ["BUILD"], "test", "edit")
FAILS, HARMLESS = "fails", "harmless"
BIG = 1 << 63
GROUP = os.path.basename(os.path.dirname(os.getcwd()))  # the runner takes away what is called like this
ELSEWHERE = f"cgroup_tree.root.path=/{GROUP}-missing"

SETUP = 'while [ ! -e /mnt/go ]; do sleep 0.01; done; exec unshare -C sh -c "$0"'
INSIDE = """exec </dev/null >/dev/null 2>&1
cd /mnt; mkdir a b c d lower upper work merged sys mq
ln -s /etc out; ln -s ../.. up; echo content > a/file
mount -t tmpfs b b; mount --make-shared b; mount --bind b c; mount --make-slave c; mount --bind a d
mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work over merged
mount -t sysfs sys sys; mount -t mqueue mq mq; touch mq/q; touch ns; mount --bind /proc/self/ns/uts ns
ipcmk -M 8192; ipcmk -S 3; ipcmk -Q
exec 9</proc/self/ns/uts >/dev/null 2>&1
(exec unshare -T --monotonic 100 -f sleep 1000) &
(exec unshare -U -r -m -p -f sh -c 'mount -t tmpfs own /mnt/a; touch /mnt/b/ready; exec sleep 1000') &
exec sleep 1000"""

# what comes of it: the edits
EDITS = {
    HARMLESS: """
        mount:/mnt/b.old_id=4294967295
        user_ns.uid_map[0].count=4294967295 user_ns.gid_map[0].count=4294967295
        superblock:mqueue.key=0
        """,
    "image.invalid": f"""
        # paths
        mount:/mnt/b.point=/mnt/../etc
        mount:/mnt/b.point=/mnt/./b
        mount:/mnt/b.point=/mnt//b
        mount:/mnt/b.point=mnt/b
        mount:/mnt/b.point=
        mount:/mnt/b.point=/mnt/b\\x00
        mount:/mnt/d.root=/../etc
        mount:/mnt/d.root=
        mount:/mnt/b.source=a\\x00b
        mount:/mnt/ns.root=/etc
        mount:/mnt/b.outside=/
        mount:/mnt/c.outside=/../x
        mount:/mnt/b.outside_peer=x
        superblock:ext4.anchors[0].path=/../x
        superblock:ext4.anchors[0].path=
        nsfs.path=x
        # what is on what
        mount:/mnt/b.parent=@mount:/mnt/b
        mount:/mnt/b.parent=@mount:/mnt/c mount:/mnt/c.parent=@mount:/mnt/b mount:/mnt/c.point=/mnt/b
        mount:/mnt/b.parent=0
        mount:/.parent=@mount:/mnt/b
        mount:/mnt/b.parent=@mount.30
        mount:/mnt/b.id=1 mount:/mnt/c.id=1
        user_ns.parent=@user_ns
        user_ns.parent=@uts_ns
        pid_ns.1.parent=@pid_ns.1
        pid_ns.0.parent=@pid_ns.1
        pid_ns.1.users[0]=4000000000
        # objects of the wrong kind, or none
        mount:/mnt/b.superblock=@task
        mount:/mnt/b.namespace=@superblock
        mount:/mnt/b.parent=@mnt_ns
        mount:/mnt/b.parent=4000000000
        mount:/mnt/ns.target=@mount
        mount:/mnt/ns.target_type=131072
        mount:/mnt/b.target=@uts_ns
        superblock:mqueue.key=@task
        superblock:mqueue.key=@uts_ns
        superblock:proc.key=@ipc_ns
        superblock:tmpfs.key=@ipc_ns
        superblock:tmpfs.owner=@mount
        superblock:overlay.through[0]=@task
        mnt_ns.1.owner=@pid_ns
        uts_ns.owner=@mount
        time_ns.1.owner=@uts_ns
        cgroup_ns.owner=@uts_ns
        ipc_ns.owner=@uts_ns
        ipc_shm.ns=@uts_ns
        ipc_sem.ns=@task
        ipc_msg.ns=0
        ipc_mq.ns=4000000000
        nsfs.target=@mount
        nsfs.type=0
        nsfs.mount=@task nsfs.path=/
        cred.1.user_ns=@uts_ns
        # file systems
        superblock:ext4.class=1
        superblock:ext4.class=4
        superblock:tmpfs.type=ext4
        superblock:tmpfs.class=2
        superblock:tmpfs.class=99
        superblock:tmpfs.subtype=x
        superblock:tmpfs.flags=1024
        superblock:tmpfs.ghosts=4000000000
        superblock:devpts.ghosts=1
        superblock:devpts.nodes[0].name=../x
        superblock:devpts.nodes[0].mode=65535
        superblock:sysfs.nodes[+].mode=0
        superblock:tmpfs.options[+]=a\\x00b
        superblock:tmpfs.uuid=x
        superblock:overlay.options[0]=lowerdir=lower
        superblock:overlay.options[0]=lowerdir=/mnt/lower:..
        superblock:overlay.options[1]=upperdir=../../etc
        superblock:overlay.through=
        superblock:overlay.flattened=1
        mount:/mnt/b.attributes={BIG}
        mount:/mnt/b.attributes=48
        mount:/mnt/b.unbindable=1
        mount:/mnt/d.ghost=1
        mount:/mnt/d.deleted=1
        mount:/.locked=1
        mount:/mnt/b.locked_attributes={BIG}
        mount:/mnt/b.attributes=1048576
        mount:/mnt/b.attributes=1048576 mount:/mnt/b.uid_map=-1\\x200\\x201 mount:/mnt/b.gid_map=0\\x200\\x201
        mount:/mnt/b.uid_map=0\\x200\\x201
        # namespaces
        user_ns.uid_map[0].count=0
        user_ns.uid_map[0].outside=4294967295
        user_ns.uid_map[+].count=1
        user_ns.owner=4294967295
        uts_ns.node_name={"x" * 65}
        pid_ns.1.dead=1
        pid_ns.0.last_pid=4294967295
        time_ns.1.monotonic_ns={BIG * 2 - 1}
        time_ns.1.boottime_ns={BIG}
        # IPC
        ipc_ns.settings[0].name=kernel/core_pattern
        ipc_ns.settings[0].name=../sys/kernel/shmmax
        ipc_ns.settings[0].value=|/bin/sh
        ipc_shm.size=0
        ipc_shm.size={BIG}
        ipc_shm.perm.id=-1
        ipc_shm.perm.mode=65535
        ipc_shm.huge_shift=99
        ipc_sem.values[0]=40000
        ipc_msg.stream_size={BIG}
        ipc_msg.n_messages={BIG}
        ipc_mq.name=..
        ipc_mq.name=../x
        ipc_mq.name=
        ipc_mq.max_messages=0
        ipc_mq.max_messages={BIG}
        ipc_mq.message_size=0
        ipc_mq.message_size=4294967296
        ipc_mq.n_messages=5
        ipc_mq.stream_size={BIG}
        ipc_mq.notify.how=99
        # cgroups
        cgroup.memberships[0].path=/../x
        cgroup.memberships[0].path=x
        cgroup_ns.roots[0].path=/x/../../y
        cgroup_tree.root.path=/
        cgroup_tree.root.path=/../x
        cgroup_tree.root=
        cgroup_tree.groups=
        cgroup_tree.groups[+].path=/../x
        cgroup_tree.groups[+].path=x
        cgroup_tree.groups[0].files[+].name=../cgroup.procs
        cgroup_tree.groups[0].files[+].name=cgroup.procs
        cgroup_tree.groups[0].files[+].name=cgroup.kill
        cgroup_tree.groups[0].owners[+].name=../x
        cgroup_tree.groups[0].xattrs[+].name=security.capability
        cgroup_tree.groups[0].filters[+].name=x
        cgroup_tree.groups[0].filters[+].instructions=1234567
        cgroup_tree.groups[0].filters[+].instructions=12345678 cgroup_tree.groups[0].filters[0].name=a/b
        cgroup_tree.groups[0].filters[+].instructions=12345678 cgroup_tree.groups[0].filters[0].name=aaaabbbbccccdddd
        cgroup_tree.groups[0].filters[+].instructions=12345678 cgroup_tree.groups[0].filters[+].instructions=12345678
        cgroup_tree.groups[0].filters[+].instructions=12345678 cgroup_tree.groups[0].filter_flags=64
        cgroup_tree.groups[0].filter_flags=2
        """,
    "cgroup.program": f"""
        # the kernel's verifier knows better: nonsense, and one that returns what it has not set
        {ELSEWHERE} cgroup_tree.groups[0].filters[+].instructions=12345678
        {ELSEWHERE} cgroup_tree.groups[0].filters[+].instructions=\\x95\\x00\\x00\\x00\\x00\\x00\\x00\\x00
        """,
    "pid.max": """
        task.1.pgid=2147483647
        """,
    "mount.point-missing": """
        mount:/mnt/d.point=/mnt/out/ssl
        mount:/mnt/d.point=/mnt/up/x
        mount:/mnt/d.point=/mnt/none
        mount:/mnt/d.root=/out
        """,
    "mount.external-missing": """
        superblock:ext4.anchors[0].inode=1 superblock:ext4.anchors[0].handle=
        superblock:ext4.anchors=
        superblock:sysfs.class=0
        superblock:sysfs.class=4 superblock:sysfs.flags=16 superblock:sysfs.type=debugfs
        """,
    "cred.login-uid": """
        cred.1.login_uid=2147483648
        """,
    "mount.differs": """
        superblock:sysfs.flags=1
        superblock:mqueue.flags=1 superblock:mqueue.key=0
        mount:/mnt/c.master=77
        """,
    "mount.group-gone": """
        mount:/mnt/b.outside_peer=/none
        mount:/mnt/c.outside=/none
        """,
    FAILS: f"""
        mount:/mnt/d.root=/out/passwd
        mount:/mnt/d.root=/up/etc
        mount:/mnt/d.root=/none
        mount:/mnt/b.master=6 mount:/mnt/c.master=5 mount:/mnt/c.peer_group=6 mount:/mnt/b.peer_group=5
        superblock:overlay.through[0]=@mount:/mnt/merged
        superblock:tmpfs.options[+]=size=1,mode=777
        superblock:tmpfs.options[+]=size=1\\x0amode=777
        superblock:tmpfs.options[+]=nothing
        superblock:mqueue.options[+]=mode=777
        superblock:sysfs.owner=@user_ns
        pid_ns.0.pid_max=1
        nsfs.path=FIFO nsfs.mount=0
        nsfs.path=/dev/watchdog nsfs.mount=0
        """,
}


def in_a_box():
    """sysfs, mqueue and host name of namespaces of our own: nothing of the machine's is at risk should an edit get through"""
    if "BOX" not in os.environ:
        os.environ["BOX"] = "yes"
        os.execvp("unshare", ["unshare", "-n", "-u", "-m", sys.executable, os.path.abspath(__file__)])
    os.mkdir("cgroup")
    for command in ("mount --rbind /sys/fs/cgroup cgroup", "umount -l /sys", "mount -t sysfs box /sys",
                    "mount --rbind cgroup /sys/fs/cgroup", "mkdir -p /dev/mqueue", "mount -t mqueue box /dev/mqueue"):
        subprocess.run(command.split(), check=True)


def make_base():
    """in a cgroup of its own, that goes along, too"""
    group = "/sys/fs/cgroup/unified/" + GROUP
    runner = subprocess.Popen([STASIS, "run", "--isolate", "--tmpfs", "/mnt", "--", "sh", "-c", SETUP, INSIDE], stdin=subprocess.DEVNULL)
    wait_for(lambda: runner.poll() is not None or children(runner.pid), "the container is there")
    init = children(runner.pid)[0]
    os.mkdir(group)
    with open(group + "/cgroup.procs", "w") as f:
        f.write(str(init))
    wait_for(lambda: read(f"/proc/{init}/comm") == "sh", "it has its root")
    open(f"/proc/{init}/root/mnt/go", "w").close()
    wait_for(lambda: os.path.exists(f"/proc/{init}/root/mnt/b/ready"), "it is set up")
    code, _, err = stasis("checkpoint", init, "-o", "base")
    expect(code == 0, f"checkpoint: {err}")
    runner.wait()


def outside():
    """what no restart may change; stasis() compares mountinfo, with the flags of file systems in it"""
    seen = [os.uname().nodename] + [read("/proc/sys/" + s) for s in ("kernel/core_pattern", "kernel/shmmax", "kernel/pid_max")]
    seen += [sorted(os.listdir(d)) for d in ("/", "/etc", "/dev", "/dev/mqueue", "/sys", ".")]
    seen += [read("/proc/sysvipc/" + s) for s in ("shm", "sem", "msg")]
    return seen + [(s.st_mode, s.st_uid, s.st_gid) for s in map(os.stat, ("/sys", "/proc", "/dev/mqueue", "/etc", "/dev/null"))]


def attack(expected, edits):
    subprocess.run([EDIT, "base", "evil", *edits], check=True)
    code, out, err = stasis("restart", "evil", "--detach", "--mntns", "new")
    if code == 0:
        end(int(out))
    found = HARMLESS if code == 0 else (re.findall(r"\[STASIS-E\d+ ([a-z.-]+)\]", err) or [FAILS])[0]
    expect(found == expected and code in (0, 1, 3), f"{edits}: {code} {found}, not {expected}: {err[:300]}")
    wait_for(lambda: not live(), f"{edits}: nothing is left")


in_a_box()
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
os.mkfifo("fifo")
make_base()
open("evil", "w").close()
before = outside()
for expected, lines in EDITS.items():
    for line in lines.splitlines():
        if line.strip() and "#" not in line:
            older = "pid_max" in line and kernel() < (6, 14)  # no pid namespace has its own
            attack(HARMLESS if older else expected, line.replace("FIFO", os.path.abspath("fifo")).split())
for was, now in zip(before, outside()):
    expect(was == now, f"outside: {was}, now {now}")
done()
