"""The stages of decoders, the padding of encoders, and what follows them: every way to a whole
image gives the same colours. The parts here are the smallest that use a stage."""

import logging
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.pictures import texture
from torch import Tensor, nn
from torch.nn import functional as F

from liif.core.sizes import Window
from liif.images.convert import to_image, to_tensor
from liif.inference.predict import predict_strips
from liif.models import reference
from liif.models.channels import Channels, Normalization
from liif.models.decoder import Decoder
from liif.models.encoder import Encoder
from liif.models.field import Field, bilinear
from liif.models.geometry import cell_of, corners, grid_coord, pixel_centres
from liif.models.layers import conv
from liif.models.model import SRModel
from liif.view.pictures import Picture
from liif.view.render import Renderer, View


class Plain(Encoder):
    """Two convolutions."""

    width, radius, peak_channels = 6, 2, 12

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(3, 6), nn.Tanh(), conv(6, 6))

    def forward(self, lr: Tensor) -> Tensor:
        return self.layers(lr)


class Windows(Plain):
    """Adds the mean of each window of 4 × 4, and of windows shifted by 2."""

    window, radius = 4, 8

    def forward(self, lr: Tensor) -> Tensor:
        assert lr.shape[2] % 4 == lr.shape[3] % 4 == 0
        feat = self.layers(lr)
        feat = feat + 3 * F.avg_pool2d(feat, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
        means = F.avg_pool2d(F.pad(feat, (2, 2, 2, 2)), 4)
        return feat + 3 * means.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., 2:-2, 2:-2]


class Whole(Plain):
    """Subtracts the mean of the whole image."""

    radius = None

    def forward(self, lr: Tensor) -> Tensor:
        feat = self.layers(lr)
        return feat - feat.mean(dim=(2, 3), keepdim=True)


class Residual(Decoder):
    """A colour of four codes, and the bilinearly interpolated image."""

    radius, code_channels = 1, 9

    def __init__(self) -> None:
        super().__init__()
        self.layers = conv(6, 5)
        self.last = nn.Linear(5 + 4, 3)

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        return Field.of_map(self.layers(feat), maps={"lr": lr})

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        (y, x), out = coord.unbind(-1), bilinear(field, *coord.unbind(-1))
        for corner in corners(y, x, field.size, ensemble=True):
            parts = [corner.offset_y, corner.offset_x, *cell.expand_as(coord).unbind(-1)]
            inputs = [field.gather(corner.row, corner.col).float(), torch.stack(parts, dim=-1)]
            out = out + self.last(torch.cat(inputs, dim=-1)).sin() * corner.weight[..., None]
        return out


class Bound(Residual):
    """Codes that are modulated by the cell."""

    def __init__(self) -> None:
        super().__init__()
        self.modulation = nn.Linear(2, 5)

    def bind(self, field: Field, cell: Tensor) -> Field:
        assert not field.is_bound
        factors = self.modulation(cell * 40)[:, None, None].to(field.codes)
        return replace(field, codes=field.codes * factors.cos())


class Coupled(Bound):
    """Colours minus their means, in two passes: the second needs the result of the first."""

    def statistics(self, points):
        def colours(field, coord, cell):
            return super(Coupled, self).query(field, coord, cell)

        mean = points.mean(lambda *part: colours(*part).sum(dim=1))
        variance = points.mean(lambda *part: (colours(*part) - mean[:, None]).square().sum(dim=1))
        return mean, variance

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        mean, variance = self.statistics_for(field, coord, cell)
        out = super().query(field, coord, cell)
        return (out - mean[:, None]) / (variance[:, None] + 0.1).sqrt()


ENCODERS, DECODERS = (Plain, Windows, Whole), (Residual, Bound, Coupled)


def model_of(encoder, decoder):
    torch.manual_seed(0)
    model = SRModel(encoder(), decoder())
    for parameter in model.parameters():
        parameter.data *= 2
    return model.eval()


MODELS = [(encoder, decoder) for encoder in ENCODERS for decoder in DECODERS]


@pytest.fixture(params=MODELS, ids=lambda parts: "-".join(part.__name__ for part in parts))
def model(request):
    return model_of(*request.param)


LR = torch.from_numpy(texture(43, 38).copy()).permute(2, 0, 1).float()[None] / 255
SIZE = (101, 83)


def close(found, expected, atol=2e-6):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def joined(strips):
    return torch.cat([strip for _, strip in strips], dim=2)


def test_whole_images_tiles_points_and_the_reference_agree(model):
    whole = model.upscale(LR, SIZE, clamp=False)
    close(joined(model.strips(LR, SIZE, memory=1)), whole)
    y, x = (pixel_centres(n, LR) for n in SIZE)
    with torch.no_grad():
        points = model(LR, grid_coord(y, x)[None], cell_of(SIZE, LR))
    close(points.transpose(1, 2).unflatten(2, SIZE), whole)
    close(reference.upscale(model, LR[0], SIZE)[None], whole)


def test_a_window_shows_the_values_of_the_whole(model):
    size = 2 * LR.shape[2], 3 * LR.shape[3]
    whole = model.upscale(LR, size, clamp=False)
    found = model.upscale(LR, (20, 27), window=Window(31, 5, 10, 9), clamp=False)
    close(found, whole[..., 62:82, 15:42], atol=2e-5)


def test_rows_are_those_of_the_whole(model):
    whole = model.upscale(LR, SIZE, clamp=False)
    shared = model.statistics(LR, SIZE)
    parts = [joined(model.strips(LR, SIZE, rows=rows)) for rows in pairwise((0, 7, 64, 101))]
    close(torch.cat(parts, dim=2), whole)
    parts = [
        joined(model.strips(LR, SIZE, rows=rows, shared=shared)) for rows in pairwise((0, 50, 101))
    ]
    close(torch.cat(parts, dim=2), whole)


def test_an_image_of_one_tile_is_encoded_once(model, monkeypatch):
    calls, bound = [], []
    encode, bind = model.encode_frame, model.decoder.bind
    monkeypatch.setattr(model, "encode_frame", lambda lr: calls.append(lr.shape) or encode(lr))
    monkeypatch.setattr(model.decoder, "bind", lambda *a: bound.append(1) or bind(*a))
    monkeypatch.setattr("liif.models.tiling.STRIP_BYTES", 83 * 12 * 20)
    assert len(list(model.strips(LR, SIZE))) > 4
    assert len(calls) == 1 and len(bound) <= 1


class TwoProcesses:
    """The team of the first or the second of two processes that run one after the other."""

    def __init__(self, rank, exchanged):
        self.rank, self.size, self.leads, self.exchanged = rank, 2, rank == 0, exchanged

    def gather(self, item):
        if self.leads:
            self.exchanged["shared"] = item
        return [self.exchanged["shared"], item]

    def send(self, tensor):
        self.exchanged.setdefault("strips", []).append(tensor)

    def receive(self, shape, rank):
        found = self.exchanged["strips"].pop(0)
        assert found.shape == shape and rank == 1
        return found


def test_processes_share_the_statistics(model):
    whole, exchanged = model.upscale(LR, SIZE, clamp=False), {}
    if model.decoder.has_statistics:
        exchanged["shared"] = [each.cpu() for each in model.statistics(LR, SIZE)]
    ranks = [TwoProcesses(rank, exchanged) for rank in (1, 0)]
    _, strips = (list(predict_strips(model, LR[0], SIZE, team=team)) for team in ranks)
    close(torch.cat(strips, dim=1)[None], whole)
    assert bool(exchanged.get("shared")) == model.decoder.has_statistics


def test_the_viewer_shows_the_same(model):
    pixels = texture(43, 38)
    picture = Picture("id", "name", pixels)
    view = View("id", "m", Window(10, 4, 20, 30), (60, 75))
    strips = dict(Renderer({"m": model}, "float32").strips(picture, view))
    found = np.concatenate([strips[row] for row in sorted(strips)])
    expected = to_image(model.upscale(to_tensor(pixels), (60, 75), window=view.window)).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_bfloat16_codes_beside_a_float32_image(model):
    field = model.encoded(LR, precision="bf16!")
    assert field.codes.dtype == torch.bfloat16 and field.maps["lr"].dtype == torch.float32
    exact = model.upscale(LR, SIZE)
    assert (model.upscale(LR, SIZE, precision="bf16!") - exact).abs().mean() < 0.02


def test_gradients_reach_every_weight(model):
    model.train()
    coord, cell = torch.rand(2, 50, 2) * 2 - 1, torch.rand(2, 2) / 9
    rgb = model(LR[..., :36, :36].expand(2, -1, -1, -1), coord, cell)
    (rgb * torch.rand_like(rgb)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


# Padding


def test_padding_is_as_published():
    """All of the padded image is queried, and the part that the image covers is cut out."""
    model, s = model_of(Windows, Residual), 2
    for h, w in ((13, 16), (5, 6), (8, 21)):
        lr = LR[..., :h, :w]
        H, W = (h // 4 + 1) * 4, (w // 4 + 1) * 4
        padded = torch.cat([lr, lr.flip(2)], dim=2)[:, :, :H]
        padded = torch.cat([padded, padded.flip(3)], dim=3)[..., :W]
        with torch.no_grad():
            normal = (padded - 0.5) / 0.5
            field = model.decoder.prepare(model.encoder(normal), normal)
            y, x = (pixel_centres(n * s, lr) for n in (H, W))
            cell = cell_of((H * s, W * s), lr)
            rgb = model.decoder.query_grid(field, y, x, cell).permute(0, 3, 1, 2)
        expected = (rgb * 0.5 + 0.5)[..., : h * s, : w * s]
        close(model.upscale(lr, scale=s, clamp=False), expected, atol=1e-5)


def test_images_smaller_than_a_window():
    model = model_of(Windows, Residual)
    assert model.frame((1, 2)) == (4, 4) and model.frame((4, 5)) == (8, 8)
    assert model.upscale(LR[..., :1, :2], (7, 9)).isfinite().all()
    assert model.train().frame((8, 9)) == (8, 12)  # no more than needed in training


# Encoders that see the whole image


def test_an_encoder_of_whole_images_is_not_tiled(caplog):
    model = model_of(Whole, Residual)
    expected = model.upscale(LR, SIZE)
    assert model.halo is None and not caplog.records
    with caplog.at_level(logging.WARNING):
        found = model.upscale(LR, SIZE, memory=1000)
    assert torch.equal(found, expected)
    assert "cannot be split into tiles" in caplog.text


# Decoders that are bound to a cell


def test_cells_that_differ_between_points_are_refused():
    model, coord = model_of(Plain, Bound), torch.rand(1, 9, 2)
    field = model.encode(LR)
    same = model.query(field, coord, torch.full((1, 9, 2), 0.1))
    assert torch.equal(same, model.query(field, coord, torch.full((1, 2), 0.1)))
    with pytest.raises(ValueError, match="one cell for all points"):
        model.query(field, coord, torch.rand(1, 9, 2))


def test_a_bound_field_keeps_its_cell():
    model, coord = model_of(Plain, Bound), torch.rand(1, 9, 2)
    cell = torch.full((1, 2), 0.1)
    bound = model.bind(model.encode(LR), cell)
    assert bound.is_bound and model.bind(bound, cell) is bound
    assert torch.equal(model.query(bound, coord, cell), model(LR, coord, cell))


# Interpolation


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (6, 7)])
def test_bilinear_is_grid_sample(size):
    lr = torch.rand(2, 3, *size)
    field, coord = Field.of_map(lr, maps={"lr": lr}), torch.rand(2, 200, 2) * 2.2 - 1.1
    grid = coord.flip(-1)[:, None]
    expected = F.grid_sample(lr, grid, "bilinear", "border", align_corners=False)[:, :, 0]
    close(bilinear(field, *coord.unbind(-1)), expected.transpose(1, 2))
    at_centres = grid_coord(*(pixel_centres(n, lr) for n in size)).expand(2, -1, -1)
    close(bilinear(field, *at_centres.unbind(-1)), lr.flatten(2).transpose(1, 2))


# Channels and normalisation


def test_normalisation_of_each_channel():
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    torch.manual_seed(0)
    plain = SRModel(Plain(), Residual()).eval()
    other = SRModel(plain.encoder, plain.decoder, Channels(), Normalization(mean=mean, std=std))
    by, to = (torch.tensor(each).view(3, 1, 1) for each in (mean, std))
    normal = (LR - by) / to
    found = other.eval().upscale(LR, SIZE, clamp=False)
    expected = plain.upscale(normal * 0.5 + 0.5, SIZE, clamp=False)
    close(found, (expected - 0.5) / 0.5 * to + by, atol=1e-5)
    close(reference.upscale(other, LR[0], SIZE), found[0])
