#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A shell in a container on a terminal, checkpointed from outside, goes on in another window, on the terminal of its own devpts; a user's, too,
by himself."""
import fcntl
import os
import re
import select
import signal
import socket
import termios

from cli import STASIS, USER, become, done, expect, stasis, wait_for
from window import PROMPT, Window

os.chmod("..", 0o755)
os.chmod(".", 0o755)


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


def session(image, by, **who):
    w = Window([*by, STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "bash", "--noprofile", "--norc", "-i"], rows=31, columns=97,
               HISTFILE="/dev/null", PS1="ready> ", INPUTRC="/dev/null")
    w.expect(PROMPT)
    w.command("x=hello; echo $$ > /tmp/file; cat /tmp/file", "1")
    w.command("stty size", "31 97")
    w.command("touch /dev/console; mount --bind $(tty) /dev/console; chmod 0604 /dev/console; exec 5> /dev/console; tty", "/dev/pts/0")
    code, _, err = stasis("checkpoint", init(), "-o", image, **who)
    expect(code == 0, f"checkpoint: {code} {err}")
    w.end()
    code, _, err = stasis("restart", image, "--detach", "--external", "tty-136-0=/dev/null", check=False, **who)
    expect(code == 1 and "mount.terminal" in err and "terminal 0 of a devpts" in err, f"without a terminal: {code} {err}")
    w = Window([*by, STASIS, "restart", image], rows=20, columns=80)
    w.expect(r"restart: 1 task.*\n")
    wait_for(lambda: not w.local_flags() & termios.ICANON, "the window's terminal is raw")
    w.send("\r")
    w.expect(PROMPT)
    w.command("echo $x $$ $(cat /tmp/file)", "hello 1 1")
    w.command("stty size", "20 80")
    w.command("tty; ls /dev/pts", r"/dev/pts/0\r\n0 +ptmx")
    w.command("readlink /proc/self/fd/5; stat -c %a /dev/console", r"/dev/console\r\n604")
    w.command("echo shown > /dev/console; echo too > /dev/tty", r"shown\r\ntoo")
    w.send("exit 5\r")
    expect(w.end() == 5, "the shell's exit status")
    detached(image, **who)


def detached(image, **who):
    """who listens on a socket gets the master of the new terminal"""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("console")
    os.chmod("console", 0o666)
    code, _, err = stasis("restart", image, "--detach", "--external", "tty-136-0=console", **who)
    expect(code == 3 and "connect to console" in err, f"nobody listens: {code} {err}")
    listener.listen()
    code, out, err = stasis("restart", image, "--detach", "--external", "tty-136-0=console", **who)
    expect(code == 0, f"detached: {code} {err}")
    _, (master,), _, _ = socket.recv_fds(listener.accept()[0], 4096, 1)
    listener.close()
    os.unlink("console")
    expect(os.get_blocking(master), "the master blocks")

    def shown(line, wanted):
        os.write(master, line.encode() + b"\r")
        seen = b""
        while not re.search(wanted.encode(), seen):
            expect(select.select([master], [], [], 10)[0], f"{line}: {seen}")
            seen += os.read(master, 4096)

    shown("echo $x $$ $(tty)", "hello 1 /dev/pts/0\r\n")
    shown("stty size; echo /dev/pts/*; readlink /proc/self/fd/5; stat -c %a /dev/console",
          r"31 97\r\n/dev/pts/0 /dev/pts/ptmx\r\n/dev/console\r\n604\r\n")
    shown("echo shown > /dev/console; echo too > /dev/tty", r"\nshown\r\ntoo")
    os.close(master)  # hangs up
    wait_for(lambda: not os.path.exists(f"/proc/{int(out)}"), "the shell has ended")


def second():
    """another terminal in there, with another number and owner: that one gets the window, the first a terminal of its own"""
    w = Window([STASIS, "run", "--isolate", "--tmpfs", "/tmp", "--", "bash", "--noprofile", "--norc", "-i"], HISTFILE="/dev/null",
               PS1="ready> ", INPUTRC="/dev/null")
    w.expect(PROMPT)
    pid = init()
    master = os.open(f"/proc/{pid}/root/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(master, 0x40045431, bytes(4))  # TIOCSPTLCK
    w.command("chown 7:8 /dev/pts/1; stat -c '%u %g' /dev/pts/1", "7 8")
    w.send("PS1='other> ' setsid -c sh -i < /dev/pts/1 > /dev/pts/1 2>&1 &\r")
    wait_for(lambda: b"other> " in os.read(master, 4096), "the second shell")
    code, _, err = stasis("checkpoint", pid, "-o", "second")
    expect(code == 0, f"checkpoint: {code} {err}")
    w.end()
    os.close(master)
    first = os.openpty()
    w = Window([STASIS, "restart", "second", "--external", f"tty-136-0={os.ttyname(first[1])}"])
    w.expect(r"restart: [23] tasks.*\n")  # setsid may not have ended yet
    wait_for(lambda: not w.local_flags() & termios.ICANON, "the window's terminal is raw")
    w.send("tty; stat -c '%u %g' /dev/pts/1; echo /dev/pts/*\r")
    w.expect(r"/dev/pts/1\r\n7 8\r\n/dev/pts/1 /dev/pts/ptmx\r\n")
    os.kill(init(), signal.SIGKILL)
    w.end()


session("image", [])
second()
if os.environ.get("STASIS_WITHOUT") == "all":  # which takes user namespaces from users, too
    done()
os.mkdir("user", 0o700)
os.chown("user", USER, USER)
session("user/image", ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all"], preexec_fn=become)
done()
