#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual, the README's tables and the completion say what the command does."""
import os
import re
import subprocess

from cli import TOP, done, expect, stasis


def run(*words, **more):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **more)


p = run("tools/readme-table", "--check", cwd=TOP)
expect(p.returncode == 0, "tables: " + p.stdout)

# a refusal that nothing raises is none; a test for one that is not there tests nothing
with open(os.path.join(TOP, "src", "util", "codes.def"), encoding="utf-8") as f:
    codes = dict(re.findall(r"^CODE\(\d+, (\w+), \"([^\"]+)\"", f.read(), re.M))
sources = tests = ""
for folder, _, names in list(os.walk(os.path.join(TOP, "src"))) + list(os.walk(os.path.join(TOP, "test"))):
    for name in names:
        if name.endswith((".c", ".h", ".py")):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                if folder.startswith(os.path.join(TOP, "src")):
                    sources += f.read()
                else:
                    tests += f.read()
words = set(re.findall(r"\w+", sources))
for symbol, name in codes.items():
    expect("CODE_" + symbol in words or symbol in words, f"nothing raises {name}")
for symbol, name in codes.items():
    expect(re.search(rf"\b{re.escape(name)}\b", tests) or f"CODE_{symbol}" in tests, f"no test triggers {name}")
for name in re.findall(r"^ \* TEST .*\bcode=(\S+)", tests, re.M):
    expect(name in codes.values(), f"a test expects {name}, which is no refusal")

# each case of the design of mount namespaces has a test
listed = set(run("test/run", "--list", cwd=TOP).stdout.split())
numbers = []
with open(os.path.join(TOP, "test", "mounts.cases"), encoding="utf-8") as f:
    for line in (line for line in f if not line.startswith("#")):
        numbers.append(int(line.split()[0]))
        for test in (word for word in line.split()[1:] if re.match(r"(unit|kinds|cli|test|tools)/", word)):
            expect(test in listed or os.path.exists(os.path.join(TOP, test)), f"case {numbers[-1]}: there is no {test}")
expect(numbers == list(range(1, 79)), f"cases without a test: {sorted(set(range(1, 79)) - set(numbers))}")

for page in ("stasis.1", "stasis-image.5"):
    p = run("mandoc", "-Tlint", "-Wstyle", os.path.join(TOP, "doc", page))
    # what other manuals are installed, and whether their index is fresh, is not ours
    found = [line for line in p.stdout.splitlines() if "manual not found" not in line and "mandoc.db" not in line]
    expect(not found, "\n".join(found))

with open(os.path.join(TOP, "doc", "stasis.1"), encoding="utf-8") as f:
    manual = f.read().replace("\\-", "-")
with open(os.path.join(TOP, "completion", "stasis"), encoding="utf-8") as f:
    completion = f.read()

for command in ("checkpoint", "restart", "check", "inspect", "verify", "cleanup", "run"):
    text = stasis(command, "--help")[1].decode()
    options = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", text.split("\nexample")[0])) - {"--help"}
    expect(f".Ss stasis {command}\n" in manual, f"stasis(1) has a section on {command}")
    for option in sorted(options):
        expect(option.lstrip("-") in manual, f"{option} of {command} is in stasis(1)")
    p = run("bash", "-c", f"""
source {TOP}/completion/stasis
COMP_WORDS=(stasis {command} --) COMP_CWORD=2 && _stasis && printf '%s\\n' "${{COMPREPLY[@]}}" """)
    offered = set(p.stdout.split()) - {"--help"}
    if command != "run":
        expect(offered == options, f"completion of {command} offers {sorted(offered)}, help has {sorted(options)}")

for words, wanted in [(["stasis", "che"], {"checkpoint", "check"}), (["stasis", "checkpoint", "--compress", "z"], {"zstd", "zstd:"}),
                      (["stasis", "restart", "--files-changed", ""], {"refuse", "allow"}), (["stasis", "check", "1"], {"1"})]:
    p = run("bash", "-c", f"""
source {TOP}/completion/stasis
COMP_WORDS=({' '.join(w or "''" for w in words)}) COMP_CWORD={len(words) - 1}; _stasis; printf '%s\\n' "${{COMPREPLY[@]}}" """)
    got = set(p.stdout.split())
    expect(wanted <= got, f"completion of {words}: {got}")
done()
