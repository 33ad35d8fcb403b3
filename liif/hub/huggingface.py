"""Models in the layout of the Hugging Face Hub: config.json, model.safetensors and a model card.

    from liif.hub import HubModel, hub_model

    hub_model("runs/my-liif/last.pt", data="my photographs").save_pretrained("my-liif")
    model = HubModel.from_pretrained("my-liif")  # a folder, or USER/NAME on the Hub

Only safetensors and JSON are read, so nothing in a repository is executed. model.safetensors is
also a checkpoint for `--checkpoint` and `liif.load`.
"""

from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import ValidationError

from liif.core.errors import UserError
from liif.core.section import Section
from liif.hub.catalog import DEFAULT, find_model
from liif.hub.pretrained import resolve_checkpoint
from liif.models.build import ModelConfig
from liif.models.checkpoint import read_checkpoint, save_weights
from liif.models.model import SRModel

try:
    from huggingface_hub import ModelCard, ModelCardData, PyTorchModelHubMixin, hf_hub_download
except ModuleNotFoundError as error:
    raise ImportError('liif.hub needs huggingface_hub: pip install "liif[hub]"') from error

FILE = "model.safetensors"
UNKNOWN = "not stated"
Text = Annotated[str, pydantic.Field(max_length=2000)]


class About(Section):
    """The content of a model card apart from the architecture."""

    title: Text = "a local implicit image function"
    data: Text = UNKNOWN
    """Training data."""
    scores: Text = UNKNOWN
    licence: Text = UNKNOWN


class _HubConfig(ModelConfig):
    """The content of config.json."""

    about: About = About()


class HubModel(SRModel, PyTorchModelHubMixin):
    """An SRModel with `save_pretrained`, `from_pretrained` and `push_to_hub`."""

    def __init__(
        self,
        encoder: dict[str, Any],
        decoder: dict[str, Any],
        about: dict[str, Any] | None = None,
        **others: Any,  # noqa: ANN401
    ) -> None:
        """Build an untrained model from the content of config.json; `others` are the other sections
        of a model's configuration."""
        content = {"encoder": encoder, "decoder": decoder, "about": about or {}, **others}
        config = _HubConfig.model_validate(content)
        trunk = config.encoder.build(config.channels.input)
        head = config.decoder.build(trunk.width, config.channels.output)
        super().__init__(trunk, head, config.channels, config.normalization)
        self.config = ModelConfig.model_validate(config.model_dump(exclude={"about"}))
        self.about = config.about
        self._hub_mixin_config = config.model_dump(mode="json")

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(save_directory / FILE, self.config, self.state_dict())

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        pretrained_model_name_or_path: str | Path,
        **options: Any,  # noqa: ANN401
    ) -> "HubModel":
        """Return the model of a folder or of a repository on the Hub, in evaluation mode.

        Args:
            pretrained_model_name_or_path: an existing folder, else USER/NAME.
            options: `revision`, `token`, `cache_dir`, `local_files_only` and `force_download` of
                huggingface_hub, which raises its own errors for failed downloads; and
                `map_location`, a device.

        Raises UserError if it does not hold a model of this package.
        """
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **options)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            text = f"not a model of this package on the Hub: {reason}"
            raise UserError(f"{pretrained_model_name_or_path}: {text}") from None

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        map_location: str = "cpu",
        **options: Any,  # noqa: ANN401
    ) -> "HubModel":
        config = {key: options.pop(key, {}) for key in ("encoder", "decoder", "about")}
        file = Path(model_id, FILE)
        if not Path(model_id).is_dir():
            options.pop("strict", None)
            file = Path(hf_hub_download(model_id, FILE, **options))
        checkpoint = read_checkpoint(file)
        try:
            stated = _HubConfig.model_validate(config)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))[:100]
            raise ValueError(f"config.json: {where}: {first['msg']}") from None
        if checkpoint.model != ModelConfig(encoder=stated.encoder, decoder=stated.decoder):
            raise ValueError(f"config.json describes another model than {FILE} holds")
        model = cls(**stated.model_dump(mode="json"))
        model.load_state_dict(checkpoint.weights)
        return model.eval().to(map_location)

    def generate_model_card(self, **values: str) -> ModelCard:  # pyright: ignore
        """Return the README.md of a repository; `values` override fields of `about`."""
        about = About(**{**self.about.model_dump(), **values})
        is_bsd = about.licence.startswith("BSD-3-Clause")
        facts = ModelCardData(
            library_name="liif",
            license="bsd-3-clause" if is_bsd else None,
            pipeline_tag="image-to-image",
            tags=["super-resolution", "implicit-neural-representation", "pytorch_model_hub_mixin"],
        )
        parts = [f"- {part}: `{getattr(self.config, part)}`" for part in ("encoder", "decoder")]
        values = {"facts": facts.to_yaml(), "parts": "\n".join(parts)}
        count = sum(p.numel() for p in self.parameters())
        return ModelCard(CARD.format(**values, count=count, about=about))


CARD = """---
{facts}
---
# Super-resolution of any scale: {about.title}

A local implicit image function (Chen, Liu, Wang: *Learning Continuous Image Representation with
Local Implicit Image Function*, CVPR 2021, [arXiv 2012.09161](https://arxiv.org/abs/2012.09161)) for
the package `liif`.

```python
from liif.hub import HubModel

model = HubModel.from_pretrained("USER/NAME")
large = model.upscale(image, scale=3.7)  # a PIL image, a NumPy array or a tensor; any scale
```

## Architecture
{parts}
- {count:,} weights, float32

## Training data
{about.data}

## Scores
{about.scores}

## Limits
The model inverts the degradation of its training data. Trained on clean images reduced by bicubic,
it also enlarges noise and JPEG artefacts. Detail that the input does not hold is predicted, and is
no evidence of what was there. Beyond the scales of training, results are smooth rather than
detailed.

## Licence
{about.licence}
"""


def hub_model(name_or_path: str | Path | None = None, **about: str) -> HubModel:
    """Return the model of a checkpoint, or of a name, with the methods of the Hub.

    `name_or_path` and the errors are those of `liif.load`. The model card takes `title`, `data`,
    `scores` and `licence` from `about`; models of the catalog have their own.
    """
    path = resolve_checkpoint(name_or_path)
    checkpoint = read_checkpoint(path)
    named = find_model(DEFAULT if name_or_path is None else str(name_or_path))
    if named is not None and named.path == path:
        about = {key: getattr(named, key) for key in About.model_fields} | about
    model = HubModel(**checkpoint.model.model_dump(mode="json"), about=about)
    model.load_state_dict(checkpoint.weights)
    return model.eval()
