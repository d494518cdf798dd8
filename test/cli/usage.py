#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Usage errors end with 2 and touch nothing; --help of every command has a worked example."""
import os
import re
import resource

from cli import done, expect, stasis

COMMANDS = ["checkpoint", "restart", "check", "inspect", "verify", "cleanup", "run"]

code, out, err = stasis("--help")
expect(code == 0 and not err, "--help: exit 0")
listed = re.findall(rb"^  (\w+) ", out, re.M)
expect(sorted(listed) == sorted(c.encode() for c in COMMANDS), f"--help lists all commands: {listed}")
expect(stasis()[0] == 2, "no command: exit 2")
expect(stasis("frobnicate")[0] == 2, "an unknown command: exit 2")
expect(stasis("--version")[1].startswith(b"stasis "), "--version")

for command in COMMANDS:
    code, out, err = stasis(command, "--help")
    text = out.decode()
    expect(code == 0 and not err, f"{command} --help: exit {code}, {err}")
    expect(text.startswith(f"usage: stasis {command}"), f"{command} --help: usage line")
    expect(re.search(r"^example.*\n  (stasis|.*\| *stasis|.*stasis)", text, re.M), f"{command} --help: worked example")
    expect(all(len(line) <= 92 for line in text.splitlines()), f"{command} --help: fits a window")
    code, out, err = stasis(command, "--no-such-option")
    expect(code == 2 and "--no-such-option" in err and not out, f"{command}: unknown option: {code} {err}")

WRONG = [
    ["checkpoint"], ["checkpoint", "x"], ["checkpoint", "0"], ["checkpoint", "-5"], ["checkpoint", "1", "2"],
    ["checkpoint", "1", "-o"], ["checkpoint", "1", "-o", ""],
    ["checkpoint", "1", "-o", "i", "--kill", "--leave-running"],
    ["checkpoint", "1", "-o", "i", "--leave-stopped", "--leave-running"],
    ["checkpoint", "1", "-o", "i", "--timeout", "soon"], ["checkpoint", "1", "-o", "i", "--timeout", "-1"],
    ["checkpoint", "1", "-o", "i", "--timeout", "nan"], ["checkpoint", "1", "-o", "i", "--timeout", "1e9"],
    ["checkpoint", "1", "-o", "i", "--compress", "gzip"], ["checkpoint", "1", "-o", "i", "--compress", "zstd:0"],
    ["checkpoint", "1", "-o", "i", "--compress", "zstd:20"], ["checkpoint", "1", "-o", "i", "--compress", "zstd:3x"],
    ["checkpoint", "1", "-o", "i", "--cgroup", "maybe"], ["checkpoint", "1", "-o", "i", "--log-format", "xml"],
    ["checkpoint", "1", "-o", "i", "--progress", "sometimes"],
    ["checkpoint", "1", "-o", "i", "--external", "pipe"], ["checkpoint", "1", "-o", "i", "--external", "pipe:[7]"],
    ["checkpoint", "1", "-o", "i", "--external", "pipe:[7]="], ["checkpoint", "1", "-o", "i", "--external", "7=p"],
    ["checkpoint", "1", "-o", "i", "--external", "pipe:[7]=a/b"],
    ["checkpoint", "1", "-o", "i", "--external", "pipe:[x]=p"],
    ["checkpoint", "1", "-o", "i", "--external", "pipe:[7]=p", "--external", "pipe:[7]=q"],
    ["checkpoint", "1", "-o", "i", "--external", "pipe:[7]=p", "--external", "pipe:[8]=p"],
    ["restart", "a", "b"], ["restart", "a", "--pidfile", "p"], ["restart", "a", "--files-changed", "x"],
    ["restart", "a", "--external", "p"], ["restart", "a", "--external", "p="], ["restart", "a", "--external", "p=fd:x"],
    ["restart", "a", "--external", "a b=x"], ["restart", "a", "--external", "p=x", "--external", "p=y"],
    ["restart", "a", "--cgroup", "x"], ["restart", "a", "--detach=yes"],
    ["check", "1", "2"], ["check", "x"], ["inspect"], ["verify"], ["cleanup", "x"], ["run"], ["run", "--"],
    ["run", "--isolate"], ["run", "--root", "/", "true"], ["run", "--tmpfs", "/tmp", "true"],
    ["run", "--bind", "/a:/b", "true"], ["run", "--isolate", "--tmpfs", "tmp", "true"],
    ["run", "--isolate", "--bind", "/a", "true"], ["run", "--isolate", "--bind", "/a:b", "true"],
    ["run", "--isolate", "--bind", ":/b", "true"], ["run", "--isolate", "--bind", "/a:/b:rw", "true"],
    ["run", "--isolate", "--root", ".", "--bind", "/a:/b:ro:x", "true"],
]
for words in WRONG:
    code, out, err = stasis(*words)
    expect(code == 2, f"{words}: exit {code}, expected 2: {err}")
    expect(err.startswith(f"stasis {words[0]}: ") and "--help" in err and not out, f"{words}: message {err!r}")
expect(os.listdir(".") == [], f"usage errors left {os.listdir('.')}")

for limit, expected in [(16, 1), (32, 0)]:
    code, _, err = stasis("check", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 64)))
    expect(code == expected and ("hint: ulimit -n 32" in err) == (limit < 32), f"check with {limit} open files: {code} {err}")

code, _, err = stasis("check", env=dict(os.environ, STASIS_WITHOUT="no_such_feature"))
expect(code == 2 and "no_such_feature" in err, f"STASIS_WITHOUT with an unknown name: {code} {err}")
done()
