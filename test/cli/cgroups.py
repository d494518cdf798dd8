#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The cgroups of a container: each restart beside another gets its own; one that fails or is killed leaves none."""
import os
import signal
import subprocess

from cli import STASIS, done, expect, stasis, wait_for
from own_cgroups import NAME, V1, V2, groups, remove, save


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def inside(pid):
    """as the tasks themselves see it"""
    text = subprocess.run(["nsenter", "-t", str(pid), "-C", "cat", f"/proc/{pid}/cgroup"], stdout=subprocess.PIPE, text=True).stdout
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in text.splitlines()}


save(f"echo 64 >{V1}/{NAME}/pids.max", "unshare -C -m", "mount -t cgroup2 cgroup2 /mnt")

# the first one takes what is there, the others get their own
first = groups()
roots = []
for i in range(3):
    code, out, err = stasis("restart", "image", "--detach")
    expect(code == 0, f"restart {i}: {err}")
    roots.append(int(out))
want = {f"{h}/{NAME}{s}{below}": n for s in ("", ".1", ".2")
        for h, below, n in (("pids", "", 1), ("unified", "", 0), ("unified", "/inner", 1))}
expect(groups() == want, f"side by side: {groups()}")
for pid, suffix in zip(roots, ("", ".1", ".2")):
    with open(f"/proc/{pid}/mountinfo") as f:
        mounted = [line.split()[3] for line in f if line.split()[4] == "/mnt"]
    expect(mounted == [f"/{NAME}{suffix}"], f"the mount shows {mounted}")
    expect(inside(pid)["pids"] == "/" and inside(pid)[""] == "/inner", f"inside: {inside(pid)}")
expect(open(f"{V1}/{NAME}.2/pids.max").read() == "64\n", "the settings of a new group")
# one that has been left is taken again
end(roots[1])
wait_for(lambda: not groups()[f"pids/{NAME}.1"], "the second is gone")
code, out, err = stasis("restart", "image", "--detach")
expect(code == 0 and groups() == want, f"again: {err} {groups()}")
for pid in (roots[0], roots[2], int(out)):
    end(pid)
wait_for(lambda: not any(groups().values()), "all have ended")
remove()

# at once: each has its own
running = [subprocess.Popen([STASIS, "restart", "image", "--detach"], stdout=subprocess.PIPE, text=True) for _ in range(8)]
roots = [int(r.communicate()[0] or 0) for r in running]
expect(all(roots) and sorted(groups().values()) == [0] * 8 + [1] * 16, f"at once: {groups()}")
for pid in filter(None, roots):
    end(pid)
wait_for(lambda: not any(groups().values()), "all have ended")
remove()

# a broken image, noticed when all is made
with open("image", "rb") as f:
    data = f.read()
broken = bytearray(data)
broken[-300] ^= 1
with open("broken", "wb") as f:
    f.write(broken)
code, _, err = stasis("restart", "broken", "--detach")
expect(code in (1, 3), f"a broken image: {code} {err}")
expect(not groups(), f"a failed restart leaves {groups()}")

# killed in the middle: the groups are there, since the end of the image has not come
r, w = os.pipe()
p = subprocess.Popen([STASIS, "restart", "-", "--detach"], stdin=r, stderr=subprocess.DEVNULL)
os.close(r)
os.write(w, data[:-400])
wait_for(lambda: groups().get(f"unified/{NAME}/inner"), "the groups are made")
p.kill()
p.wait()
os.close(w)
wait_for(lambda: not any(groups().values()), "the stubs are gone")
code, _, err = stasis("cleanup")
expect(code == 0 and "3 effects" in err, f"cleanup: {code} {err}")
expect(not groups(), f"cleanup leaves {groups()}")

# what is not made cannot be mounted
code, _, err = stasis("restart", "image", "--detach", "--cgroup", "ignore")
expect(code == 1 and "mount.external-missing" in err and not groups(), f"--cgroup ignore: {code} {err} {groups()}")

# one without a namespace, as engines make them with cgroups of v1, and take the group away when it has ended
PLAIN = f"""mkdir {V1}/{NAME} && echo 64 >{V1}/{NAME}/pids.max
exec unshare -pf unshare -m sh -c 'mount -t tmpfs t /mnt; mkdir /mnt/m; mount --bind {V1}/{NAME} /mnt/m; echo 0 >{V1}/{NAME}/cgroup.procs
exec sleep 1000'"""
p = subprocess.Popen(["sh", "-c", PLAIN], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wait_for(lambda: groups().get(f"pids/{NAME}"), "the container runs")
with open(f"{V1}/{NAME}/cgroup.procs") as f:
    init = int(f.read())
wait_for(lambda: open(f"/proc/{init}/comm").read() == "sleep\n", "exec of sleep")
code, _, err = stasis("checkpoint", init, "-o", "plain", "--subtree")
expect(code == 0, f"without a namespace: {err}")
p.wait()
wait_for(lambda: not any(groups().values()), "the group is empty")
remove()
roots = []
for i in range(2):
    code, out, err = stasis("restart", "plain", "--detach")
    expect(code == 0, f"restart without a namespace {i}: {err}")
    roots.append(int(out or 0))
expect(groups() == {f"pids/{NAME}": 2}, f"both are where it was: {groups()}")
expect(open(f"{V1}/{NAME}/pids.max").read() == "64\n", "the settings of the group")
for pid in roots:
    end(pid)
wait_for(lambda: not any(groups().values()), "all have ended")
remove()
done()
