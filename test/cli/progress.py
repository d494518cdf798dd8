#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The progress bar: on a terminal, when the work takes over half a second: phase, bytes, rate, time left. The
work takes as long as this script, which reads the image or feeds it, wants."""
import os
import re
import signal
import subprocess
import sys
import time

from cli import STASIS, done, expect, stasis, state, wait_for
from window import Window

BAR = r"\[#*\.*\] [0-9.]+ [KMG]iB of [0-9.]+ [KMG]iB, [0-9.]+ ?[KMG]?i?B/s, [0-9.]+ (s|ms|us) left"

p = subprocess.Popen([sys.executable, "-c", "import os, time; b = os.urandom(48 << 20); open('ready', 'w').close(); time.sleep(1000)"],
                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
wait_for(lambda: os.path.exists("ready") and state(p.pid) == "S", "the program is ready")
os.mkfifo("out")


def checkpoint(words, seen):
    """the window of a checkpoint, whose image is taken slowly until @seen(window)"""
    w = Window(["sh", "-c", f"exec {STASIS} checkpoint {p.pid} --leave-running {words} > out"])
    fd = os.open("out", os.O_RDONLY)
    total = 0
    while data := os.read(fd, 65536):
        total += len(data)
        if not seen(w):
            w.read(0.01)
    os.close(fd)
    expect(w.end() == 0, f"checkpoint {words}: {w.text}")
    return w.text


text = checkpoint("", lambda w: re.search(BAR, w.text))
expect(re.search(r"save +" + BAR, text), f"the bar of a checkpoint: {text[:300]!r}")
expect(re.search(r"\r\x1b\[Kstasis: checkpoint: 1 task, [^\r]*\r\n$", text), f"the bar goes, one line stays: {text[-300:]!r}")
start = time.monotonic()
text = checkpoint("--progress never", lambda w: time.monotonic() - start > 1)
expect(text.count("\n") == 1 and "\r\x1b" not in text, f"--progress never: {text[:300]!r}")

code, out, err = stasis("checkpoint", p.pid, "-o", "image", "--progress", "auto", "--compress", "none")
expect(code == 0 and "\x1b" not in err and err.count("\n") == 1, f"no terminal, no bar: {code} {err!r}")
p.wait()

# a restart from a file, whose main thread takes its time over each read
r = subprocess.run(["strace", "-o", "/dev/null", "-e", "trace=pread64,preadv", "-e", "inject=pread64,preadv:delay_enter=40000",
                    STASIS, "restart", "image", "--detach", "--progress", "always"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE, text=True)
expect(r.returncode == 0 and re.search(r"fill +" + BAR, r.stderr), f"the bar of a restart: {r.returncode} {r.stderr[:400]!r}")
if r.returncode == 0:
    os.kill(int(r.stdout), signal.SIGKILL)
done()
