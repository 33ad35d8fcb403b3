#!/usr/bin/env bash
# Write real.md: the quick start on clean and on degraded photographs, with three seeds each and the same steps, then the
# table. Finished trainings and measurements are skipped. B100 is expected under the data root; without it, its columns
# say what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
for seed in 0 1 2; do
    for config in quickstart quickstart-real; do
        python scripts/train.py --config "configs/$config.yaml" --set "seed=$seed" --name "$config-seed$seed"
    done
done
liif tables --table real
