#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""restart --new-pidns, as root and as an ordinary user in a new user namespace; what a user may not do is
refused by the name of the capability that is missing."""
import ctypes
import os
import re
import subprocess

from cli import STASIS, USER, become, done, expect, stasis, wait_for

libc = ctypes.CDLL(None)
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
os.mkdir("user", 0o700)
os.chown("user", USER, USER)
os.chdir("user")
open("err", "w").close()
os.chown("err", USER, USER)  # the user's programs write to it
os.chmod("../..", 0o755)

PROGRAM = r"""
import ctypes, os, signal, sys, threading, time
def until(name):
    while not os.path.exists(name): time.sleep(0.002)
if len(sys.argv) > 1: exec(sys.argv[1])
pid, reader, writer = os.getpid(), *os.pipe()
ticks = []
signal.signal(signal.SIGALRM, lambda *a: ticks.append(1))
signal.setitimer(signal.ITIMER_REAL, 3600)
f = open("log", "a+")
f.write("before\n"); f.flush()
child = os.fork()
if child == 0:
    until("go")
    os.write(writer, str(os.getpid()).encode())
    os._exit(9 if os.getppid() == pid else 1)
found = []
thread = threading.Thread(target=lambda: (until("go"), found.append(os.read(reader, 100))))
thread.start()
open("ready", "w").write(str(child))
until("go")
thread.join()
left = signal.getitimer(signal.ITIMER_REAL)[0]
status = os.waitpid(child, 0)[1]
ids = os.getresuid() + os.getresgid()
open("result", "w").write(repr([os.getpid() == pid, found == [str(child).encode()], os.WEXITSTATUS(status), 3000 < left < 3600, ids]))
sys.exit(21)
"""


def user(*words, **more):
    """stasis as the ordinary user"""
    return stasis(*words, preexec_fn=become, **more)


def gone():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    return not [p for p in os.listdir("/proc") if p.isdigit() and int(p) not in (1, os.getpid())]


def start(ids=become, more=""):
    for name in ("ready", "go", "result", "log"):
        if os.path.exists(name):
            os.unlink(name)
    with open("err", "a") as err:
        p = subprocess.Popen(["/usr/bin/python3", "-c", PROGRAM, more], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=err, start_new_session=True, preexec_fn=ids)
    wait_for(lambda: os.path.exists("ready") and os.path.getsize("ready") or p.poll() is not None, "the program is ready")
    expect(p.poll() is None, "it runs: " + open("err").read())
    return p


def end(p):
    open("go", "w").close()
    expect(p.wait(20) == 21, "it ends by itself")


def killed(p):
    expect(p.wait(20) == -9, "the checkpoint kills it")
    wait_for(gone, "all of it is dead")


for who, run, ids in (("root", stasis, lambda: None), ("the user", user, become)):
    p = start(ids)
    code, out, err = run("check", p.pid)
    expect(code == 0, f"check by {who}: {code} {out.decode()} {err}")
    code, _, err = run("checkpoint", p.pid, "-o", "image", "--force", "--leave-running")
    expect(code == 0, f"checkpoint --leave-running by {who}: {code} {err}")
    code, _, err = run("checkpoint", p.pid, "-o", "image", "--force")
    expect(code == 0, f"checkpoint by {who}: {code} {err}")
    killed(p)
    # the pid is taken here, and free there
    with open("/proc/sys/kernel/ns_last_pid", "w") as f:
        f.write(str(p.pid - 1))
    holder = subprocess.Popen(["sleep", "1000"])
    expect(holder.pid == p.pid, "a process with that pid")
    q = subprocess.Popen([STASIS, "restart", "image", "--new-pidns"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         preexec_fn=None if who == "root" else become)
    line = q.stderr.readline().decode()
    expect("restart: 3 tasks" in line, f"restart --new-pidns by {who}: {line} {q.stderr.read().decode() if 'total' not in line else ''}")
    open("go", "w").close()
    expect(q.wait(20) == 21, f"its exit status: {q.returncode}")
    got = open("result").read() if os.path.exists("result") else "nothing"
    n = 0 if who == "root" else USER
    expect(got == repr([True, True, 9, True, (n,) * 6]), f"{who}: {got}")
    holder.kill()
    holder.wait()
    wait_for(gone, "the namespace and its init have ended")

    # detached, the pid is the one seen from here
    os.unlink("go")
    code, out, err = run("restart", "image", "--new-pidns", "--detach")
    expect(code == 0, f"--detach by {who}: {code} {err}")
    pid = int(out or 0)
    expect(re.search(rf"NSpid:\t{pid}\t{p.pid}\n", open(f"/proc/{pid}/status").read()), "pids outside and inside")
    with open("log") as f:
        expect(f.read() == "before\n", "the log file is the same one")
    open("go", "w").close()
    expect(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 21, "its exit status")
    wait_for(gone, "the namespace and its init have ended")

    # killed with all in it, from outside
    os.unlink("go")
    code, out, err = run("restart", "image", "--new-pidns", "--detach", "--clock", "continue")
    expect(code == 0, f"--clock continue by {who}: {code} {err}")
    expect(os.readlink(f"/proc/{int(out)}/ns/time") != os.readlink("/proc/self/ns/time"), f"a time namespace by {who}")
    os.kill(int(out), 9)
    os.waitpid(int(out), 0)
    open("go", "w").close()
    wait_for(gone, "its child and its init end as well")
    os.unlink("go")

# what a user may not
code, _, err = user("restart", "image", "--clock", "continue")
expect(code == 1 and "CAP_SYS_TIME" in err and "--clock" in err, f"--clock continue: {code} {err}")
code, _, err = user("restart", "image")
expect(code == 1 and "CAP_CHECKPOINT_RESTORE" in err and "--new-pidns" in err and "capability.missing" in err, f"without --new-pidns: {code} {err}")
code, _, err = user("restart", "image", "--new-pidns", env=dict(os.environ, STASIS_WITHOUT="user_namespaces"))
expect(code == 1 and "CAP_SYS_ADMIN" in err, f"without user namespaces: {code} {err}")
p = start(lambda: None)
code, out, err = user("check", p.pid)
expect(code == 1 and b"CAP_SYS_PTRACE" in out and b"task.permission" in out, f"check of root's: {code} {out.decode()} {err}")
code, _, err = user("checkpoint", p.pid, "-o", "other")
expect(code == 1 and "CAP_SYS_PTRACE" in err and not os.path.exists("other"), f"checkpoint of root's: {code} {err}")
code, _, err = stasis("checkpoint", p.pid, "-o", "image", "--force")
expect(code == 0, f"root's own: {err}")
killed(p)
os.chmod("image", 0o644)
code, _, err = user("restart", "image", "--new-pidns")
expect(code == 1 and re.search(r"CAP_SET[UG]ID", err), f"root's image by a user: {code} {err}")
expect(gone(), "nothing is left")

p = start(more="ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)")  # PR_SET_DUMPABLE
code, _, err = user("checkpoint", p.pid, "-o", "other")
expect(code == 1 and "CAP_SYS_PTRACE" in err, f"one that is not dumpable: {code} {err}")
end(p)
wait_for(gone, "its end")


def grouped():
    os.setgroups([USER, 4321])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)


p = start(grouped)
os.unlink("image")
code, _, err = stasis("checkpoint", p.pid, "-o", "image", preexec_fn=grouped)
expect(code == 0, f"supplementary groups: {code} {err}")
killed(p)
code, _, err = user("restart", "image", "--new-pidns")
expect(code == 1 and "CAP_SETGID" in err and "supplementary groups" in err, f"supplementary groups that the restart lacks: {code} {err}")
expect(gone(), "nothing is left")
open("go", "w").close()
code, _, err = stasis("restart", "image", "--new-pidns", preexec_fn=grouped)
expect(code == 21, f"with the same groups: {code} {err}")
wait_for(gone, "its end")
done()
