#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An interactive shell in an ordinary window: what `check` says of it; one of its jobs, whose session
began outside, restarted in another window: there the restart's own session takes its place."""
import os
import re
import signal
import termios

from cli import STASIS, done, expect, stasis, wait_for
from window import Window

w = Window(["bash", "--noprofile", "--norc", "-i"], HISTFILE="/dev/null", PS1="ready> ", INPUTRC="/dev/null")
w.expect(r"ready> $")
code, out, err = stasis("check", w.pid)
expect(code == 0 and b"nothing refused" in out and b"not examined" in out, f"check: {code} {out.decode()} {err}")

w.send("exec 7<>/dev/udp/127.0.0.1/9; python3 -c 'import select,time; e = select.epoll(); open(\"in\",\"w\"); time.sleep(1000)' &\r")
wait_for(lambda: os.path.exists("in"), "the background job runs")
code, out, err = stasis("check", w.pid)
text = out.decode()
expect(code == 1, f"check of a shell with a socket: {code}")
expect(re.search(rf"pid {w.pid} \(bash\) fd 7: .*socket:\[\d+\].*\[STASIS-E0010 fd.unsupported\]", text), f"the socket: {text}")
expect(re.search(r"\(python3\) fd \d+: .*\[eventpoll\].*\[STASIS-E\d+ ", text), f"the job's epoll: {text}")
expect(re.search(r"\d+ refusals", text), f"the count: {text}")
code, out, err = stasis("checkpoint", w.pid, "-o", "image")
expect(code == 1 and "socket:[" in err and "[eventpoll]" in err and not os.path.exists("image"), f"checkpoint: {code} {err}")
w.send("echo still $((40 + 2))\r")
w.expect(r"\nstill 42\r\n")

# a job of it
w.send("kill %1; exec 7>&-; wait; echo gone\r")
w.expect(r"\ngone\r\n")
w.send("rm -f in; sh -c 'echo $$ > in; while read line; do echo got $line; done; exit 6'\r")
wait_for(lambda: os.path.exists("in") and os.path.getsize("in"), "the job runs")
job = int(open("in").read())
w.send("one\r")
w.expect(r"got one\r\n")
code, out, err = stasis("checkpoint", job, "-o", "image")
expect(code == 0, f"checkpoint of the job: {code} {err}")
w.expect("Killed")
w.expect(r"ready> $")

v = Window([STASIS, "restart", "image"])
v.expect(r"restart: 1 task.*\n")
wait_for(lambda: not v.local_flags() & termios.ICANON, "the window's terminal is raw")
v.send("two\r")
v.expect(r"got two\r\n")
with open(f"/proc/{job}/stat") as f:
    _, _, rest = f.read().rpartition(")")
    group, session, tty, foreground = map(int, rest.split()[2:6])
expect(group == job and foreground == job and tty and session != job, f"group, session, terminal: {rest}")
expect(os.readlink(f"/proc/{job}/fd/0").startswith("/dev/pts/"), "standard input is the new terminal")
v.send("\x04")
expect(v.end() == 6, "end of file is passed on, and the exit status")

v = Window([STASIS, "restart", "image"])
v.expect(r"restart: 1 task.*\n")
wait_for(lambda: not v.local_flags() & termios.ICANON, "the window's terminal is raw")
v.send("\x03")
expect(v.end() == -signal.SIGINT, "^C reaches it, and stasis ends as it does")

# a closed window hangs it up
v = Window([STASIS, "restart", "image"])
v.expect(r"restart: 1 task.*\n")
wait_for(lambda: not v.local_flags() & termios.ICANON, "the window's terminal is raw")
v.close()
wait_for(lambda: not os.path.exists(f"/proc/{job}"), "the job ends with its window")
w.send("exit\r")
w.end()
done()
