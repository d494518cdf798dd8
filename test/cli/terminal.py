#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stasis run on a terminal: bytes, window size and signals pass through a pty of its own."""
import hashlib
import os
import signal
import termios
import threading

from cli import STASIS, done, expect, wait_for
from window import Window

w = Window([STASIS, "run", "--", "sh", "-c", "tty; stty size; read line; echo got $line; stty size; exit 5"], rows=31, columns=97)
w.expect(r"/dev/pts/\d+\r\n")
w.expect(r"31 97\r\n")
expect(not w.local_flags() & termios.ICANON, "the user's terminal is raw meanwhile")
w.send("hello\r")
w.expect("hello\r\ngot hello\r\n")
w.expect(r"31 97\r\n")
expect(w.end() == 5, "exit status")
expect(w.local_flags() & termios.ICANON and w.local_flags() & termios.ECHO, "the user's terminal is as before")

w = Window([STASIS, "run", "--", "sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"])
w.expect("ready")
w.resize(50, 132)
w.expect("50 132")
w.send("\x03")
expect(w.end() == -signal.SIGINT, "^C reaches the program; stasis ends by the same signal")

w = Window([STASIS, "run", "--", "sh", "-c", "trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done"])
w.expect("ready")
w.kill(signal.SIGTERM)
w.expect("term")
expect(w.end() == 9, "SIGTERM is handed on")

# a lot of output, and input of more than a pty holds, pass without loss
w = Window([STASIS, "run", "--", "sh", "-c", "stty raw -echo; echo go; head -c 200000 | md5sum; seq 1 50000"])
w.expect("go")
data = "0123456789" * 20000
feeder = threading.Thread(target=lambda: [w.send(data[i:i + 1000]) for i in range(0, len(data), 1000)])
feeder.start()
w.expect(hashlib.md5(data.encode()).hexdigest())
feeder.join()
w.expect(r"\n49999\r?\n50000\r?\n")
expect(w.end() == 0, "exit status after much output")

# only what is a terminal is replaced
w = Window(["sh", "-c", f"{STASIS} run -- sh -c 'test -t 0 && ! test -t 1 && echo fine' > out; echo end"])
w.expect("end")
expect(open("out").read().strip() == "fine", "redirected output stays redirected")

# a window that is closed hangs the program up
w = Window([STASIS, "run", "--", "sh", "-c", "trap 'echo > hup; exit' HUP; echo ready; while :; do sleep 0.05; done"])
w.expect("ready")
w.close()
wait_for(lambda: os.path.exists("hup"), "SIGHUP when the window is closed")
done()
