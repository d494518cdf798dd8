#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 with 50 threads, locks, decimal and floating point; the final checksum is known."""
from program import grown, same_result

SCRIPT = r"""
import decimal, hashlib, math, threading
lock, total, taken, results = threading.Lock(), 0, 0, [None] * 50
barrier = threading.Barrier(50)
def work(n):
    global total, taken
    barrier.wait()
    context = decimal.Context(prec=60)
    d, x = context.create_decimal(n + 2), 0.5 + n / 1000
    for i in range(1500):
        d = context.sqrt(context.add(d, context.divide(decimal.Decimal(1), decimal.Decimal(i + 1))))
        x = 3.9 * x * (1.0 - x) + math.sin(i) * 1e-9
        x = min(max(x, 1e-6), 1 - 1e-6)
        with lock:
            total += i
            taken += 1
            if taken % 1000 == 0:
                progress.write("x"); progress.flush()
    barrier.wait()
    results[n] = (str(d), x.hex())
progress = open("progress", "w")
threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
[t.start() for t in threads]
[t.join() for t in threads]
print(total, hashlib.sha256(repr(results).encode()).hexdigest())
"""

same_result(["/usr/bin/python3", "-c", SCRIPT], grown("progress", 20))
