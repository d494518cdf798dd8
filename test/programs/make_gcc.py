#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make -j2 of a small C project with gcc, which makes processes by vfork all the time."""
import os
import shutil
import subprocess

from program import complain, interrupted, output, uninterrupted

N = 16
os.mkdir("src")
for i in range(N):
    with open(f"src/f{i}.c", "w") as f:
        f.write("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n")
        for j in range(40):
            f.write(f"int f{i}_{j}(int x) {{ char b[64]; for (int k = 0; k < x; k++) x ^= snprintf(b, sizeof b, \"%d %d\", k, {j});"
                    f" return x + {i * j}; }}\n")
with open("src/main.c", "w") as f:
    f.write("#include <stdio.h>\n" + "".join(f"int f{i}_{i}(int);\n" for i in range(N)))
    f.write("int main(void) { long s = 0;\n" + "".join(f" s += f{i}_{i}({i});\n" for i in range(N)) + ' printf("%ld\\n", s); return 0; }\n')
with open("src/Makefile", "w") as f:
    f.write("OBJECTS := main.o " + " ".join(f"f{i}.o" for i in range(N)) + "\n"
            "program: $(OBJECTS)\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -O2 -c -o $@ $<\n")
command = ["make", "-j2", "-C", "src", "--no-print-directory"]


def result():
    return subprocess.run(["src/program"], stdout=subprocess.PIPE, check=True).stdout


if uninterrupted(command):
    complain("the uninterrupted build fails")
want, lines = result(), sorted(output().splitlines())
subprocess.run("rm -f src/*.o src/program", shell=True, check=True)
status = interrupted(command, lambda: sum(n.endswith(".o") for n in os.listdir("src")) >= 4)
if status or result() != want:
    complain(f"the build after restart: exit status {status}")
if sorted(output().splitlines()) != lines:
    complain("the build ran other commands")
shutil.rmtree("src")
