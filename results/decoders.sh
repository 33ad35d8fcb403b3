#!/usr/bin/env bash
# Write decoders.md: every decoder at its published size behind the encoder of the quick start, with three seeds each and
# the same photographs, steps and learning rates, then the table. Finished trainings and measurements are skipped. The data
# root needs photos/train (any photographs, here 50), and Set5 and Set14 in benchmark. JOBS trainings run at once; options
# of this script are given to each of them, e.g. --device cpu.
set -euo pipefail
cd "$(dirname "$0")/.."
train() { # SEED DECODER [OPTION...]
    python scripts/train.py --config "configs/edsr-$2.yaml" --name "edsr-$2-seed$1" --set "seed=$1" \
        --set model.encoder.blocks=8 --set model.encoder.width=32 \
        --set 'train_data.images=photos/train' --set 'train_data.scale=[1, 4]' \
        --set train_data.patch=24 --set train_data.queries=288 --set batch_size=4 --set steps=5000 \
        --set optimizer=adam --set weight_decay=0 --set clip_gradient=0.5 --set learning_rate=4e-4 \
        --set schedule=cosine --set 'milestones=[]' --set warm_up=500 \
        --set valid=null --set workers=0 --set log_every=500 --set save_every=2500 --set keep_every=null "${@:3}"
}
export -f train
decoders="bilinear metasr liif lte lm-liif lm-lte srno linf ciaosr hiif thera-air fourier"
for seed in 0 1 2; do
    for decoder in $decoders; do echo "$seed $decoder"; done
done | xargs -P "${JOBS:-1}" -I{} bash -c 'train {} "$@"' train "$@"
liif tables --table decoders
