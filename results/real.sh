#!/usr/bin/env bash
# Write real.md: a small LIIF trained on clean and on degraded photographs, with three seeds each and
# the same steps, then the table. Finished trainings and measurements are skipped. The data root needs photos/train,
# photos/valid (any photographs, here 50 and 5), bsds400 (the BSDS500 photographs that are not in B100) and benchmark/B100.
set -euo pipefail
cd "$(dirname "$0")/.."
# Every piece is degraded in its own way: five whole photographs would be five draws.
python - "${LIIF_DATA:-datasets}/photos" <<'PYTHON'
import sys
from pathlib import Path

from liif.images.rgb8 import list_images, read_image, write_image

photos, side = Path(sys.argv[1]), 240
for path in list_images(photos / "valid"):
    image = read_image(path)
    for y in range(0, image.shape[0] - side + 1, side):
        for x in range(0, image.shape[1] - side + 1, side):
            piece = photos / f"valid-{side}" / f"{path.stem}-{y:04}-{x:04}.png"
            write_image(piece, image[y : y + side, x : x + side])
PYTHON
for seed in 0 1 2; do
    for config in small-liif quickstart-real; do
        python scripts/train.py --config "configs/$config.yaml" --name "$config-seed$seed" --set "seed=$seed" \
            --set "train_data.images=[photos/train, bsds400]" --set train_data.cache=mmap
    done
done
liif tables --table real
