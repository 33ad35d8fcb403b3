#!/usr/bin/env bash
# Train the bundled model edsr-light.safetensors on one CPU core with bf16 units (AVX512-BF16 or AMX), then write
# light.md and light-photos.md. Expects photographs in photos/train and photos/valid and the 400 training images
# of BSDS500 in bsds400 under the data root ($LIIF_DATA, else datasets).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(realpath "${LIIF_DATA:-datasets}")
mkdir -p runs/light-data
# Each large photograph is linked six times, so that three samples in seven come from them.
for file in "$root"/photos/train/*; do
    for copy in 1 2 3 4 5 6; do ln -sf "$file" "runs/light-data/photo-$copy-$(basename "$file")"; done
done
for file in "$root"/bsds400/*; do ln -sf "$file" "runs/light-data/bsds-$(basename "$file")"; done
OMP_NUM_THREADS=1 python scripts/train.py --config configs/edsr-light.yaml --device cpu \
    --set "train_data.images=$PWD/runs/light-data" --set "valid.images=$root/photos/valid" \
    --set 'valid.scales=[2, 4]' --set valid.every=4000 --set valid.limit=5 \
    --set workers=0 --set log_every=200 --set save_every=1000
for table in light light-photos; do
    liif tables --table $table --checkpoint edsr-light=runs/edsr-light/last.pt --checkpoint edsr-liif=edsr-liif
done
