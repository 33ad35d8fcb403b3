"""JSON that is written has no NaN and no infinity."""

import json
import math

from liif.core.files import to_json


def test_nan_and_infinity_become_null_at_any_depth():
    value = {"a": math.nan, "b": [1.5, (math.inf, {"c": -math.inf})], "d": True, "é": "x", "n": 3}
    text = to_json(value)
    expected = {"a": None, "b": [1.5, [None, {"c": None}]], "d": True, "é": "x", "n": 3}
    assert json.loads(text, parse_constant=lambda name: 1 / 0) == expected
    assert to_json([0.1], indent=1) == "[\n 0.1\n]"
