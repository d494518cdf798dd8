#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A shell in a container on a terminal, checkpointed from outside, goes on in another window."""
import os
import re
import termios

from cli import STASIS, done, expect, stasis, wait_for
from window import Window

PROMPT = r"ready> $"


def command(w, text, pattern):
    """types a line, waits for a line of its output and for the prompt"""
    w.send(text + "\r")
    w.expect(r"(?:^|\n)" + pattern + r"\r?\n")
    w.expect(PROMPT)


def init():
    """the process that is pid 1 of a namespace below ours"""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/status") as f:
                if re.search(r"NSpid:\t\d+\t1\n", f.read()):
                    return int(pid)
        except OSError:
            pass
    return None


w = Window([STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "bash", "--noprofile", "--norc", "-i"], rows=31, columns=97,
           HISTFILE="/dev/null", PS1="ready> ", INPUTRC="/dev/null")
w.expect(PROMPT)
command(w, "x=hello; echo $$ > /tmp/file; cat /tmp/file", "1")
command(w, "stty size", "31 97")
code, _, err = stasis("checkpoint", init(), "-o", "image")
expect(code == 0, f"checkpoint: {code} {err}")
w.end()
w = Window([STASIS, "restart", "image"], rows=20, columns=80)
w.expect(r"restart: 1 task.*\n")
wait_for(lambda: not w.local_flags() & termios.ICANON, "the window's terminal is raw")
w.send("\r")
w.expect(PROMPT)
command(w, "echo $x $$ $(cat /tmp/file)", "hello 1 1")
command(w, "stty size", "20 80")
w.send("exit 5\r")
expect(w.end() == 5, "the shell's exit status")
done()
