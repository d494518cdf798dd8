#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stasis run without a terminal: own session, clean descriptors, status and signals pass through."""
import os
import signal
import subprocess

from cli import STASIS, done, expect, stasis, wait_for

expect(stasis("run", "--", "sh", "-c", "exit 7")[0] == 7, "exit status passes through")
expect(stasis("run", "true")[0] == 0, "-- may be left out")
for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
    expect(stasis("run", "--", "sh", "-c", f"kill -{number} $$")[0] == -number, f"ends by signal {number}")
expect(not os.path.exists("core"), "no second core file")
code, _, err = stasis("run", "--", "/no/such/program")
expect(code == 127 and "/no/such/program" in err, f"no such program: {code} {err}")
code, _, err = stasis("run", "--", "/etc/passwd")
expect(code == 126 and "/etc/passwd" in err, f"not a program: {code} {err}")
expect(stasis("run", "--", "sh", "-c", "exit 3", "--help")[0] == 3, "options after CMD are CMD's")

reader, writer = os.pipe()
os.set_inheritable(writer, True)
code, out, _ = stasis("run", "--", "ls", "/proc/self/fd", close_fds=False, pass_fds=[])
expect(out.split() == [b"0", b"1", b"2", b"3"], f"clean descriptors: {out}")  # 3: ls's own
code, out, _ = stasis("run", "--", "sh", "-c", "cut -d' ' -f1,5,6 /proc/$$/stat")
pid, group, session = map(int, out.split())
expect(pid == group == session, f"a session of its own: {out}")

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT, signal.SIGRTMIN + 3):
    p = subprocess.Popen([STASIS, "run", "--", "python3", "-c", f"""
import signal, os
signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])
open("waits", "w")
info = signal.sigwaitinfo([{int(number)}])
os._exit(40 + (info.si_signo == {int(number)}))"""], stdin=subprocess.DEVNULL)
    wait_for(lambda: os.path.exists("waits"), "the program waits")
    os.unlink("waits")
    p.send_signal(number)
    expect(p.wait(20) == 41, f"signal {number} is handed on")
done()
