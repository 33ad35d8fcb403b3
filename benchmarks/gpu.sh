#!/usr/bin/env bash
# Check and measure one GPU, or two, in ten minutes, or in two with --quick; packs everything into
# gpu-report.zip, the one file to send back. All options: benchmarks/gpu.sh --help
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" benchmarks/gpu.py "$@"
