#!/usr/bin/env bash
# Checks and measures the CUDA kernels on a machine with an NVIDIA GPU, unattended: GPU tests, benchmark, sanitizer.
#
#   scripts/gpu_check.sh [FOLDER]        default build/gpu_check; takes at most 9 minutes
#
# FOLDER/report.md is the one file to read; the logs, the table and the plot lie beside it. The environment may name
# PYTHON (an interpreter with the package and its test extra) and BENCHMARK_MINUTES (3). Exit code: 0 if every step
# passed, 16 if there is no GPU, else 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python}
folder=${1:-build/gpu_check}
minutes=${BENCHMARK_MINUTES:-3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
PATH=$PATH:/usr/local/cuda/bin # where the toolkit puts compute-sanitizer

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "gpu_check.sh: $python has no PyTorch that sees an NVIDIA GPU; nothing was checked." >&2
  exit 16
fi
mkdir -p "$folder"
report=$folder/report.md
failed=0

# step NAME SECONDS COMMAND...: run with a time limit, keep the log, and write a line and the log's end to the report.
step() {
  local name=$1 limit=$2 log=$folder/$1.log started=$SECONDS code
  shift 2
  echo "gpu_check.sh: $name" >&2
  timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1
  code=$?
  [ "$code" -eq 0 ] || failed=1
  {
    printf '\n## %s: exit code %s after %s s\n\n`%s`\n\n```text\n' "$name" "$code" "$((SECONDS - started))" "$*"
    tail -n 40 "$log"
    printf '```\n'
  } >>"$report"
}

{
  printf '# GPU check of %s\n\n' "$(date -u '+%Y-%m-%d %H:%M UTC')"
  printf 'commit %s\n' "$(git rev-parse HEAD 2>/dev/null || echo unknown)"
  printf '\n```text\n%s\n```\n' "$(nvidia-smi 2>&1 || echo 'no nvidia-smi')"
} >"$report"

step kernels-info 60 "$python" -m nclforensics kernels info
step tests 150 "$python" -m pytest -n 0 -m gpu -k "not sanitizer" tests
step benchmark "$((60 * minutes + 40))" "$python" benchmarks/pair_similarity.py --minutes "$minutes" --out "$folder"
step sanitizer 120 "$python" -m pytest -n 0 -m gpu -k sanitizer tests/ops/test_gpu.py
verdict="All steps passed."
[ "$failed" -eq 0 ] || verdict="At least one step failed."
command -v compute-sanitizer >/dev/null || verdict+=" The sanitizer did not run: compute-sanitizer is not installed."
if [ -f "$folder/pair_similarity.md" ]; then
  { echo; sed 's/^# /## /' "$folder/pair_similarity.md"; } >>"$report"
fi
printf '\n%s\n' "$verdict" | tee -a "$report"
echo "$report"
exit "$failed"
