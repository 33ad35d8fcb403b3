"""The decoder study: its configurations are scaled recipes, and its page says what is sure."""

import importlib
import json

import pytest
from helpers.paths import ROOT

from liif.core.config_file import load_config
from liif.training.config import TrainConfig

RECORD = ROOT / "speedrun" / "records" / "00-edsr-light" / "config.yaml"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "results"))
    return importlib.import_module


def config_of(study, recipe, decoder, seed=0):
    values = study.training(study.StudyRun(recipe, decoder, seed), RECORD, 2000, 4)
    return TrainConfig.model_validate_json(json.dumps(values), strict=True)


def test_all_trainings_are_alike_but_for_the_recipe(module):
    study = module("decoder_study")
    configs = {decoder: config_of(study, "b", decoder) for decoder in study.DECODERS}
    assert len({each.model for each in configs.values()}) == len(configs)
    others = [config_of(study, recipe, "thera-air") for recipe in "ac"]
    assert {each.model for each in others} == {configs["thera-air"].model}
    for each in (*configs.values(), *others):
        assert each.train_data == configs["liif"].train_data
        assert (each.steps, each.batch_size, each.model.encoder.width) == (2000, 4, 32)


def test_recipes_are_scaled_to_the_steps(module):
    study = module("decoder_study")
    a, b, c = (config_of(study, recipe, "srno") for recipe in "abc")
    assert (a.learning_rate, a.milestones) == (1e-4, (400, 800, 1200, 1600))
    assert (b.learning_rate, b.schedule, b.warm_up) == (4e-4, "cosine", 95)  # 12500 of 262500
    record = load_config(TrainConfig, RECORD)
    assert (c.learning_rate, c.ema) == (record.learning_rate, record.ema)
    assert c.warm_up == round(record.warm_up * 2000 / record.steps)
    assert config_of(study, "c", "linf").loss[0].name == "nll"


def test_important_decoders_have_five_seeds(module):
    study = module("decoder_study")
    seeds = {}
    for run in study.runs("abc", list(study.DECODERS), 3):
        seeds.setdefault((run.recipe, run.decoder), []).append(run.seed)
    assert {key for key, found in seeds.items() if len(found) == 5} == {
        ("c", name) for name in study.IMPORTANT
    }
    assert set(map(tuple, seeds.values())) == {(0, 1, 2), (0, 1, 2, 3, 4)}


@pytest.fixture
def scores():
    """A decoder that is 1 dB better on every image with every seed, and one that is so on average:
    on two images by chance, with one seed only."""
    found = {}
    for seed in range(3):
        base = {("set5", 2.0, f"i{k}"): 30.0 + k + 0.01 * seed for k in range(6)}
        found["a", "liif", seed] = base
        found["a", "sure", seed] = {k: v + 1 + 0.01 * seed for k, v in base.items()}
        found["a", "luck", seed] = {k: v + (3 if seed == 0 else 0) for k, v in base.items()}
        found["a", "image", seed] = {k: v + (6 if k[2] == "i0" else 0) for k, v in base.items()}
    return found


def test_intervals_over_seeds(module):
    mean, half = module("decoder_page").mean_and_half([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.303 / 3**0.5))


@pytest.mark.parametrize(
    ("decoder", "significant"), [("sure", True), ("luck", False), ("image", False)]
)
def test_a_difference_is_sure_over_seeds_and_over_images(module, scores, decoder, significant):
    page = module("decoder_page")
    found = page.compared(scores, ("a", "liif"), ("a", decoder), 2.0)
    assert found.mean == pytest.approx(1.01 if decoder == "sure" else 1.0)
    assert found.seeds == 3 and found.is_significant is significant


def test_what_is_measured_is_read_and_tabled(module, scores, folder):
    page = module("decoder_page")
    runs = [page.StudyRun(*key) for key in scores] + [page.StudyRun("b", "liif", 0)]
    for run in runs[:-1]:
        run.folder.mkdir(parents=True)
        images = [
            {"name": name, "psnr": value}
            for (_, _, name), value in scores[run.recipe, run.decoder, run.seed].items()
        ]
        text = json.dumps({"set": "set5", "scale": 2.0, "images": images})
        run.result("set5").write_text(text)
    assert page.read_scores(runs, ["set5"]) == scores
    decoders = ["liif", "sure", "luck", "image"]
    lines = page.difference_rows(scores, "a", decoders, [2.0])
    assert "| sure | +1.01 ± 0.02* |" in lines
    assert lines[-2:] == ["- better: sure (x2)", "- not distinguishable: luck, image"]
    rows = page.score_rows(scores, "a", decoders, ["set5"], [2.0])
    assert "| liif | 3 | 32.51 ± 0.02 |" in rows
    lines = page.summary(scores, ["a"], decoders, [2.0])
    assert lines[-1].endswith("(a) | 0.01 |")  # 1.01, and 1 in the middle
