"""What the fuzz tests share: how many cases, how files are damaged, what a case may take."""

import faulthandler
import os
import resource
import signal
import sys
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("LIIF_FUZZ", "60"))
SECONDS = 20
"""That a case may take on a busy machine; most take some milliseconds."""
MEMORY = 3 * 2**30
"""That a case may add to the process, in bytes of address space."""

many = settings(
    max_examples=CASES,
    deadline=None,  # a case's own limit is below
    derandomize="LIIF_FUZZ" not in os.environ,  # the short run is the same one every time
    suppress_health_check=list(HealthCheck),
)


class Hang(BaseException):
    """Not an Exception: nothing that is tested may catch it."""


@contextmanager
def within_limits(folder):
    """What is inside must end in time, within the memory, and leave no file in the folder, which is
    also the working folder and that of temporary files (`confine` sees to it)."""

    def stop(number, frame):
        raise Hang

    before, limit = set(folder.rglob("*")), resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limit[1]))
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    # Where Python is not asked any more:
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    except Hang:
        raise AssertionError(f"not done after {SECONDS} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, limit)
    assert set(folder.rglob("*")) == before, "files left behind"


def confine(folder, monkeypatch):
    """Make it the working folder and that of temporary files."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


POSITIONS = st.integers(0, 63) | st.integers(0, 2**16)  # headers are worth more
LENGTHS = st.integers(1, 8) | st.integers(1, 400)
NUMBERS = st.sampled_from([0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1])
ANY = st.integers(0, 2**64 - 1)
DAMAGES = ["bit", "byte", "number", "cut", "drop", "repeat", "insert", "swap", "splice"]
ORDERS = ("little", "big")


@st.composite
def damaged(draw, seeds):
    """One of the seeds (bytes) after one to five damages."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(POSITIONS) % (len(data) + 1)
        match draw(st.sampled_from(DAMAGES)):
            case "bit" if at < len(data):
                data = put(data, at, bytes([data[at] ^ 1 << draw(st.integers(0, 7))]))
            case "byte":
                data = put(data, at, draw(st.binary(min_size=1, max_size=3)))
            case "number":
                size, order = draw(st.sampled_from((1, 2, 3, 4, 8))), draw(st.sampled_from(ORDERS))
                value = draw(NUMBERS | ANY) % 256**size
                data = put(data, at, value.to_bytes(size, order))
            case "cut":
                data = data[:at]
            case "drop":
                data = data[:at] + data[at + draw(LENGTHS) :]
            case "repeat":
                data = data[: at + draw(LENGTHS)] + data[at:]
            case "insert":
                data = data[:at] + draw(st.binary(max_size=9)) + data[at:]
            case "swap":
                middle, end = at + draw(LENGTHS), at + 2 * draw(LENGTHS)
                data = data[:at] + data[middle:end] + data[at:middle] + data[end:]
            case "splice":
                data = data[:at] + draw(st.sampled_from(seeds))[draw(POSITIONS) :]
    return data


def put(data, at, new):
    return data[:at] + new + data[at + len(new) :]
