#!/usr/bin/env python3
"""Labels of the original's experiment as CSV for `tagwave eval`.

    git clone https://github.com/keunwoochoi/MSD_split_for_tagging
    python3 examples/msd_labels.py MSD_split_for_tagging test > test.csv
    tagwave eval AUDIO --labels test.csv

PART is train, valid or test. The split has PART_x_filename.txt (3/6/36122424.npy, a line per
track), PART_x_msd_id.txt (Million Song Dataset) and PART_x_7d_id.txt (7digital), all in one order, and PART_y.npy:
booleans [tracks, 50] in the order of weights/labels/lastfm50.txt. Its audio is not distributed.

Needs NumPy. The split was read at commit 2e08b89e5bc861fb01983068bf62dcfbce154567.
"""
import argparse
import csv
import os
import sys

import numpy as np

SEPARATOR = "<SEP>"


def lines(path):
    with open(path, encoding="utf-8") as file:
        return file.read().split("\n")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", help="folder of MSD_split_for_tagging")
    parser.add_argument("part", choices=["train", "valid", "test"])
    parser.add_argument("--extension", default=".clip.mp3", help="of the audio files, instead of .npy")
    parser.add_argument("--artists", help="unique_tracks.txt of the Million Song Dataset: adds a column artist")
    options = parser.parse_args()
    of = lambda name: os.path.join(options.split, f"{options.part}_{name}")

    tags = [tag for tag in lines(os.path.join(here, "../weights/labels/lastfm50.txt")) if tag]
    names = [name for name in lines(of("x_filename.txt")) if name]
    ids = [name for name in lines(of("x_msd_id.txt")) if name]
    labels = np.load(of("y.npy"))
    if labels.shape != (len(names), len(tags)) or len(ids) != len(names):
        sys.exit(f"expected {len(names)} tracks of {len(tags)} labels, found {labels.shape} and {len(ids)} ids")

    artists = {}
    if options.artists:
        for line in lines(options.artists):
            fields = line.split(SEPARATOR)
            if len(fields) == 4:
                artists[fields[0]] = fields[2]
        print(f"{sum(name in artists for name in ids)} of {len(ids)} tracks have an artist", file=sys.stderr)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "msd_id"] + ["artist"] * bool(options.artists) + tags)
    for name, track, row in zip(names, ids, labels):
        path = os.path.splitext(name)[0] + options.extension
        writer.writerow([path, track] + [artists.get(track, "")] * bool(options.artists) + [int(x) for x in row])


main()
