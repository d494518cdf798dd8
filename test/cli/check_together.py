#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""All that stands in the way comes at once, from `check` and from `checkpoint`: also what only a look through
the contents of file systems finds, which a checkpoint takes when it is refused anyway. Options that lift a
refusal lift it for both."""
import json
import os
import re
import subprocess

from cli import STASIS, done, expect, stasis, wait_for
from containers import children

# in its own tmpfs: sockets bound by names, of which one is unlinked; a file with a lease
SUBJECT = """
import fcntl, os, select, socket, time
for name in ("one", "two"):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind("/tmp/" + name)
    os.set_inheritable(s.fileno(), True)
    globals()[name] = s
f = open("/tmp/leased", "w")
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
open("/tmp/all-is-bound", "w")
time.sleep(1000)
"""


def subject(*more):
    p = subprocess.Popen([STASIS, "run", "--isolate", "--", "/bin/sh", "-c",
                          "mount -t tmpfs none /tmp; exec /usr/bin/python3 -c \"$0\"", SUBJECT],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: children(p.pid) and os.path.exists(f"/proc/{children(p.pid)[0]}/root/tmp/all-is-bound"), "it is ready")
    return p, children(p.pid)[0]


def refusals_of(text):
    return {(r["name"], r.get("object"), r["cause"]) for r in text if r["level"] == "refusal"}


def compare(pid, *options):
    """what both say"""
    code, out, _ = stasis("check", pid, "--json", *options)
    checked = refusals_of(json.loads(out)["refusals"])
    expect(code == bool(checked), f"check: {code}")
    code, _, err = stasis("checkpoint", pid, "-o", "image", "--log-format", "json", *options)
    refused = refusals_of(json.loads(line) for line in err.splitlines())
    expect(code == 1 and refused == checked, f"check and checkpoint differ: {checked ^ refused}")
    return checked


runner, pid = subject()
found = compare(pid)
expect([name for name, _, _ in found].count("content.socket") == 2, f"both sockets: {found}")
expect([name for name, _, _ in found].count("fd.unsupported") == 2, f"their descriptors: {found}")
expect(any(name == "content.lease" for name, _, _ in found), f"the lease: {found}")
expect(all(re.search(r"mnt:\[\d+\] mount \d+ /tmp", o) for name, o, _ in found if name.startswith("content")),
       f"which file system: {found}")

code, _, err = stasis("check", pid, "--container", "--subtree")
expect(code == 2 and "exclude each other" in err, f"options of check: {code} {err}")
_, out, _ = stasis("check", pid)
keys = re.findall(r"--external (file:\[[\d:]+\])=NAME", out.decode())
expect(len(keys) == 2, f"the hints' keys: {out.decode()}")
less = compare(pid, *(word for i, key in enumerate(keys) for word in ("--external", f"{key}=s{i}")))
expect(not any(name == "content.socket" for name, _, _ in less) and len(less) == len(found) - 2, f"with options: {less}")
os.kill(pid, 9)
runner.wait()
done()
