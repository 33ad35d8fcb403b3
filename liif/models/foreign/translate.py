"""Translate checkpoints of other code to this package's names. The only list of translators.

Such a checkpoint is {"model": {"name", "args", "sd"}, …}: the name of a model, the arguments that
it was built with, and its state dict. A translator gets the three and returns our configuration and
state dict; it may rename tensors, drop them and change their values, e.g. the order of channels.
Thera's checkpoints have a layout of their own, and CiaoSR's have a state dict alone.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from liif.models.foreign.ciaosr import from_ciaosr, is_ciaosr
from liif.models.foreign.clit import from_clit
from liif.models.foreign.hiif import from_hiif
from liif.models.foreign.itsrn import from_itsrn
from liif.models.foreign.liif import from_liif
from liif.models.foreign.linf import from_linf
from liif.models.foreign.lmf import from_lmf
from liif.models.foreign.lte import from_lte
from liif.models.foreign.ope import from_ope
from liif.models.foreign.srno import from_srno
from liif.models.foreign.thera import flattened, from_thera, is_thera

Weights = dict[str, Tensor]
WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")
"""What DataParallel and torch.compile write before the names of a model."""
Translator = Callable[[str, Mapping[str, Any], Weights], tuple[dict[str, Any], Weights]]

TRANSLATORS: dict[str, Translator] = {
    "liif": from_liif,
    "metasr": from_liif,
    "lte": from_lte,
    "lte-fast": from_lte,
    "lmliif": from_lmf,
    "lmlte": from_lmf,
    "sronet": from_srno,
    "linf": from_linf,
    "ciaosr": from_ciaosr,
    "hiif": from_hiif,
    "ITNSR": from_itsrn,
    "clit": from_clit,
    "OPE-net": from_ope,
    "OPE-net-adapt": from_ope,
}
"""A translator for each name of a model."""


def translate(content: Mapping[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Return configuration and weights of a checkpoint of other code; raises ValueError for models
    and encoders that are not known, KeyError, TypeError or AttributeError for other layouts."""
    if is_thera(content):
        return from_thera(content)
    name, weights = stored_weights(content)
    args = {} if is_ciaosr(content) else content["model"]["args"]
    if name not in TRANSLATORS:
        known = ", ".join(map(repr, TRANSLATORS))
        raise ValueError(f"its model is {name!r}; known are {known}")
    weights = {WRAPPERS.sub("", key): value for key, value in weights.items()}
    return TRANSLATORS[name](name, args, weights)


def stored_weights(content: Mapping[str, Any]) -> tuple[str, Weights]:
    """Return the name of the model in a checkpoint that `translate` accepts, and its weights as
    they are stored."""
    if is_ciaosr(content):
        return "ciaosr", content["state_dict"]
    if is_thera(content):
        return "thera", flattened(content["model"]["params"])
    return content["model"]["name"], content["model"]["sd"]
