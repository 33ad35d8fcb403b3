#!/usr/bin/env bash
# Reproduce one table of the paper: download its data, train all its rows, measure it.
#   scripts/reproduce.sh [--dry-run] div2k|benchmark|ablation|single-scale|celebahq
# Every command is printed before it runs. What is there already is not fetched, trained or measured
# again, so after an interruption the same command goes on.
# GPUS=4 trains with torchrun on four GPUs of this machine; TRAIN="--set precision=bf16" adds options
# to every training, TEST="--precision bf16" to the measuring.
set -euo pipefail

dry=
if [ "${1-}" = --dry-run ]; then dry=yes && shift; fi
table=${1-}
case $table in
    div2k | ablation | single-scale) data=(div2k) ;;
    benchmark) data=(div2k benchmark) ;;
    celebahq) data=(celebahq) ;;
    *)
        sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
        exit 1
        ;;
esac
cd "$(dirname "$0")/.."
read -ra train <<<"${TRAIN-}"
read -ra test <<<"${TEST-}"
start=(python)
if [ "${GPUS:-1}" -gt 1 ]; then start=(torchrun --nproc-per-node "$GPUS"); fi

run() {
    echo "+ $*"
    if [ -z "$dry" ]; then "$@"; fi
}

run liif download "${data[@]}"
# A row's configuration states in its "# Time" line what a step was measured to take.
configs=$(liif tables --table "$table" --list | cut -f1)
for config in $configs; do
    sed -n "s/^# Time: /# $config: /p" "configs/$config.yaml"
    run "${start[@]}" scripts/train.py --config "configs/$config.yaml" "${train[@]}"
done
run liif tables --table "$table" "${test[@]}"
