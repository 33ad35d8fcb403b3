"""Translate checkpoints of other code to this package's names. The only list of translators.

A translator gets the name of a model, the arguments that it was built with, and its state dict, and
returns our configuration and state dict; it may rename tensors, drop them and change their values,
e.g. the order of channels. Where a file has the three, layouts.py knows; of a state dict alone,
recognise.py tells the model by its shapes. Thera's checkpoints have a layout of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from liif.models.foreign.ciaosr import from_ciaosr
from liif.models.foreign.clit import from_clit
from liif.models.foreign.hiif import from_hiif
from liif.models.foreign.itsrn import from_itsrn
from liif.models.foreign.layouts import Found, Weights, find_arguments, find_weights
from liif.models.foreign.liif import from_liif
from liif.models.foreign.linf import from_linf
from liif.models.foreign.lmf import from_lmf
from liif.models.foreign.lte import from_lte
from liif.models.foreign.ope import from_ope
from liif.models.foreign.recognise import official_names, recognise
from liif.models.foreign.srno import from_srno
from liif.models.foreign.switches import SHAPELESS, check_switches, hyper_parameters
from liif.models.foreign.thera import flattened, from_thera, is_thera

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


@dataclass(frozen=True)
class Translated:
    """A checkpoint of other code in our terms."""

    config: dict[str, Any]
    weights: Weights
    name: str
    """The name of the model in that code."""
    stored: Weights
    """The weights as they are stored, by the names that the model gives them."""
    written: frozenset[str] = frozenset()
    """What is written before these names."""
    notes: tuple[str, ...] = ()
    """What the file does not say and was assumed, in sentences."""


def translate(
    content: Mapping[str, Any], arch: tuple[str, Mapping[str, Any]] | None = None
) -> Translated:
    """Return what a checkpoint of other code holds. `arch` is the name of its model and the
    arguments that it was built with, for a file that has its weights alone.

    Raises ValueError for models, encoders and switches that are not known; KeyError, TypeError or
    AttributeError for other layouts.
    """
    if is_thera(content):
        config, weights = from_thera(content)
        return Translated(config, weights, "thera", flattened(content["model"]["params"]))
    model, notes = content.get("model"), list[str]()
    if isinstance(model, Mapping) and "sd" in model:
        check_switches(str(model.get("name"))[:80], model, {"name", "args", "sd"})
        found, name, args = find_weights({"": model["sd"]}), model["name"], model["args"]
    else:
        found = find_weights(content)
        if not found.weights:
            raise ValueError("it holds no weights of a model that is known")
        if len(found.all_prefixes) > 1:
            others = ", ".join(each or "no prefix" for each in found.all_prefixes)
            notes.append(f"of the models in it ({others[:200]}) {found.prefix!r} is used")
        if any("imnet_q." in key for key in found.weights):
            name, args = "ciaosr", {}
        else:
            found = found._replace(weights=official_names(found.weights))
            name, args = _described(content, found, arch, notes)
    if name not in TRANSLATORS:
        known = ", ".join(map(repr, TRANSLATORS))
        raise ValueError(f"its model is {name!r}; known are {known}")
    config, weights = TRANSLATORS[name](name, args, found.weights)
    return Translated(config, weights, name, found.weights, found.written, tuple(notes))


def _described(
    content: Mapping[str, Any],
    found: Found,
    arch: tuple[str, Mapping[str, Any]] | None,
    notes: list[str],
) -> tuple[str, Mapping[str, Any]]:
    """Return name and arguments of a model without them: those that were given, those of
    hyper-parameters in the file, or those that the shapes of its weights tell."""
    if arch is not None:
        return arch
    stated = find_arguments(content)
    if stated is not None and stated[0]:
        return stated
    name, args = recognise(found.weights)
    if stated is not None:
        keys = {*args, "local_ensemble", "imnet_spec"}
        return name, {**args, **{key: stated[1][key] for key in keys if key in stated[1]}}
    switches = hyper_parameters(name, content)
    residual = switches.pop("res_scale", None)
    if residual is not None:
        args["encoder_spec"]["args"]["res_scale"] = residual
    args |= {key: value for key, value in switches.items() if key in SHAPELESS or key in args}
    encoder = args["encoder_spec"]["name"]
    notes.append(
        f"it has weights alone; by their shapes they are of the model {name!r} with the encoder "
        f"{encoder!r}, with the published settings; state others by liif convert --arch"
    )
    return name, args
