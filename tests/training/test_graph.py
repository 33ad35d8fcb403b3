"""The training step as a CUDA graph, with a stand-in for the graph that calls the step again; what
needs a GPU is in tests/cuda."""

import copy
import functools
import math
from types import SimpleNamespace

import pytest
import torch
from helpers.training import CPU, assert_same_weights, config, metrics, state_of, weights

import liif.training.graph
import liif.training.train
from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.data.loader import Batch
from liif.models.checkpoint import read_checkpoint
from liif.training.graph import EAGER, GraphedStep, obstacle
from liif.training.step import DivergedError, StepResult, train_step
from liif.training.train import train

RATES = [2.0**-e for e in (10, 10, 10, 11, 11, 12, 12, 13)]  # exact in float32
STEPS = range(len(RATES))


def batch(seed, queries=50, bad=False):
    generator = torch.Generator().manual_seed(seed)
    parts = [
        torch.rand(shape, generator=generator)
        for shape in ((3, 3, 8, 8), (3, queries, 2), (3, 2), (3, queries, 3))
    ]
    if bad:
        parts[3][0, 0, 0] = math.nan
    return Batch(*parts)


def fused(state):
    """Let the optimizer work as on a GPU."""
    for group in state.optimizer.param_groups:
        group["fused"] = True
    return state


def eager_of(state, **options):
    return functools.partial(
        train_step, state.model, state.optimizer, losses=state.losses, **options
    )


def graphed(state, **options):
    return GraphedStep(state, eager_of(state, **options), **options)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
    """A graph is the step, called again."""
    recorded = lambda body, _: SimpleNamespace(replay=body)  # noqa: E731
    monkeypatch.setattr(liif.training.graph, "record_graph", recorded)


def run(state, take_step, steps=STEPS, **options):
    """Take steps, each read after the next one has started, as the loop does. Returns results."""
    results, late = [], None

    def finish():
        if late is not None:
            results.append(late.read())
            if isinstance(late, StepResult):
                state.update_ema()
            state.step += 1

    for i in steps:
        following = take_step(batch=batch(i, **options), learning_rate=RATES[i])
        finish()
        late = following
        if isinstance(late, StepResult):
            finish()
            late = None
    finish()
    return results


def tensors(state):
    """All that a step may change, by name."""
    found = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    for i, memory in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{i}.{key}": value for key, value in memory.items()}
    if state.ema_model is not None:
        found |= {f"average.{k}": v for k, v in state.ema_model.state_dict().items()}
    return {key: value.clone() for key, value in found.items()}


def assert_same(found, expected, *, rounded=False):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if rounded or key.startswith("average."):  # by other operations
            torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-5, msg=key)
        else:
            assert torch.equal(found[key], value), key


VARIANTS = {
    "adam": {"clip_gradient": 0.05},
    "adam, L2": {"weight_decay": 0.1},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "accumulate": 2},
    "muon": {"optimizer": "muon", "weight_decay": 0.1, "clip_gradient": 0.05},
    "groups": {
        "groups": [
            {"match": "encoder.body.*", "learning_rate_factor": 0.5},
            {"match": "encoder.head.*", "freeze": True},
        ],
    },
    "bf16": {"precision": "bf16"},
}


def options_of(changes):
    return {k: v for k, v in changes.items() if k in ("clip_gradient", "accumulate", "precision")}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recorded_step_is_train_step(learnable, name):
    """Bit for bit, but for the average and Muon; the learning rates are exact in float32."""
    found = {}
    for kind in (eager_of, graphed):
        chosen = config(learnable, ema=0.9, **VARIANTS[name])
        state = fused(state_of(chosen))
        results = run(state, kind(state, **options_of(VARIANTS[name])))
        found[kind] = tensors(state), results, state.ema_updates, state.optimizer.state_dict()
    (expected, results, updates, options), graph = found[eager_of], found[graphed]
    is_muon = name == "muon"
    assert_same(graph[0], expected, rounded=is_muon)
    for ours, theirs in zip(graph[1], results, strict=True):
        assert ours == theirs or (is_muon and ours.loss == pytest.approx(theirs.loss, rel=1e-5))
    assert graph[2] == updates == len(RATES)
    for ours, theirs in zip(graph[3]["param_groups"], options["param_groups"], strict=True):
        assert {**ours, "lr": 0} == {**theirs, "lr": 0} and type(ours["lr"]) is float


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("at", [EAGER, 5], ids=["as it is recorded", "replayed"])
def test_a_step_that_is_not_finite_changes_nothing(learnable, optimizer, at):
    """Nor does the step that was started before the host knew."""
    chosen = config(learnable, ema=0.9, optimizer=optimizer, weight_decay=0.1)
    state = fused(state_of(chosen))
    step = graphed(state, clip_gradient=1.0)
    run(state, step, range(at))
    before = tensors(state)
    with pytest.raises(DivergedError) as expected:
        eager_of(copy.deepcopy(state))(batch=batch(at, bad=True), learning_rate=RATES[at])
    late = step(batch=batch(at, bad=True), learning_rate=RATES[at])
    step(batch=batch(at + 1), learning_rate=RATES[at + 1])
    for _ in range(2):
        with pytest.raises(DivergedError) as found:
            late.read()
        assert str(found.value) == str(expected.value)
    assert_same(tensors(state), before)
    assert state.ema_updates == at
    assert all(torch.equal(a, before[key]) for key, a in tensors(state).items())
    run(state, step, [at])  # the same step with good samples
    assert state.ema_updates == at + 1
    assert not torch.equal(
        tensors(state)["model.encoder.head.0.weight"], before["model.encoder.head.0.weight"]
    )


@pytest.mark.parametrize(("most", "graphs"), [(256, 2), (1, 1)])
def test_each_shape_has_a_graph_of_its_own(learnable, monkeypatch, most, graphs):
    """After its first steps, and if there are not too many."""
    monkeypatch.setattr(liif.training.graph, "SIZES", most)
    found = []
    for kind in (eager_of, graphed):
        state = fused(state_of(config(learnable)))
        step, is_late = kind(state), list[bool]()
        for i, queries in enumerate([50, 50, 50, 20, 20, 20, 50, 20]):
            taken = step(batch=batch(i, queries=queries), learning_rate=RATES[i])
            is_late.append(not isinstance(taken, StepResult))
            taken.read()
            state.step += 1
        found.append(tensors(state))
    assert_same(*found)
    assert len(step.graphs) == graphs
    of_second = graphs == 2
    assert is_late == [False, False, True, False, False, of_second, True, of_second]


def test_an_eager_step_waits_for_the_one_before(learnable):
    state = fused(state_of(config(learnable)))
    step = graphed(state)
    run(state, step, range(4))
    before = tensors(state)
    step(batch=batch(4, bad=True), learning_rate=RATES[4])
    with pytest.raises(DivergedError):
        step(batch=batch(5, queries=20), learning_rate=RATES[5])
    assert_same(tensors(state), before)


def test_steps_that_cannot_be_recorded_are_taken_all_the_same(learnable, caplog, monkeypatch):
    def refuse(body, _):
        raise RuntimeError("called a synchronizing CUDA operation\nfrom somewhere")

    found = []
    monkeypatch.setattr(liif.training.graph, "record_graph", refuse)
    for kind in (eager_of, graphed):
        state = fused(state_of(config(learnable)))
        with caplog.at_level("INFO", "liif"):
            run(state, kind(state))
        found.append(tensors(state))
    assert_same(*found)
    (line,) = caplog.messages
    assert line == (
        "cuda_graphs: the steps cannot be recorded (called a synchronizing CUDA operation)"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"compile": True}, "compile"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing"),
        (
            {
                "loss": [{"name": "l1"}, {"name": "adversarial", "width": 4, "depth": 1}],
                "train_data.layout": "patch",
            },
            "loss adversarial",
        ),
    ],
)
def test_what_is_not_recorded_has_a_reason(learnable, changes, reason):
    chosen = config(learnable)
    train_data = chosen.train_data.model_dump(exclude_unset=True)
    if "train_data.layout" in changes:
        train_data |= {"layout": changes.pop("train_data.layout")}
    chosen = config(learnable, train_data=train_data, **changes)
    options = {"compiled": bool(chosen.compile)}
    options |= {"gradient_checkpointing": chosen.gradient_checkpointing}
    state = state_of(chosen)
    found = obstacle(state, Team(device=CPU), **options)
    assert found is None if reason is None else reason in found
    if reason is None:
        assert "2 processes" in obstacle(state, Team(0, 2, CPU), **options)
        state.scaler = torch.amp.GradScaler("cpu")
        assert "fp16" in obstacle(state, Team(device=CPU), **options)


@pytest.mark.parametrize(
    ("changes", "is_recorded"),
    [
        ({}, (True, True)),
        ({"deterministic": True}, (False, True)),
        ({"profile": True}, (False, True)),
        ({"compile": True}, (False, False)),
        ({"gradient_checkpointing": True}, (False, False)),
    ],
    ids=str,
)
def test_by_default_what_is_possible_is_recorded(learnable, changes, is_recorded, caplog):
    """And only who asked for it is told why not, in one line."""
    state = state_of(config(learnable))
    for asked, expected in zip((None, True), is_recorded, strict=True):
        chosen = config(learnable, **changes, **({} if asked is None else {"cuda_graphs": asked}))
        with caplog.at_level("INFO", "liif"):
            eager = eager_of(state)
            step = liif.training.train._recorded(state, eager, chosen, "float32", Team(device=CPU))
        assert isinstance(step, GraphedStep) is expected and (expected or step is eager)
        assert len(caplog.messages) == (asked is True and not expected)


@pytest.mark.parametrize("asked", [False, True])
def test_a_cpu_neither_records_nor_speaks_of_it(learnable, tmp_path, asked, caplog):
    with caplog.at_level("INFO", "liif"):
        assert train(config(learnable, steps=5, valid=None), tmp_path / "default")
        chosen = config(learnable, steps=5, valid=None, cuda_graphs=asked)
        assert train(chosen, tmp_path / "other")
    assert "graph" not in caplog.text
    assert_same_weights(tmp_path / "default", tmp_path / "other")


@pytest.fixture
def recorded_runs(monkeypatch):
    """Let `train` record its steps, with the stand-in, as it does on a GPU; returns the function
    that switches that on or off."""
    real = liif.training.train._recorded
    events = []

    def switch(is_on):
        def recorded(state, eager, chosen, precision, team):
            fused(state)
            events.clear()
            if not is_on:
                return eager
            step = real(state, eager, chosen, precision, team)
            checked = step._checked

            def start(**inputs):
                late = step(**inputs)
                if not isinstance(late, StepResult):
                    events.append("start")
                return late

            def note(*inputs, **options):
                events.append("read")
                return checked(*inputs, **options)

            step._checked = note
            return start

        monkeypatch.setattr(liif.training.train, "is_recordable", lambda state: True)
        monkeypatch.setattr(liif.training.train, "_recorded", recorded)

    switch.events = events
    return switch


def test_a_run_with_graphs_is_the_run_without(learnable, tmp_path, recorded_runs):
    """Weights, log and best validation; the host reads each step after it has started the next,
    but for steps after which something is saved or validated."""
    for is_on, name in ((False, "eager"), (True, "graph")):
        recorded_runs(is_on)
        assert train(config(learnable, learning_rate=2.0**-10), tmp_path / name)
    assert_same_weights(tmp_path / "graph", tmp_path / "eager")
    assert metrics(tmp_path / "graph") == metrics(tmp_path / "eager")
    assert recorded_runs.events.count("start") == recorded_runs.events.count("read") == 24 - EAGER
    text = " ".join(recorded_runs.events)
    # Steps 3 to 7, after which the run is saved, and 8, after which it is validated.
    late = "start " + "start read " * 4 + "read "
    assert text.startswith(late + "start read start")


@pytest.mark.parametrize("order", [(True, False), (False, True), (True, True)])
def test_a_run_goes_on_with_or_without_graphs(learnable, tmp_path, recorded_runs, order):
    options = {
        "cuda_graphs": True,
        "learning_rate": 2.0**-10,
        "valid": None,
        "save_every": 100,
        "steps": 14,
    }
    recorded_runs(False)
    assert train(config(learnable, **options), tmp_path / "whole")
    for is_on, stops_after in zip(order, (9, None), strict=True):
        recorded_runs(is_on)
        calls = iter(range(1000))
        stopping = lambda: stops_after is not None and next(calls) >= stops_after - 1  # noqa: B023, E731
        finished = train(config(learnable, **options), tmp_path / "parts", stopping=stopping)
        assert finished is (stops_after is None)
        training = read_checkpoint(tmp_path / "parts" / "last.pt").training
        assert training["step"] == (stops_after or 14)
    assert_same_weights(tmp_path / "parts", tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


@pytest.mark.parametrize("failure", ["not finite", "no data"])
def test_a_run_that_fails_is_saved_as_it_was_before(
    learnable, tmp_path, recorded_runs, monkeypatch, failure
):
    """As it is without graphs, and with the same words."""
    real = liif.training.train.batches

    def failing(*inputs, **options):
        for i, each in enumerate(real(*inputs, **options)):
            if i == 10 and failure == "no data":
                raise UserError("sample.png: cannot be read")
            yield each._replace(target=each.target * math.nan if i == 10 else each.target)

    found = []
    for is_on in (False, True):
        recorded_runs(is_on)
        chosen = config(
            learnable, cuda_graphs=True, learning_rate=2.0**-10, valid=None, save_every=100
        )
        monkeypatch.setattr(liif.training.train, "batches", failing)
        with pytest.raises(UserError) as error:
            train(chosen, tmp_path / str(is_on))
        text = str(error.value).replace(str(tmp_path / str(is_on)), "RUN")
        saved = read_checkpoint(tmp_path / str(is_on) / "last.pt").training
        memory = [v for state in saved["optimizer"]["state"].values() for v in state.values()]
        found.append((text, saved["step"], saved["window"], memory))
    (eager_text, *eager, memory), (text, *graph, late_memory) = found
    assert text == eager_text and text.startswith("step 11: ") and graph == eager
    assert eager[0] == 10
    assert all(torch.equal(a, b) for a, b in zip(memory, late_memory, strict=True))
    assert_same_weights(tmp_path / "True", tmp_path / "False")
    assert weights(tmp_path / "True")
