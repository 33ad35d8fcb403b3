"""What others rely on: names, signatures, commands, options and keys, written out.

More may come. Whoever takes something away or renames it changes this file, and CHANGELOG.md.
"""

import argparse
import inspect

import pytest

import liif
from liif.cli import _parser
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import TableConfig
from liif.training.config import TrainConfig

NAMES = {"SRModel", "UserError", "list_models", "load"}
SIGNATURES = {
    "load": "(name_or_path=None, device='cpu')",
    "list_models": "()",
    "SRModel.encode": "(self, lr)",
    "SRModel.query": "(self, field, coord, cell)",
    "SRModel.forward": "(self, lr, coord, cell, slopes=False, target=None, is_grid=False)",
    "SRModel.upscale": "(self, lr, size=None, *, scale=None, window=None, clamp=True, "
    "precision='float32', memory=None, clip_cell=inf)",
    "SRModel.strips": "(self, lr, size, *, precision='float32', memory=None, clip_cell=inf, "
    "rows=None, window=None, shared=None, watch=None)",
}
INFERENCE = "--clip-cell --device --engine --lanczos-from --memory --precision "
INFERENCE += "--rotation-ensemble --self-ensemble"
OPTIONS = {
    "": "--quiet --verbose --version -V -q -v",
    "train": "--config --data --device --dry-run --name --resume --set",
    "runs": "--json FOLDERS",
    "test": f"{INFERENCE} --checkpoint --config --data --lr --lr-recipe --metric --output "
    "--overwrite --protocol --round --save-images --scale --set -o -s",
    "tables": f"{INFERENCE} --checkpoint --data-root --list --lpips --output --overwrite --round "
    "--rows --runs --scales --sets --table -o",
    "metrics": "--claim --claim-ssim --explain --json --metric --protocol --scale HR SR",
    "plot psnr": "--metric --output --over --overwrite --set -o RESULTS",
    "plot images": "--metric --output --overwrite -o RESULTS",
    "plot curves": "--output --overwrite -o RUNS",
    "plot crops": f"{INFERENCE} --box --checkpoint --image --output --overwrite --scales -o",
    "upscale": f"{INFERENCE} --bits --checkpoint --crop --fit --height --input --output "
    "--overwrite --quality --scale --size --suffix --width -i -o -s INPUT",
    "compare": f"{INFERENCE} --box --checkpoint --fit --height --output --overwrite --reference "
    "--scale --size --width -o -s INPUT",
    "view": "--allow-host --checkpoint --device --host --no-browser --port --precision INPUT",
    "demo": "--checkpoint --device --no-browser --port --precision --share",
    "convert": "--arch --checkpoint --output --overwrite --to -o",
    "export": "--checkpoint --format --output --overwrite --precision -o",
    "models": "",
    "models list": "--json",
    "models download": "--url NAME",
    "models get": "--url NAME",
    "models show": "NAME",
    "models convert": "--checkpoint --output --overwrite -o",
    "models decoders": "--json",
    "models encoders": "--json",
    "download": "--data-root --from --keep --list NAMES",
    "data list": "--json",
    "data download": "--data-root --from --keep NAMES",
    "data check": "--data-root --deep CONFIGS",
    "data lr": "--data-root --output --overwrite --recipe --scale -o -s SET",
    "data preview": "--data-root --output --overwrite --samples --set -o CONFIG",
    "config show": "--set FILE",
    "config schema": "",
    "config list": "--json",
    "completion": "SHELL",
}
"""Each command's options, and its positional arguments in capitals."""

OF_0_1 = [
    "test --config t.yaml --out result.json",
    "tables --table div2k --out results",
    "plot psnr a.json --out figure.png",
    "plot curves runs/a --out figure.png",
    "plot crops --image a.png --checkpoint a.pt --box 0,0,9,9 --scales 4 --out figure.png",
    "convert a.pth a.safetensors",
    "export a.pt --out folder",
]
"""Command lines of version 0.1 that are spelled otherwise today."""

KEYS = {
    TrainConfig: {
        "": "accumulate batch_size betas clip_gradient compile cuda_graphs data_root decay "
        "deterministic ema gradient_checkpointing groups init keep keep_every learning_rate "
        "log_every loss milestones model optimizer precision profile save_every schedule seed "
        "stall_minutes steps test train_data valid wandb warm_up weight_decay workers",
        "wandb": "mode project",
        "groups.*": "freeze learning_rate_factor match weight_decay",
        "init": "decoder encoder",
        "loss.*": "depth eps layers name net phase rate scales weight weights width",
        "model": "decoder encoder",
        "model.encoder": "blocks configuration name residual_scale width",
        "model.decoder": "cell_decode feature_unfold hidden local_ensemble name scale width",
        "train_data": "augment bits cache cache_dir degrade hr images layout lr lr_name patch "
        "queries range reduce_hr resize sampling scale size skip_broken",
        "train_data.images.*": "exclude path weight",
        "train_data.reduce_hr": "factor probability",
        "train_data.degrade": "flavour name stages",
        "train_data.degrade.stages.*": "probability shuffle steps",
        "valid": "best bits crop degrade every images limit lpips lr lr_name lr_scales patience "
        "protocol range scales",
        "test": "bits degrade images lr lr_name lr_scales protocol range scales",
    },
    TestConfig: {
        "": "bits checkpoint data_root degrade hr lr lr_name lr_recipe lr_scales protocol range "
        "scale set"
    },
    TableConfig: {
        "": "columns rows scales seeds sets source title",
        "rows.*": "checkpoint clip_cell config lanczos_from name note published "
        "rotation_ensemble seeds source trained",
        "sets.*": "config scales",
    },
}


def test_names():
    assert set(liif.__all__) >= NAMES


def test_names_of_the_hub():
    pytest.importorskip("huggingface_hub", reason='needs pip install "liif[hub]"')
    from liif.hub import HubModel, hub_model

    assert signature(hub_model) == "(name_or_path=None, **about)"
    assert issubclass(HubModel, liif.SRModel) and callable(HubModel.from_pretrained)
    assert callable(HubModel.save_pretrained) and callable(HubModel.push_to_hub)


def signature(function):
    parameters = inspect.signature(function).parameters.values()
    return str(inspect.Signature([p.replace(annotation=p.empty) for p in parameters]))


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    found = liif
    for part in name.split("."):
        found = getattr(found, part)
    assert signature(found) == SIGNATURES[name]


def options_of(parser, name=""):
    """(command, its options and arguments) of all commands."""
    words = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub, inner in action.choices.items():
                yield from options_of(inner, f"{name} {sub}".strip())
        else:
            words |= set(action.option_strings) or {action.dest.upper()}
    yield name, words


def test_commands_and_options():
    found = dict(options_of(_parser()))
    for name, options in OPTIONS.items():
        assert set(options.split()) <= found.get(name, set()), name


@pytest.mark.parametrize("line", OF_0_1)
def test_spellings_of_version_0_1(line):
    """Their last word is the output."""
    options = _parser().parse_args(line.split())
    assert line.split()[-1] in repr(options.output)


def keys_of(schema, definitions, section=""):
    """(section, key) of all that pydantic's own schema of a configuration names."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for part in [*schema.get("oneOf", []), *schema.get("anyOf", [])]:
        yield from keys_of(part, definitions, section)
    for key, inner in schema.get("properties", {}).items():
        yield section, key
        yield from keys_of(inner, definitions, f"{section}.{key}".strip("."))
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from keys_of(inner, definitions, f"{section}.*")


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_configurations(kind):
    schema = kind.model_json_schema()
    found = set(keys_of(schema, schema.get("$defs", {})))
    expected = {(section, key) for section, keys in KEYS[kind].items() for key in keys.split()}
    assert expected <= found
