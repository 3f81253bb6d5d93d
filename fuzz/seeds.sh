#!/usr/bin/env bash
# Makes the first inputs of every target in fuzz/corpus. Needs ffmpeg for those of audio; takes seconds.
set -euo pipefail
cd "$(dirname "$0")"
root=..
for target in decode frame_index mp3 keras safetensors contract journal lists condition write_journal; do mkdir -p "corpus/$target"; done

ff() { ffmpeg -nostdin -v error -y -ss 3 -t 4 -i $root/assets/demo.ogg -map_metadata -1 "$@"; }
out=corpus/decode
ff -ac 1 -ar 24000 -c:a libmp3lame -b:a 32k $out/a.mp3
ff -ac 2 -ar 44100 -c:a libmp3lame -q:a 9 $out/b.mp3
ff -ac 1 -ar 22050 -c:a mp2 -b:a 32k $out/a.mp2
ff -ac 1 -ar 24000 -c:a aac -b:a 24k -f adts $out/a.aac
ff -ac 1 -ar 24000 -c:a aac -b:a 24k $out/a.m4a
ff -ac 1 -ar 24000 -c:a aac -b:a 24k -movflags +frag_keyframe+empty_moov -frag_duration 500000 $out/b.mp4
ff -ac 1 -ar 24000 -c:a libvorbis -b:a 32k $out/a.ogg
ff -ac 1 -ar 24000 -c:a libvorbis -b:a 32k $out/a.mka
ff -ac 1 -ar 24000 -c:a libopus -b:a 16k $out/a.opus
ff -t 1 -ac 1 -ar 12000 -c:a flac $out/a.flac
ff -t 1 -ac 1 -ar 12000 -c:a flac $out/b.oga
ff -t 1 -ac 1 -ar 12000 -c:a alac $out/alac.m4a
ff -t 1 -ac 1 -ar 12000 -c:a pcm_s16le $out/a.wav
ff -ac 1 -ar 24000 -c:a adpcm_ima_wav $out/ima.wav
ff -ac 1 -ar 24000 -c:a adpcm_ms $out/ms.wav
ff -t 1 -ac 2 -ar 8000 -c:a pcm_f32le $out/float.wav
ff -t 1 -ac 1 -ar 12000 -c:a pcm_s16be $out/a.aiff
ff -t 1 -ac 1 -ar 12000 -c:a pcm_s16le $out/a.caf
ff -t 1 -ac 1 -ar 12000 -c:a pcm_s24be $out/a.mov
ff -t 1 -ac 1 -ar 12000 -c:a pcm_s16le -rf64 always $out/rf64.wav
cp $out/a.mp3 $out/b.mp3 $out/a.mp2 $out/a.aac $out/a.ogg corpus/frame_index/
ff -ac 2 -ar 44100 -c:a libmp3lame -b:a 64k corpus/mp3/joint.mp3
ff -ac 2 -ar 32000 -c:a libmp3lame -b:a 64k -joint_stereo 0 corpus/mp3/stereo.mp3
ff -ac 1 -ar 22050 -c:a libmp3lame -b:a 32k corpus/mp3/low.mp3
cp $root/tests/golden/weights/*.h5 corpus/keras/ 2>/dev/null || true
python3 - <<'PY'
import json, struct
header = {"__metadata__": {"format_version": "1", "layout": "correlation"},
          "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
          "b": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40]}}
text = json.dumps(header).encode()
open("corpus/safetensors/a", "wb").write(struct.pack("<Q", len(text)) + text + bytes(40))
open("corpus/lists/a", "w").write("#EXTM3U\r\n#EXTINF:1,x\r\ncd\\1.mp3\r\nfile:///a%20b.mp3\nhttp://a/b\n")
open("corpus/lists/b", "wb").write(b"a\0b\xff\0")
open("corpus/condition/a", "w").write("(rock > 0.3 or 'classic rock') and not jazz <= .5e-1")
line = {"path": "/a", "sha256": "00", "before": {"size": 9, "sha256": "00", "modified_ns": 1, "pieces": [[0, 4], "AAECAwQ="]}}
open("corpus/write_journal/a", "w").write('{"tagwave_write": 1}\n' + json.dumps(line) + "\n")
key = "0" * 32
open("corpus/journal/a", "wb").write(f"atagwave journal 1\n{key} 3 0123456789abcdef\n".encode())
open("corpus/journal/b", "wb").write(b"b\x00\x10\x00a\x03\x20\x00b\x05\x01\x00c")
PY
cp $root/shaders/frontend/*.wgsl $root/shaders/layers/*.wgsl corpus/contract/
