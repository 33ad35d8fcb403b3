#!/usr/bin/env bash
# Produce the table and the curves of "Schedules" in README.md: small trainings on the same photographs, one after
# the other, four to fourteen minutes each on one core. Expects photographs in photos/train and photos/valid under
# the data root.
set -euo pipefail
cd "$(dirname "$0")/.."
run() { # NAME STEPS BATCH RATE [--set KEY=VALUE ...]
    OMP_NUM_THREADS=1 python scripts/train.py --config configs/edsr-liif.yaml --device cpu --name "$1" \
        --set train_data.images=photos/train --set valid.images=photos/valid \
        --set valid.every=500 --set 'valid.scales=[2, 4, 8]' \
        --set model.encoder.blocks=8 --set model.encoder.width=32 --set 'model.decoder.hidden=[64, 64, 64, 64]' \
        --set train_data.patch=24 --set train_data.queries=288 \
        --set steps="$2" --set batch_size="$3" --set learning_rate="$4" --set clip_gradient=0.5 \
        --set workers=0 --set log_every=100 --set keep_every=null "${@:5}"
}
milestones=(--set 'milestones=[6000, 8000, 9200, 10400, 11200]')
cosine=(--set schedule=cosine --set warm_up=150 --set precision=bf16)
run milestones 12000 8 1e-3 "${milestones[@]}"
run milestones-faster 12000 8 2e-3 "${milestones[@]}" --set precision=bf16
run adam-whole 12000 8 2e-3 "${cosine[@]}" --set ema=0.998
run adam-half 6000 16 2e-3 "${cosine[@]}" --set ema=0.998
run adam-quarter 3000 32 2e-3 "${cosine[@]}" --set ema=0.995
run muon-half 6000 16 2e-3 "${cosine[@]}" --set ema=0.998 --set optimizer=muon
run muon-quarter-faster 3000 32 4e-3 "${cosine[@]}" --set ema=0.995 --set optimizer=muon
run muon-two-thirds 4000 16 2e-3 "${cosine[@]}" --set ema=0.998 --set optimizer=muon
run muon-quarter 3000 32 2e-3 "${cosine[@]}" --set ema=0.995 --set optimizer=muon
run muon-half-of-samples 6000 8 2e-3 "${cosine[@]}" --set ema=0.998 --set optimizer=muon
run adam-twice-the-samples 24000 8 2e-3 "${cosine[@]}" --set ema=0.998
run muon-twice-the-samples 24000 8 2e-3 "${cosine[@]}" --set ema=0.998 --set optimizer=muon
liif plot curves runs/milestones runs/adam-half runs/adam-quarter runs/muon-half runs/muon-quarter \
    -o results/schedules.png --overwrite
