"""The attention of CiaoSR over the whole image, and its checkpoints."""

import pytest
import torch
from helpers.small_models import small

from liif.models.decoders import ciaosr
from liif.models.foreign.ciaosr import from_ciaosr


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (1, 1)])
def test_bands_of_rows_give_the_same_map(size, monkeypatch):
    attention = small(decoder="ciaosr").decoder.cs_attn
    feat = torch.randn(2, 8, *size)
    whole = attention(feat)
    monkeypatch.setattr(ciaosr, "SCORES", 1)
    torch.testing.assert_close(attention(feat), whole, atol=1e-6, rtol=0)
    assert whole.shape == feat.shape


def test_every_pixel_depends_on_every_other():
    """Its output is one piece: the model says so, and tiles are never used."""
    model = small(decoder="ciaosr")
    assert model.halo is None
    feat = torch.randn(1, 8, 12, 12, requires_grad=True)
    model.decoder.cs_attn(feat)[..., 0, 0].sum().backward()
    assert (feat.grad.abs().sum(dim=1) > 0).float().mean() > 0.9


@pytest.mark.parametrize(("key", "value"), [("multi_scale", [4]), ("non_local_attn", False)])
def test_other_switches_are_refused(key, value):
    args = {"encoder_spec": {"name": "edsr-baseline"}, key: value}
    with pytest.raises(ValueError, match=f"{key}: .* is not supported for the model 'ciaosr'"):
        from_ciaosr("ciaosr", args, {})
