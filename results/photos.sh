#!/usr/bin/env bash
# Write photos.md: seven small trainings one after the other, then the table. Expects photographs in
# photos/train and photos/valid under the data root.
set -euo pipefail
cd "$(dirname "$0")/.."
for row in edsr-liif edsr-liif-c edsr-liif-u edsr-liif-e edsr-liif-d edsr-liif-x2 edsr-liif-x4; do
    hidden='[64, 64, 64, 64]'
    if [ $row = edsr-liif-d ]; then hidden='[64, 64]'; fi
    python scripts/train.py --config "configs/$row.yaml" \
        --set train_data.images=photos/train --set valid.images=photos/valid \
        --set valid.every=2500 --set 'valid.scales=[2, 4, 8]' \
        --set model.encoder.blocks=8 --set model.encoder.width=32 --set "model.decoder.hidden=$hidden" \
        --set train_data.patch=24 --set train_data.queries=288 --set batch_size=8 \
        --set steps=12000 --set learning_rate=1e-3 --set clip_gradient=0.5 \
        --set 'milestones=[6000, 8000, 9200, 10400, 11200]' \
        --set workers=0 --set log_every=500 --set save_every=2500 --set keep_every=null
done
liif tables --table photos
