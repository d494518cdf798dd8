#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stasis checkpoint: where the image goes, what becomes of the tree, what a failure leaves, exit by exit."""
import json
import os
import re
import resource
import signal
import subprocess

from cli import STASIS, done, expect, sleeper, stasis, state, wait_for

p = sleeper()
image = ["checkpoint", p.pid, "-o", "image"]


def untouched(what):
    """it is as it was, as soon as the tracer has let go"""
    wait_for(lambda: state(p.pid) == "S", f"{what}: it sleeps on")
    with open(f"/proc/{p.pid}/status") as f:
        expect("TracerPid:\t0\n" in f.read(), f"{what}: nobody traces it")


def files(*names):
    expect(set(os.listdir(".")) == set(names), f"files: {os.listdir('.')}, expected {names}")


# ---- never overwriting; FILE appears when it is complete ----
with open("image", "w") as f:
    f.write("precious")
code, out, err = stasis(*image)
expect(code == 1 and "File exists" in err and "--force" in err, f"an existing file: {code} {err}")
expect(open("image").read() == "precious", "an existing file is as it was")
untouched("an existing file")
code, out, err = stasis(*image, "--force", "--leave-running")
expect(code == 0 and stasis("verify", "image")[0] == 0, f"--force: {code} {err}")
expect(os.stat("image").st_mode & 0o777 == 0o600, "an image is for its owner alone")
untouched("--leave-running")
os.symlink("/dev/null", "to-null")
for path, words in ("no/folder/image", ()), (".", ("--force",)), ("/dev/null", ("--force",)), ("/dev/full", ()), ("to-null", ("--force",)):
    code, out, err = stasis("checkpoint", p.pid, "-o", path, *words)
    expect(code == 1 and path.split("/image")[0] in err, f"-o {path}: {code} {err}")
    untouched(f"-o {path}")
expect(os.path.islink("to-null"), "a link to a device is not replaced")
os.unlink("to-null")
expect(stasis("checkpoint", p.pid, "-o", "other", "--external", "pipe:[1]=p")[0] == 1, "an external object that is not there")
files("image")

# ---- standard output ----
code, out, err = stasis("checkpoint", p.pid)
expect(code == 0, f"into a pipe: {code} {err}")
wait_for(lambda: state(p.pid) == "T", "into a pipe it is left stopped")
os.kill(p.pid, signal.SIGCONT)
untouched("SIGCONT")
code, out, err = stasis("checkpoint", "--leave-running", "-o", "-", p.pid)
expect(code == 0, f"options first, -o -, --leave-running: {code} {err}")
untouched("-o - --leave-running")
expect(stasis("verify", "-", stdin=subprocess.DEVNULL)[0] == 1, "nothing is no image")
with subprocess.Popen([STASIS, "verify", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as v:
    v.communicate(out)
    expect(v.returncode == 0, "what went through the pipe is an image")
reader, writer = os.pipe()
os.close(reader)
code, _, err = stasis("checkpoint", p.pid, "--kill", stdout=writer)
expect(code == 1 and "Broken pipe" in err, f"nobody reads: {code} {err}")
untouched("nobody reads")
code, _, err = stasis("checkpoint", p.pid, "--kill", "-o", "limited", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
expect(code == 1 and "File too large" in err and not os.path.exists("limited"), f"RLIMIT_FSIZE: {code} {err}")
untouched("RLIMIT_FSIZE")
with open("/dev/full", "wb") as full:
    code, _, err = stasis("checkpoint", p.pid, "--kill", stdout=full)
    expect(code == 1 and "No space left" in err, f"a full disk: {code} {err}")
    untouched("a full disk")
    for words in ["check"], ["check", p.pid], ["check", "--json"], ["checkpoint", "--help"], ["inspect", "image"], ["verify", "image"]:
        code, _, err = stasis(*words, stdout=full)
        expect(code == 1 and "No space left" in err, f"{words} on a full disk: {code} {err}")
code, _, err = stasis("checkpoint", p.pid, preexec_fn=lambda: os.close(1))
expect(code == 2, f"no standard output: {code} {err}")

# ---- what becomes of the tree ----
code, out, err = stasis("checkpoint", p.pid, "-o", "stopped", "--leave-stopped")
expect(code == 0, f"--leave-stopped: {code} {err}")
wait_for(lambda: state(p.pid) == "T", "--leave-stopped")
os.kill(p.pid, signal.SIGCONT)
untouched("after --leave-stopped")
for method in "none", "lz4", "zstd", "zstd:19":
    code, out, err = stasis(*image, "--force", "--leave-running", f"--compress={method}")
    expect(code == 0 and stasis("verify", "image")[0] == 0, f"--compress {method}: {code} {err}")
    expect(re.fullmatch(r"stasis: checkpoint: 1 task, memory \S+ KiB, image \S+ KiB \(ratio \S+\), stopped \S+ m?s, total \S+ m?s\n", err),
           f"the closing line: {err!r}")
code, out, err = stasis(*image, "--force", "--leave-running", "--log-format", "json")
line = json.loads(err)
expect(code == 0 and line["level"] == "info" and line["tasks"] == 1 and line["image_bytes"] == os.path.getsize("image"), f"JSON: {err}")
subprocess.run([STASIS, "checkpoint", str(p.pid), "-o", "killed"], check=True, stderr=subprocess.DEVNULL)
expect(p.wait() == -signal.SIGKILL, "killed is the default")
q = sleeper()
with open("redirected", "wb") as f:
    expect(stasis("checkpoint", q.pid, stdout=f)[0] == 0, "standard output is a file")
expect(q.wait() == -signal.SIGKILL, "so it is when standard output is a file")

# ---- what there is not, and what may not be ----
code, out, err = stasis("checkpoint", p.pid, "-o", "none")
expect(code == 1 and "no process" in err, f"no process: {code} {err}")
q = subprocess.Popen(["/usr/bin/python3", "-c", """
import threading, time
t = threading.Thread(target=time.sleep, args=(1000,))
t.start()
open("tid", "w").write(f"{t.native_id}\\n")
t.join()"""], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
wait_for(lambda: os.path.exists("tid") and open("tid").read().endswith("\n"), "a thread")
tid = open("tid").read().strip()
os.unlink("tid")
for command in (["check"], ["checkpoint", "-o", "none"]):
    code, out, err = stasis(*command, tid)
    expect(code == 1 and "is a thread" in err and "Tgid" in err, f"{command} of a thread: {code} {out} {err}")
q.kill()
q.wait()
for command in (["check"], ["checkpoint", "-o", "none"]):
    code, out, err = stasis(*command, os.getpid())
    expect(code == 1 and "task.ancestor]" in out.decode() + err, f"{command} of an ancestor: {code} {out} {err}")
q = subprocess.Popen(["true"])
wait_for(lambda: state(q.pid) == "Z", "a dead process")
code, out, err = stasis("checkpoint", q.pid, "-o", "none")
expect(code == 1 and "task.gone]" in err, f"a dead process: {code} {err}")
q.wait()
q = sleeper()
tracer = subprocess.Popen(["strace", "-o", "/dev/null", "-p", str(q.pid)], stderr=subprocess.DEVNULL)
wait_for(lambda: "TracerPid:\t0\n" not in open(f"/proc/{q.pid}/status").read(), "it is traced")
for command in (["check"], ["checkpoint", "-o", "none"]):
    code, out, err = stasis(*command, q.pid)
    expect(code == 1 and "task.ptraced]" in out.decode() + err, f"{command} of a traced process: {code} {out} {err}")
code, out, err = stasis("checkpoint", q.pid, "-o", "none", "--log-format", "json")
line = json.loads(err)
expect(line["level"] == "refusal" and line["name"] == "task.ptraced" and line["pid"] == q.pid and line["code"] == "STASIS-E0004",
       f"a refusal as JSON: {err}")
tracer.terminate()
tracer.wait()

# ---- `check` neither stops nor attaches ----
r = subprocess.run(["strace", "-f", "-o", "trace", "-e", "trace=ptrace,kill,tkill,tgkill,pidfd_send_signal,process_vm_writev,prctl",
                    STASIS, "check", str(q.pid), "--json"], stdout=subprocess.PIPE)
calls = [line for line in open("trace") if re.search(r"ptrace\(|kill\(|pidfd_send_signal\(|process_vm_writev\(", line)]
expect(r.returncode == 0 and not calls, f"check only looks: {r.returncode} {calls}")
report = json.loads(r.stdout)
expect(report["pid"] == q.pid and not report["refused"] and not report["refusals"] and report["not_examined"], f"check --json: {report}")
expect(not any("errno" in note for note in report["not_examined"]), "what was not examined did not fail")
os.unlink("trace")

# ---- the directory cannot be synced: no image, or where one was replaced, a whole one ----
for name, options, there in ("unsynced", [], False), ("image", ["--force"], True):
    r = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC:when=2", STASIS, "checkpoint",
                        str(q.pid), "-o", name, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect(r.returncode == 1 and b"sync the directory" in r.stderr, f"no sync: {r}")
    wait_for(lambda: state(q.pid) == "S", "no sync: it sleeps on")
    expect(os.path.exists(name) == there, f"no sync: {name}")
expect(stasis("verify", "image")[0] == 0, "what replaces an image is whole")

# ---- SIGINT and SIGTERM: as if nothing had been ----
for number in signal.SIGINT, signal.SIGTERM:
    reader, writer = os.pipe()
    c = subprocess.Popen([STASIS, "checkpoint", str(q.pid), "--kill"], stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    os.read(reader, 1)  # it writes, and cannot end: the image is larger than the pipe
    c.send_signal(number)
    while os.read(reader, 65536):
        pass
    os.close(reader)
    expect(c.wait(20) in (0, -number), f"ends by signal {number}: {c.returncode}")
    if c.returncode:
        wait_for(lambda: state(q.pid) == "S", f"it sleeps on after signal {number}")
    else:  # it was too late
        expect(q.wait() == -signal.SIGKILL, f"signal {number} is too late, so it is killed")
        q = sleeper()
# it comes when the image gets its name: all that was asked for is done
r = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=linkat", "-e", "inject=linkat:signal=SIGINT", STASIS, "checkpoint",
                    str(q.pid), "-o", "late"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
expect(r.returncode == 0 and q.wait() == -signal.SIGKILL and stasis("verify", "late")[0] == 0, f"a signal that is too late: {r}")
q = sleeper()
q.kill()
q.wait()
files("image", "late", "stopped", "killed", "redirected")
done()
