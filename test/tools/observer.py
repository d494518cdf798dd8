#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The observer: all that the kernel shows of a process tree, before and after, and the difference.

snapshot(pid) gives a flat dict {"TID/KEY": value}; differences(a, b) the keys that differ. What may
differ is in EXCEPTIONS, each with its reason: a pattern on KEY.
"""
import ctypes
import fnmatch
import os
import re
import struct
import sys

# pattern on KEY (the part behind "TID/") -> why it may differ
EXCEPTIONS = {
    "status/VmPeak": "a high-water mark cannot be put back",
    "status/VmHWM": "a high-water mark cannot be put back",
    "status/VmPTE": "page tables follow the order of faults",
    "status/Rss*": "compared per mapping, by present pages (page cache mapped around a fault may differ)",
    "status/VmRSS": "as RssAnon, RssFile",
    "status/VmSwap": "swapping is the kernel's choice",
    "status/State": "running or sleeping at the moment; stopped and zombie are compared as class",
    "status/voluntary_ctxt_switches": "statistics: start anew",
    "status/nonvoluntary_ctxt_switches": "statistics: start anew",
    "status/TracerPid": "checked by itself to be 0",
    "status/FDSize": "room in the kernel's table, not in the program's view",
    "status/SigQ": "counts all of the user's processes",
    "status/Mems_allowed*": "of the cpuset",
    "status/Cpus_active*": "of the host",
    "fdinfo/*/mnt_id": "mount ids of a new mount namespace",
    "autogroup": "the number of a session's autogroup is the scheduler's; its nice value is compared by itself",
    "fdinfo/*/ino": "inode numbers of pipes and deleted files are new: compared as classes",
}

KCMP = {"files": 2, "fs": 3, "io": 5, "mm": 1, "sighand": 4, "sysvsem": 6}
KCMP_FILE = 0
SYS_KCMP = 312
libc = ctypes.CDLL(None, use_errno=True)


def read(path, binary=False):
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as e:
        return ("error " + os.strerror(e.errno)).encode() if binary else "error " + os.strerror(e.errno)
    return data if binary else data.decode("utf-8", "surrogateescape")


def tree(root):
    """all tids of the set: processes in order, threads behind their leader"""
    found, todo = [], [root]
    while todo:
        tgid = todo.pop(0)
        try:
            tids = sorted(int(t) for t in os.listdir(f"/proc/{tgid}/task"))
        except OSError:
            continue
        for tid in tids:
            found.append((tgid, tid))
            kids = read(f"/proc/{tgid}/task/{tid}/children")
            if not kids.startswith("error"):
                todo += [int(k) for k in kids.split()]
    return found


def stat_fields(text):
    head, _, rest = text.rpartition(")")
    f = rest.split()
    names = {0: "state", 1: "ppid", 2: "pgrp", 3: "session", 4: "tty_nr", 5: "tpgid", 15: "priority",
             16: "nice", 17: "num_threads", 20: "vsize", 22: "rsslim", 23: "startcode",
             24: "endcode", 25: "startstack", 35: "exit_signal", 37: "rt_priority", 38: "policy",
             42: "start_data", 43: "end_data", 44: "start_brk", 45: "arg_start", 46: "arg_end",
             47: "env_start", 48: "env_end", 49: "exit_code"}
    out = {n: f[i] for i, n in names.items() if i < len(f)}
    state = out.pop("state", "?")
    out["class"] = state if state in "TtZX" else "live"
    return out


def present_pages(tgid, tid, start, end):
    """(present or swapped, anonymous) pages of a range, from pagemap"""
    n = (end - start) // 4096
    anon = present = 0
    try:
        with open(f"/proc/{tgid}/task/{tid}/pagemap", "rb", buffering=0) as f:
            f.seek(start // 4096 * 8)
            while n > 0:
                data = f.read(min(n, 65536) * 8)
                if not data:
                    break
                for (entry,) in struct.iter_unpack("<Q", data):
                    if entry >> 62:
                        present += 1
                        if not entry >> 61 & 1:
                            anon += 1
                n -= len(data) // 8
    except OSError:
        return None
    return present, anon


SMAPS = {"KernelPageSize", "VmFlags", "Locked", "THPeligible", "ProtectionKey", "Size"}


def neutral(link):
    """a link text without inode numbers that cannot come back"""
    return re.sub(r"^(pipe|socket):\[\d+\]$", r"\1", link)


def stack_pointers(tgid):
    """of the threads that sleep in a system call"""
    out = []
    try:
        tids = os.listdir(f"/proc/{tgid}/task")
    except OSError:
        return out
    for tid in tids:
        words = read(f"/proc/{tgid}/task/{tid}/syscall").split()
        if len(words) == 9:
            out.append(int(words[7], 16))
    return out


def maps_snapshot(tgid, tid):
    out = {}
    current = guard_end = None
    pointers = stack_pointers(tgid)
    for line in read(f"/proc/{tgid}/task/{tid}/smaps").splitlines():
        m = re.match(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) (\S+) (\S+) (\d+)\s*(.*)$", line)
        if m:
            start, end = int(m[1], 16), int(m[2], 16)
            if start >= 1 << 63:
                current = None
                continue
            current = f"map/{m[1]}"
            deleted = m[7].endswith("(deleted)") or m[7].startswith("/dev/zero")
            inode = "" if deleted or not m[7].startswith("/") else m[6]
            of_file = m[7].startswith("/")
            out[current] = f"{m[1]}-{m[2]} {m[3]} {m[4]} {inode} {m[7]}"
            if m[7] not in ("[vvar]", "[vvar_vclock]", "[vsyscall]"):
                pages = present_pages(tgid, tid, start, end)
                # file pages may be mapped around a fault by the kernel: only anonymous ones count
                private_or_anon = "p" in m[3] or not m[7]
                out[current + "/anon"] = str(pages[1] if pages and private_or_anon else None)
            # stacks: of the process; with a guard below, a thread's; or a pointer is in it
            if m[7] == "[stack]" or guard_end == start or any(start <= p < end for p in pointers):
                out[current + "/stack"] = "yes"
            guard_end = end if m[3] == "---p" else None
            continue
        key, _, value = line.partition(":")
        if current and key in SMAPS:
            value = value.strip()
            if key == "Locked" and of_file:
                continue  # this process's share of them: who else maps the file is not the set's
            if key == "VmFlags":
                # "sd" (soft dirty) is bookkeeping of the kernel
                value = " ".join(w for w in value.split() if w not in ("sd",))
            out[f"{current}/{key}"] = value
    return out


def fd_snapshot(tgid, tid):
    out = {}
    base = f"/proc/{tgid}/task/{tid}"
    try:
        fds = sorted(int(f) for f in os.listdir(base + "/fd"))
    except OSError:
        return {"fds": "unreadable"}
    for fd in fds:
        try:
            link = os.readlink(f"{base}/fd/{fd}")
        except OSError:
            continue
        out[f"fd/{fd}"] = neutral(link)
        for line in read(f"{base}/fdinfo/{fd}").splitlines():
            key, _, value = line.partition(":")
            value = " ".join(value.split())
            if key == "lock":
                # the number, and the inode of a deleted file, are the kernel's
                value = re.sub(r"^\d+: ", "", value)
                key = f"lock {value.split()[0]} {value.split()[-2]}"
            out[f"fdinfo/{fd}/{key}"] = value
    return out


def task_snapshot(tgid, tid):
    base = f"/proc/{tgid}/task/{tid}"
    out = {}
    for line in read(base + "/status").splitlines():
        key, _, value = line.partition(":")
        out["status/" + key] = " ".join(value.split())
    out.update({"stat/" + k: v for k, v in stat_fields(read(base + "/stat")).items()})
    if out.get("stat/class") == "Z":
        # masks, capabilities and the like of the dead: nothing will ever use them
        for key in [k for k in out if re.match(r"status/(Sig|Cap|Seccomp|Spec|Cpus_|Groups|NoNewPrivs)", k)]:
            del out[key]
    for name in ("limits", "personality", "cgroup", "oom_score_adj", "comm",
                 "loginuid", "cpuset", "cmdline", "environ"):
        out[name] = read(f"{base}/{name}")
    for name in ("timers", "timerslack_ns", "coredump_filter", "autogroup"):
        if tgid == tid:
            # autogroups are numbered by the kernel
            out[name] = re.sub(r"^/autogroup-\d+", "/autogroup", read(f"/proc/{tgid}/{name}"))
    out["auxv"] = read(f"/proc/{tgid}/auxv", binary=True).hex()
    for name in ("cwd", "root", "exe"):
        try:
            out[name] = os.readlink(f"{base}/{name}")
        except OSError as e:
            out[name] = "error " + os.strerror(e.errno)
    try:
        for ns in sorted(os.listdir(base + "/ns")):
            out["ns/" + ns] = os.readlink(f"{base}/ns/{ns}")
    except OSError:
        pass
    try:
        out["ioprio"] = libc.syscall(252, 1, tid)
        out["sched"] = (os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority,
                        sorted(os.sched_getaffinity(tid)))
    except OSError as e:
        out["sched"] = "error " + str(e)
    out.update(fd_snapshot(tgid, tid))
    return out


def kcmp(a, b, what, fa=0, fb=0):
    return libc.syscall(SYS_KCMP, a, b, what, ctypes.c_ulong(fa), ctypes.c_ulong(fb))


def classes(members, equal):
    """partition: for each member the first one that it is equal to"""
    heads, out = [], {}
    for m in members:
        for h in heads:
            if equal(h, m):
                out[m] = h
                break
        else:
            heads.append(m)
            out[m] = m
    return out


def sharing_snapshot(tids):
    out = {}
    live = [t for t in tids if not read(f"/proc/{t[0]}/task/{t[1]}/maps").startswith("error")]
    for name, what in KCMP.items():
        for t, h in classes([t[1] for t in live], lambda a, b: kcmp(a, b, what) == 0).items():
            out[f"{t}/kcmp/{name}"] = h
    files, identity = [], {}
    for tgid, tid in live:
        if tgid != tid and kcmp(tgid, tid, KCMP["files"]) == 0:
            continue
        try:
            for fd in os.listdir(f"/proc/{tgid}/task/{tid}/fd"):
                st = os.stat(f"/proc/{tgid}/task/{tid}/fd/{fd}")
                files.append((tid, int(fd)))
                identity[(tid, int(fd))] = (st.st_dev, st.st_ino)
        except OSError:
            continue
    if len(files) > 3000:
        return out
    same_inode = classes(files, lambda a, b: identity[a] == identity[b])
    by_inode = {}
    for f in files:
        by_inode.setdefault(same_inode[f], []).append(f)
    for (tid, fd), head in same_inode.items():
        out[f"{tid}/inode of fd {fd}"] = head
    for group in by_inode.values():
        for (tid, fd), head in classes(group, lambda a, b: kcmp(a[0], b[0], KCMP_FILE, a[1], b[1]) == 0).items():
            out[f"{tid}/file of fd {fd}"] = head
    return out


def pss(tgid):
    m = re.search(r"^Pss_Anon:\s+(\d+)", read(f"/proc/{tgid}/smaps_rollup"), re.M)
    return int(m[1]) if m else 0


def snapshot(root):
    tids = tree(root)
    out = {"tids": sorted(t[1] for t in tids)}
    total = 0
    for tgid, tid in tids:
        out.update({f"{tid}/{k}": v for k, v in task_snapshot(tgid, tid).items()})
        if tgid == tid:
            out.update({f"{tid}/{k}": v for k, v in maps_snapshot(tgid, tid).items()})
            total += pss(tgid)
    out.update(sharing_snapshot(tids))
    out["pss_anon_kb"] = total
    return out


def differences(before, after, exceptions=()):
    """lines of text, empty when nothing differs that must not"""
    out = []
    for key in sorted(set(before) | set(after)):
        a, b = before.get(key), after.get(key)
        if a == b:
            continue
        # calls made in the task have their buffers below its stack pointer: pages may be touched there
        if key.endswith("/anon") and key[:-5] + "/stack" in before and a and b and int(a) <= int(b) <= int(a) + 2:
            continue
        if key.endswith("/stack"):
            continue
        if key == "pss_anon_kb":
            # 5 % for pages shared by fork, and a few pages of the stacks
            if b > a * 1.05 + 64 * len(before["tids"]):
                out.append(f"sum of anonymous Pss: {a} KiB before, {b} KiB after")
            continue
        short = key.partition("/")[2] or key
        if any(fnmatch.fnmatchcase(short, p) for p in list(EXCEPTIONS) + list(exceptions)):
            continue
        out.append(f"{key}: {a!r} before, {b!r} after")
    return out


if __name__ == "__main__":
    for k, v in snapshot(int(sys.argv[1])).items():
        print(k, v)
