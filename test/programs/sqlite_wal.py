#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""sqlite3 in the middle of a long transaction with a write-ahead log."""
import os

from program import complain, grown, interrupted, output, uninterrupted

SQL = """
pragma journal_mode=wal;
create table t(id integer primary key, v text);
insert into t values (0, 'before');
begin immediate;
.output progress
with recursive n(i) as (select 1 union all select i + 1 from n where i < 400000)
    insert into t select i, hex(i * 7919) || 'row' from n returning id;
.output
commit;
select count(*), sum(length(v)), max(id) from t;
pragma integrity_check;
"""
with open("script", "w") as f:
    f.write(SQL)


def run(how, *more):
    for name in ("db", "db-wal", "db-shm", "progress"):
        if os.path.exists(name):
            os.unlink(name)
    status = how(["sqlite3", "-cmd", ".read script", "db", ".exit"], *more)
    return status, output()


want = run(uninterrupted)
got = run(interrupted, lambda: grown("db-wal", 32)() and grown("progress", 4096)())
if got != want or want[0] or b"ok" not in want[1]:
    complain(f"{got} after restart, {want} uninterrupted")
