"""`liif data lr`: write low-resolution sets by the recipes of papers, with a manifest."""

import argparse
from pathlib import Path
from typing import Any

from liif.core.errors import UserError
from liif.core.files import to_json, write_atomically
from liif.core.outputs import check_outputs
from liif.core.progress import progress_bar
from liif.core.sizes import Scale
from liif.data.paths import data_path
from liif.data.recipes import RecipeName, made_by, pixels_hash, recipe_sizes, set_hash
from liif.images.rgb8 import image_size, list_images, read_image, write_image


def run(options: argparse.Namespace) -> int:
    folder = _folder(options.set, options.data_root)
    files = list_images(folder)
    recipe: RecipeName = options.recipe
    scales: list[Scale] = list(dict.fromkeys(options.scale))
    places = {scale: options.output / folder_name(scale) for scale in scales}
    stems = [file.stem for file in files]
    if len(set(stems)) < len(stems):
        raise UserError(f"{folder}: images that differ in the suffix only would have one name")
    for scale in scales:  # before the work
        for file in files:
            _check_size(recipe, file, scale)
    outputs = [place / f"{stem}.png" for place in places.values() for stem in stems]
    manifests = [place / "manifest.json" for place in places.values()]
    check_outputs([*outputs, *manifests], files, overwrite=options.overwrite)
    for scale, place in places.items():
        entries: list[dict[str, Any]] = []
        for file in progress_bar(files, unit="image", desc=place.name):
            hr = read_image(file)
            image = made_by(recipe, hr, scale)
            write_image(place / f"{file.stem}.png", image)
            (h, w), covered = recipe_sizes(recipe, (hr.shape[0], hr.shape[1]), scale)
            entries.append(
                {
                    "name": file.stem,
                    "size": list(image.shape[:2]),
                    "sha256": pixels_hash(image),
                    "used": [h, w],
                    "used_sha256": pixels_hash(image[:h, :w]),
                    "hr": list(covered),
                    "hr_sha256": pixels_hash(hr),
                }
            )
        digest = set_hash((entry["name"], entry["used_sha256"]) for entry in entries)
        manifest = {"recipe": recipe, "scale": list(scale), "sha256": digest, "images": entries}
        write_atomically(place / "manifest.json", (to_json(manifest, indent=1) + "\n").encode())
        print(f"{place}: {len(entries)} images by the recipe {recipe}, sha256 {digest[:16]}")
    return 0


def folder_name(scale: Scale) -> str:
    """Return the name of the folder of a scale, as ArbSR has it: X1.50 or X2.50_1.50."""
    y, x = scale
    return f"X{y:.2f}" + ("" if x == y else f"_{x:.2f}")


def _folder(name: str, root: str | None) -> Path:
    """Return the folder of images of a set: a path, or a name such as Set5."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    published = data_path(root, f"benchmark/{name}/HR")
    if published.is_dir():
        return published
    raise UserError(f"{name}: no such folder, and no set {published}; give a folder of images")


def _check_size(recipe: RecipeName, file: Path, scale: Scale) -> None:
    size = image_size(file)
    lr, _ = recipe_sizes(recipe, size, scale)
    if min(lr) < 1:
        raise UserError(f"{file}: {size[1]}×{size[0]} px is too small for scale {scale}")
