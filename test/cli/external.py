#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Leaks are named, all at once, with the switch that lifts each; external pipes are supplied by
descriptor and by path. The program is cat between two pipes whose other ends are this script's."""
import os
import pty
import re
import socket
import subprocess

from cli import done, expect, stasis, state, wait_for

COMM = open("/proc/self/comm").read().strip()


def cat(stdin, stdout):
    p = subprocess.Popen(["cat"], stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: open(f"/proc/{p.pid}/comm").read() == "cat\n" and state(p.pid) == "S", "cat waits")
    return p


def inode(fd):
    return os.fstat(fd).st_ino


def gone(pid):
    """ended, and reaped by this script's own init"""
    return state(pid) in (None, "Z")


# ---- what the messages say ----

in_read, in_write = os.pipe()
out_read, out_write = os.pipe()
p = cat(in_read, out_write)
os.close(in_read)
os.close(out_write)
os.set_inheritable(out_read, False)
in_key, out_key = f"pipe:[{inode(in_write)}]", f"pipe:[{inode(out_read)}]"
for words in (["check", p.pid], ["checkpoint", p.pid, "-o", "image"]):
    code, out, err = stasis(*words)
    text = out.decode() + err
    expect(code == 1, f"{words}: exit {code}, expected 1")
    for key, fd in (in_key, in_write), (out_key, out_read):
        expect(re.search(rf"{re.escape(key)}.*also held by pid {os.getpid()} \({COMM}\) fd {fd}, outside the set",
                         text), f"{words} names the holder of {key}: {text}")
        expect(f"--external {key}=NAME" in text, f"{words} gives the switch for {key}: {text}")
code, out, err = stasis("check", p.pid, "--json")
expect(code == 1 and out.count(b'"leak"') == 2, f"check --json: {code} {out}")
code, out, err = stasis("checkpoint", p.pid, "-o", "image", "--external", f"{in_key}=in")
expect(code == 1 and "pid" in err and out_key in err and in_key not in err, f"one declared, one not: {code} {err}")
expect(not os.path.exists("image"), "no image of a refused checkpoint")
os.write(in_write, b"still here")
expect(os.read(out_read, 100) == b"still here", "cat goes on after the refusals")

# ---- external: by descriptor and by path ----

code, out, err = stasis("checkpoint", p.pid, "-o", "image", "--external", f"{in_key}=in", "--external",
                        f"{out_key}=out")
expect(code == 0, f"checkpoint with both declared: {code} {err}")
p.wait()
os.close(in_write)
os.close(out_read)

os.mkfifo("fifo")
new_read, new_write = os.pipe()
os.set_inheritable(new_read, True)
os.set_inheritable(new_write, True)

code, out, err = stasis("restart", "image", "--detach", "--external", "out=fifo")
expect(code == 1 and "external.missing]" in err and "--external in=fd:N" in err, f"one not supplied: {code} {err}")
code, out, err = stasis("restart", "image", "--detach", "--external", "out=fifo", "--external", f"in=fd:{new_write}",
                        close_fds=False)
expect(code == 1 and "pipe.external]" in err and "read by the set" in err, f"the wrong end: {code} {err}")
code, out, err = stasis("restart", "image", "--detach", "--external", f"out=fd:{new_read}", "--external", "in=fifo",
                        close_fds=False)
expect(code == 1 and "pipe.external]" in err and "written by the set" in err, f"the other wrong end: {code} {err}")

code, out, err = stasis("restart", "image", "--detach", "--external", "out=fifo", "--external", f"in=fd:{new_read}",
                        "--external", "inn=fifo", close_fds=False)
expect(code == 1 and "external.unused]" in err and "--external inn=" in err, f"a mistyped name: {code} {err}")
code, out, err = stasis("restart", "image", "--detach", "--external", "out=fifo", "--external", f"in=fd:{new_read}",
                        close_fds=False)
expect(code == 0, f"restart with both supplied: {code} {err}")
pid = int(out.split()[0]) if code == 0 else 0
os.close(new_read)
fifo = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
os.set_blocking(fifo, True)
os.write(new_write, b"through the new ones")
expect(os.read(fifo, 100) == b"through the new ones", "cat copies between what was supplied")
os.close(new_write)
expect(os.read(fifo, 100) == b"", "cat sees the end of its input, and ends")
wait_for(lambda: gone(pid), "cat ends")
os.close(fifo)

# ---- a file and a terminal, whose keys the messages give ----

master, slave = pty.openpty()
with open("log", "w+b") as log:
    p = subprocess.Popen(["sleep", "1000"], stdin=slave, stdout=log, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: open(f"/proc/{p.pid}/comm").read() == "sleep\n", "exec of sleep")
    code, out, err = stasis("checkpoint", p.pid, "-o", "image3")
    key = re.search(r"--external (file:\[[0-9:]+\])=NAME", err)
    expect(code == 1 and key, f"a file that is open outside: {code} {err}")
    os.write(master, b"typed\n")
    code, out, err = stasis("checkpoint", p.pid, "-o", "image3")
    tty_key = re.search(r"--external (tty:\[[0-9:]+\])=", err)
    expect(code == 1 and "tty.input]" in err and tty_key, f"input that was not read, and the terminal's key: {code} {err}")
    code, out, err = stasis("checkpoint", p.pid, "-o", "image3", "--external", key[1] + "=log", "--external", tty_key[1] + "=window")
    expect(code == 0, f"both declared: {code} {err}")
    p.wait()
os.write(os.open("other", os.O_CREAT | os.O_WRONLY), b"other")
window = "window=" + os.ttyname(slave)
WRONG = [(["--external", window], "external.missing", "log"), (["--external", "log=other"], "external.missing", "window"),
         (["--external", window, "--external", "log=not/there"], "external.missing", "not/there"),
         (["--external", window, "--external", "log=fd:99"], "external.missing", "fd:99"),
         (["--external", "window=not/there", "--external", "log=other"], "external.missing", "not/there"),
         (["--external", "window=other", "--external", "log=other"], "external.missing", "no terminal")]
for words, name, text in WRONG:
    code, out, err = stasis("restart", "image3", "--detach", *words)
    expect(code == 1 and name + "]" in err and text in err, f"{words}: {code} {err}")
code, out, err = stasis("restart", "image3", "--detach", "--external", window, "--external", "log=other")
expect(code == 0 and os.path.basename(os.readlink(f"/proc/{int(out)}/fd/1")) == "other", f"both supplied: {code} {err}")
expect(os.readlink(f"/proc/{int(out)}/fd/0") == os.ttyname(slave), "the terminal that was supplied")
os.kill(int(out), 9)
wait_for(lambda: gone(int(out)), "it is dead")
ours, theirs = socket.socketpair()
code, out, err = stasis("restart", "image3", "--detach", "--external", f"window=fd:{theirs.fileno()}", "--external", "log=other",
                        pass_fds=[theirs.fileno()])
expect(code == 0, f"a socket for the terminal: {code} {err}")
_, (new,), _, _ = socket.recv_fds(ours, 100, 1)
window = os.readlink(f"/proc/{int(out)}/fd/0")
with open(window, "wb", buffering=0) as f:
    f.write(b"seen")
expect(window != os.ttyname(slave) and os.read(new, 100) == b"seen", f"its master, of {window}")
os.close(new)
os.kill(int(out), 9)
wait_for(lambda: gone(int(out)), "it is dead")

# ---- a FIFO of the set that others have written into meanwhile ----

os.mkfifo("own")
both = os.open("own", os.O_RDWR)
p = cat(both, subprocess.DEVNULL)
os.close(both)
code, out, err = stasis("checkpoint", p.pid, "-o", "image2")
expect(code == 0, f"checkpoint with a FIFO of its own: {code} {err}")
p.wait()
both = os.open("own", os.O_RDWR)
os.write(both, b"other")
code, out, err = stasis("restart", "image2", "--detach")
expect(code == 3 and "fifo.busy]" in err, f"a FIFO in use: {code} {err}")
expect(os.read(both, 100) == b"other", "what others wrote is theirs")
code, out, err = stasis("restart", "image2", "--detach")
expect(code == 0, f"restart when it has been read: {code} {err}")
if code == 0:
    os.kill(int(out.split()[0]), 9)
done()
