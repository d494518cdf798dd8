#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to a set between two steps of its checkpoint: it is refused by name, and goes on. The coordinator is held up by
strace at the step, which tells by its trace that it has come there."""
import os
import shutil
import signal
import subprocess
import sys

from cli import STASIS, done, expect, state, wait_for

if not shutil.which("strace"):
    sys.exit(77)

HOLD_UP_US = 3000000  # the most: strace goes on when it is killed, and the call is made


def program(script):
    p = subprocess.Popen(["/usr/bin/python3", "-c", "import os, sys, time\n" + script], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: os.path.exists("ready"), "the program is ready")
    os.unlink("ready")
    return p


def checkpoint(pid, call, when, meanwhile, *options):
    """a checkpoint that is held up at the @when-th @call; its exit status and standard error"""
    if os.path.exists("trace"):
        os.unlink("trace")
    p = subprocess.Popen(["strace", "-o", "trace", "-e", f"trace={call}", "-e", f"inject={call}:delay_enter={HOLD_UP_US}:when={when}", STASIS,
                          "checkpoint", str(pid), "-o", "image", "--force", *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    wait_for(lambda: os.path.exists("trace") and open("trace").read().count(call + "(") >= when, f"{call} number {when}")
    meanwhile()
    _, err = p.communicate(timeout=60)
    return p.returncode, err


WAIT = "open('ready', 'w').close()\nwhile True: time.sleep(0.01)"

# ---- the root dies: it has been looked at, and is about to be seized ----
p = program(WAIT)
code, err = checkpoint(p.pid, "sendmsg", 1, p.kill)
expect(code == 1 and "[STASIS-E0001 task.gone]" in err and "it is dead" in err, f"a root that dies: {code} {err}")
expect(state(p.pid) == "Z", "it is for its parent to wait for")
p.wait()

# ---- SIGSTOP, sent to a task that is held ----
p = program(WAIT)
code, err = checkpoint(p.pid, "kcmp", 1, lambda: (expect(state(p.pid) == "t", "it is held"), os.kill(p.pid, signal.SIGSTOP)))
expect(code == 1 and "sigpending.stop" in err, f"SIGSTOP meanwhile: {code} {err}")
wait_for(lambda: state(p.pid) == "T", "it stops, as it was told to")
os.kill(p.pid, signal.SIGCONT)
wait_for(lambda: state(p.pid) in "SR", "it goes on")
p.kill()
p.wait()

# ---- a signal that comes after a task was seized, before it was interrupted ----
p = program("""
import signal
signal.signal(signal.SIGUSR1, lambda *_: open('seen', 'w').close())
open('ready', 'w').close()
while True: time.sleep(0.01)""")
tracer = subprocess.Popen(["strace", "-f", "-o", "trace", "-e", "trace=ptrace", "-e", "inject=ptrace:delay_exit=300000:when=1..2", STASIS,
                           "checkpoint", str(p.pid), "-o", "image", "--force", "--leave-running"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
wait_for(lambda: "PTRACE_SEIZE, %d" % p.pid in open("trace").read(), "it is seized")
p.send_signal(signal.SIGUSR1)
_, err = tracer.communicate(timeout=60)
expect(tracer.returncode == 0, f"a signal meanwhile: {tracer.returncode} {err}")
wait_for(lambda: os.path.exists("seen"), "the signal arrives")
p.kill()
p.wait()

# ---- one that is seized too late ----
p = program("open('ready', 'w').close()\nwhile True: time.sleep(0.01)")
run = subprocess.run(["strace", "-f", "-o", "trace", "-e", "trace=ptrace", "-e", "inject=ptrace:delay_enter=2500000:when=1", STASIS, "checkpoint",
                      str(p.pid), "-o", "none", "--timeout", "1"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
expect(run.returncode == 1 and "it did not stop within 1000 ms" in run.stderr, f"seized too late: {run.returncode} {run.stderr}")
p.kill()
p.wait()

# ---- threads that call execve(2), over and over: the others of their process end, held or not ----
def execs():
    with open("execs", "rb") as f:
        return int.from_bytes(f.read(), "little")


p = subprocess.Popen([os.path.join(os.environ["BUILD"], "test", "execs.program")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL)
wait_for(lambda: os.path.exists("execs"), "it has begun")
for _ in range(40):
    run = subprocess.run([STASIS, "checkpoint", str(p.pid), "-o", "image", "--force", "--leave-running"], stdin=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    expect(run.returncode == 0, f"while threads call execve(2): {run.returncode} {run.stderr}")
    before = execs()
    wait_for(lambda: execs() > before, "the program goes on")
p.kill()
p.wait()

# ---- a check, which holds nobody, meets one that is being loaded ----
p = subprocess.Popen(["/bin/sh", "-c", 'exec "$0" -c "$1" "$0" "$1"', "/bin/sh", 'exec "$0" -c "$1" "$0" "$1"'],
                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for _ in range(100):
    run = subprocess.run([STASIS, "check", str(p.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect("[STASIS-E" not in run.stdout, f"check while it calls execve(2): {run.returncode} {run.stdout}")
p.kill()
p.wait()

# ---- tasks that keep appearing ----
p = program("""
def fork():
    if os.fork() == 0:
        while True: time.sleep(1)
fork()
open('ready', 'w').close()
while not os.path.exists('more'): time.sleep(0.001)
fork()
open('forked', 'w').close()
while True: time.sleep(0.01)""")


def one_more():
    open("more", "w").close()
    wait_for(lambda: os.path.exists("forked"), "there is one more")


code, err = checkpoint(p.pid, "sendmsg", 1, one_more, "--timeout", "0")
expect(code == 1 and "task.changed" in err and "within 0 ms" in err, f"one more task, and no time left: {code} {err}")
for name in "more", "forked":
    os.unlink(name)
code, err = checkpoint(p.pid, "sendmsg", 1, lambda: None, "--timeout", "0")
expect(code == 0, f"no time is needed where all stop at once: {code} {err}")
p.wait()
done()
