#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A root task that asked for a signal at its parent's death (PR_SET_PDEATHSIG): a restart in the foreground is its
parent from then on; with --detach it would get the signal at once, which is refused."""
import subprocess

from cli import STASIS, done, expect, stasis, state, wait_for

p = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "sleep", "1000"], stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
wait_for(lambda: open(f"/proc/{p.pid}/comm").read() == "sleep\n" and state(p.pid) == "S", "exec of sleep")
code, out, err = stasis("checkpoint", p.pid, "-o", "image")
expect(code == 0, f"checkpoint: {code} {err}")
p.wait()
code, out, err = stasis("restart", "image", "--detach")
expect(code == 1 and "prctl.parent-death]" in err, f"restart --detach: {code} {err}")
parent = subprocess.Popen([STASIS, "restart", "image"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
wait_for(lambda: state(p.pid) == "S" and open(f"/proc/{p.pid}/comm").read() == "sleep\n", "the program is back")
# a signal that no process can pass on: only the kernel tells the program
wait_for(lambda: open(f"/proc/{p.pid}/status").read().find("TracerPid:\t0\n") > 0, "the launch")
parent.kill()
parent.wait()
wait_for(lambda: state(p.pid) in (None, "Z"), "its parent's death ends the program")
done()
