#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bash running a pipeline of five processes with background jobs and a trap."""
from program import complain, grown, output, same_result

SCRIPT = r"""
trap 'echo trapped >> trapped' USR1
background() { for i in $(seq 1 40); do echo "$1 $i"; sleep 0.02; done > "background.$1"; }
background a & background b &
i=0
while [ $i -lt 400 ]; do echo "line $i"; i=$((i+1)); [ $((i % 4)) = 0 ] && sleep 0.01; done |
    tee progress | sed -u 's/line/LINE/' | grep --line-buffered LINE | awk '{ s += $2; print $1, $2, s; fflush() }' | cat
kill -USR1 $$
wait
cat trapped background.a background.b
rm trapped
echo "done, status $?"
exit 7
"""

same_result(["bash", "-c", SCRIPT], grown("out", 500))
if b"trapped" not in output():
    complain("the trap did not run")
