"""Definitions of PSNR and SSIM: lines, and the results of twenty tools."""

import json
import re
from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from helpers.paths import ROOT, SHARED
from helpers.pictures import texture
from hypothesis import given
from hypothesis import strategies as st

from liif.core.errors import UserError
from liif.evaluation.definitions import COLOURS, Psnr, Ssim, parse
from liif.evaluation.measure import measure, over_set
from liif.evaluation.metrics import psnr, ssim
from liif.evaluation.named import NAMED, definitions, names_of
from liif.evaluation.protocols import get_protocol

FOLDER = SHARED / "metrics"
needs_golden = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="needs the results of other tools (set LIIF_SHARED)"
)
TERMS = {
    "eps1e-8": "eps=1e-8", "peak=max-min": "peak=range", "relu": "contrast=clipped",
    "avgpool": "shrink=blocks", "same/reflect": "padding=reflect", "same/zero": "padding=zero",
    "same/replicate": "padding=replicate", "7x7": "window=uniform-7", "sample": "covariance=sample",
    "L=max-min": "peak=range",
}  # fmt: skip
"""Terms of the golden table as those of definitions."""
LUMA = {
    "y": "y-matlab", "y256": "y-edsr", "yarb": "y-arbsr", "yfull": "y-full", "ysk": "y-709",
    "ybgr": "y-bgr", "rgb": "rgb", "gray": "y-edsr",
}  # fmt: skip


def line_of(metric: str, text: str, is_8_bit: int, shave: int) -> str:
    """The line of a definition of the golden table."""
    if text == "y256 of gray x3":
        text, more = "y256", ["gray=rgb"]
    else:
        more = []
    colour, *terms = re.split(r"[,+]", text)
    more += ["luma=8bit"] * colour.endswith("_r") + ["sr=8bit"] * is_8_bit
    more += [TERMS[term] for term in terms]
    border = ("0", "s", "s+6")[shave]
    return " ".join(
        [metric, f"colour={LUMA[colour.removesuffix('_r')]}", f"border={border}", *more]
    )


@pytest.fixture(scope="module")
def golden():
    return json.loads((FOLDER / "golden.json").read_text())


@needs_golden
def test_the_results_of_all_tools_through_the_command(golden, cli):
    """Every row of the table, each picture in one call of `liif metrics` for results of 16 bits and
    one for those of 8 bits, with the tools' own definitions."""
    pairs = json.loads((FOLDER / "pairs.json").read_text())
    by_picture = {}
    for pair, call, is_8_bit, shave, value, *_ in golden["rows"]:
        by_picture.setdefault(pair, []).append((call, is_8_bit, shave, value))
    worst = {"psnr": 0.0, "ssim": 0.0}
    count = 0
    for pair, rows in by_picture.items():
        lines = {}
        for call, is_8_bit, shave, value in rows:
            metric, text = (golden["calls"][call][key] for key in ("metric", "definition"))
            lines.setdefault(line_of(metric, text, is_8_bit, shave), []).append(value)
        files, (y, x) = pairs[pair]["files"], pairs[pair]["claimed_scale"]
        options = [f"--protocol={line}" for line in lines]
        pictures = (FOLDER / files[name] for name in ("sr16", "hr"))
        status, out, _ = cli("metrics", *pictures, f"--scale={y}x{x}", *options, "--json")
        assert status == 0
        for row, (line, values) in zip(json.loads(out)["rows"], lines.items(), strict=True):
            metric = line.split()[0]
            assert row[metric]["definition"] == str(parse(line))
            for value in values:
                worst[metric] = max(worst[metric], abs(row[metric]["value"] - value))
                count += 1
    assert count == len(golden["rows"]) == 2114
    assert worst["psnr"] < 1e-4 and worst["ssim"] < 1e-4


NAMES = {
    ("yinboc/liif", "calc_psnr(div2k,s)"): "liif-div2k",
    ("yinboc/liif", "calc_psnr(benchmark,s)"): "liif-benchmark",
    ("yinboc/liif", "calc_psnr(dataset=None)"): "liif-none",
    ("ArbSR", "calc_psnr(benchmark)"): "arbsr",
    ("ArbSR", "calc_ssim(benchmark)"): "arbsr",
    ("ArbSR", "calc_psnr(not benchmark)"): "arbsr-rgb",
    ("Thera", "compute_metrics"): "thera",
    ("Thera", "compute_metrics(y_only)"): "thera-y",
    ("CiaoSR", "psnr(convert_to=y)"): "ciaosr",
    ("CiaoSR", "ssim(convert_to=y)"): "ciaosr",
    ("LeRF", "PSNR(_rgb2ycbcr)"): "lerf",
    ("LeRF", "cal_ssim(_rgb2ycbcr), never shaved"): "lerf",
    ("BasicSR", "calculate_psnr(BGR)"): "basicsr-rgb",
    ("BasicSR", "calculate_ssim(BGR)"): "basicsr-rgb",
    ("BasicSR", "calculate_psnr(BGR,test_y_channel)"): "basicsr-y",
    ("BasicSR", "calculate_ssim(BGR,test_y_channel)"): "basicsr-y",
    ("BasicSR", "calculate_psnr_pt"): "basicsr-pt",
    ("BasicSR", "calculate_psnr_pt(test_y_channel)"): "basicsr-pt-y",
    ("BasicSR", "calculate_psnr(RGB by mistake,test_y_channel)"): "basicsr-y-swapped",
    ("KAIR", "calculate_psnr(0..255)"): "kair-rgb",
    ("KAIR", "calculate_ssim(bgr2ycbcr*255)"): "kair-y",
    ("mmcv", "calc on bgr2ycbcr(uint8): rounded luma"): "rcan-matlab",
    ("pyiqa", "psnr"): "pyiqa-psnr",
    ("pyiqa", "psnry (color_space yiq, the default)"): "pyiqa-psnry",
    ("pyiqa", "psnry(color_space=ycbcr)"): "pyiqa-psnry-ycbcr",
    ("pyiqa", "ssim (Y of YIQ rounded to 8 bit, the default)"): "pyiqa-ssim",
    ("pyiqa", "ssim(color_space=ycbcr)"): "pyiqa-ssim-ycbcr",
    ("pyiqa", "ssimc (RGB rounded to 8 bit)"): "pyiqa-ssimc",
    ("piq", "psnr"): "piq",
    ("piq", "ssim(downsample=True, default)"): "piq",
    ("piq", "psnr(convert_to_greyscale)"): "piq-y",
    ("scikit-image", "peak_signal_noise_ratio(data_range=1)"): "skimage",
    ("scikit-image", "structural_similarity(defaults: 7x7, sample covariance)"): "skimage",
    ("scikit-image", "structural_similarity(rgb2gray, defaults)"): "skimage-gray",
    ("scikit-image", "peak_signal_noise_ratio(rgb2gray)"): "skimage-gray",
    ("torchmetrics", "structural_similarity_index_measure(data_range=1)"): "torchmetrics",
    ("torchmetrics", "peak_signal_noise_ratio(data_range=1)"): "torchmetrics",
    ("torchmetrics", "structural_similarity_index_measure(data_range=None)"): "torchmetrics-range",
    ("kornia", "ssim(window 11) mean of map"): "kornia",
    ("kornia", "ssim(window 11,padding=valid)"): "kornia-valid",
    ("pytorch_msssim", "ssim(data_range=1)"): "pytorch-msssim",
    ("Po-Hsun-Su/pytorch-ssim", "ssim"): "pytorch-ssim",
    ("OpenCV", "PSNR(uint8)"): "opencv",
    ("derived: MATLAB ssim() on rgb2ycbcr luma, double", ""): "matlab-ssim",
}


@needs_golden
def test_names_are_what_their_tools_compute(golden):
    """But for the border, which the golden table varies, and for the rounding of results to files
    and the mean over a set, which tools leave to those who call them."""
    found = {}
    for call in golden["calls"]:
        if name := NAMES.get((call["tool"], call["call"])):
            found[name, call["metric"]] = parse(line_of(call["metric"], call["definition"], 0, 0))
    assert len(found) == len(NAMES)
    for (name, metric), expected in found.items():
        stated = getattr(NAMED[name], metric)
        free = {"border": "0", "fraction": "ceil", "axes": "each", "sr": "float"}
        free |= {"over": "images"} if metric == "psnr" else {}

        assert replace(stated, **free) == expected, name


def test_the_projects_own_protocols():
    torch.manual_seed(0)
    hr = torch.rand(3, 40, 50, dtype=torch.float64)
    sr = (hr + 0.1 * torch.randn_like(hr)).clamp(0, 1)
    for name in ("div2k", "benchmark", "none"):
        for scale in ((2, 2), (3.3, 1.5)):
            both, protocol = NAMED[f"liif-{name}"], get_protocol(name, scale)
            assert measure(both.psnr, sr, hr, scale).value == pytest.approx(psnr(sr, hr, protocol))
            assert measure(both.ssim, sr, hr, scale).value == pytest.approx(ssim(sr, hr, protocol))


def any_of(kind):

    hints = get_type_hints(kind)
    choices = {
        name: st.sampled_from(get_args(hint)) for name, hint in hints.items() if get_args(hint)
    }
    choices["border"] = st.sampled_from(["0", "4", "s", "s+6"])
    if kind is Psnr:
        choices["eps"] = st.sampled_from([0.0, 1e-8, 2.5e-5])
    return st.builds(kind, **choices)


@given(any_of(Psnr) | any_of(Ssim))
def test_lines_are_read_as_they_are_printed(definition):
    assert parse(str(definition)) == definition
    assert len(str(definition).splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mse colour=rgb", "starts with psnr or ssim, not 'mse'"),
        ("psnr color=rgb", "'color=rgb' is not one of colour, border"),
        ("psnr colour=y", "colour is one of rgb, y-matlab"),
        ("psnr border=s*2", "border=s*2: is a number, s, or s+"),
        ("psnr border=", "'border=' is not one of"),
        ("ssim eps=1e-8", "'eps=1e-8' is not one of"),
        ("psnr eps=nan", "eps is a number from 0 to 1"),
        ("basicsr", "is not a line such as 'psnr colour=rgb border=s', or one of liif-div2k"),
    ],
)
def test_lines_that_mean_nothing(line, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse(line) if "=" in line else definitions(line)


def test_borders_of_fractional_scales():
    scale = (2.5, 1.4)
    assert parse("psnr border=s").border_at(scale) == (3, 2)
    assert parse("psnr border=s fraction=floor").border_at(scale) == (2, 1)
    assert parse("psnr border=s+6 fraction=nearest").border_at(scale) == (9, 7)
    assert parse("psnr border=s axes=largest fraction=floor").border_at(scale) == (2, 2)
    assert parse("psnr border=5").border_at(scale) == (5, 5)
    for name, both in NAMED.items():
        for each in both:
            assert each is None or name in names_of(each)


def test_pooled_and_channels_each():
    torch.manual_seed(0)
    hr = [torch.rand(3, 20, 30).double(), torch.rand(3, 25, 16).double()]
    sr = [hr[0] + 0.1, hr[1] + torch.tensor([0.01, 0.02, 0.2]).view(3, 1, 1)]
    errors = [0.1**2, (0.01**2 + 0.02**2 + 0.2**2) / 3]

    def of(line):
        definition = parse(line)
        pairs = zip(sr, hr, strict=True)
        return over_set(definition, [measure(definition, *pair, (2, 2)) for pair in pairs])

    pixels = [600, 400]
    assert of("psnr") == pytest.approx(np.mean([-10 * np.log10(e) for e in errors]))
    pooled = np.dot(errors, pixels) / sum(pixels)
    assert of("psnr over=pixels") == pytest.approx(-10 * np.log10(pooled))
    each = np.mean([-20 * np.log10(e) for e in (0.01, 0.02, 0.2)])
    assert of("psnr channels=each") == pytest.approx((20 + each) / 2)


def test_ssim_of_a_volume():
    """As MATLAB's `ssim` of an RGB array, with windows of a library along all three axes."""
    ndimage = pytest.importorskip("scipy.ndimage")
    hr = texture(40, 31, 0) / 255
    sr = (hr + np.random.default_rng(0).normal(0, 0.05, hr.shape)).clip(0, 1)
    k = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))

    def mean(x):
        for axis in range(3):
            x = ndimage.correlate1d(x, k / k.sum(), axis, mode="nearest")
        return x

    a, b = mean(sr), mean(hr)
    va, vb, cv = mean(sr * sr) - a * a, mean(hr * hr) - b * b, mean(sr * hr) - a * b
    c1, c2 = 0.01**2, 0.03**2
    expected = ((2 * a * b + c1) * (2 * cv + c2) / ((a * a + b * b + c1) * (va + vb + c2))).mean()
    pictures = [torch.from_numpy(each).permute(2, 0, 1) for each in (sr, hr)]
    found = measure(parse("ssim padding=replicate channels=volume"), *pictures, (1, 1)).value
    assert found == pytest.approx(expected, abs=1e-9)


def test_luma_is_that_of_its_source():
    white = {name: sum(weights) + offset for name, (weights, offset) in COLOURS.items()}
    assert white["y-matlab"] == pytest.approx(235 / 255)
    assert white["y-full"] == pytest.approx(1) and white["y-709"] == pytest.approx(1)
    assert white["y-edsr"] == pytest.approx(235 / 255, abs=1e-3)


def test_the_page_states_every_protocol():
    """docs/protocols.md: names in order, with their definitions."""
    page = (ROOT / "docs" / "protocols.md").read_text()
    section = page.partition("## Protocols by name")[2].partition("\n## ")[0]
    rows = [
        re.findall(r"`([^`]+)`", " | ".join(line.split(" | ")[:2]))
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    stated = {name: lines for name, *lines in rows}
    assert stated == {name: [str(each) for each in both if each] for name, both in NAMED.items()}
