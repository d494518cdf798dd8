#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""perl and gawk loops."""
from program import grown, same_result

PERL = r"""
$| = 1; open(P, ">", "progress"); select((select(P), $| = 1)[0]);
my (%h, $s); for my $i (1..600000) { $h{$i % 5003} .= chr(97 + $i % 26); $s = ($s * 31 + $i) % 1000000007; print P "x" if $i % 2000 == 0; }
print "$s ", join(",", map { length $h{$_} } sort keys %h), "\n";
"""
GAWK = r"""
BEGIN { for (i = 1; i <= 1500000; i++) { a[i % 7919] += i; s = (s * 33 + a[i % 7919]) % 1000003; if (i % 5000 == 0) { printf "x" > "progress"; fflush("progress") } }
        for (k in a) t += a[k]; print s, t, sin(s) }
"""
same_result(["perl", "-e", PERL], grown("progress", 40))
same_result(["gawk", GAWK], grown("progress", 40))
