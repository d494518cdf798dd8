#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stasis run --isolate: a container around a program, as root and as a user. The host's mounts stay as they are."""
import os
import signal
import subprocess

from cli import STASIS, USER, become, done, expect, stasis, state, wait_for
from window import Window

NAMESPACES = ("pid", "mnt", "uts", "ipc")
os.chmod("..", 0o755)
os.chmod(".", 0o755)


def mounts():
    with open("/proc/self/mountinfo") as f:
        return f.read()


def make_root():
    """a root file system of the host's programs, by binds; this test has a mount namespace of its own"""
    for name in ("root", "root/proc", "root/dev", "root/t", "root/data", "root/etc"):
        os.mkdir(name)
    for name in ("bin", "lib", "lib64", "usr", "sbin"):
        if os.path.islink("/" + name):
            os.symlink(os.readlink("/" + name), "root/" + name)
        elif os.path.isdir("/" + name):
            os.mkdir("root/" + name)
            subprocess.run(["mount", "--bind", "/" + name, "root/" + name], check=True)
    os.symlink("/t", "root/link")  # in the container: /t; on the host: nothing
    os.mkdir("source")
    with open("source/file", "w") as f:
        f.write("hello\n")
    os.chmod("source", 0o777)


def table(text):
    """mount point: (type, options)"""
    return {line.split()[4]: (line.split(" - ")[1].split()[0], line.split()[5] + "," + line.split()[-1], line.split(" - ")[0].split()[6:])
            for line in text.splitlines()}


def alone(run, who):
    code, out, err = run("sh", "-c", "echo $$; id -u; for n in %s; do readlink /proc/self/ns/$n; done; ls -d /proc/[0-9]*; exit 7"
                         % " ".join(NAMESPACES))
    lines = out.decode().split()
    expect(code == 7, f"{who}: exit status: {code} {err}")
    expect(lines[:2] == ["1", "0"], f"{who}: it is pid 1 and root: {lines[:2]}")
    expect(not set(lines[2:6]) & {os.readlink(f"/proc/self/ns/{n}") for n in NAMESPACES}, f"{who}: namespaces: {lines[2:6]}")
    expect(set(lines[6:]) < {"/proc/1", "/proc/2", "/proc/3"}, f"{who}: /proc: {lines[6:]}")
    code, out, err = run("sh", "-c", "hostname inside; cat /proc/self/mountinfo; echo > /dev/null && test -c /dev/tty")
    if code:
        expect(False, f"{who}: {code} {err}")
        return
    got = table(out.decode())
    for point, kind in (("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs"), ("/dev/mqueue", "mqueue")):
        expect(got.get(point, (None,))[0] == kind, f"{who}: {point}: {got.get(point)}")
    expect(not any(entry[2] for entry in got.values()), f"{who}: all are private: {got}")


def with_root(run, who):
    where = os.path.abspath("source")
    code, out, err = run("--root", "root", "--tmpfs", "/link", "--bind", f"{where}:/data:ro", "--tmpfs", "/etc", "--bind",
                         f"{where}/file:/data/file", "sh", "-c", "pwd; ls /; cat /data/file; echo x > /t/x; echo x > /data/new; cat /proc/self/mountinfo")
    lines = out.decode().splitlines()
    expect(lines[0] == "/" if lines else False, f"{who}: working directory: {code} {lines[:1]} {err}")
    expect("source" not in lines and "data" in lines and "hello" in lines, f"{who}: its root: {lines}")
    expect("/data/new: Read-only file system" in err, f"{who}: a bind that is read-only: {err}")
    got = table("\n".join(line for line in lines if " - " in line))
    expect(got.get("/t", (None,))[0] == "tmpfs" and "ro," in got["/data"][1] and "rw," in got["/data/file"][1], f"{who}: mounts: {got}")
    expect({"/proc", "/dev", "/dev/pts", "/"} < set(got), f"{who}: mounts: {got}")
    expect(not os.listdir("root/proc") and not os.listdir("root/dev") and not os.listdir("root/t"), "nothing was made in the root")


def refused(run, who):
    for words, text in (
        (["--root", "none", "true"], "none"), (["--root", "source/file", "true"], "source/file"), (["--root", "source", "true"], "proc"),
        (["--bind", "/no/such:/data", "true"], "/no/such"), (["--root", "root", "--bind", "/etc:/no/such", "true"], "/no/such"),
        (["--root", "root", "--tmpfs", "/none", "true"], "hint: make it first"),
        (["--tmpfs", "/etc/passwd", "true"], "hint: it must be a directory"),
        (["--bind", "/etc/passwd:/etc", "true"], "hint: it must be no directory"),
    ):
        code, out, err = run(*words)
        expect(code == 125 and text in err and not out, f"{who}: {words}: {code} {err}")
    expect(run("--root", "root", "/no/such")[0] == 127, f"{who}: no such program")
    expect(run("--", "/etc/passwd")[0] == 126, f"{who}: not a program")


def signals(prefix, who):
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN + 3):
        p = subprocess.Popen([*prefix, STASIS, "run", "--isolate", "--root", "root", "--bind", f"{os.path.abspath('source')}:/data", "python3", "-c", f"""
import signal, os
signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])
open("/data/waits", "w")
info = signal.sigwaitinfo([{int(number)}])
os._exit(40 + (info.si_signo == {int(number)}))"""], stdin=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists("source/waits") or p.poll() is not None, "the program waits")
        os.unlink("source/waits")
        p.send_signal(number)
        expect(p.wait(20) == 41, f"{who}: signal {number} is handed on")


def all_ends(prefix, who):
    """pid 1 is the last"""
    p = subprocess.Popen([*prefix, STASIS, "run", "--isolate", "sh", "-c", "sleep 1000 & exec sleep 1000"], stdin=subprocess.DEVNULL)
    children = f"/proc/{p.pid}/task/{p.pid}/children"
    wait_for(lambda: open(children).read().split(), "the container")
    init = int(open(children).read())
    wait_for(lambda: open(f"/proc/{init}/comm").read() == "sleep\n" and open(f"/proc/{init}/task/{init}/children").read(), "its child")
    child = int(open(f"/proc/{init}/task/{init}/children").read())
    os.kill(init, signal.SIGKILL)
    expect(p.wait(20) == -signal.SIGKILL and state(child) is None, f"{who}: everything ends with pid 1")


def terminal(prefix, who):
    w = Window([*prefix, STASIS, "run", "--isolate", "--root", "root", "sh", "-c",
                "tty; stty size; test -w $(tty) && echo here > /dev/tty; ls /dev/pts; read line; echo got $line; stty size; exit 5"], rows=31, columns=97)
    w.expect(r"/dev/pts/0\r\n31 97\r\nhere\r\n0 +ptmx\r\n")
    w.send("hello\r")
    w.expect("hello\r\ngot hello\r\n31 97\r\n")
    expect(w.end() == 5, f"{who}: exit status on a terminal")
    w = Window([*prefix, STASIS, "run", "--isolate", "sh", "-c", "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done"])
    w.expect("ready")
    w.resize(50, 132)
    w.expect("50 132")
    expect(w.end() == 3, f"{who}: the window's size")
    w = Window([*prefix, STASIS, "run", "--isolate", "--root", "none", "true"])
    w.expect("stasis: run: .*none.*\r\n")
    expect(w.end() == 125, f"{who}: refused on a terminal")


def directory():
    for place, want in ((os.getcwd(), os.getcwd()), ("/dev/shm", "/dev/shm"), ("/proc/1", "/proc/1")):
        code, out, err = stasis("run", "--isolate", "pwd", cwd=place)
        expect(out.decode() == want + "\n", f"working directory {place}: {code} {out} {err}")


def inside(pid, *words):
    return subprocess.run(["nsenter", "--target", str(pid), "--ipc", "--uts", *words], stdout=subprocess.PIPE, check=True).stdout


def round_trip():
    """the container as a whole: checkpoint, restart, what lies in its IPC namespace"""
    look = ["sh", "-c", "ipcs -m; ipcs -s; ipcs -q; hostname"]
    p = subprocess.Popen([STASIS, "run", "--isolate", "--", "sh", "-c", "exec >/dev/null 2>&1; hostname boat; ipcmk -M 8192 -p 0640; "
                          "ipcmk -S 4; ipcmk -Q; exec sleep 1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    children = f"/proc/{p.pid}/task/{p.pid}/children"
    wait_for(lambda: open(children).read().split(), "the container")
    init = int(open(children).read())
    wait_for(lambda: open(f"/proc/{init}/comm").read() == "sleep\n", "exec of sleep")
    had = inside(init, *look)
    code, _, err = stasis("checkpoint", init, "-o", "container")
    expect(code == 0, f"checkpoint of the container: {code} {err}")
    expect(p.wait(20) == -signal.SIGKILL, "run ends with the container")
    if code:
        return
    code, out, err = stasis("restart", "container", "--detach")
    expect(code == 0, f"restart of the container: {code} {err}")
    if code:
        return
    init = int(out)
    got = inside(init, *look)
    expect(got == had and had.count(b"0x") == 3 and b"boat" in had, f"its IPC objects: {had.decode()}, {got.decode()}")
    os.kill(init, signal.SIGKILL)
    wait_for(lambda: state(init) in (None, "Z"), "its end")


make_root()
before = mounts()
hostname = os.uname().nodename
everyone = [("root", [], lambda *words: stasis("run", "--isolate", *words))]
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all"]
if subprocess.run([*AS_USER, "unshare", "--user", "true"], stderr=subprocess.DEVNULL).returncode == 0:
    everyone.append(("a user", AS_USER, lambda *words: stasis("run", "--isolate", *words, preexec_fn=become)))
for name, words, function in everyone:
    alone(function, name)
    with_root(function, name)
    refused(function, name)
    signals(words, name)
    all_ends(words, name)
    terminal(words, name)
directory()
round_trip()
expect(mounts() == before, "the host's mounts are as before")
expect(os.uname().nodename == hostname, "and its name")
if len(everyone) == 1:
    print("users may not make user namespaces here")
done()
