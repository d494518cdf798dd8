# SPDX-License-Identifier: GPL-2.0-or-later
"""The system calls of a run under strace -o FILE, and how a fault is put into one of them at a further run: strace
counts each system call by itself, and those of each task by themselves."""
import re
from typing import NamedTuple


class Step(NamedTuple):
    task: str  # "" without -f
    call: str
    number: int  # 1: the first such call of the task
    line: str

    def inject(self, what):
        """what strace is told so that the fault meets this step only"""
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:{what}:when={self.number}"]

    def __str__(self):
        return f"{self.call} number {self.number}"


def steps(path="trace"):
    counts, found = {}, []
    with open(path, errors="replace") as f:
        for line in f:
            match = re.match(r"(\d*) *(\w+)\(", line)
            if match:
                counts[match.groups()] = counts.get(match.groups(), 0) + 1
                found.append(Step(*match.groups(), counts[match.groups()], line.strip()))
    return found
