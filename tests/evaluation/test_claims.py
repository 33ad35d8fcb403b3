"""`liif metrics`: which definitions give a number, from pictures alone."""

import json
import re

import numpy as np
import pytest
import torch
from helpers.paths import SHARED
from helpers.pictures import texture
from PIL import Image

from liif.evaluation.claims import Claim, Scores, explained, fitting, possible_psnr
from liif.evaluation.definitions import Psnr, parse
from liif.evaluation.named import NAMED
from liif.images.resize import matlab_bicubic
from liif.images.rgb8 import write_image


@pytest.fixture
def sets(folder):
    """Folders of true pictures and of results, of three sizes."""
    for seed, (height, width) in enumerate([(60, 80), (90, 70), (120, 120)]):
        hr = texture(height, width, seed)
        lr = matlab_bicubic(hr, (height // 2, width // 2))
        write_image(folder / "hr" / f"p{seed}.png", hr)
        write_image(folder / "sr" / f"p{seed}_x2_ours.png", matlab_bicubic(lr, (height, width)))
    return folder


@pytest.fixture
def measured(cli):
    """The value of a definition by the command, and the claims that it reads."""

    def run(*options):
        status, out, err = cli("metrics", "sr", "hr", "--scale", "2", "--json", *options)
        assert status == 0, err
        return json.loads(out)

    return run


def value_of(measured, line):
    (row,) = measured("--protocol", line)["rows"]
    return row[line.split()[0]]["value"]


def test_a_claim_of_luma_in_full_range(sets, measured):
    line = "psnr colour=y-full border=s"
    found = measured("--claim", f"{value_of(measured, line):.3f}")["psnr"]
    assert found["fits"]
    assert {parse(each["definition"]).colour for each in found["definitions"]} == {"y-full"}
    assert line in [each["definition"] for each in found["definitions"]]


def test_a_claim_of_pooled_errors(sets, measured):
    line = "psnr colour=y-matlab border=s over=pixels"
    found = measured("--claim", f"{value_of(measured, line):.3f}")["psnr"]
    assert {parse(each["definition"]).over for each in found["definitions"]} == {"pixels"}
    assert line in [each["definition"] for each in found["definitions"]]


def test_a_claim_of_results_of_8_bits(sets, measured):
    """Results of 16 bits, a number of what the files of 8 bits would have."""
    for i in range(3):
        hr = np.asarray(Image.open(sets / "hr" / f"p{i}.png"))[..., 0].astype(np.float64)
        noise = np.random.default_rng(i).normal(0, 0.5, hr.shape)
        sr = ((hr + noise) * 257).round().clip(0, 65535).astype(np.uint16)
        Image.fromarray(hr.astype(np.uint8)).save(sets / "hr" / f"p{i}.png")
        Image.fromarray(sr).save(sets / "sr" / f"p{i}_x2_ours.png")
    line = "psnr colour=rgb border=s sr=8bit"
    found = measured("--claim", f"{value_of(measured, line):.2f}")["psnr"]
    lines = [parse(each["definition"]) for each in found["definitions"]]
    assert parse(line) in lines and parse("psnr colour=rgb border=s") not in lines
    assert all("8bit" in (each.sr, each.luma) for each in lines)


def test_an_ambiguous_claim_lists_all_candidates(sets, cli):
    (sets / "one").mkdir()
    (sets / "one" / "p0.png").write_bytes((sets / "hr" / "p0.png").read_bytes())
    pictures = Scores([pair(sets, 0)], (2, 2))
    values = {each: pictures.of(each) for each in possible_psnr(pictures)}
    claim = f"{values[Psnr('y-edsr', 's')]:.2f}"
    expected = {str(each) for each, value in values.items() if Claim.of(claim).fits(value)}
    assert len(expected) > 1
    files = ("sr/p0_x2_ours.png", "one", "--scale", "2")
    _, out, _ = cli("metrics", *files, "--claim", claim, "--json")
    found = json.loads(out)
    assert {each["definition"] for each in found["psnr"]["definitions"]} == expected
    names = {name for each in found["psnr"]["definitions"] for name in each["protocols"]}
    assert names >= {"liif-benchmark", "basicsr-y", "arbsr"}
    _, out, _ = cli("metrics", *files, "--claim", claim)
    assert f"is given by {len(expected)} of" in out
    assert "They differ in colour: " in out and "y-edsr" in out
    assert "What would decide: " in out and "the mean over a set." in out


def pair(folder, i):
    names = (folder / "sr" / f"p{i}_x2_ours.png", folder / "hr" / f"p{i}.png")
    arrays = (np.array(Image.open(name)) / 255 for name in names)
    return tuple(torch.from_numpy(each).permute(2, 0, 1) for each in arrays)


def test_two_numbers_decide_more(sets, measured):
    line = "psnr colour=y-matlab border=s"
    psnr = f"{value_of(measured, line):.2f}"
    ssim = f"{value_of(measured, line.replace('psnr', 'ssim')):.4f}"
    found = measured("--claim", psnr, "--claim-ssim", ssim)
    assert set(found["both"]) >= {"basicsr-y", "colour=y-matlab border=s"}
    assert not any("rgb" in each or "y-full" in each for each in found["both"])


def test_a_number_of_no_definition(sets, cli):
    status, out, _ = cli("metrics", "sr", "hr", "--scale", "2", "--claim", "99.99")
    assert status == 0
    assert "PSNR 99.99 dB is given by none of" in out and "The nearest:" in out


def test_where_a_difference_comes_from(sets, cli):
    _, out, _ = cli(
        "metrics", "sr", "hr", "--scale", "2", "--explain", "liif-div2k", "basicsr-y", "--json"
    )
    found = json.loads(out)["psnr"]
    assert [each["field"] for each in found["steps"]] == ["colour", "border", "sr"]
    scores = Scores([pair(sets, i) for i in range(3)], (2, 2))
    total = scores.of(NAMED["basicsr-y"].psnr) - scores.of(NAMED["liif-div2k"].psnr)
    assert sum(each["change"] for each in found["steps"]) == pytest.approx(total)
    steps = explained(parse("psnr colour=y-matlab"), parse("psnr colour=y-full"), scores)
    assert steps[0].change == pytest.approx(20 * np.log10(219 / 255), abs=1e-3)


def test_all_names_in_one_table(sets, cli):
    status, out, _ = cli("metrics", "sr", "hr", "--scale", "2")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "3 images, x2" and len(lines) == 2 + len(NAMED)
    row = next(line for line in lines if line.startswith("liif-benchmark "))
    assert re.fullmatch(r"liif-benchmark +\d+\.\d{4} 0\.\d{6}", row)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["sr", "hr"], "--scale is needed"),
        (["sr", "hr", "--scale=2", "--claim=good"], "--claim good: must be a number"),
        (["sr", "hr", "--scale=2", "--claim=nan"], "--claim nan: must be a number"),
        (["sr", "hr", "--scale=2", "--protocol=mine"], "--protocol mine: is not a line"),
        (["sr", "hr", "--explain", "pyiqa-psnr", "pyiqa-ssim"], "have no metric in common"),
        (["sr/p0_x2_ours.png", "hr/p1.png", "--scale=2"], "60×80 px (rows × columns), but"),
        (["hr", "sr", "--scale=2"], "no result for p0_x2_ours.png"),
        (["nowhere", "hr", "--scale=2"], "no such file or folder"),
        (["sr", "hr", "--scale=60", "--protocol=liif-div2k"], "small for a border of 66 rows"),
    ],
)
def test_mistakes(sets, cli, options, message):
    status, _, err = cli("metrics", *options)
    assert status in (1, 2) and message in err and "Traceback" not in err


def test_without_a_border_no_scale_is_needed(sets, cli):
    status, out, _ = cli("metrics", "sr", "hr", "--protocol", "skimage")
    assert status == 0 and "skimage" in out


def test_claims_have_the_digits_that_were_typed():
    assert Claim.of("32.240") == (32.24, 3) and Claim.of("32") == (32, 0)
    assert Claim.of("32.24").fits(32.2449) and not Claim.of("32.240").fits(32.2449)
    with pytest.raises(ValueError, match="must be a number"):
        Claim.of("3e1")


def test_the_nearest_are_listed_best_first():
    scores = Scores([(torch.rand(3, 30, 30) * 0.1 + 0.5, torch.full((3, 30, 30), 0.5))], (2, 2))
    found = fitting(Claim(0, 2), scores, list(possible_psnr(scores)))
    assert len(found) == 3 and found[0].value <= found[1].value <= found[2].value


@pytest.mark.skipif(not (SHARED / "metrics").is_dir(), reason="needs shared pictures (LIIF_SHARED)")
def test_8_bits_of_one_picture_by_four_decimals(cli):
    files = [SHARED / "metrics" / f"photo_x4_{name}.png" for name in ("sr16", "hr")]
    _, out, _ = cli("metrics", *files, "--scale=4", "--claim=24.9413", "--json")
    found = {each["definition"] for each in json.loads(out)["psnr"]["definitions"]}
    assert "psnr colour=y-matlab border=s sr=8bit" in found
    assert "psnr colour=y-matlab border=s" not in found
