"""Results beside true images, and their scores by metrics of pyiqa, for `liif metrics`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from liif.core.errors import UserError
from liif.core.parallel import read_ahead
from liif.core.progress import progress_bar
from liif.evaluation.evaluate import mean
from liif.evaluation.quality import Quality
from liif.images.channels import PixelFormat, read_header, read_pixels
from liif.images.convert import to_tensor
from liif.images.rgb8 import list_images


def quality_table(quality: Sequence[Quality], sr: Path, hr: Path | None) -> dict[str, Any]:
    """Return the scores of results by metrics of pyiqa, as lines and for JSON. Raises UserError."""
    pairs = [(path, None) for path in list_images(sr)] if hr is None else matched(sr, hr)
    values: dict[str, dict[str, float]] = {each.name: {} for each in quality}
    with progress_bar(total=len(pairs), unit="image") as bar:
        for path, images in read_ahead((path, _images(path, true)) for path, true in pairs):
            for each in quality:
                try:
                    values[each.name][path.stem] = each.score(*images)
                except ValueError as error:
                    raise UserError(f"{path}: {error}") from None
            bar.update()
    rows = [
        {
            "metric": each.name,
            "value": mean(list(values[each.name].values())),
            "lower_is_better": each.lower_is_better,
            "needs_reference": each.needs_reference,
            "images": values[each.name],
        }
        for each in quality
    ]
    count = f"{len(pairs)} image{'s' if len(pairs) > 1 else ''}"
    text = [f"{count}, all pixels, by pyiqa"]
    for row in rows:
        better = "lower" if row["lower_is_better"] else "higher"
        text.append(f"{row['metric']:16} {row['value']:10.4f}  {better} is better")
    return {"metrics": rows, "text": text}


def _images(sr: Path, hr: Path | None) -> tuple[Tensor, Tensor | None]:
    if hr is not None:
        return read_result(sr, hr)
    header = read_header(sr)
    form = PixelFormat(1 if 1 in header.channels else 3, header.bits)
    return to_tensor(read_pixels(sr, form)), None


def matched(sr: Path, hr: Path) -> list[tuple[Path, Path]]:
    """Return the pairs of results and true images: of files as given, of folders by name. A result
    may have more after the name of the true image, as in butterfly_x4.png. Raises UserError."""
    results, true = list_images(sr), list_images(hr)
    if sr.is_file() and hr.is_file():
        return [(results[0], true[0])]
    pairs: list[tuple[Path, Path]] = []
    for path in true:
        same = [each for each in results if each.stem == path.stem]
        longer = [other.stem for other in true if other.stem.startswith(path.stem)]
        begins = [
            each
            for each in results
            if each.stem.startswith(path.stem)
            and not any(each.stem.startswith(name) for name in longer if name != path.stem)
        ]
        fits = same or begins
        if len(fits) != 1:
            what = "no result" if not fits else f"{len(fits)} results ({fits[0].name}, …)"
            raise UserError(f"{sr}: {what} for {path.name} of {hr}; results have its name")
        pairs.append((fits[0], path))
    return pairs


def read_result(sr: Path, hr: Path) -> tuple[Tensor, Tensor]:
    """Read a result and the true image, (C, H, W) in [0, 1], with the bits that they have. Rows and
    columns that the result does not cover are cut off from the true image."""
    headers = read_header(sr), read_header(hr)
    gray = all(1 in header.channels for header in headers)
    a, b = (
        to_tensor(read_pixels(path, PixelFormat(1 if gray else 3, header.bits)))
        for path, header in zip((sr, hr), headers, strict=True)
    )
    (h, w), (H, W) = a.shape[1:], b.shape[1:]
    # Below the largest scale that papers have: more is another picture.
    if not (0 <= H - h < 32 and 0 <= W - w < 32):
        raise UserError(f"{sr}: {h}×{w} px (rows × columns), but {hr} has {H}×{W}")
    return a, b[:, :h, :w]
