#!/usr/bin/env bash
# Reproduce one table, of the paper or of later models: download its data, train all its rows, measure it.
#   scripts/reproduce.sh [--dry-run] div2k|benchmark|ablation|single-scale|celebahq|later
# Every command is printed before it runs. Finished downloads, trainings and measurements are
# skipped, so the same command resumes after an interruption.
# GPUS=4 trains with torchrun on four GPUs of this machine. TRAIN="--set precision=bf16" adds
# options to every training, TEST="--precision bf16" to the measurement.
#
# Runs on bash 3.2 (macOS), where an empty array is an error under set -u: lists are plain words,
# split where they are used; -f keeps a pattern in them from matching files.
# shellcheck disable=SC2086
set -euf -o pipefail

dry=
if [ "${1-}" = --dry-run ]; then dry=yes && shift; fi
table=${1-}
case $table in
    div2k | ablation | single-scale | later) data=div2k ;;
    benchmark) data="div2k benchmark" ;;
    celebahq) data=celebahq ;;
    *)
        sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
        exit 1
        ;;
esac
cd "$(dirname "$0")/.."
start=python
if [ "${GPUS:-1}" -gt 1 ]; then start="torchrun --nproc-per-node $GPUS"; fi

run() {
    echo "+ $*"
    if [ -z "$dry" ]; then "$@"; fi
}

train() {
    # The second of two stages starts from the first, whose run it names.
    first=$(sed -n 's|^init: runs/\(.*\)/last.pt$|\1|p' "configs/$1.yaml")
    if [ -n "$first" ]; then train "$first"; fi
    # The "# Time" line of a configuration says how long a step was measured to take.
    sed -n "s/^# Time: /# $1: /p" "configs/$1.yaml"
    run $start scripts/train.py --config "configs/$1.yaml" ${TRAIN-}
}

run liif data download $data
configs=$(liif tables --table "$table" --list | cut -f1)
for config in $configs; do train "$config"; done
run liif tables --table "$table" ${TEST-}
