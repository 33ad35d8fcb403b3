#!/usr/bin/env bash
# Check and measure one GPU in ten minutes; writes gpu.md and gpu.json into the folder --out, by
# default the current one.
#
#   benchmarks/gpu.sh [--device cuda] [--out FOLDER] [--quick]
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" benchmarks/gpu.py "$@"
