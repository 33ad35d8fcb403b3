"""Export a trained model as two graphs that other programs run without this package.

    encoder   image (1, 3, h, w) float32 in [0, 1], of any height and width -> codes (1, h, w, K)
    decoder   codes, coord (Q, 2), cell (1, 2) -> rgb (Q, 3), not clamped, of any number of points

Coordinates and cells are those of the package: (y, x), pixel i of n at -1 + (2i+1)/n, the cell
(2/H, 2/W). The graphs include the normalisation and use standard operators only: the decoder's
layers are written out here, because `Liif.query` calls products of PyTorch that ONNX lacks.
"""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from liif.core.errors import UserError
from liif.core.files import write_atomically
from liif.models.checkpoint import Checkpoint
from liif.models.decoders.liif import Liif
from liif.models.decoders.upsampler import Upsampler
from liif.models.field import Field
from liif.models.geometry import corners
from liif.models.model import SRModel

FORMAT = "liif-export/1"


class ExportedEncoder(nn.Module):
    """Image (1, 3, h, w) -> codes (1, h, w, K)."""

    def __init__(self, model: SRModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model.encode(image).codes


class ExportedDecoder(nn.Module):
    """Codes and points -> colours (Q, 3) in image units."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: SRModel) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.register_buffer("mean", model.mean.clone())
        self.register_buffer("std", model.std.clone())

    def forward(self, codes: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        field, decoder = Field(codes, size=(codes.shape[1], codes.shape[2])), self.decoder
        if isinstance(decoder, Liif):
            rgb = _plain_query(decoder, field, coord[None], cell)
        else:
            rgb = decoder.query(field, coord[None], cell[None])
        return (rgb * self.std + self.mean)[0]


def _plain_query(decoder: Liif, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
    """As `Liif.query` of coord (1, Q, 2) and cell (1, 2), with linear layers and ReLU only."""
    y, x = coord.unbind(-1)
    relative = [(cell[:, i : i + 1] * field.size[i]).expand_as(y) for i in (0, 1)]
    first = decoder.mlp.linear[0]
    weight = first.weight[:, -decoder.extra_inputs :]
    rgb = torch.zeros_like(coord[..., :1])
    for corner in corners(y, x, field.size, ensemble=decoder.local_ensemble):
        inputs = [corner.offset_y, corner.offset_x, *relative][: decoder.extra_inputs]
        share = F.linear(torch.stack(inputs, dim=-1), weight, first.bias)
        hidden = field.gather(corner.row, corner.col) + share
        rgb = rgb + decoder.mlp.layers[1:](hidden) * corner.weight[..., None]
    return rgb


class Graph(NamedTuple):
    """An exported program and the names of its inputs and its output."""

    program: ExportedProgram
    inputs: tuple[str, ...]
    output: str


def graphs(model: SRModel) -> dict[str, Graph]:
    """Return the graphs "encoder" and "decoder" of a model, with dynamic sizes of image and points.
    Raises UserError if the decoder is an upsampler for one scale."""
    if isinstance(model.decoder, Upsampler):
        raise UserError("a network for one scale has no decoder to export; use LIIF or MetaSR")
    model = model.cpu().eval()
    # All sizes differ: torch.export takes equal ones for the same symbol.
    image = torch.zeros(1, 3, 6, 7)
    with torch.no_grad():
        codes = model.encode(image).codes
    encoder, decoder = ExportedEncoder(model).eval(), ExportedDecoder(model).eval()
    sides = {"image": {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}
    points = {"codes": {1: Dim.DYNAMIC, 2: Dim.DYNAMIC}, "coord": {0: Dim.DYNAMIC}, "cell": None}
    example = codes, torch.zeros(5, 2), torch.ones(1, 2)
    first = torch.export.export(encoder, (image,), dynamic_shapes=sides)
    second = torch.export.export(decoder, example, dynamic_shapes=points)
    return {
        "encoder": Graph(first, tuple(sides), "codes"),
        "decoder": Graph(second, tuple(points), "rgb"),
    }


def _as_onnx(graph: Graph) -> bytes:
    try:
        import onnx  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import onnxscript  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError:
        raise UserError('--format onnx needs onnx: pip install "liif[export]"') from None
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # hide skipped optimisations
    program = torch.onnx.export(
        graph.program,
        dynamo=True,
        input_names=list(graph.inputs),
        output_names=[graph.output],
        optimize=False,  # the optimiser rounds the ensemble's smallest area, 1e-9, to zero
        verbose=False,
    )
    assert program is not None
    return program.model_proto.SerializeToString()


def _as_pt2(graph: Graph) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(graph.program, buffer)
    return buffer.getvalue()


FORMATS: dict[str, tuple[str, Callable[[Graph], bytes]]] = {
    "onnx": (".onnx", _as_onnx),
    "torch": (".pt2", _as_pt2),
}
"""For each format, the suffix of its files and the function that writes one."""


def export(checkpoint: Checkpoint, folder: Path, kind: str) -> list[Path]:
    """Write the encoder, the decoder and model.json, and return their paths.

    model.json names the two files, describes the model, and holds the `halo`: the number of
    low-resolution pixels around a tile that its result depends on.

    Existing files are replaced. `kind` is one of FORMATS. Raises UserError as `graphs`, or if the
    package onnx is missing or a file cannot be written.
    """
    suffix, content = FORMATS[kind]
    model = checkpoint.build()
    found = graphs(model)
    files = {f"{name}{suffix}": content(graph) for name, graph in found.items()}
    names = dict(zip(found, files, strict=True))
    about = {"format": FORMAT, **names, "halo": model.halo}
    about |= {"model": checkpoint.model.model_dump(mode="json")}
    files["model.json"] = (json.dumps(about, indent=1) + "\n").encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
    return [folder / name for name in files]
