#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Restarts that fail at one point or another after a mount namespace has been made that had to wait for a pid namespace, whose
/proc is locked in it: no process, mount or cgroup is left."""
import os
import re
import subprocess

from cli import STASIS, done, expect, live, stasis, wait_for
from containers import IMAGE, checkpoint, count, counts_on, end, read, restart, start

EDIT = os.path.join(os.environ["BUILD"], "test", "edit")
NEXT = "exec </dev/null >/tmp/out 2>&1\n/usr/bin/unshare -Urpmf --mount-proc /bin/sh /srv/%s &\nwait\n"
INNERMOST = """mkdir /tmp/deep
mount -t tmpfs none /tmp/deep
cd /tmp/deep
echo deep > named
exec 3<named 4>gone
rm gone
sleep 1000 | cat &
while :; do n=$((n+1)); echo $n > /tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.02; done"""


def make_root():
    os.makedirs("srv")
    for name, text in (("outermost", NEXT % "middle"), ("middle", NEXT % "innermost"), ("innermost", INNERMOST)):
        with open(f"srv/{name}", "w") as f:
            f.write(text)


def empty_groups():
    """cgroups of all hierarchies without members, as ours would be; the machine's other ones come and go"""
    return {path for path, _, files in os.walk("/sys/fs/cgroup") if "cgroup.procs" in files and not read(f"{path}/cgroup.procs")}


def fields():
    out = subprocess.run([EDIT, IMAGE], stdout=subprocess.PIPE, check=True, text=True).stdout
    return [line.split(" ", 2) for line in out.splitlines()]


def last(field, value="(.*)"):
    """the object that has it, of many the last: the innermost"""
    found = [name for name, _, text in fields() if re.fullmatch(rf"(\w+\.\d+)\.{field}", name) and re.fullmatch(value, text)]
    expect(found, f"no {field} is {value} in the image")
    return ".".join(found[-1].split(".")[:2]) if found else "none"


def fails(what, words, image="evil", **more):
    before, mounted = empty_groups(), read("/proc/self/mountinfo")
    code, out, err = stasis("restart", image, "--detach", **more)
    if "stdin" in more:
        more["stdin"].close()
    expect(code == 3 and not out and words in err, f"{what}: {code} {out} {err}")
    wait_for(lambda: not live(), f"{what}: no process is left")
    wait_for(lambda: empty_groups() <= before, f"{what}: no cgroup is left")
    expect(read("/proc/self/mountinfo") == mounted, f"{what}: the host's mounts are as before")


def fails_edited(edit, words):
    subprocess.run([EDIT, IMAGE, "evil", edit], check=True)
    fails(edit, words)


def fails_damaged(what, damage, words):
    with open(IMAGE, "rb") as f:
        data = bytearray(f.read())
    with open("evil", "wb") as f:
        f.write(damage(data))
    with subprocess.Popen(["cat", "evil"], stdout=subprocess.PIPE) as cat:  # its end is not looked at beforehand
        fails(what, words, image="-", stdin=cat.stdout)


def flip(where):
    def damage(data):
        data[where(len(data))] ^= 0x40
        return data
    return damage


make_root()
host = read("/proc/self/mountinfo")
runner, pid = start("nested", [STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--bind", f"{os.path.abspath('srv')}:/srv", "--",
                               "/bin/sh", "/srv/outermost"])
wait_for(lambda: count(pid) > 3, "it counts")
checkpoint("nested", runner, pid)
wait_for(lambda: not live(), "all of it is gone")

# when the namespace has been made, and what is on it
fails_edited("regfile:/named.size=9", "/named: its size has changed")
fails_edited(f"{last('point', '/tmp/deep')}.attributes=1", "/gone: it was deleted")  # read-only
# when all tasks have been cloned, in the innermost
fails_edited(f"{last('cwd')}.cwd=@regfile:/named", "Not a directory")
fails_edited(f"{last('exe')}.exe=@regfile:/named", "Permission denied")
fails_edited(f"{last('start_code')}.start_code=1", "PR_SET_MM_MAP")
fails_edited(f"{last('flags', '32769')}.flags=65536", "Not a directory")  # O_DIRECTORY
# while memory is filled, and after it
fails_damaged("pages", flip(lambda size: size * 9 // 10), "image.checksum")
fails_damaged("cut off", lambda data: data[:-len(data) // 20], "image.truncated")
fails_damaged("trailer", flip(lambda size: size - 8), "image.")

for root in restart("nested", 1):
    counts_on("nested", root)
    end(root)
expect(read("/proc/self/mountinfo") == host, "the host's mounts are as before")
done()
