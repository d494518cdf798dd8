#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`stasis run -- bash` in one window, checkpointed from another, restarted in a third, goes on as if
nothing had happened: variables, functions, directory, history, jobs, window size, terminal settings."""
import os
import re
import signal
import termios

from cli import STASIS, done, expect, stasis, state, wait_for
from window import PROMPT, Window

BASH = ["bash", "--noprofile", "--norc", "-i"]
HOME = {"HISTFILE": "/dev/null", "PS1": "ready> ", "INPUTRC": "/dev/null"}


def child(pid, comm):
    """the pid of a child of @pid that runs @comm, None while there is none"""
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        for kid in map(int, f.read().split()):
            try:
                with open(f"/proc/{kid}/comm") as g:
                    if g.read().strip() == comm:
                        return kid
            except OSError:
                pass
    return None


def restart(image, tasks, **size):
    """a window with the restarted tree, when it passes on what is typed"""
    window = Window([STASIS, "restart", image], **size)
    window.expect(rf"restart: {tasks} tasks.*\n")
    wait_for(lambda: not window.local_flags() & termios.ICANON, "the window's terminal is raw")
    return window


def start_job(w, shell, text):
    """a program in the foreground; its pid when it runs"""
    w.send(text + "\r")
    name = text.split()[0]
    wait_for(lambda: child(shell, name), f"{text} runs")
    kid = child(shell, name)
    wait_for(lambda: state(kid) == "S", f"{text} waits")
    return kid


w = Window([STASIS, "run", "--", *BASH], rows=31, columns=97, **HOME)
w.expect(PROMPT)
shell = int(w.command("echo $$", r"(\d+)")[1])
w.command("x=hello; list=(one two three); function greet { echo greetings $1; }; cd /usr/lib; umask 027; echo ok", "ok")
w.command("trap 'echo trapped' USR1; set -o noclobber; shopt -s extglob; echo set", "set")
sleeper = start_job(w, shell, "sleep 1001")
w.send("\x1a")
w.expect(r"\[1\]\+  Stopped +sleep 1001\r\n")
w.expect(PROMPT)
w.send("sleep 1002 &\r")
w.expect(r"\[2\] (\d+)\r\n")
w.expect(PROMPT)
w.send("half a li")  # typed, not yet entered: readline has it
w.expect("half a li")

code, out, err = stasis("check", shell)
expect(code == 0 and "nothing refused" in out.decode(), f"check of the shell: {code} {out.decode()} {err}")
code, out, err = stasis("checkpoint", shell, "-o", "image")
expect(code == 0, f"checkpoint: {code} {err}")
expect(w.end() == -signal.SIGKILL, "the first window's command has been killed with its shell")
expect(w.local_flags() & termios.ICANON, "the first window's terminal is as before")

# detached, it needs a terminal: refused by name, nothing is made
code, out, err = stasis("restart", "image", "--detach")
expect(code == 1 and "external.missing" in err and re.search(r"--external tty-\d+-\d+=", err),
       f"restart --detach: {code} {err}")
expect(not os.path.exists(f"/proc/{shell}"), "a refused restart leaves nothing")

w = restart("image", 3, rows=40, columns=120)
w.send("\x15")  # kill the half line: it is still readline's
w.command("echo $$ $x ${list[2]} $(umask) $-", rf"{shell} hello three 0027 \w*C\w*")
w.command("stty size; echo size", r"40 120\r\nsize")
w.command("echo $LINES $COLUMNS", "40 120")
w.command("greet you; pwd", r"greetings you\r\n/usr/lib")
w.send("\x19\r")  # yank what was killed
w.expect(r"half: command not found")
w.expect(PROMPT)
w.command("jobs; echo end", r"\[1\]\+  Stopped +sleep 1001\r\n\[2\]-  Running +sleep 1002 &\r\nend")
w.command("kill -USR1 $$; echo after", r"(trapped\r\nafter|after\r\ntrapped)")
w.command("fc -l -n 3 4 | grep -c 'noclobber\\|sleep 1001'", "2")
w.send("fg\r")
w.expect(r"sleep 1001\r\n")
wait_for(lambda: state(sleeper) == "S", "the stopped job goes on")
w.send("\x03")
w.expect(r"\^C")
w.expect(PROMPT)
w.command("echo status $?", "status 130")
w.send("fg %2\r")
w.expect(r"sleep 1002\r\n")
w.send("\x1a")
w.expect(r"\[2\]\+  Stopped +sleep 1002\r\n")
w.expect(PROMPT)
w.command("bg; kill %2; wait %2; echo waited $?", "waited 143")
start_job(w, shell, "sleep 1003")
w.send("\x03")
w.expect(PROMPT)
w.command("echo status $?", "status 130")
w.resize(22, 66)
w.command("stty size; echo size", r"22 66\r\nsize")

# once more, with a program in the foreground
start_job(w, shell, "sleep 1004")
code, out, err = stasis("checkpoint", shell, "-o", "again")
expect(code == 0, f"second checkpoint: {code} {err}")
expect(w.end() == -signal.SIGKILL, "stasis restart ends as the shell does")
w = restart("again", 2, rows=22, columns=66)
w.send("\x03")
w.expect(PROMPT)
w.command("echo status $? $x", "status 130 hello")
# and from a pipe: the window is known by its standard output
start_job(w, shell, "sleep 1005")
code, out, err = stasis("checkpoint", shell, "-o", "piped")
expect(code == 0, f"third checkpoint: {code} {err}")
w.end()
w = Window(["bash", "-c", f"cat piped | exec {STASIS} restart -; exit ${{PIPESTATUS[1]}}"], rows=22, columns=66)
w.expect(r"restart: 2 tasks.*\n")
wait_for(lambda: not w.local_flags() & termios.ICANON, "the window's terminal is raw")
w.send("\x03")
w.expect(PROMPT)
w.command("echo status $? $x", "status 130 hello")
w.command("stty size; echo size", r"22 66\r\nsize")
w.send("exit 5\r")
expect(w.end() == 5, "exit status of the shell")
expect(w.local_flags() & termios.ICANON and w.local_flags() & termios.ECHO, "the window's terminal is as before")
done()
