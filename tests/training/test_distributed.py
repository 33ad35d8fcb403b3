"""Several processes do what one does: the same losses, scores and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import TINY
from helpers.pictures import texture
from helpers.ranks import lines, together

from liif.core.config_file import load_config
from liif.core.distributed import ALONE, Team
from liif.data.loader import batches
from liif.images.rgb8 import read_image, write_image
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import read_checkpoint
from liif.training.config import TrainConfig
from liif.training.step import train_step

# Training


def test_the_same_losses_scores_and_weights(cli, project):
    assert cli("train", "--config", "c.yaml", "--name", "one", "--device", "cpu")[0] == 0
    split = ("train", "--config", "c.yaml", "--device", "cpu", "--set", "accumulate=2")
    # Stopped half-way and continued with another number of processes.
    for size, steps in ((2, 5), (3, 10)):
        results = together(size, *split, "--name", "many", "--set", f"steps={steps}")
        assert [status for status, _ in results] == [0] * size, results
        assert [out for _, out in results[1:]] == [""] * (size - 1)  # one process speaks
    alone = [line for line in lines("one") if line["kind"] == "train"]
    shared = [line for line in lines("many") if line["kind"] == "train"]
    assert [line["step"] for line in shared] == [line["step"] for line in alone]
    for a, b in zip(alone, shared, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-6
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-4)
    a, b = ([v for v in lines(run) if v["kind"] == "valid"] for run in ("one", "many"))
    assert a[-1]["psnr"] == pytest.approx(b[-1]["psnr"], abs=1e-3)
    ours = read_checkpoint(Path("runs/many/last.pt")).weights
    for key, value in read_checkpoint(Path("runs/one/last.pt")).weights.items():
        torch.testing.assert_close(ours[key], value, atol=2e-5, rtol=1e-3)


def test_each_process_draws_its_own_share(project):
    source = load_config(TrainConfig, Path("c.yaml")).train_data.open_source(".")
    options = {"seed": 3, "batch_size": 7, "start": 2, "stop": 4}
    whole = list(batches(source, **options))
    for size in (1, 2, 3, 7):
        teams = [Team(rank, size) for rank in range(size)]
        shares = [team.share(7) for team in teams]
        assert [i for share in shares for i in share] == list(range(7))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        parts = [list(batches(source, **options, share=share)) for share in shares]
        for step, batch in enumerate(whole):
            for i, tensor in enumerate(batch[:4]):
                assert torch.equal(torch.cat([part[step][i] for part in parts]), tensor)


@pytest.mark.parametrize("parts", [2, 3, 7, 50])
def test_accumulated_gradients_are_those_of_the_whole_batch(project, parts):
    source = load_config(TrainConfig, Path("c.yaml")).train_data.open_source(".")
    (batch,) = batches(source, seed=0, batch_size=7, start=0, stop=1)
    batch = batch.to(torch.device("cpu"))
    model = build_model(ModelConfig.model_validate(TINY))
    results = []
    for accumulate in (1, parts):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        values = train_step(model, optimizer, batch, learning_rate=0.0, accumulate=accumulate)
        results.append((values, [p.grad.clone() for p in model.parameters()]))
    assert results[0][0][:3] == pytest.approx(results[1][0][:3], rel=1e-5)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_fewer_samples_than_processes(project):
    results = together(2, "train", "--config", "c.yaml", "--set", "batch_size=1", "--device", "cpu")
    assert [status for status, _ in results] == [1, 1]
    text = "".join(out for _, out in results)
    assert text.count("error:") == 1 and "batch_size: 1 is less than 2 processes" in text


# Testing and using


def test_scores_and_pictures_of_a_shared_test(cli, project, tiny_checkpoint):
    (project / "t.yaml").write_text(
        f"set: s\nhr: {project}/photos\nscale: 2\nprotocol: none\ncheckpoint: {tiny_checkpoint}\n"
    )
    options = ("test", "--config", "t.yaml", "--device", "cpu")
    _, expected, _ = cli(*options, "--out", "one.json", "--save-images", "one")
    results = together(2, *options, "--out", "two.json", "--save-images", "two")
    assert results == [(0, expected), (0, "")]
    one, two = (json.loads(Path(f"{name}.json").read_text()) for name in ("one", "two"))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    for path in sorted(Path("one").iterdir()):
        assert np.array_equal(read_image(path), read_image(Path("two") / path.name))


@pytest.mark.parametrize("options", [(), ("--self-ensemble",)])
def test_a_picture_enlarged_together(cli, project, tiny_checkpoint, options):
    write_image(Path("in.png"), texture(30, 41))
    command = ("--checkpoint", tiny_checkpoint, "--size", "201x153", "--device", "cpu", *options)
    assert cli("upscale", "in.png", "-o", "one.png", *command)[0] == 0
    results = together(3, "upscale", "in.png", "-o", "three.png", *command)
    assert [status for status, _ in results] == [0, 0, 0], results
    one, three = (read_image(Path(f"{name}.png")).astype(int) for name in ("one", "three"))
    assert np.abs(one - three).max() <= 1  # the tiles lie elsewhere: float rounding, then 8 bit
    assert (one != three).mean() < 0.001


def test_a_table_measured_together(cli, project, tiny_checkpoint):
    files = {
        "configs/tables/t.yaml": "title: T\nsets: {s: {config: ../s.yaml}}\nscales: [2, 3]\n"
        "rows: [{name: Bicubic}, {name: Any, config: any}]\n",
        "configs/s.yaml": f"set: s\nhr: {project}/photos\nprotocol: none\n",
        "configs/any.yaml": "",
    }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    options = (
        "tables",
        "--table",
        "t",
        "--checkpoint",
        f"any={tiny_checkpoint}",
        "--device",
        "cpu",
    )
    assert cli(*options, "--out", "one")[0] == 0
    results = together(2, *options, "--out", "two")
    assert [status for status, _ in results] == [0, 0] and results[1][1] == ""
    one, two = (json.loads(Path(n, "t.json").read_text())["cells"] for n in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        assert (
            a["psnr"] == pytest.approx(b["psnr"], abs=1e-5) and a["measured"] == b["measured"] == 3
        )


def test_one_process_is_a_team_of_its_own():
    assert ALONE.leads and ALONE.any(True) and not ALONE.any(False)
    assert ALONE.gather("x") == ["x"] and ALONE.share(5) == range(5)
    assert ALONE.sum(torch.tensor([1.5, 2.0])).tolist() == [1.5, 2.0]


ADVERSARIAL = (
    "--set", "loss=[{name: l1}, {name: adversarial, weight: 0.1, width: 4}]",
    "--set", "train_data.layout=patch", "--set", "valid=null", "--device", "cpu",
)  # fmt: skip


def test_a_discriminator_learns_alike_in_several_processes(cli, project):
    assert cli("train", "--config", "c.yaml", "--name", "one", *ADVERSARIAL)[0] == 0
    split = ("train", "--config", "c.yaml", "--name", "many", *ADVERSARIAL)
    for steps in (5, 10):  # stopped half-way and continued
        results = together(2, *split, "--set", "accumulate=2", "--set", f"steps={steps}")
        assert [status for status, _ in results] == [0, 0], results
    for a, b in zip(lines("one"), lines("many"), strict=True):
        for key in ("loss", "loss/l1", "loss/adversarial", "loss/adversarial/own"):
            assert a[key] == pytest.approx(b[key], abs=1e-5)
    one, many = (
        read_checkpoint(Path(f"runs/{run}/last.pt")).training["losses"]["state"]["adversarial"]
        for run in ("one", "many")
    )
    for key, value in one["weights"].items():
        torch.testing.assert_close(many["weights"][key], value, atol=2e-5, rtol=1e-3)
