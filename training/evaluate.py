"""How far the shipped model agrees with its teacher, on the clips of the validation tracks, by tagwave itself.

    python evaluate.py CORPUS --tagwave PATH --weights FOLDER [--split validation]

Prints Markdown: mean absolute difference of a score, share of clips with the same first tag, common tags of
the top five; the same for each teacher against their mean, for scale; then one line a tag.
"""

import argparse
import csv
import subprocess
from pathlib import Path

import numpy as np

from clips import agreement


def scores(tagwave, model, weights, files):
    """{(file, start): {label: score}} by `tagwave tag`."""
    out = subprocess.run(
        [tagwave, "tag", "--quiet", "--device", "cpu", "--model", model, *(["--weights", weights] if weights else []),
         "--clips", "all", "--per-clip", "--top", "50", "--format", "csv", *files],
        capture_output=True, text=True, check=True).stdout
    found = {}
    for row in csv.DictReader(out.splitlines()):
        if row["name"]:
            found.setdefault((row["path"], row["clip_start_s"]), {})[row["name"]] = float(row["value"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tagwave", default="tagwave")
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--folder", type=Path, help="audio files instead of the corpus's")
    args = parser.parse_args()
    if args.folder:
        files = sorted(str(p) for p in args.folder.iterdir() if p.suffix in (".ogg", ".mp3", ".opus", ".wav", ".flac"))
    else:
        with open(args.corpus / "tracks.tsv", newline="") as file:
            files = [str(args.corpus / "wav" / f"{row['id']}.wav") for row in csv.DictReader(file, delimiter="\t")
                     if row["split"] == args.split]
    found = {model: scores(args.tagwave, model, weights, files)
             for model, weights in (("small", None), ("crnn", args.weights), ("cnn", args.weights))}
    clips = sorted(set(found["small"]) & set(found["crnn"]) & set(found["cnn"]))
    labels = sorted(found["crnn"][clips[0]])
    small, crnn, cnn = (np.array([[found[m][clip][label] for label in labels] for clip in clips])
                        for m in ("small", "crnn", "cnn"))
    teacher = (crnn + cnn) / 2
    print(f"{len(clips)} clips of {len({path for path, _ in clips})} tracks\n")
    print("| | mean absolute difference | same first tag | common tags of the top 5 |\n|---|---|---|---|")
    for name, a, b in (("small and its teacher", small, teacher), ("crnn and the teacher", crnn, teacher),
                       ("cnn and the teacher", cnn, teacher), ("crnn and cnn", crnn, cnn)):
        result = agreement(a, b)
        print(f"| {name} | {result['mad']:.4f} | {100 * result['first']:.1f} % | {result['top5']:.2f} |")
    print("\n| tag | mean of the teacher | mean absolute difference | correlation |\n|---|---|---|---|")
    for i in np.argsort(-teacher.mean(0)):
        correlation = np.corrcoef(small[:, i], teacher[:, i])[0, 1]
        print(f"| {labels[i]} | {teacher[:, i].mean():.3f} | {np.abs(small - teacher)[:, i].mean():.4f} | {correlation:.2f} |")


if __name__ == "__main__":
    main()
