"""Export a trained model as graphs that other programs run without this package.

    encoder   image (B, C, h, w) float32 in [0, 1] -> codes (B, h, w, K) and named maps, if any
    binder    codes, maps, cell (1, 2) -> bound codes, maps; only of decoders that have `bind`
    decoder   codes, maps, coord (Q, 2), cell (1, 2) -> rgb (B, Q, C), not clamped, of any points

Coordinates and cells are those of the package: (y, x), pixel i of n at -1 + (2i+1)/n, the cell
(2/H, 2/W). The graphs include the normalisation, but not the padding of encoders with windows, and
use standard operators only.
"""

import io
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.overrides import TorchFunctionMode

from liif.core.errors import UserError
from liif.core.files import write_atomically
from liif.models.checkpoint import Checkpoint
from liif.models.decoder import Decoder
from liif.models.decoders.clit import Clit
from liif.models.decoders.upsampler import Upsampler
from liif.models.field import Field
from liif.models.model import SRModel

FORMAT = "liif-export/2"


Tensors = tuple[Tensor, ...]


class ExportedEncoder(nn.Module):
    """Image (B, C, h, w) -> codes (B, h, w, K) and the field's maps (B, h, w, K')."""

    def __init__(self, model: SRModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensors:
        return _tensors(self.model.encode_frame(image.to(self.model.mean)))


class ExportedBinder(nn.Module):
    """Codes and maps, and the cell (1, 2) -> codes and maps for this cell."""

    def __init__(self, model: SRModel, names: list[str]) -> None:
        super().__init__()
        self.decoder, self.names = model.decoder, names

    def forward(self, *tensors: Tensor) -> Tensors:
        *field, cell = tensors
        bound = self.decoder.bind(_field(self.decoder, field, self.names), cell)
        # An output that is an input would give the input its name.
        return tuple(each.clone() for each in _tensors(bound))


class ExportedDecoder(nn.Module):
    """Codes, maps, points (Q, 2) and the cell (1, 2) -> colours (B, Q, C) in image units."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: SRModel, names: list[str]) -> None:
        super().__init__()
        self.decoder, self.names = model.decoder, names
        self.register_buffer("mean", model.mean.float())
        self.register_buffer("std", model.std.float())

    def forward(self, *tensors: Tensor) -> Tensors:
        *parts, coord, cell = tensors
        field = _field(self.decoder, parts, self.names)
        B = field.codes.shape[0]  # its length would be a constant of the graph
        points, cells = coord.expand(B, -1, -1), cell.expand(B, 1, -1)
        rgb = self.decoder.query(field, points, cells)
        return (rgb.float() * self.std + self.mean,)


def _tensors(field: Field) -> Tensors:
    return field.codes, *field.maps.values()


def _field(decoder: Decoder, tensors: Sequence[Tensor], names: list[str]) -> Field:
    """Return the field of the whole image that these codes and maps belong to."""
    codes, *maps = tensors
    size = (codes.shape[1], codes.shape[2])
    named = dict(zip(names[1:], maps, strict=True))
    return Field(codes, size=size, layers=decoder.field_layers(codes), maps=named)


class _PlainAttention(TorchFunctionMode):
    """Traces attention as two products and a softmax. PyTorch's own operator is written for one
    kernel's layout of the result, and ONNX has none with a batch of windows."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func is F.scaled_dot_product_attention:
            q, k, v, mask = args
            scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + mask
            return scores.softmax(dim=-1) @ v
        return func(*args, **(kwargs or {}))


class Graph(NamedTuple):
    """An exported program and the names of its inputs and outputs."""

    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def graphs(model: SRModel, *, half: bool = False) -> dict[str, Graph]:
    """Return the graphs "encoder", "binder" (of a decoder that has `bind`) and "decoder", with
    dynamic numbers of images and points and sizes of images.

    With `half`, weights and codes are in float16, and so are the products; images, coordinates and
    colours stay in float32, which positions in large images need.

    Raises UserError for an upsampler for one scale, a decoder with statistics, one that looks at
    the whole image, has windows of its own or several stages, and a model that torch.export cannot
    trace.
    """
    decoder, name = model.decoder, type(model.decoder).__name__
    if isinstance(decoder, Upsampler):
        raise UserError("a network for one scale has no decoder to export; use LIIF or MetaSR")
    if decoder.has_statistics:
        reason = "takes means over all points of the result, which no graph of one point can hold"
        raise UserError(f"{name} cannot be exported: it {reason}")
    if decoder.radius is None:
        reason = "looks at the whole image, in a loop over as many parts as the image has"
        raise UserError(f"{name} cannot be exported: it {reason}")
    if decoder.window > 1:
        reason = "mirrors features beyond the image's edges, by a number that depends on its size"
        raise UserError(f"{name} with attention in windows cannot be exported: it {reason}")
    if isinstance(decoder, Clit) and decoder.stages > 1:
        reason = "interpolates features on a finer grid, in a window that depends on the points"
        raise UserError(f"{name} of several stages cannot be exported: it {reason}")
    model = model.cpu().eval().to(torch.float16 if half else torch.float32)
    # All sizes differ: torch.export takes equal ones for the same symbol.
    step = model.window
    image = torch.zeros(2, model.channels.input, 6 * step, 7 * step)
    cell = torch.ones(1, 2)
    try:
        with torch.no_grad():
            field = model.encode_frame(image.to(model.mean))
            bound = decoder.bind(field, cell)
    except RuntimeError as error:  # of two types in one operation
        if not half:
            raise
        raise UserError(f"{name} cannot be exported in fp16: {error}") from None
    whole = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC, 2: Dim.DYNAMIC}
    sides = {axis: Dim.DYNAMIC if step == 1 else step * Dim(f"side_{axis}") for axis in (2, 3)}
    sides = {0: Dim.DYNAMIC, **sides}
    names, bound_names = (["codes", *each.maps] for each in (field, bound))
    found = {
        "encoder": _traced(ExportedEncoder(model), {"image": (image, sides)}, names),
        "decoder": _traced(
            ExportedDecoder(model, bound_names),
            {
                **{n: (t, whole) for n, t in zip(bound_names, _tensors(bound), strict=True)},
                "coord": (torch.zeros(5, 2), {0: Dim.DYNAMIC}),
                "cell": (cell, None),
            },
            ["rgb"],
        ),
    }
    if decoder.has_bind:
        inputs = {n: (t, whole) for n, t in zip(names, _tensors(field), strict=True)}
        module = ExportedBinder(model, names)
        outputs = [f"bound_{name}" for name in bound_names]
        found["binder"] = _traced(module, {**inputs, "cell": (cell, None)}, outputs)
    return found


def _traced(module: nn.Module, inputs: dict[str, tuple[Tensor, Any]], outputs: list[str]) -> Graph:
    """Trace a module; `inputs` holds an example and the dynamic sizes of each input by its name."""
    examples, sizes = zip(*inputs.values(), strict=True)
    is_variadic = "image" not in inputs  # *tensors are one argument
    try:
        with _PlainAttention():
            program = torch.export.export(
                module.eval(),
                examples,
                dynamic_shapes=(sizes,) if is_variadic else sizes,
                strict=False,
            )
    except Exception as error:  # of many types
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the model cannot be exported: torch.export fails ({reason})") from error
    return Graph(program, tuple(inputs), tuple(outputs))


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
        output_names=list(graph.outputs),
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


def _written(graph: Graph, kind: str) -> bytes:
    """Return the content of a graph's file. Raises UserError if the package onnx is missing or
    PyTorch cannot write the format."""
    try:
        return FORMATS[kind][1](graph)
    except UserError:
        raise
    except Exception as error:  # of many types; the first of the chain names the operator
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        reason = " ".join(str(first).split())[:200]
        text = f"the model cannot be written as {kind} by PyTorch {torch.__version__}: {reason}"
        raise UserError(text) from error


def export(
    checkpoint: Checkpoint, folder: Path, kind: str, precision: str = "float32"
) -> list[Path]:
    """Write the graphs and model.json, and return their paths. With the precision "fp16", weights
    and codes are in float16.

    model.json names the files, describes the model, and holds the `halo`: the number of
    low-resolution pixels around a tile that its result depends on, null for all; and the `window`,
    a number that the sides of the encoder's input are multiples of.

    Existing files are replaced. `kind` is one of FORMATS. Raises UserError as `graphs`, or if the
    package onnx is missing, or PyTorch cannot write the format, or a file cannot be written.
    """
    suffix = FORMATS[kind][0]
    model = checkpoint.build()
    found = graphs(model, half=True) if precision == "fp16" else graphs(model)
    files = {f"{name}{suffix}": _written(graph, kind) for name, graph in found.items()}
    names = dict(zip(found, files, strict=True))
    about: dict[str, Any] = {"format": FORMAT, **names, "halo": model.halo, "window": model.window}
    about |= {"precision": precision, "model": checkpoint.model.model_dump(mode="json")}
    files["model.json"] = (json.dumps(about, indent=1) + "\n").encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
    return [folder / name for name in files]
