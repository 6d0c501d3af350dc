#!/usr/bin/env bash
# Trains ncl-base on a machine with an NVIDIA GPU, unattended; called again, it goes on where it stopped.
#
#   scripts/train_base.sh PHOTOS FOLDER        FOLDER/run is the run, FOLDER/pieces its weights when it is done
#
# One call trains for at most CALL_MINUTES (8), a run has RUN_MINUTES (24) of training in all: call until the exit code
# is 0. 75: more calls are needed; 16: there is no GPU; else training failed. The finished model lies in FOLDER/run/model
# and, for transfers that are limited to 16 MiB a file, in FOLDER/pieces: cat FOLDER/pieces/weights.* >
# weights.safetensors puts it together. A later run starts from it with INITIAL=that model's folder.
# PYTHON names an interpreter with the package; DEVICE=cpu is for trying the script.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
device=${DEVICE:-cuda}
photos=${1:?train_base.sh: name the folder of photos}
folder=${2:?train_base.sh: name the output folder}
run=$folder/run
export PYTHONPATH=$here/..${PYTHONPATH:+:$PYTHONPATH}

if [ "$device" = cuda ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "train_base.sh: $python has no PyTorch that sees an NVIDIA GPU; nothing was trained." >&2
  exit 16
fi
mkdir -p "$folder" || exit 1
config=$folder/train_base.toml
[ -f "$config" ] || {
  cat "$here/train_base.toml"
  printf 'initial = "%s"\n' "${INITIAL:-}" # the last table is [train]
} >"$config"

arguments=(--config "$config" --photos "$photos" --out "$run" --minutes "${RUN_MINUTES:-24}" --device "$device")
arguments+=(--workers "${WORKERS:-$(($(nproc) > 2 ? $(nproc) - 2 : 1))}")
[ -f "$run/checkpoint.safetensors" ] && arguments+=(--resume)
# Asked to end, a training finishes its step and writes a checkpoint; timeout's exit code is 124 then. With
# --foreground it alone is asked, and once; without, every process of its group is.
limit=$(awk "BEGIN { print 60 * ${CALL_MINUTES:-8} }")
started=$SECONDS
timeout --foreground --kill-after=60 "$limit" \
  "$python" -m nclforensics train "${arguments[@]}" --quiet >>"$folder/train.log" 2>&1
code=$?
tail -n 5 "$folder/train.log" >&2
# 137: it was killed, a minute after it was asked to end if so late; the checkpoint before is there all the same.
if [ "$code" -eq 124 ] || { [ "$code" -eq 137 ] && [ $((SECONDS - started)) -ge "${limit%.*}" ]; }; then
  echo "train_base.sh: the time of this call is over; call again to go on." >&2
  exit 75
fi
[ "$code" -eq 0 ] || exit "$code"
rm -rf "$folder/pieces" && mkdir "$folder/pieces"
cp "$run/model/manifest.toml" "$run/model/config.toml" "$run/history.jsonl" "$folder/pieces/" &&
  split --bytes=15M "$run/model/weights.safetensors" "$folder/pieces/weights."
