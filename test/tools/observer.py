#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The observer: all that the kernel shows of a process tree, before and after, and the difference.

snapshot(pid) gives a flat dict {"TID/KEY": value}; differences(a, b) the keys that differ. What may
differ is in EXCEPTIONS, what is not looked at in NOT_LOOKED_AT, each with its reason.
"""
import array
import ctypes
import fnmatch
import functools
import os
import pickle
import re
import struct
import sys

SLOW = int(os.environ.get("STASIS_TEST_SLOW", "1"))  # how many times longer than usual all may take here

# pattern on KEY (the part behind "TID/") -> why it may differ
EXCEPTIONS = {
    "status/VmPeak": "a high-water mark cannot be put back",
    "status/VmHWM": "a high-water mark cannot be put back",
    "status/VmPTE": "page tables follow the order of faults",
    "status/Rss*": "compared per mapping, by present pages (page cache mapped around a fault may differ)",
    "status/VmRSS": "as RssAnon, RssFile",
    "status/HugetlbPages": "counts what is in the page tables: shared memory comes there when it is touched",
    "status/VmSwap": "swapping is the kernel's choice",
    "status/State": "running or sleeping at the moment; stopped and zombie are compared as class",
    "status/voluntary_ctxt_switches": "statistics: start anew",
    "status/nonvoluntary_ctxt_switches": "statistics: start anew",
    "status/FDSize": "room in the kernel's table, not in the program's view",
    "status/SigQ": "counts all of the user's processes",
    "status/Mems_allowed*": "of the cpuset",
    "sessionid": "audit's own number: it comes with the login uid",
    "timens_offsets": "clocks that go on are set back by the time that has passed: the tests of time namespaces look at the clocks",
    "fdinfo/*/eventfd-id": "the kernel's own count of them",
    "fdinfo/*/it_value": "the time that is left gets less: the tests of timerfd look at it",
    "fdinfo/*/mnt_id": "mount ids of a new mount namespace",
    "fdinfo/*/ino": "inode numbers of pipes and deleted files are new: compared as classes",
}

# files of /proc/PID that are not compared -> why
NOT_LOOKED_AT = {
    "io, schedstat, sched, stat: times and faults": "statistics: start anew",
    "smaps: Rss, Pss, Referenced, *_Dirty, *_Clean": "what is present is compared by pagemap, the sum of Pss as a whole",
    "syscall, stack, wchan": "where a task waits: an interrupted call goes on as restart_syscall(2)",
    "mem": "contents: the programs check themselves",
    "maps, map_files, statm, smaps_rollup": "the same as smaps and status",
    "mounts, mountstats, net/": "of the namespace, whose link is compared; mountinfo is, of one that is not the observer's",
    "oom_score, oom_adj": "derived from oom_score_adj and memory",
    "clear_refs": "written only",
    "ksm_*, arch_status": "statistics",
    "attr/": "labels of a security module: the kind cred refuses what it cannot put back",
}

KCMP = {"files": 2, "fs": 3, "io": 5, "mm": 1, "sighand": 4, "sysvsem": 6}
KCMP_FILE = 0
SYS_KCMP, SYS_IOPRIO_GET, SYS_SCHED_GETATTR = 312, 252, 315
PRESENT, SWAPPED, FILE = 1 << 63, 1 << 62, 1 << 61
PFN = (1 << 55) - 1
libc = ctypes.CDLL(None, use_errno=True)


def read(path, binary=False):
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as e:
        return ("error " + os.strerror(e.errno)).encode() if binary else "error " + os.strerror(e.errno)
    return data if binary else data.decode("utf-8", "surrogateescape")


def tree(root):
    """all (tgid, tid) of the set: processes in order, threads behind their leader"""
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
                # in the order of their pids: the kernel's list has orphans where they were adopted
                todo += sorted(int(k) for k in kids.split())
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


def is_busy(tgid, tid):
    """whether it runs, or is about to"""
    return read(f"/proc/{tgid}/task/{tid}/stat").rpartition(")")[2].split()[:1] in (["R"], ["D"])


@functools.cache
def zero_frame():
    """the frame of the zero page: read once from a mapping of ours that was never written"""
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, ctypes.c_size_t(4096), 1, 0x22, -1, ctypes.c_long(0))
    ctypes.string_at(address, 1)
    with open("/proc/self/pagemap", "rb", buffering=0) as f:
        f.seek(address // 4096 * 8)
        return struct.unpack("<Q", f.read(8))[0] & PFN


def page_entries(f, start, end):
    """pagemap of a range, as an array of 64-bit entries; None when it cannot be read"""
    entries = array.array("Q")
    try:
        f.seek(start // 4096 * 8)
        left = (end - start) // 4096 * 8
        while left and (data := f.read(min(left, 1 << 20))):
            entries.frombytes(data)
            left -= len(data)
    except OSError:
        return None
    return entries


SMAPS = {"KernelPageSize", "VmFlags", "Locked", "THPeligible", "ProtectionKey", "Size",
         "AnonHugePages"}


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


def merge_neighbours(out, ranges):
    """anonymous mappings that touch and differ in nothing are one: whether the kernel keeps two depends on which fork
    their pages come from (anon_vma), which is nothing that a program can see"""
    kept = []
    for key, start, end, private in ranges:
        before = kept[-1] if kept else None
        alike = ("VmFlags", "KernelPageSize")
        if (before and before[2] == start and private and before[3] and "/" not in out[key]
                and out[before[0]].split(" ", 1)[1] == out[key].split(" ", 1)[1]
                and all(out.get(f"{before[0]}/{k}") == out.get(f"{key}/{k}") for k in alike)):
            for k in ("Size", "Locked", "AnonHugePages"):
                a, b = (int(out.get(f"{x}/{k}", "0 kB").split()[0]) for x in (before[0], key))
                out[f"{before[0]}/{k}"] = f"{a + b} kB"
            for k in ("THPeligible", "stack"):  # one is large enough, a pointer is in one
                if out.get(f"{key}/{k}", "0") != "0":
                    out[f"{before[0]}/{k}"] = out[f"{key}/{k}"]
            out[before[0]] = f"{before[0][4:]}-{end:x} " + out[key].split(" ", 1)[1]
            for name in [n for n in out if n == key or n.startswith(key + "/")]:
                del out[name]
            kept[-1] = (before[0], before[1], end, True)
        else:
            kept.append((key, start, end, private))
    return kept


def maps_snapshot(tgid, tid, frames):
    """the mappings of a process; notes in @frames {frame: [(tid, address)...]} what may be shared"""
    out, ranges = {}, []
    current = guard_end = None  # @guard_end: of the mapping before, if nothing can be done with it
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
            out[current] = f"{m[1]}-{m[2]} {m[3]} {m[4]} {inode} {m[7]}"
            if m[7] not in ("[vvar]", "[vvar_vclock]", "[vsyscall]"):
                ranges.append((current, start, end, "p" in m[3] or not m[7]))
            # stacks: of the process; with a guard below, a thread's; or a pointer is in it
            if m[7] == "[stack]" or guard_end == start or any(start <= p < end for p in pointers):
                out[current + "/stack"] = "yes"
            guard_end = end if m[3] == "---p" else None
            continue
        key, _, value = line.partition(":")
        # how much is locked is counted as Pss is: of files it depends on who else maps them
        if current and key in SMAPS and not (key == "Locked" and "/" in out[current]):
            value = value.strip()
            if key == "Locked" and " /" in out[current]:
                continue  # what is mapped of a file at the moment, divided by who else maps it
            if key == "VmFlags":
                # "sd" (soft dirty) is bookkeeping of the kernel
                value = " ".join(w for w in value.split() if w not in ("sd",))
            out[f"{current}/{key}"] = value
    ranges = merge_neighbours(out, ranges)
    for line in read(f"/proc/{tgid}/task/{tid}/numa_maps").splitlines():
        address, policy = line.split()[:2] if len(line.split()) > 1 else ("", "")
        if f"map/{address}" in out and policy != "default":
            out[f"map/{address}/policy"] = policy
    try:
        with open(f"/proc/{tgid}/task/{tid}/pagemap", "rb", buffering=0) as f:
            for key, start, end, private in ranges:
                pages_snapshot(out, key, page_entries(f, start, end), start, private, (tgid, frames))
    except OSError:
        pass
    return out


def pages_snapshot(out, key, entries, start, private, where):
    """file pages may be mapped around a fault by the kernel: only anonymous ones count"""
    if entries is None or not private:
        out[key + "/anon"] = None
        return
    tgid, frames = where
    count, zero = 0, zero_frame()
    # in an anonymous mapping it is the huge zero page that looks like a file's
    ignored = FILE if re.search(r"/|\[v", out[key]) else 0
    for i, entry in enumerate(entries):
        if not entry >> 62 or entry & ignored:
            continue
        count += 1
        frame = entry & PFN
        if entry & PRESENT and frame and frame != zero:
            frames.setdefault(frame, []).append((tgid, key, start + i * 4096))
    out[key + "/anon"] = str(count)


def sharing_of_pages(frames):
    """per mapping which of its pages share a frame, and with whose first"""
    found = {}
    for users in frames.values():
        if len(users) < 2:
            continue
        head = users[0][0], users[0][2]
        for tgid, key, address in users:
            found.setdefault(f"{tgid}/{key}/shared pages", []).append((address, head, len(users)))
    return {key: (len(pages), hash(tuple(sorted(pages)))) for key, pages in found.items()}


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
            out[f"fd/{fd}/mode"] = oct(os.lstat(f"{base}/fd/{fd}").st_mode)
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


def scheduling(tid):
    """sched_getattr(2) but for what is derived: policy, flags, nice, priority, runtime, deadline, period, clamps"""
    room = ctypes.create_string_buffer(56)
    if libc.syscall(SYS_SCHED_GETATTR, tid, room, 56, 0) < 0:
        return "error " + os.strerror(ctypes.get_errno())
    return struct.unpack("<IIQiIQQQII", room.raw)


OF_A_TASK = ("limits", "personality", "cgroup", "oom_score_adj", "comm", "loginuid", "sessionid", "cpuset",
             "cmdline", "environ", "uid_map", "gid_map", "projid_map", "setgroups")
OF_A_PROCESS = ("timers", "timerslack_ns", "coredump_filter", "timens_offsets")


def neutral_mounts(text):
    """in their order, without the numbers: ids, devices of what is made anew, groups"""
    lines = [re.sub(r"^\d+ \d+ \d+:\d+ ", "", line) for line in text.splitlines()]
    return [re.sub(r"(shared|master|propagate_from):\d+", r"\1", line) for line in lines]


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
    for name in OF_A_TASK:
        out[name] = read(f"{base}/{name}")
    if out.get("stat/class") == "Z":
        del out["limits"]  # nothing will ever meet them
    kids = read(base + "/children")
    out["children"] = kids if kids.startswith("error") else sorted(map(int, kids.split()))
    if tgid == tid:
        for name in OF_A_PROCESS:
            out[name] = read(f"/proc/{tgid}/{name}")
        # the group's number is the kernel's: one for each session
        out["autogroup"] = re.sub(r"^\S+ ", "", read(f"/proc/{tgid}/autogroup"))
        if out.get("stat/class") != "Z" and os.readlink(f"{base}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
            out["mountinfo"] = neutral_mounts(read(f"/proc/{tgid}/mountinfo"))
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
    out["ioprio"] = libc.syscall(SYS_IOPRIO_GET, 1, tid)
    out["sched"] = scheduling(tid)
    try:
        out["affinity"] = sorted(os.sched_getaffinity(tid))
    except OSError as e:
        out["affinity"] = "error " + str(e)
    return out


def kcmp(a, b, what, fa=0, fb=0):
    return libc.syscall(SYS_KCMP, a, b, what, ctypes.c_ulong(fa), ctypes.c_ulong(fb))


def classes(members, order):
    """
    partition by kcmp(2), which gives an order (0 equal, 1 less, 2 greater): for each member the first
    one that it is equal to
    """
    place = {m: i for i, m in enumerate(members)}
    compare = {0: 0, 1: -1, 2: 1}
    out, head = {}, None
    ranked = sorted(members, key=functools.cmp_to_key(lambda a, b: compare.get(order(a, b), 0)))
    run = []
    for m in [*ranked, None]:
        if m is not None and (not run or order(run[0], m) == 0):
            run.append(m)
            continue
        head = min(run, key=place.get) if run else None
        out.update((member, head) for member in run)
        run = [m]
    return out


def sharing_snapshot(live):
    """who shares what, and the descriptors of each table once"""
    out, tables = {}, {}
    for name, what in KCMP.items():
        # the kernel shows an order of its own: members in order of the tree make it ours
        found = classes([t[1] for t in live], lambda a, b, what=what: kcmp(a, b, what))
        out.update({f"{t}/kcmp/{name}": h for t, h in found.items()})
        if name == "files":
            tables = found
    files, by_inode = [], {}
    for tgid, tid in live:
        if tables[tid] != tid:
            continue
        out.update({f"{tid}/{k}": v for k, v in fd_snapshot(tgid, tid).items()})
        try:
            for fd in sorted(int(f) for f in os.listdir(f"/proc/{tgid}/task/{tid}/fd")):
                st = os.stat(f"/proc/{tgid}/task/{tid}/fd/{fd}")
                files.append((tid, fd))
                by_inode.setdefault((st.st_dev, st.st_ino), []).append((tid, fd))
        except OSError:
            continue
    for group in by_inode.values():
        same = classes(group, lambda a, b: kcmp(a[0], b[0], KCMP_FILE, a[1], b[1]))
        for (tid, fd), head in same.items():
            out[f"{tid}/inode of fd {fd}"] = group[0]
            out[f"{tid}/file of fd {fd}"] = head
    return out


def pss(tgid):
    m = re.search(r"^Pss_Anon:\s+(\d+)", read(f"/proc/{tgid}/smaps_rollup"), re.M)
    return int(m[1]) if m else 0


def is_live(t):
    return stat_fields(read(f"/proc/{t[0]}/task/{t[1]}/stat"))["class"] not in "ZX"


NAMESPACE = re.compile(r"\b(?:cgroup|ipc|mnt|net|pid|time|user|uts):\[\d+\]")


def number_namespaces(out):
    """a namespace is the observer's own, or known by who is in it, or by who refers to it first"""
    names = {os.readlink(f"/proc/self/ns/{sort}"): "own" for sort in os.listdir("/proc/self/ns")}

    def name(match):
        return names.setdefault(match[0], f"namespace {len(names)}")

    def neutral(value):
        if isinstance(value, str):
            return NAMESPACE.sub(name, value)
        if isinstance(value, (list, tuple)):
            return type(value)(neutral(v) for v in value)
        return {k: neutral(v) for k, v in value.items()} if isinstance(value, dict) else value

    for key in sorted(out, key=lambda k: "/ns/" not in k):  # the sort keeps their order otherwise
        if "/ns/" in key or "/fd/" in key or key.endswith("/mountinfo"):
            out[key] = neutral(out[key])


def snapshot(root):
    tids = tree(root)
    live = [t for t in tids if is_live(t)]
    out = {"tids": sorted(t[1] for t in tids)}
    total, frames, seen = 0, {}, set()
    for tgid, tid in tids:
        out.update({f"{tid}/{k}": v for k, v in task_snapshot(tgid, tid).items()})
    for key in ("stat/ppid", "status/PPid"):  # who its parent is, outside, is not the tree's
        for tid in (t[1] for t in tids if t[0] == root):
            out.pop(f"{tid}/{key}", None)
    for tgid, tid in live:  # of each process through a thread that lives
        if tgid not in seen:
            seen.add(tgid)
            out.update({f"{tgid}/{k}": v for k, v in maps_snapshot(tgid, tid, frames).items()})
            total += pss(tgid)
    out.update(sharing_of_pages(frames))
    out.update(sharing_snapshot(live))
    out["pss_anon_kb"] = total
    number_namespaces(out)
    return out


def differences(before, after, exceptions=(), restarted=True):
    """lines of text, empty when nothing differs that must not"""
    out = []
    for key in sorted(set(before) | set(after)):
        a, b = before.get(key), after.get(key)
        if a == b:
            continue
        # calls made in the task have their buffers below its stack pointer: pages may be touched there
        if key.endswith("/anon") and key[:-5] + "/stack" in before and a and b and abs(int(a) - int(b)) <= 2:
            continue
        if key.endswith("/stack"):
            continue
        # huge pages that are shared in part come back as small ones
        if restarted and key.endswith("/AnonHugePages") and a and b and int(a.split()[0]) > int(b.split()[0]):
            continue
        # the same: what is touched of a stack that fork shared is no longer shared
        if key.endswith("/shared pages"):
            stack = key[:-len("shared pages")] + "stack" in before
            lost = (a or (0,))[0] - (b or (0,))[0]
            if stack or lost and abs(lost) <= 2:
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
    if sys.argv[1] == "--pickle":
        pickle.dump(snapshot(int(sys.argv[2])), sys.stdout.buffer)
        sys.exit()
    for k, v in snapshot(int(sys.argv[1])).items():
        print(k, v)
