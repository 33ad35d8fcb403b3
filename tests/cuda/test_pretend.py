"""All tests of this folder with the mark `gpu`, on the pretend device, in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pretend import IS_PRETEND, environment, reason_against

HERE = Path(__file__).parent


@pytest.mark.skipif(IS_PRETEND, reason="this is the process")
@pytest.mark.timeout(900)
def test_on_the_pretend_device(tmp_path):
    if reason := reason_against():
        pytest.skip(reason)
    tests = [HERE, HERE.parent / "training" / "test_device_generator.py"]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-x", "-p", "no:cacheprovider", *tests]
    env = environment(tmp_path)
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 50
