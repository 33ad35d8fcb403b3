#!/usr/bin/env bash
# Train the bundled model lite.safetensors on a CPU, then write lite.md and lite-photos.md. Expects photographs in
# photos/train and photos/valid and the 400 training images of BSDS500 in bsds400 under the data root ($LIIF_DATA, else
# datasets).
set -euo pipefail
cd "$(dirname "$0")/.."
# Set5's woman is a reduced copy of 302003.jpg.
python scripts/train.py --config configs/lite.yaml --device cpu \
    --set 'train_data.images=[{path: photos/train, weight: 6}, {path: bsds400, exclude: [302003.jpg]}]'
for table in lite lite-photos; do liif tables --table $table; done
