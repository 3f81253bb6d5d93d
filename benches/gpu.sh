#!/usr/bin/env bash
# Everything to measure on a GPU machine, in under nine minutes: correctness first, then times, then PyTorch beside.
#
#   benches/gpu.sh [--device NAME] [--small] [--peers PEERS_GPU.py --weights DIR]
#
# Writes benches/records/<date>-<adapter>-kernels.jsonl, -models.txt, -roofline.svg and, with --peers, -peers.jsonl.
# --small: little enough for a software driver, to see that it works. PEERS_GPU.py takes --weights, --models,
# --batches and --budget and prints JSON lines; it needs PyTorch with CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."

device=gpu small="" peers="" weights="" seconds=15 batch=64
while [ $# -gt 0 ]; do
    case "$1" in
        --device) device="$2"; shift 2 ;;
        --small) small=1 seconds=3 batch=1; shift ;;
        --peers) peers="$2"; shift 2 ;;
        --weights) weights="$2"; shift 2 ;;
        *) sed -n '2,9p' "$0"; exit 2 ;;
    esac
done
start=$SECONDS
# Seconds that are left of nine minutes, and at least one.
left() { local rest=$((530 - SECONDS + start)); echo $((rest > 1 ? rest : 1)); }

[ -x target/release/tagwave ] || cargo build --release
tagwave=target/release/tagwave
name=$("$tagwave" tune --device "$device" --seconds 1 --model compact --batch 1 | sed -n 's/^device //p' | head -1)
record="benches/records/$(date +%F)-$(printf %s "$name" | tr -cs 'A-Za-z0-9.' - | sed 's/-*$//')"
mkdir -p benches/records
echo "device $name, records $record-*"

echo "== correctness"
if [ -n "$small" ]; then
    timeout "$(left)" "$tagwave" bench kernels --device "$device" --layer logits --batch 2 --milliseconds 20
else
    timeout 120 "$tagwave" selftest --device "$device" ${weights:+--weights "$weights"} >"$record-selftest.txt" || status=$?
    tail -1 "$record-selftest.txt"
    # What is wrong need not be timed; a check that only took too long may be.
    if grep '^FAILED' "$record-selftest.txt" || { [ "${status:-0}" != 0 ] && [ "${status:-0}" != 124 ]; }; then
        exit 1
    fi
    rm "$record-selftest.txt"
fi

echo "== tune"
for precision in f32 f16; do
    timeout "$(left)" "$tagwave" tune --device "$device" --seconds "$seconds" --batch "$batch" --precision "$precision" || true
done

echo "== models, and the front end from samples"
if [ -n "$small" ]; then
    options=(--model compact,mel --batch 1 --seconds 1)
else
    options=(--model small,crnn,cnn,compact,mel --batch 1,8,64,256,1024 --seconds 1 --precision f32,f16)
fi
timeout "$(left)" "$tagwave" bench model --device "$device" "${options[@]}" | tee "$record-models.txt" || true

echo "== the same with indices checked on the device"
timeout "$(left)" "$tagwave" bench model --device "$device" --model crnn --batch "$batch" --seconds 1 --checked |
    tee -a "$record-models.txt" || true

if [ -n "$peers" ]; then
    echo "== PyTorch"
    rest=$(($(left) - 80))
    timeout "$rest" python3 "$peers" --weights "$weights" --models crnn,mel,cnn,compact --batches 1,8,64,256,1024 \
        --budget "$((rest - 20))" >"$record-peers.jsonl" || echo "peers: stopped early"
fi
echo "== kernels"
if [ -n "$small" ]; then
    options=(--layer conv4,logits,mel --batch 1 --milliseconds 20)
else
    options=(--batch 1,8,64,256 --milliseconds 30 --precision f32,f16)
fi
# A layer that was begun is ended.
rest=$(left)
timeout "$rest" "$tagwave" bench kernels --device "$device" "${options[@]}" --skip-test-cases --format jsonl \
    --seconds "$((rest > 30 ? rest - 20 : rest))" --plot "$record-roofline.svg" >"$record-kernels.jsonl" ||
    echo "kernels: stopped early or some failed"
wc -l "$record-kernels.jsonl"
echo "done in $((SECONDS - start)) s"
