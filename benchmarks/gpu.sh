#!/usr/bin/env bash
# Everything there is to know about one GPU, in ten minutes: gpu.md and gpu.json here, or where
# --out says.
#
#   benchmarks/gpu.sh [--device cuda] [--out FOLDER] [--quick]
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" benchmarks/gpu.py "$@"
