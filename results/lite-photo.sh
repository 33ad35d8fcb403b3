#!/usr/bin/env bash
# Train the bundled model lite-photo.safetensors on a GPU, then write lite-photo.md. Expects the folders of lite.sh, and
# photos/valid-240, which real.sh cuts from photos/valid. LPIPS needs pip install "liif[metrics]".
set -euo pipefail
cd "$(dirname "$0")/.."
python scripts/train.py --config configs/lite-photo.yaml --device cuda \
    --set 'train_data.images=[{path: photos/train, weight: 6}, {path: bsds400, exclude: [302003.jpg]}]'
liif tables --table lite-photo --lpips --checkpoint lite=lite --checkpoint lite-photo=lite-photo
