#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stasis restart: in the foreground it is the program; detached it says where it is; when it fails it leaves
nothing, and says with its exit status whether something had been made."""
import ctypes
import os
import re
import shutil
import signal
import subprocess
import termios
import time

from cli import STASIS, done, expect, live, stasis, state, wait_for
from window import Window

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: a detached tree's root comes to us


def program(script, name="program"):
    """a python program, checkpointed to @name.image when it has made the file @name.ready; its pid"""
    with open("err", "ab") as err:
        p = subprocess.Popen(["/usr/bin/python3", "-c", f"import os, signal, sys, time\nname = {name!r}\n" + script],
                             stdin=subprocess.DEVNULL, stdout=err, stderr=err, start_new_session=True)
    wait_for(lambda: os.path.exists(name + ".ready") or p.poll() is not None, "the program is ready")
    os.unlink(name + ".ready")
    code, _, err = stasis("checkpoint", p.pid, "-o", name + ".image", "--force")
    expect(code == 0, f"checkpoint of {name}: {err}")
    p.wait()
    wait_for(lambda: not live(), "all of it is dead")
    return p.pid


READY = "open(name + '.ready', 'w').close()\n"
UNTIL_GO = READY + "while not os.path.exists(name + '.go'): time.sleep(0.002)\n"


def go(name="program"):
    open(name + ".go", "w").close()


def restart(*words):
    """in the background; returns when the tree runs"""
    p = subprocess.Popen([STASIS, "restart", *words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    line = p.stderr.readline()
    expect(b"restart: " in line and b" total " in line, f"closing line: {line}")
    return p


def runs(pid):
    """it runs code of its own again: no stub, not held"""
    return state(pid) in ("S", "R") and "TracerPid:\t0\n" in open(f"/proc/{pid}/status").read()


# ---- the end of the program is the end of the command ----
pid = program(UNTIL_GO + "sys.exit(37)")
go()
code, out, err = stasis("restart", "program.image")
expect(code == 37 and out == b"", f"exit status 37: {code} {out}")
expect(re.search(r"restart: 1 task, memory .*, total ", err), f"closing line: {err}")
os.unlink("program.go")
for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
    program(UNTIL_GO + f"os.kill(os.getpid(), {int(number)})")
    go()
    code, _, _ = stasis("restart", "program.image")
    expect(code == -number, f"ended by signal {number}: {code}")
    os.unlink("program.go")
expect(not os.path.exists("core"), "no second core")

# ---- on a terminal, of which the program knows nothing ----
pid = program(UNTIL_GO)
for end, status in (lambda w: os.kill(pid, signal.SIGTERM), -signal.SIGTERM), (lambda w: w.send("\x03"), -signal.SIGINT):
    w = Window([STASIS, "restart", "program.image"])
    w.expect(r"restart: 1 task.*\n")
    wait_for(lambda: not w.local_flags() & termios.ICANON and runs(pid), "it runs")
    end(w)
    expect(w.end() == status, f"the end of a program in a window: {w.status}, expected {status}: {w.text!r}")
    expect(w.local_flags() & termios.ICANON, "the window's terminal is as before")
    wait_for(lambda: not live(), "nothing is left")

# ---- signals, with their value ----
pid = program(f"""
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMIN + 1, signal.SIGWINCH])
{UNTIL_GO}
got = [signal.sigwaitinfo([s]).si_signo for s in (signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMIN + 1, signal.SIGWINCH)]
sys.exit(len(got))""")
p = restart("program.image")
for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMIN + 1, signal.SIGWINCH):
    wait_for(lambda: os.path.exists(f"/proc/{pid}") and runs(pid), "the program runs")
    p.send_signal(number)
go()
expect(p.wait(20) == 4, f"signals are handed on: {p.returncode}")
os.unlink("program.go")

# ---- detached ----
pid = program(UNTIL_GO + "sys.exit(5)")
code, out, err = stasis("restart", "program.image", "--detach", "--pidfile", "pid")
expect(code == 0 and out == f"{pid}\n".encode() and open("pid").read() == f"{pid}\n", f"--detach: {code} {out} {err}")
expect(runs(pid), "it runs when stasis has ended")
go()
expect(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5, "it ends by itself")
os.unlink("program.go")
with open("pid", "w") as f:
    f.write("a longer text than a pid\n")
for words in (["--pidfile", "pid"], ["--pidfile", "new"]):
    code, out, err = stasis("restart", "program.image", "--detach", *words)
    expect(code == 0 and open(words[1]).read() == f"{pid}\n", f"{words}: {code} {err}")
    expect(os.stat(words[1]).st_mode & 0o777 == 0o644, f"{words}: others may read it")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not live(), "it is dead")
os.unlink("pid")
os.unlink("new")
for path in "no/such/folder/pid", ".":
    code, out, err = stasis("restart", "program.image", "--detach", "--pidfile", path)
    expect(code == 1 and path in err and not live(), f"the pid file {path}: {code} {err} {live()}")
with open("/dev/full", "w") as full:
    for words, out in ([], full), (["--pidfile", "/dev/full"], subprocess.DEVNULL):
        code, _, err = stasis("restart", "program.image", "--detach", *words, stdout=out)
        expect(code == 125 and "No space left" in err and f"its root is pid {pid}" in err, f"nobody is told the pid, {words}: {code} {err}")
        expect(runs(pid), "it runs all the same")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not live(), "it is dead")

# ---- pids that nobody has, but which the kernel has not let go of yet ----
pid = program(f"""
kid = os.fork()
if kid == 0:
    while True: time.sleep(1)
open(name + '.kid', 'w').write(str(kid))
{UNTIL_GO}
os.kill(kid, 9)
sys.exit(4)""")
kid = int(open("program.kid").read())


def session_of(number, until):
    """keeps @number in use as a session without a leader, which nobody sees, until a condition holds"""
    (r, w), (r2, w2) = os.pipe(), os.pipe()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # it waits for the member, too
        open("/proc/sys/kernel/ns_last_pid", "w").write(str(number - 1))
        leader = os.fork()
        if leader == 0:
            os.setsid()
            open("/proc/sys/kernel/ns_last_pid", "w").write(str(number + 100))
            if os.fork() == 0:
                os.setpgid(0, 0)
                os.write(w2, b"x")
                while not until():
                    time.sleep(0.001)
                os._exit(0)
            os.read(r2, 1)
            os._exit(0)
        expect(leader == number, f"pid {leader} instead of {number}")
        os.waitpid(leader, 0)
        os.write(w, b"x")
        os.wait()
        os._exit(0)
    os.read(r, 1)
    for fd in r, w, r2, w2:
        os.close(fd)


session_of(kid, lambda: os.path.exists(f"/proc/{pid}"))
code, out, err = stasis("restart", "program.image", "--detach")
expect(code == 0, f"a pid that the kernel lets go of a moment later: {code} {err}")
go()
expect(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4, "it runs")
os.unlink("program.go")
wait_for(lambda: not live(), "all have ended")
for number in pid, kid:
    session_of(number, lambda: os.path.exists("enough"))
    code, out, err = stasis("restart", "program.image", "--detach")
    expect(code == 3 and "pid.in-use" in err, f"a pid that stays taken: {code} {err}")
    open("enough", "w").close()
    wait_for(lambda: not live(), "all have ended")
    os.unlink("enough")

# ---- left stopped ----
pid = program(f"""
r, w = os.pipe()
if os.fork() == 0:
    os.write(w, b"x")
else:
    os.read(r, 1)
    {READY}
while not os.path.exists(name + '.go'): time.sleep(0.002)
sys.exit(6)""")
code, out, err = stasis("restart", "program.image", "--detach", "--leave-stopped")
expect(code == 0 and int(out) == pid, f"--leave-stopped: {code} {out} {err}")
wait_for(lambda: state(pid) == "T", "the stop takes a moment")
kids = open(f"/proc/{pid}/task/{pid}/children").read().split()
expect(len(kids) == 1, "it has its child")
wait_for(lambda: state(kids[0]) == "T", "its child is stopped, too")
go()
for p in (pid, int(kids[0])):
    os.kill(p, signal.SIGCONT)
expect(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6, "SIGCONT starts it")
wait_for(lambda: not live(), "its child has ended")
os.unlink("program.go")
p = restart("program.image", "--leave-stopped")
wait_for(lambda: state(pid) == "T" and state(kids[0]) == "T", "left stopped in the foreground")
go()
os.kill(int(kids[0]), signal.SIGCONT)
p.send_signal(signal.SIGCONT)
expect(p.wait(20) == 6, f"SIGCONT is handed on: {p.returncode}")
os.unlink("program.go")
wait_for(lambda: not live(), "all have ended")

# ---- refused: exit 1, nothing was made ----
pid = program(UNTIL_GO)
with open("/proc/sys/kernel/ns_last_pid", "w") as f:
    f.write(str(pid - 1))
holder = subprocess.Popen(["sleep", "1000"])
expect(holder.pid == pid, "a process with the pid")
code, _, err = stasis("restart", "program.image", "--detach", "--pidfile", "refused")
expect(not os.path.exists("refused"), "a refused restart leaves no pid file")
expect(code == 1 and f"pid {pid} is in use" in err and "pid.in-use" in err and "--new-pidns" in err, f"pid taken: {code} {err}")
holder.kill()
holder.wait()
code, _, err = stasis("restart", "no-such-image", "--detach")
expect(code == 1 and "no-such-image" in err, f"no image: {code} {err}")
size = os.path.getsize("program.image")
with open("program.image", "rb") as f:
    image = f.read()
for n in (0, 7, 100, size // 2, size - 1):
    with open("short", "wb") as f:
        f.write(image[:n])
    code, _, err = stasis("restart", "short", "--detach")
    expect(code == 1 and ("image.truncated" in err or "image.invalid" in err) and not live(), f"{n} bytes of a file: {code} {err}")
with open("damaged", "wb") as f:
    f.write(image[:size // 3] + bytes([image[size // 3] ^ 1]) + image[size // 3 + 1:])
code, _, err = stasis("restart", "damaged", "--detach")
expect(code in (1, 3) and "image.checksum" in err and not live(), f"a damaged file: {code} {err}")

# a file of the program's that is gone
shutil.copy("/usr/bin/sleep", "copy")
p = subprocess.Popen(["./copy", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                     start_new_session=True)
wait_for(lambda: open(f"/proc/{p.pid}/comm").read() == "copy\n" and state(p.pid) == "S", "exec")
code, _, err = stasis("checkpoint", p.pid, "-o", "copy.image")
expect(code == 0, f"checkpoint: {err}")
p.wait()
os.unlink("copy")
code, _, err = stasis("restart", "copy.image", "--detach")
expect(code == 1 and "/copy" in err and "[STASIS-E" in err and not live(), f"a missing file: {code} {err}")

# ---- failed after it began: exit 3, nothing is left ----
before = set(os.listdir("."))
feed = "f = open('program.image', 'rb'); data = f.read(); sys.stdout.buffer.write(data[:{n}]); sys.stdout.flush()"
begun = 0
for part in (10, 30, 50, 70, 90, 99):
    n = size * part // 100
    reader = subprocess.Popen(["/usr/bin/python3", "-c", "import sys; " + feed.format(n=n)], stdout=subprocess.PIPE)
    code, _, err = stasis("restart", "-", "--detach", "--pidfile", "rolled-back", stdin=reader.stdout)
    reader.wait()
    begun += code == 3
    expect(code in (1, 3) and "image.truncated" in err and not live(), f"{part} % of a stream: {code} {err} {live()}")
expect(begun > 0, "a stream that ends among the pages fails when something has been made")

# a session whose leader is dead still has the pid: only the clone itself can tell
with open("/proc/sys/kernel/ns_last_pid", "w") as f:
    f.write(str(pid - 1))
leader = subprocess.Popen(["/usr/bin/python3", "-c", """
import os
os.setsid()
if os.fork() == 0:
    os.setpgid(0, 0)
    open("orphan", "w").write(str(os.getpid()))
    os.execvp("sleep", ["sleep", "1000"])
while not os.path.exists("orphan"): pass
"""])
expect(leader.pid == pid, "a session with the pid")
leader.wait()
code, _, err = stasis("restart", "program.image", "--detach")
orphan = int(open("orphan").read() or 0)
expect(code == 3 and "pid.in-use" in err, f"a dead session's pid: {code} {err}")
expect(live() == [str(orphan)], f"only the orphan is left: {live()}")
os.kill(orphan, signal.SIGKILL)
wait_for(lambda: not live(), "the orphan is dead and its session with it")
os.unlink("orphan")

# SIGINT and SIGTERM before the launch: as if nothing had been
for number in (signal.SIGINT, signal.SIGTERM):
    reader, writer = os.pipe()
    p = subprocess.Popen([STASIS, "restart", "-", "--detach", "--pidfile", "interrupted"], stdin=reader, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    os.close(reader)
    os.write(writer, image[:size * 9 // 10])
    wait_for(lambda: any(state(q) and "stasis" not in open(f"/proc/{q}/comm").read() for q in live()), "stubs are there", 5)
    p.send_signal(number)
    expect(p.wait(20) == -number, f"ends by signal {number}")
    os.close(writer)
    wait_for(lambda: not live(), "nothing is left after a signal")
expect(set(os.listdir(".")) - {"orphan"} == before, f"files: {set(os.listdir('.')) ^ before}")

# after all that it can still be restarted
go()
code, _, err = stasis("restart", "program.image")
expect(code == 0, f"an undisturbed restart: {code} {err}")
done()
