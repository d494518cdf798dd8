#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xz -T2 compressing 64 MiB."""
import hashlib
import random
import subprocess

from program import complain, grown, interrupted, output

words = [bytes(random.Random(i).choices(b"abcdefghij \n", k=9)) for i in range(4000)]
choose = random.Random(1)
block = b"".join(choose.choices(words, k=116509))
with open("input", "wb") as f:
    for i in range(64):
        f.write(block[i * 1000:] + block[:i * 1000])
status = interrupted(["xz", "-T2", "-1", "--block-size=2MiB", "-c", "input"], grown("out", 100000))
with open("input", "rb") as f:
    want = hashlib.sha256(f.read()).hexdigest()
got = hashlib.sha256(subprocess.run(["xz", "-dc"], input=output(), stdout=subprocess.PIPE, check=True).stdout).hexdigest()
if status or got != want:
    complain(f"exit status {status}; what was compressed {'equals' if got == want else 'differs from'} the input")
