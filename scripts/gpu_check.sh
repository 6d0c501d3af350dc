#!/usr/bin/env bash
# Checks and measures the CUDA kernels on a machine with an NVIDIA GPU, unattended: GPU tests, benchmark, sanitizer.
#
#   scripts/gpu_check.sh [FOLDER]        default build/gpu_check; takes at most 9 minutes
#
# FOLDER/report.md is the one file to read; steps.log, the table and the plot lie beside it, 6 files in all. Nothing is
# fetched. It needs PyTorch for CUDA, cuda-bindings, nvidia-cuda-nvrtc, the package's own dependencies, pytest,
# pytest-timeout, pytest-xdist and hypothesis; the first step names what is missing, and the others do what they can.
#
# The environment may name PYTHON (an interpreter), WHEELS (a folder of .whl files to use beside what PYTHON has) and
# BENCHMARK_MINUTES (3). Exit code: 0 if every step passed, 16 if there is no GPU, else 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python}
folder=${1:-build/gpu_check}
minutes=${BENCHMARK_MINUTES:-3}
most_seconds=530 # of all steps together; the rest of the 9 minutes is for looking at the GPU, before and after
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
PATH=$PATH:/usr/local/cuda/bin # where the toolkit puts compute-sanitizer

if ! timeout 120 "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "gpu_check.sh: $python has no PyTorch that sees an NVIDIA GPU; nothing was checked." >&2
  exit 16
fi
mkdir -p "$folder" || exit 1
report=$folder/report.md
log=$folder/steps.log
failed=0
table=$'| step | exit code | seconds |\n|---|--:|--:|\n'

# step NAME SECONDS COMMAND...: run with a time limit, keep the output, and write a line and its end to the report.
step() {
  local name=$1 limit=$2 left=$((most_seconds - SECONDS)) started=$SECONDS code output
  shift 2
  [ "$limit" -le "$left" ] || limit=$((left > 1 ? left : 1)) # a limit of 0 would be none
  echo "gpu_check.sh: $name, at most $limit s" >&2
  output=$(mktemp)
  timeout --kill-after=10 "$limit" "$@" >"$output" 2>&1
  code=$?
  [ "$code" -eq 0 ] || failed=1
  table+="| $name | $code | $((SECONDS - started)) |"$'\n'
  {
    printf '\n## %s: exit code %s after %s s\n\n`%s`\n\n```text\n' "$name" "$code" "$((SECONDS - started))" "${*%%$'\n'*}"
    tail -n 40 "$output"
    printf '```\n'
  } >>"$report"
  { printf '===== %s: %s\n' "$name" "${*%%$'\n'*}" && cat "$output"; } >>"$log"
  rm -f "$output"
}

{
  printf '# GPU check of %s\n\n' "$(date -u '+%Y-%m-%d %H:%M UTC')"
  printf 'commit %s\n' "$(git rev-parse HEAD 2>/dev/null || echo unknown)"
  printf '\n```text\n%s\n```\n' "$(timeout 20 nvidia-smi 2>&1 || echo 'no nvidia-smi')"
} >"$report"
: >"$log"

if [ -n "${WHEELS:-}" ]; then
  site=$(mktemp -d)
  step wheels 60 "$python" -m pip install --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
  export PYTHONPATH=$PYTHONPATH:$site
fi
step packages 60 "$python" -c '
import importlib.metadata, importlib.util, sys
needed = """accelerate cuda cv2 fpdf hypothesis jinja2 matplotlib numpy PIL pytest pytest_timeout rich safetensors simplejpeg
    tensorboard tifffile tomli_w tqdm typer xdist"""
missing = [name for name in needed.split() if importlib.util.find_spec(name) is None]
print(sys.version, *sorted({f"{each.name} {each.version}" for each in importlib.metadata.distributions()}), sep=", ")
sys.exit(f"missing: {missing}" if missing else 0)'
step kernels-info 60 "$python" -m nclforensics kernels info
# Warnings of other versions of other packages are no errors here, as they are in the project's own tests.
pytest=("$python" -m pytest -n 0 -m gpu -W default -p no:cacheprovider --durations=5)
step tests 150 "${pytest[@]}" -k "not sanitizer" tests/ops/test_gpu.py tests/patches/test_mining.py
benchmark_seconds=$(awk "BEGIN { print int(60 * $minutes) + 40 }")
step benchmark "$benchmark_seconds" "$python" benchmarks/pair_similarity.py --minutes "$minutes" --out "$folder"
step sanitizer 120 "${pytest[@]}" -k sanitizer tests/ops/test_gpu.py
verdict="All steps passed."
[ "$failed" -eq 0 ] || verdict="At least one step failed."
command -v compute-sanitizer >/dev/null || verdict+=" The sanitizer did not run: compute-sanitizer is not installed."
if [ -f "$folder/pair_similarity.md" ]; then
  { echo; sed 's/^# /## /' "$folder/pair_similarity.md"; } >>"$report"
fi
printf '\n%s\n%s\n' "$table" "$verdict" | tee -a "$report"
echo "$report"
exit "$failed"
