"""Python processes that start in no time, and end with the test run.

Importing PyTorch takes seconds. `Popen` and `run` take what those of `subprocess` do for a command
of `sys.executable`, but fork a process that has imported everything.
"""

import faulthandler
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import uuid
from multiprocessing import reduction
from pathlib import Path
from subprocess import PIPE, STDOUT

MARK = "LIIF_TEST_RUN"
"""An environment variable that all processes of a test run inherit."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("pytest", "tensorboard", "torch", "torch._dynamo", "torch.utils.tensorboard"),
        *("liif.cli", "liif.training.loop", "liif.evaluation.tables", "liif.inference.enlarge"),
        *("liif.commands.train", "liif.commands.test", "liif.commands.tables"),
        *("liif.commands.upscale", "liif.commands.runs", "liif.commands.plot"),
    ]
)


def end_with_this_run():
    """See to it that no process outlives this one, which may be killed."""
    if MARK in os.environ or not hasattr(os, "pidfd_open"):
        return
    os.environ[MARK] = uuid.uuid4().hex
    command = [sys.executable, "-S", "-E", str(Path(__file__).with_name("reaper.py"))]
    arguments = [str(os.getpid()), f"{MARK}={os.environ[MARK]}"]
    environment = {k: v for k, v in os.environ.items() if k != MARK}
    subprocess.Popen(
        [*command, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


class Popen:
    """A forked process that runs [sys.executable, "-m" MODULE | "-c" CODE | FILE, …]."""

    def __init__(
        self, command, *, cwd=None, env=None, stdin=None, stdout=None, stderr=None,
        text=True, start_new_session=False,
    ):  # fmt: skip
        assert command[0] == sys.executable and text
        self.args = [str(argument) for argument in command]
        ours, theirs = [None, None, None], [0, 1, 2]
        for number, wanted in enumerate((stdin, stdout, stderr)):
            if wanted == PIPE:
                read, write = os.pipe()
                ours[number], theirs[number] = (write, read) if number == 0 else (read, write)
            elif wanted == STDOUT:
                theirs[number] = theirs[1]
            elif wanted is not None:
                theirs[number] = wanted if isinstance(wanted, int) else wanted.fileno()
        environment = dict(os.environ if env is None else env)
        place = os.fspath(cwd or os.getcwd())
        files = [_Inherited(number) for number in theirs]
        settings = (self.args[1:], place, environment, files, start_new_session)
        self._process = CONTEXT.Process(target=_become, args=settings, daemon=True)
        self._process.start()
        for number, mine in enumerate(ours):
            if mine is not None:
                os.close(theirs[number])
        self.pid = self._process.pid
        self._readers, self._texts = [], [None, None]
        modes = ("w", "r", "r")
        self.stdin, self.stdout, self.stderr = (
            None if mine is None else open(mine, mode, errors="surrogateescape")  # noqa: SIM115
            for mine, mode in zip(ours, modes, strict=True)
        )

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        """Read (standard output, standard error) to their ends and wait for the process."""
        if not self._readers:
            self._readers = [
                threading.Thread(target=self._read, args=(number, stream), daemon=True)
                for number, stream in enumerate((self.stdout, self.stderr))
                if stream is not None
            ]
            for reader in self._readers:
                reader.start()
        end = None if timeout is None else time.monotonic() + timeout
        for reader in self._readers:
            reader.join(None if end is None else max(0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if end is None else max(0, end - time.monotonic()))
        return tuple(self._texts)

    def _read(self, number, stream):
        with stream:
            self._texts[number] = stream.read()


def run(command, *, capture_output=False, timeout=None, check=False, **options):
    """Run such a process to its end, as `subprocess.run` does."""
    if capture_output:
        options |= {"stdout": PIPE, "stderr": PIPE}
    process = Popen(command, **options)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


class _Inherited:
    """A descriptor that travels to the new process."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return _detached, (reduction.DupFd(self.number),)


def _detached(descriptor):
    return descriptor.detach()


def _become(arguments, place, environment, files, start_new_session):
    """In the forked process: be what `python ARGUMENTS` would be."""
    import torch

    if start_new_session:
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", 1)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as in a plain process
    multiprocessing.current_process()._config["daemon"] = False  # it may have such workers
    encoding = environment.get("PYTHONIOENCODING")
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding, "backslashreplace", closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    kind = arguments[0] if arguments[0] in ("-m", "-c") else None
    program, *rest = arguments[1:] if kind else arguments
    sys.argv[:] = [kind or program, *rest]
    if kind == "-m":
        sys.path.insert(0, place)
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path.insert(0, "")
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(program).resolve().parent))
        runpy.run_path(program, run_name="__main__")
