"""The trace of a few steps."""

import gzip
import json

from helpers.training import assert_same_weights, config

from liif.training.train import train


def test_three_steps_are_traced(learnable, tmp_path):
    chosen = config(learnable, steps=10, valid=None, profile=True)
    assert train(chosen, tmp_path / "run")
    (file,) = (tmp_path / "run").glob("trace-*")
    assert file.name == "trace-00000000.json.gz"
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    names = [event["name"] for event in events]
    assert sum("Optimizer.step" in name for name in names) == 3
    assert any("conv" in name for name in names)
    assert train(config(learnable, steps=10, valid=None), tmp_path / "plain")
    assert_same_weights(tmp_path / "run", tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("trace-*"))


def test_a_run_that_is_too_short_says_so(learnable, tmp_path, caplog):
    assert train(config(learnable, steps=2, valid=None, profile=True), tmp_path)
    assert "no trace: it needs 9 steps" in caplog.text
