"""The test run's own processes: they start quickly, behave like real ones, and outlive nobody."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import processes
from helpers.paths import ROOT

HELD = """
import os, subprocess, sys, time
from pathlib import Path
from helpers import processes

processes.end_with_this_run()

def test_that_is_killed():
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    inner = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
    command = [sys.executable, "-c", inner]
    session = subprocess.Popen(command, start_new_session=True)
    if (forked := os.fork()) == 0:
        time.sleep(600)
    time.sleep(2.5)  # until the fork has been seen
    Path("pids").write_text(f"{started.pid} {session.pid} {forked}")
    time.sleep(600)
"""


def wait_until(condition, message):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(message)


def is_running(pid):
    """Whether a process is there and no mere zombie."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def marked(mark):
    """The processes with such a line in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0") and is_running(entry.name):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_nothing_outlives_a_run_that_is_killed(tmp_path):
    (tmp_path / "test_held.py").write_text(HELD)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "HELD": tmp_path.name}
    del environment[processes.MARK]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_held.py"]
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "pids").exists, "the inner run has not begun")
        children = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(is_running, children))
    finally:
        run.kill()
        run.wait()
    wait_until(lambda: not any(map(is_running, children)), "processes outlived the run")
    mark = f"HELD={tmp_path.name}".encode()
    wait_until(lambda: not marked(mark), "a process of a process outlived the run")


def python(*arguments, **options):
    return processes.run([sys.executable, *arguments], capture_output=True, timeout=120, **options)


def test_a_forked_process_is_like_a_started_one(tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['A'], sys.argv); sys.exit('no')"
    done = python("-c", code, "x", cwd=tmp_path, env={**os.environ, "A": "b"})
    assert (done.returncode, done.stderr) == (1, "no\n")
    assert done.stdout == f"{tmp_path} b ['-c', 'x']\n"
    (tmp_path / "there.py").write_text("print(__name__)\nraise KeyError('it')\n")
    done = python("there.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "__main__\n") and "KeyError: 'it'" in done.stderr
    assert "usage: liif" in python("-m", "liif", "--help").stdout


def test_signals_reach_a_forked_process():
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = processes.Popen(
            [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(600)"],
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == "on\n"
        process.send_signal(number)
        assert process.wait(60) == -number
