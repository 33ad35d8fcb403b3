"""Write a model as one ONNX graph for one scale, which chaiNNer loads as any other upscaler.

    python integrations/chainner_onnx.py edsr-light liif-x4.onnx --scale 4

The graph maps images (B, 3, h, w), float32 in [0, 1], of any size to (B, 3, h · scale, w · scale),
in [0, 1]; chaiNNer reads the scale from the sizes, and cuts large images into tiles.
Programs that want any scale use the graphs of `liif export`.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

import liif
from liif.core.outputs import check_output
from liif.hub.export import graphs


class FixedScale(nn.Module):
    """Enlarge images (B, 3, h, w) by a whole factor."""

    def __init__(self, model: liif.SRModel, scale: int) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, image: Tensor) -> Tensor:
        field = self.model.encode_frame(image)
        H, W = (side * self.scale for side in image.shape[2:])
        y, x = (torch.arange(n, dtype=torch.float32) * (2 / n) + (1 / n - 1) for n in (H, W))
        cell = torch.stack([image.new_ones(()) * 2 / n for n in (H, W)])[None]
        field = self.model.bind(field, cell)
        coord = torch.stack([y[:, None].expand(H, W), x.expand(H, W)], dim=-1).reshape(1, -1, 2)
        rgb = self.model.query(field, coord.expand(image.shape[0], -1, -1), cell[:, None])
        return rgb.transpose(1, 2).reshape(image.shape[0], -1, H, W).clamp(0, 1)


def export(model: liif.SRModel, scale: int, file: Path) -> None:
    """Write the graph. Raises UserError for a model that cannot be exported."""
    graphs(model)  # refuses, by name, what no graph can hold
    if model.window > 1:
        raise liif.UserError("encoders with windows need padded images; use `liif export`")
    module = FixedScale(model.cpu().eval(), scale)
    sides = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    image = torch.zeros(2, model.channels.input, 6, 7)
    with torch.no_grad():
        program = torch.export.export(module, (image,), dynamic_shapes=(sides,), strict=False)
    torch.onnx.export(
        program, f=file, dynamo=True, input_names=["input"], output_names=["output"],
        optimize=False, verbose=False,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", help="a model's name or a checkpoint file")
    parser.add_argument("output", type=Path, metavar="FILE.onnx")
    parser.add_argument("--scale", type=int, default=4, choices=range(2, 17), metavar="2-16")
    options = parser.parse_args()
    try:
        check_output(options.output, overwrite=False)
        export(liif.load(options.checkpoint), options.scale, options.output)
    except liif.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: x{options.scale}, {options.output.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
