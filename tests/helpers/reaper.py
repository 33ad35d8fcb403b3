"""End every process of a test run once the run itself has ended, however it ended. Linux only.

    python reaper.py PID MARK

PID is the test run. Processes that it started carry MARK in their environment; those that were only
forked are found by their parents while the run lasts.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress

SCAN = 1.0
"""Seconds between two looks at the children of the run."""
GRACE = 0.5
"""Seconds for what ends by itself."""


def status(pid):
    """Return (parent, start time) of a process, None once it is gone."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        return (int(fields[1]), int(fields[19])) if fields[0] != b"Z" else None


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def descendants(root):
    """Return {(process, its start time)} of all that descend from a process, without ourselves."""
    found = {pid: status(pid) for pid in processes()}
    parents = {pid: known[0] for pid, known in found.items() if known}
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return {(pid, found[pid][1]) for pid in family - {root, os.getpid()}}


def is_marked(pid, mark):
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return mark in file.read().split(b"\0")
    return False


def main(run, mark):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched, known = os.pidfd_open(run), set()
    while not select.select([watched], [], [], SCAN)[0]:
        known = {each for each in known if status(each[0])} | descendants(run)
    time.sleep(GRACE)
    for _ in range(20):  # what is being started now appears at the next look
        left = {pid for pid, start in known if (status(pid) or (0, 0))[1] == start}
        left |= {pid for pid in processes() if pid != os.getpid() and is_marked(pid, mark)}
        if not left:
            return
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].encode())
