# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal window without a window: a command on a pty of its own, driven and watched."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

PROMPT = r"ready> $"  # of shells with PS1="ready> "


class Window:
    def __init__(self, command, rows=24, columns=80, **environment):
        self.text = ""
        self.status = None
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(command[0], command, dict(os.environ, TERM="dumb", **environment))
        os.set_inheritable(self.master, False)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def local_flags(self):
        return termios.tcgetattr(self.master)[3]

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.text += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=20):
        """waits until it shows; what came before, and the match, are taken away. Returns the match."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            if time.monotonic() > end or (not self.read(0.2) and self.ended()):
                if found := re.search(pattern, self.text):
                    break
                sys.exit(f"the window never showed {pattern!r}; it shows:\n{self.text!r}")
        self.text = self.text[found.end():]
        return found

    def send(self, text):
        os.write(self.master, text.encode())

    def command(self, text, pattern):
        """types a line at a shell, waits for a line of its output and for PROMPT; the match"""
        self.send(text + "\r")
        found = self.expect(r"(?:^|\n)" + pattern + r"\r?\n")
        self.expect(PROMPT)
        return found

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def end(self, seconds=20):
        """waits for the command, reading on; its exit status, negative for a signal"""
        deadline = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > deadline:
                sys.exit(f"the window's command does not end; it shows:\n{self.text!r}")
            self.read(0.05)
        while self.read(0):
            pass
        return self.status

    def close(self):
        """the window is closed: its master goes"""
        os.close(self.master)

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)
