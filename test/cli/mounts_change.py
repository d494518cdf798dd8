#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A mount that arrives from the host in the middle of a checkpoint is noticed: the image would lack it."""
import array
import fcntl
import os
import subprocess
import termios

from cli import STASIS, done, expect, state, wait_for


def readable(fd):
    room = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, room)
    return room[0]


def checkpoint(pid, meanwhile):
    """with meanwhile() done while the writer of the image waits for its reader; exit status and messages"""
    p = subprocess.Popen([STASIS, "checkpoint", str(pid), "--compress", "none", "--leave-running", "-o", "-"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: readable(p.stdout.fileno()), "the image begins")
    meanwhile()
    size = len(p.stdout.read())
    expect(size > 1 << 16, f"the image, of {size} bytes, fits into the pipe: the test proves nothing")
    return p.wait(), p.stderr.read().decode()


os.mkdir("m")
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "m"], check=True)
subprocess.run(["mount", "--make-shared", "m"], check=True)
os.mkdir("m/arrival")
subject = subprocess.Popen(["unshare", "-m", "--propagation", "slave", "sleep", "1000"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
wait_for(lambda: open(f"/proc/{subject.pid}/comm").read() == "sleep\n", "exec of sleep")

code, err = checkpoint(subject.pid, lambda: None)
expect(code == 0, f"nothing changes: {code} {err}")
code, err = checkpoint(subject.pid, lambda: subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "m/arrival"], check=True))
expect(code == 1 and "mount.changed" in err, f"a mount arrives: {code} {err}")
wait_for(lambda: state(subject.pid) == "S", "the program goes on")
code, err = checkpoint(subject.pid, lambda: subprocess.run(["umount", "m/arrival"], check=True))
expect(code == 1 and "mount.changed" in err, f"a mount goes: {code} {err}")
subject.kill()
subject.wait()
subprocess.run(["umount", "m"], check=True)
done()
