"""`liif models`, and names of models for --checkpoint."""

import json
import re
from hashlib import sha256

import pytest
from helpers.paths import ROOT
from helpers.pictures import texture
from hub import test_pretrained

from liif.commands import models
from liif.hub import catalog
from liif.hub.catalog import MODELS, model_names
from liif.images.rgb8 import write_image
from liif.models.build import DECODERS, ENCODERS
from liif.models.checkpoint import read_checkpoint

weights, folder, offer = test_pretrained.weights, test_pretrained.folder, test_pretrained.offer


def test_the_list_describes_every_model(cli, folder):
    status, out, _ = cli("models")
    assert status == 0
    blocks = out.split("\n")
    for model in MODELS:
        assert sum(re.split("[ ,]", line)[0] == model.name for line in blocks) == 1
        assert f"  {model.title}" in blocks and f"  licence: {model.licence}" in blocks
        assert f"  PSNR: {model.scores}" in blocks
    assert "edsr-liif, also edsr-baseline-liif (18.9 MB)" in blocks
    assert "  not downloaded yet: liif models download edsr-liif" in blocks
    assert "  not downloaded; manual download required (no verified checksum)" in out
    assert cli("models", "list")[1] == out


@pytest.mark.parametrize(("kind", "registry"), [("decoders", DECODERS), ("encoders", ENCODERS)])
def test_decoders_and_encoders_are_listed(cli, kind, registry):
    """All of them are, and docs/models.md has the same tables."""
    status, out, _ = cli("models", kind)
    rows = [re.split("  +", row) for row in out.partition("\n\n")[0].split("\n")[1:]]
    header, rows = rows[0], rows[1:]
    assert status == 0
    assert list(dict.fromkeys(row[0].split()[0] for row in rows)) == list(registry)
    first = next(row for row in rows if row[0] in ("liif", "edsr-baseline"))
    assert first[-3:] == ["34.67 29.00", "37.99 32.24", "37.99 32.24"]
    notes = [row[-1] for row in rows if len(row) > len(header)]
    assert notes and all(f"\n{note} " in out for note in notes)
    lines = list[str]()
    for row in rows:
        name, _, variant = row[0].partition(" ")
        row[0] = f"`{name}` {variant}".strip()
        psnr = header.index("DIV2K")
        is_unlike = len(row) > len(header) and row[psnr] != "–"
        lines.append(f"| {' | '.join(row[: psnr + 1])}{' †' if is_unlike else ''} |")
    table = "\n".join(lines)
    assert table in (ROOT / "docs" / "models.md").read_text(), f"its table is now:\n{table}"


def test_a_model_that_was_fetched_is_listed_with_its_place(
    cli, offer, folder, weights, monkeypatch
):
    offer()
    monkeypatch.setattr(models, "MODELS", catalog.MODELS)
    status, out, _ = cli("models", "get", "tiny")
    path = folder / "tiny.safetensors"
    assert (status, out) == (0, f"{path}  sha256:{sha256(weights).hexdigest()}\n")
    assert f"  at {path}\n" in cli("models")[1]
    assert cli("models", "get", "tiny")[0] == 0


def test_another_address_must_give_the_same_file(cli, refused, offer, folder, weights):
    server = offer()
    server.files |= {"/mirror": weights, "/other": weights[::-1]}
    assert "its sha256 is" in refused("models", "get", "tiny", "--url", f"{server.at}/other")
    assert cli("models", "get", "tiny", "--url", f"{server.at}/mirror")[0] == 0
    assert [path for path, *_ in server.requests] == ["/other", "/mirror"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get"], f"give the name of a model: {model_names()}"),
        (["show"], f"give a checkpoint file, or the name of a model: {model_names()}"),
        (["show", "a.pth"], "a.pth: no such checkpoint file"),
        (["get", "edsr"], f"edsr: no such model; choose from {model_names()}"),
        (["decoders", "--url", "http://127.0.0.1/x"], "unrecognized arguments: --url"),
        (["get", "rdn-liif"], "manual download required (no verified checksum)"),
        (["get", "rdn-liif", "--url", "file:///etc/passwd"], "starts with http:// or https://"),
        (["fetch"], "invalid choice"),
    ],
)
def test_invalid_command_lines(refused, folder, arguments, message):
    assert message in refused("models", *arguments)
    assert not folder.exists()


def test_missing_bundled_weights_are_reported(refused, cli, monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path)
    assert "missing; reinstall the package" in refused("models", "get", "edsr-light")
    assert f"missing, although it is part of the package: {tmp_path}" in cli("models")[1]


def test_a_name_is_converted_like_a_file(cli, offer, tmp_path):
    offer()
    assert cli("convert", "--checkpoint", "tiny", "-o", tmp_path / "copy.pt")[0] == 0
    assert read_checkpoint(tmp_path / "copy.pt").model == test_pretrained.CONFIG


def test_a_name_is_tested_like_a_file(cli, offer, tmp_path):
    offer()
    write_image(tmp_path / "hr" / "a.png", texture(24, 28))
    config = {"set": "s", "hr": "hr", "scale": 2, "protocol": "none", "data_root": str(tmp_path)}
    (tmp_path / "test.yaml").write_text(json.dumps(config))
    out = tmp_path / "out.json"
    arguments = ["test", "--config", tmp_path / "test.yaml", "--device", "cpu"]
    assert cli(*arguments, "--checkpoint", "tiny", "-o", out)[0] == 0
    assert json.loads(out.read_text())["checkpoint"] == "tiny"


def test_a_table_takes_names(refused, cli, offer):
    offer()
    table = test_pretrained.ROOT / "configs" / "tables" / "benchmark.yaml"
    arguments = ["tables", "--table", table, "--rows", "edsr-liif", "--list", "--checkpoint"]
    status, out, _ = cli(*arguments, "edsr-liif=tiny")
    assert status == 0 and out.endswith("tiny.safetensors\n")
    assert "small: no such checkpoint file" in refused(*arguments, "edsr-liif=small")
