#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers as engines make them: the root is an overlay that is mounted outside, too, and unmounted there when the
container has ended. It is mounted again of its layers; what they are not any more is named."""
import contextlib
import os
import re
import shutil
import signal
import subprocess

from cli import done, expect, stasis, wait_for
from containers import IMAGE, checkpoint, count, counting, counts_on, end, inside, mounts, restart, start

PROGRAMS = ["bash", "sleep", "mv", "cat", "umount"]
EDIT = os.path.join(os.environ["BUILD"], "test", "edit")
STORE = os.path.abspath("store")  # what an engine has in /var/lib

# changes in the root, a file that is open there, then work without end
INSIDE = counting("""umount -l /old
exec 8>>/etc/log
echo one >&8
echo changed > /etc/motto
trap 'echo more >&8; cat /etc/motto > /tmp/asked' USR1""")

ENTER = """set -e
mount --make-rprivate /
cd store/merged
mount -t proc proc proc
exec </dev/null >/dev/null 2>&1
pivot_root . old
cd /
exec /bin/bash -c "$INSIDE"
"""


def make_layer(root):
    for name in ("bin", "etc", "tmp", "proc", "dev", "old"):
        os.makedirs(f"{root}/{name}")
    os.mknod(f"{root}/dev/null", 0o020666, os.makedev(1, 3))
    for name in PROGRAMS:
        path = shutil.which(name)
        shutil.copy(path, f"{root}/bin/")
        out = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", out):
            os.makedirs(root + os.path.dirname(library), exist_ok=True)
            shutil.copy(library, root + library)
    with open(f"{root}/etc/motto", "w") as f:
        f.write("as it was\n")


def mount_overlay(options, place="merged", **more):
    subprocess.run(["mount", "-t", "overlay", "container", "-o", options, f"{STORE}/{place}"], check=True, **more)


def unmount(place="merged"):
    subprocess.run(["umount", f"{STORE}/{place}"], check=True)


@contextlib.contextmanager
def stopped(what, options, **more):
    """a container has been saved, and its engine has unmounted its root; the lines of its mounts"""
    for name in ("upper", "work"):
        shutil.rmtree(f"{STORE}/{name}", ignore_errors=True)
        os.mkdir(f"{STORE}/{name}")
    mount_overlay(options, **more)
    runner, pid = start(what, ["unshare", "-p", "-f", "unshare", "-m", "bash", "-c", ENTER], env={**os.environ, "INSIDE": INSIDE})
    wait_for(lambda: count(pid) > 3 and inside(pid, "tmp/tick") == "tick", f"{what}: it counts")
    before = mounts(pid)
    checkpoint(what, runner, pid, "--subtree")
    unmount()
    yield before


def check(what, pid, before):
    counts_on(what, pid)
    seen = inside(pid, "etc/log").count("more")
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: inside(pid, "etc/log").count("more") == seen + 1, f"{what}: it writes to the file that was open")
    wait_for(lambda: inside(pid, "tmp/asked") == "changed", f"{what}: its trap reads what it had written")
    expect(mounts(pid) == before, f"{what}: mounts: {set(mounts(pid)) ^ set(before)}")


def goes_on(what, options, **more):
    with stopped(what, options, **more) as before:
        first, second = restart(what, 2)
        check(what, first, before)
        expect(os.stat(f"/proc/{first}/root").st_dev == os.stat(f"/proc/{second}/root").st_dev,
               f"{what}: both use one overlay, not one layer twice")
        end(first)
        check(what, second, before)
        end(second)
        with open(f"{STORE}/upper/etc/motto") as f:
            expect(f.read() == "changed\n", f"{what}: it is the layer that was written to")
        expect("merged" not in open("/proc/self/mountinfo").read(), f"{what}: nothing is mounted here")


def refused(what, *words):
    code, _, err = stasis("restart", IMAGE, "--detach")
    expect(code == 1 and "mount.external-missing" in err and all(w in err for w in words), f"{what}: {code} {err}")


def moved(name, *words):
    os.rename(f"{STORE}/{name}", f"{STORE}/moved")
    refused(f"{name} is missing", f"replaced: {STORE}/{name}", *words)
    os.mkdir(f"{STORE}/{name}")
    refused(f"{name} is another", f"replaced: {STORE}/{name}", *words)
    os.rmdir(f"{STORE}/{name}")
    os.rename(f"{STORE}/moved", f"{STORE}/{name}")


def layers_that_are_not_there(options):
    with stopped("missing layers", options) as before:
        for name in ("upper", "work", "lower"):
            moved(name, "--root")
        os.mkdir(f"{STORE}/second")
        mount_overlay(f"lowerdir={STORE}/empty,upperdir={STORE}/upper,workdir={STORE}/second", "other")
        refused("another overlay writes to its upper layer", "writes to the same upper layer")
        unmount("other")
        [pid] = restart("all is back", 1)
        check("all is back", pid, before)
        end(pid)


def edited(edit, words):
    """an image that claims other layers than it had"""
    subprocess.run([EDIT, IMAGE, "evil", edit], check=True)
    code, _, err = stasis("restart", "evil", "--detach")
    expect(code == 1 and words in err, f"{edit}: {code} {err}")


def claims(options):
    with stopped("claims", options):
        for edit in ("layers[0].path=/../x", "layers[0].path=x", "layers[0].path=/etc", "layers=", "options[0]=lowerdir=/etc",
                     "options[1]=upperdir=/etc", "options[1]=upperdir=etc", "options[1]=upperdir=/etc/../x", "options[1]=x",
                     "options[+]=upperdir=/etc"):
            edited(f"superblock:overlay.{edit}", "mount.external-missing" if edit == "layers=" else "image.invalid")
        edited("superblock:proc.layers[+].path=/etc", "image.invalid")
        edited("superblock:overlay.layers[1].handle=x", "mount.external-missing")


os.mkdir("store")
subprocess.run(["mount", "-t", "tmpfs", "store", STORE], check=True)
for folder in ("merged", "other", "empty"):
    os.mkdir(f"{STORE}/{folder}")
make_layer(f"{STORE}/lower")
make_layer("root")
WRITTEN = f"upperdir={STORE}/upper,workdir={STORE}/work"
os.makedirs(LONG := f"{STORE}/{'l' * 200}/{'m' * 200}")
goes_on("a tmpfs", f"lowerdir={STORE}/lower,{WRITTEN}")
goes_on("long options", f"lowerdir={LONG}:{STORE}/lower,{WRITTEN}")
goes_on("a lower layer on another file system", f"lowerdir={os.path.abspath('root')},{WRITTEN}")
layers_that_are_not_there(f"lowerdir={STORE}/lower,{WRITTEN}")
with stopped("relative", f"lowerdir=lower,{WRITTEN}", cwd=STORE):
    refused("a relative layer", "relative path, lower")
with stopped("volatile", f"lowerdir={STORE}/lower,{WRITTEN},volatile"):
    refused("a volatile one", "mounts only once")
claims(f"lowerdir={STORE}/lower,{WRITTEN}")
done()
