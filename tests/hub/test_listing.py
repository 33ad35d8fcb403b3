"""The published numbers of the list are those of the tables, and the reproduced of the results."""

import json

import pytest
from helpers.paths import ROOT

from liif.core.config_file import load_config
from liif.evaluation.table_config import TableConfig
from liif.hub.listing import PUBLISHED, PublishedNumbers, short
from liif.models.build import DECODERS, ENCODERS

NUMBERS = load_config(PublishedNumbers, PUBLISHED)
ROWS = {
    "liif": "EDSR-baseline-LIIF",
    "metasr": "EDSR-baseline-MetaSR",
    **{name: f"EDSR-baseline-{name.upper()}" for name in ("lte", "srno", "linf", "clit")},
    "ciaosr": "EDSR-baseline-CiaoSR",
    "ope": "EDSR-OPE-SR",
    "thera": "EDSR-baseline-Thera",
    "edsr-baseline": "EDSR-baseline-LIIF",
    "rdn": "RDN-LIIF",
    "swinir": "SwinIR-LIIF",
}
"""Rows of configs/tables/ of the entries that have one."""
ENTRIES = [*NUMBERS.decoders, *NUMBERS.encoders]


def test_entries_have_numbers_and_a_source_or_say_why_not():
    for entry in ENTRIES:
        assert entry.source if entry.div2k else entry.unlike
        registry = DECODERS if entry in NUMBERS.decoders else ENCODERS
        if entry.name in registry:
            registry[entry.name].model_validate(entry.options)


@pytest.mark.parametrize(
    ("tables", "name", "others"),
    [
        (["div2k", "later"], "div2k", ["itsrn"]),  # there with RDN
        (["benchmark"], "set5", ["lte", "linf", "swinir"]),
    ],
)
def test_published_numbers_are_those_of_the_tables(tables, name, others):
    rows = {}
    for table in tables:
        config = load_config(TableConfig, ROOT / "configs" / "tables" / f"{table}.yaml")
        x2, x4 = config.scales.index((2, 2)), config.scales.index((4, 4))
        for row in config.rows:
            if numbers := row.published.get(name):
                rows[row.name] = numbers[x2], numbers[x4]
    for entry in ENTRIES:
        if getattr(entry, name) and entry.name not in others:
            row = f"{ROWS[entry.name]} {entry.title}".strip()
            assert getattr(entry, name) == rows[row], row


def test_reproduced_numbers_are_those_of_the_results():
    cells = json.loads((ROOT / "results" / "official" / "benchmark.json").read_text())["cells"]
    found = {(cell["row"], cell["scale"]): cell["psnr"] for cell in cells if cell["set"] == "set5"}
    entries = [entry for entry in ENTRIES if entry.reproduced]
    assert entries
    for entry in entries:
        assert entry.reproduced == tuple(round(found[ROWS[entry.name], s], 2) for s in (2.0, 4.0))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *[(0, "0"), (18.02, "18"), (999.4, "999"), (999.6, "1.00 k"), (9_994, "9.99 k")],
        *[(9_996, "10.0 k"), (147_456, "147 k"), (999_600, "1.00 M"), (21_964_480, "22.0 M")],
    ],
)
def test_numbers_have_three_digits(number, text):
    assert short(number) == text
