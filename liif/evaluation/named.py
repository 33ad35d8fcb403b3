"""The protocols of papers and tools by name: a definition of PSNR and one of SSIM, each None where
the tool has no such metric. Their sources and what they change are in docs/protocols.md.

Where a tool leaves the border to its caller, it is the scale, as in papers; scores by "…-all" are
of all pixels. Tools that write files first have results of 8 bits.
"""

from dataclasses import replace
from typing import NamedTuple

from liif.core.errors import UserError
from liif.evaluation.definitions import Definition, Psnr, Ssim, parse


class Named(NamedTuple):
    """The definitions of a protocol."""

    psnr: Psnr | None
    ssim: Ssim | None


def _both(compared: str, psnr: str = "", ssim: str = "") -> Named:
    """Return a protocol whose metrics compare the same pixels, with more of each."""
    return _of(f"{compared} {psnr}", f"{compared} {ssim}")


def _of(psnr: str | None, ssim: str | None) -> Named:
    first = None if psnr is None else parse(f"psnr {psnr}")
    second = None if ssim is None else parse(f"ssim {ssim}")
    assert not isinstance(first, Ssim) and not isinstance(second, Psnr)
    return Named(first, second)


NAMED: dict[str, Named] = {
    # Chen et al. 2021 and the decoders after it; SSIM as this project computes it.
    "liif-div2k": _both("colour=rgb border=s+6"),
    "liif-benchmark": _both("colour=y-edsr border=s"),
    "liif-none": _both("colour=rgb border=0"),
    "thera": _of("colour=rgb border=s", None),
    "thera-y": _of("colour=y-edsr border=s", None),
    "arbsr": _of("colour=y-edsr border=s sr=8bit", "colour=y-arbsr border=s sr=8bit"),
    "arbsr-rgb": _of("colour=rgb border=s+6 sr=8bit", "colour=y-arbsr border=s+6 sr=8bit"),
    "lerf": _of(
        "colour=y-matlab border=s fraction=floor axes=largest sr=8bit",
        "colour=y-matlab border=0 sr=8bit",
    ),
    "ciaosr": _both("colour=y-matlab border=s sr=8bit"),
    # Frameworks for super-resolution.
    "basicsr-y": _both("colour=y-matlab border=s sr=8bit"),
    "basicsr-rgb": _both("colour=rgb border=s sr=8bit"),
    "basicsr-pt": _both("colour=rgb border=s", "eps=1e-8"),
    "basicsr-pt-y": _of("colour=y-matlab border=s eps=1e-8", None),
    "basicsr-y-swapped": _both("colour=y-bgr border=s sr=8bit"),
    "kair-y": _both("colour=y-matlab border=s sr=8bit"),
    "kair-rgb": _both("colour=rgb border=s sr=8bit"),
    "rcan-matlab": _both("colour=y-matlab border=s sr=8bit luma=8bit"),
    # General tools, which score all pixels.
    "pyiqa-psnr": _of("colour=rgb border=0 eps=1e-8", None),
    "pyiqa-psnry": _of("colour=y-full border=0 eps=1e-8", None),
    "pyiqa-psnry-ycbcr": _of("colour=y-matlab border=0 eps=1e-8", None),
    "pyiqa-ssim": _of(None, "colour=y-full border=0 luma=8bit contrast=clipped"),
    "pyiqa-ssim-ycbcr": _of(None, "colour=y-matlab border=0 luma=8bit contrast=clipped"),
    "pyiqa-ssimc": _of(None, "colour=rgb border=0 luma=8bit contrast=clipped"),
    "piq": _both("colour=rgb border=0", "eps=1e-8", "shrink=blocks"),
    "piq-y": _of("colour=y-full border=0 eps=1e-8", None),
    "skimage": _both("colour=rgb border=0", "", "window=uniform-7 covariance=sample"),
    "skimage-gray": _both("colour=y-709 border=0", "", "window=uniform-7 covariance=sample"),
    "skimage-gaussian": _both("colour=rgb border=0"),
    "torchmetrics": _both("colour=rgb border=0", "over=pixels", "padding=reflect"),
    "torchmetrics-range": _both(
        "colour=rgb border=0", "peak=range over=pixels", "padding=reflect peak=range"
    ),
    "kornia": _both("colour=rgb border=0", "", "padding=reflect"),
    "kornia-valid": _both("colour=rgb border=0"),
    "pytorch-msssim": _of(None, "colour=rgb border=0"),
    "pytorch-ssim": _of(None, "colour=rgb border=0 padding=zero"),
    "opencv": _of("colour=rgb border=0 sr=8bit", None),
    "matlab-ssim": _of(None, "colour=y-matlab border=0 padding=replicate"),
    "matlab-ssim-rgb": _of(None, "colour=rgb border=0 padding=replicate channels=volume"),
}


def definitions(protocol: str) -> list[Definition]:
    """Return the definitions of a protocol: its name, or the line of a definition. Raises
    UserError."""
    if protocol in NAMED:
        return [each for each in NAMED[protocol] if each is not None]
    if protocol.split()[:1] in (["psnr"], ["ssim"]):
        return [parse(protocol)]
    names = ", ".join(NAMED)
    line = "a line such as 'psnr colour=rgb border=s'"
    raise UserError(f"--protocol {protocol}: is not {line}, or one of {names}")


def names_of(definition: Definition, *, of_8_bits: bool = False) -> list[str]:
    """Return the names of the protocols that have a definition; for results that have 8 bits
    already, with or without the rounding to 8 bits."""
    same = {definition, replace(definition, sr="8bit")} if of_8_bits else {definition}
    return [name for name, both in NAMED.items() if not same.isdisjoint(both)]
