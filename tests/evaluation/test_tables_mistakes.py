"""Wrong options and configurations of `liif tables`, and missing data."""

import re
from pathlib import Path

import pytest
from evaluation.test_tables import cell
from helpers.configs import TABLE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--table", "u"], "--table u: no such table; available: ablation, asymmetric, "),
        (["--table", "no.yaml"], "--table no.yaml: no such table"),
        (
            ["--table", "t", "--sets", "set5"],
            "--sets set5: not in this table, which has mine, faces",
        ),
        (["--table", "t", "--scales", "4"], "--scales 4: not in this table, which has 2, 3"),
        (["--table", "t", "--scales", "two"], "--scales two: must be numbers"),
        (
            ["--table", "t", "--rows", "edsr"],
            "--rows edsr: not in this table, which has Bicubic;",
        ),
        (["--table", "t", "--sets", "faces", "--scales", "3"], "select nothing of the table"),
        (["--table", "t", "--checkpoint", "x"], "--checkpoint x: must be NAME=FILE"),
        (["--table", "t", "--checkpoint", "x"], "where NAME is any or fixed-x2"),
        (["--table", "t", "--checkpoint", "any=x"], "x: no such checkpoint file"),
        (
            ["--table", "t", "--checkpoint", "a=configs/any.yaml"],
            "--checkpoint a: not in this table",
        ),
        (["--table", "t", "--out", "configs/any.yaml"], "cannot be written"),
        (["--table", "t", "--clip-cell", "0.5"], "must be a number from 1 to 1000"),
    ],
)
def test_wrong_options_are_refused(refused, table, options, said):
    assert said in refused("tables", *options)


def test_inputs_are_never_overwritten(refused, table):
    Path("results").mkdir()
    last = Path("runs/any/last.pt")
    for name, file in [
        ("md", last),
        ("csv", "configs/tables/t.yaml"),
        ("tex", "configs/mine.yaml"),
    ]:
        Path(f"results/t.{name}").symlink_to(Path(file).resolve())
        said = refused("tables", "--table", "t", "--scales", "3")
        assert said == f"error: results/t.{name}: is an input; choose another name\n"
        Path(f"results/t.{name}").unlink()
    Path("results/t.json").write_bytes(last.read_bytes())
    said = refused(
        *("tables", "--table", "t", "--scales", "3", "--checkpoint", "any=results/t.json")
    )
    assert said == "error: results/t.json: is an input; choose another name\n"
    assert Path("results/t.json").read_bytes() == last.read_bytes()


def test_wrong_tables_are_refused(refused, table):
    for text, said in [
        ("scales: [2]", "title: must be given"),
        (TABLE + "extra: 1\n", "extra: unknown key"),
        (TABLE.replace("[1, 2]", "1"), "rows.1.trained: must be a list"),
        (TABLE.replace("{mine: [20.5", "{yours: [20.5"), "there is no set 'yours'"),
        (TABLE.replace("[20.5, null]", "[20.5, 3, 4]"), "more numbers for 'mine' than scales"),
    ]:
        Path("configs/tables/t.yaml").write_text(text)
        assert said in refused("tables", "--table", "t")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("ani", "config: configs/ani.yaml: no such configuration file; did you mean any?"),
        ("zzz", "configs/zzz.yaml: no such configuration file; correct the name or add it"),
        ("'fixd-x{scale}'", "configs/fixd-x2.yaml: no such configuration file; did you mean fixed"),
        (
            "'fixed-x{scale}', published: {mine: [1, 2]}",
            "configs/fixed-x3.yaml: no such configuration file; did you mean fixed-x2?",
        ),
    ],
)
@pytest.mark.parametrize("options", [[], ["--list"], ["--rows", "bicubic"]])
def test_a_row_without_a_configuration_is_refused(refused, table, config, said, options):
    text = TABLE.replace("Any scale, config: any", f"Any scale, config: {config}")
    file = Path("configs/tables/t.yaml")
    file.write_text(re.sub("(config: 'fix.*mine: .1, 2.*), trained.*", r"\1}", text))
    message = refused("tables", "--table", "t", *options)
    assert message.startswith("error: configs/tables/t.yaml: row 'Any scale': config: configs/")
    assert said in message and message.count("\n") == 1
    assert not Path("results").exists()


def test_a_checkpoint_without_a_name_is_that_of_the_only_configuration(cli, table):
    Path("runs/any/last.pt").rename("mine.pt")
    only = ("--table", "t", "--rows", "any", "--list")
    assert cli("tables", *only, "--checkpoint", "mine.pt")[:2] == (0, "any\tmine.pt\n")
    assert cli("tables", *only, "--checkpoint", "any=mine.pt")[:2] == (0, "any\tmine.pt\n")


def test_a_missing_set_fails_only_if_selected(cli, refused, table):
    (table / "faces" / "f.png").unlink()
    status, out, _ = cli("tables", "--table", "t")
    assert status == 0 and "faces: no images" in out
    assert cell("Bicubic", 2, "faces")["missing"] and cell("Bicubic")["psnr"] > 0
    assert "faces: no images" in refused("tables", "--table", "t", "--sets", "faces")


def test_a_table_without_measurements_exits_with_status_1(cli, table):
    status, out, err = cli("tables", "--table", "t", "--rows", "fixed")
    assert status == 1 and "nothing was measured" in err and "configs/fixed-x2.yaml" in out


def test_a_missing_lpips_is_named(refused, table, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    assert 'pip install "liif[metrics]"' in refused("tables", "--table", "t", "--lpips")
