#!/usr/bin/env bash
# The whole recipe of weights/small: music, the teacher's targets, training, the weight file and its figures.
#
#     training/run.sh CORPUS WEIGHTS [KEEP_OUT [EXTRA]]
#
# CORPUS    folder for music and targets, 15 GB; what is there already is not made again
# WEIGHTS   folder with the original's weight files
# KEEP_OUT  table of tracks (package, file) that no training may hear
# EXTRA     another folder of music
#
# Needs apt-get, dpkg-deb, unzip, ffmpeg, fluidsynth with General MIDI soundfonts, and Python with
# training/requirements.txt. On two CPU cores busy with other work the music took 24 minutes with the download of
# 7 GB, the targets 12 and training 15.
set -euo pipefail
corpus=$(realpath -m "$1") weights=$(realpath "$2") keep_out=${3:+$(realpath "$3")} extra=${4:+$(realpath "$4")}
cd "$(dirname "$0")"
python=${PYTHON:-python3}
cargo build --release
tagwave=../target/release/tagwave

mkdir -p "$corpus"
"$python" music.py "$corpus" ${keep_out:+--keep-out "$keep_out"} ${extra:+--extra "$extra"}
"$python" teacher.py "$corpus" --tagwave "$tagwave" --weights "$weights"

# glibc otherwise gives the large buffers back to the system at every step: twice the time.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=500000000
"$python" train.py "$corpus" "$corpus/run" --weights "$weights"
"$python" export.py "$corpus" "$corpus/run/student.pt" ../weights/small --weights "$weights"
"$python" ../tests/golden/small/make.py
cargo build --release
"$python" evaluate.py "$corpus" --tagwave "$tagwave" --weights "$weights"
