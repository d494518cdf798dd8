#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's containers in containers, each made by unshare(1) out of all that is mounted where the one before is, three deep:
checkpointed by himself, and restarted by himself, side by side, and by root."""
import os
import subprocess
import sys

from cli import become, done, expect, stasis, wait_for
from containers import IMAGE, mounts, read, status

NEXT = "exec </dev/null >/dev/null 2>&1\n/usr/bin/unshare -Urpmf --mount-proc /bin/sh %s &\nwait\n"
INNERMOST = """exec </dev/null >/dev/null 2>&1
(while :; do sleep 0.05; done) &
while :; do n=$((n+1)); echo $n $$ $(ls -d /proc/[0-9]* | wc -l) > count.new; mv count.new count; sleep 0.02; done"""


def become_user():
    become()
    os.environ["LC_ALL"] = "C"


def by_name(pid, name):
    """the shell below @pid that runs a script"""
    for child in read(f"/proc/{pid}/task/{pid}/children").split():
        if read(f"/proc/{child}/cmdline").split("\0")[:2] == ["/bin/sh", name]:
            return int(child)
        found = by_name(child, name)
        if found:
            return found
    return 0


def shown(root):
    """of the three inits, from the root of the tree on: numbers, ids, user namespaces and mounts"""
    found = []
    for name in ("outermost", "middle", "innermost"):
        pid = by_name(root, name)
        maps = [read(f"/proc/{pid}/{m}") for m in ("uid_map", "gid_map", "setgroups")]
        found.append((status(pid, "NSpid")[-3:][1 - len(found) - 2:], status(pid, "Uid"), status(pid, "CapEff"), maps, mounts(pid)))
    return found


def counts_on(what, seen=None):
    before = read("count")
    wait_for(lambda: read("count") != before, f"{what}: it counts")
    wait_for(lambda: len(read("count").split()) == 3, f"{what}: it counts whole")
    expect(read("count").split()[1] == "1", f"{what}: it is the init: {read('count')}")


def restart(what, *options, **by):
    code, out, err = stasis("restart", IMAGE, "--mntns", "new", "--detach", *options, **by)
    if code:
        sys.exit(f"{what}: {code} {err}")
    return int(out)


def end(pid):
    os.kill(pid, 9)
    os.waitpid(pid, 0)


if subprocess.run(["unshare", "--user", "true"], stderr=subprocess.DEVNULL, preexec_fn=become).returncode:
    print("users may not make user namespaces here")
    sys.exit(77)
os.chmod(".", 0o777)
os.chmod("..", 0o755)
for name, text in (("outermost", NEXT % "middle"), ("middle", NEXT % "innermost"), ("innermost", INNERMOST)):
    with open(name, "w") as f:
        f.write(text)
runner = subprocess.Popen(["/usr/bin/unshare", "-Urpmf", "--mount-proc", "/bin/sh", "outermost"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=become_user, env={**os.environ, "LC_ALL": "C"})
wait_for(lambda: read("count"), "three deep")
before = shown(runner.pid)
own = {"preexec_fn": become}
code, _, err = stasis("checkpoint", runner.pid, "--subtree", "-o", IMAGE, **own)
if code:
    sys.exit(f"checkpoint: {code} {err}")
runner.wait()

first = restart("by himself", "--new-pidns", **own)
counts_on("by himself")
after = shown(first)
expect(after == before, f"by himself: before: {before} after: {after}")
second = restart("beside it", "--new-pidns", **own)
expect(shown(second) == before, "beside it")
end(second)
counts_on("after the other one has ended")
end(first)
third = restart("by root", "--new-pidns")
counts_on("by root")
after = shown(third)
expect(after == before, f"by root: before: {before} after: {after}")
end(third)
done()
