#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""inspect shows what was there; verify and inspect tell a damaged image from a whole one."""
import json
import os
import random
import subprocess
import sys

from cli import done, expect, stasis, state, wait_for

# a process with a child in a pipeline, a file at an offset, a deleted file, and a zombie
PROGRAM = """
import os, signal
os.makedirs("f\\x1b[31mo\\\\o", exist_ok=True)
f = open("f\\x1b[31mo\\\\o/data", "wb"); f.write(b"0123456789"); f.flush()
g = open("gone", "wb"); g.write(b"x" * 5000); g.flush(); os.unlink("gone")
r, w = os.pipe(); os.write(w, b"hello")
if os.fork() == 0:
    os._exit(3)
if os.fork() == 0:
    open("ready", "w").close()
    signal.pause()
signal.pause()
"""
p = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)
wait_for(lambda: os.path.exists("ready"), "the program is ready")
wait_for(lambda: state(p.pid) == "S", "it sleeps")
kids = open(f"/proc/{p.pid}/task/{p.pid}/children").read().split()
wait_for(lambda: sorted(map(state, kids)) == ["S", "Z"], "one child is dead, the other sleeps")
maps = [line.split() for line in open(f"/proc/{p.pid}/maps")]
code, _, err = stasis("checkpoint", p.pid, "-o", "image")
expect(code == 0, f"checkpoint: {code} {err}")
p.wait()


def show(*words, **more):
    code, out, err = stasis("inspect", "image", *words, **more)
    expect(code == 0 and not err, f"inspect {words}: {code} {err}")
    return out.decode()


# ---- text ----
tree = show("--tree").splitlines()
expect(len(tree) == 3 and tree[0].startswith(f"{p.pid} python3") and f"session {p.pid}" in tree[0], f"tree: {tree}")
expect(tree[1].startswith("├─") and "zombie, exit 3" in tree[1] and tree[2].startswith("└─"), f"children: {tree}")
summary = show()
for word in ("image ", "format 1.0", "3 tasks", tree[0], "What cannot come back:", "the start time of processes", " mm", " task"):
    expect(word in summary, f"summary has {word!r}: {summary}")
expect("all tasks are in the namespaces" in show("--namespaces") and json.loads(show("--namespaces", "--json")) == [], "no namespaces")
memory = show("--memory")
for m in maps:
    if "[vsyscall]" not in m:
        start, end = m[0].split("-")
        expect(f" {int(start, 16):x}-{int(end, 16):x} " in memory, f"memory has {m[0]}")
expect("[heap]" in memory and "[stack]" in memory and "[vdso]" in memory, "heap, stack and vdso are named")
files = [line.split() for line in show("--files").splitlines()]
expect(files[0] == ["COMMAND", "PID", "FD", "MODE", "TYPE", "OFFSET", "NAME"], f"files: {files[0]}")
mine = {line[2]: line for line in files[1:] if line[1] == str(p.pid)}
expect(mine["0"][3:5] == ["rw", "chardev"] and mine["0"][-1] == "/dev/null", f"fd 0: {mine['0']}")
expect(mine["3"][3:6] == ["w", "regfile", "10"], f"fd 3: {mine['3']}")
expect(mine["3"][6].endswith("/f\\x1b[31mo\\x5co/data"), f"a name that would colour the terminal: {mine['3']}")
expect(mine["4"][-1] == "(deleted)", f"fd 4: {mine['4']}")
expect(mine["5"][3:5] == ["r", "pipe"] and mine["6"][3:5] == ["w", "pipe"], f"pipe: {mine['5']} {mine['6']}")
expect(mine["cwd"][-1] == os.getcwd() and mine["txt"][-1] == os.path.realpath(sys.executable), f"cwd, txt: {mine}")
objects = show("--objects")
expect(f" sighand of {p.pid} python3" in objects and "end_code" in objects, "objects")
records = show("--records").splitlines()
expect(records[1].split()[0] == "200" and any(" pages " in r and "zstd" in r for r in records), f"records: {records[:3]}")
expect("\x1b" not in summary + memory + objects + "\n".join(map(str, files)), "nothing reaches the terminal raw")

# ---- JSON ----
everything = json.loads(show("--json"))
expect(set(everything) == {"image", "tasks", "address_spaces", "other_contents", "files", "objects", "cannot_come_back"},
       f"members: {sorted(everything)}")
expect([t["tid"] for t in everything["tasks"]][0] == p.pid and everything["image"]["tasks"] == 3, "tasks in JSON")
expect([t["state"] for t in everything["tasks"]].count("ZOMBIE") == 1, "the zombie in JSON")
for view, key in (("--tree", "tasks"), ("--files", "files"), ("--objects", "objects")):
    expect(json.loads(show(view, "--json")) == everything[key], f"{view} --json is the member {key}")
alone = json.loads(show("--memory", "--json"))
expect(alone["address_spaces"] == everything["address_spaces"], "--memory --json")
saved = sum(s["saved_bytes"] for s in alone["address_spaces"])
inner = sum(m["saved_bytes"] for s in alone["address_spaces"] for m in s["mappings"])
expect(saved == inner > 0, f"pages of mappings: {saved} {inner}")
total = saved + sum(o["saved_bytes"] for o in alone["other_contents"])
expect(total == everything["image"]["saved_pages"] * 4096, f"all pages are somewhere: {total} {everything['image']}")
as_json = json.loads(show("--records", "--json"))
expect(len(as_json) == len(records) - 1 and as_json[0]["offset"] == 200, "--records --json")

# ---- other ways in ----
with open("image", "rb") as f:
    expect(stasis("inspect", "-", stdin=f)[1].decode() == summary, "standard input, a file")
data = open("image", "rb").read()
expect(stasis("inspect", "-", stdin=None, input=data)[1].decode() == summary, "standard input, a pipe")
code, out, err = stasis("verify", "image")
expect(code == 0 and out.startswith(b"image: valid: 3 tasks") and not err, f"verify: {code} {out} {err}")
expect(stasis("verify", "-", stdin=None, input=data)[0] == 0, "verify of a pipe")
with open("/dev/full", "w") as full:
    expect(stasis("inspect", "image", stdout=full)[0] == 1, "standard output is full")
for words in (["inspect"], ["verify"], ["inspect", "a", "b"], ["inspect", "--tree", "--files", "image"]):
    expect(stasis(*words)[0] == 2, f"{words}: usage")
expect(stasis("verify", "nothing")[0] == 1 and stasis("inspect", "nothing")[0] == 1, "no such file")

# ---- damaged ----
expect(stasis("verify", "-", stdin=None, input=b"")[0] == 1, "verify of nothing")
expect("[STASIS-E0013 image.invalid]" in stasis("verify", "/bin/sh")[2], "verify of something else")
for size in (10, 250, len(data) // 2, len(data) - 1):
    with open("cut", "wb") as f:
        f.write(data[:size])
    for words in (["verify", "cut"], ["inspect", "cut"], ["restart", "cut", "--detach"]):
        code, out, err = stasis(*words)
        expect(code == 1 and "STASIS-E" in err, f"{words} of {size} bytes: {code} {err}")
with open("longer", "wb") as f:
    f.write(data + b"x")
expect(stasis("verify", "longer")[0] == 1, "bytes after the end")
chance = random.Random(4711)
for _ in range(60):
    at = chance.randrange(len(data))
    with open("flipped", "wb") as f:
        f.write(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:])
    code, _, err = stasis("verify", "flipped")
    expect(code == 1 and "STASIS-E" in err, f"verify with byte {at} changed: {code} {err}")
    code, _, err = stasis("inspect", "flipped", "--objects")
    expect(code in (0, 1), f"inspect with byte {at} changed: {code} {err}")
done()
