"""The clips that teacher.py stored, and how far two sets of scores agree."""

import csv

import numpy as np
import torch
import torch.nn.functional as F

import teacher
from spectrogram import CLIP_FRAMES, PAD_FRAMES


class Clips:
    """All clips of one split with the teacher's scores, ordered by track and time: how they lie in shards is no matter."""

    def __init__(self, corpus, split, weights):
        with open(corpus / "tracks.tsv", newline="") as file:
            wanted = {row["id"] for row in csv.DictReader(file, delimiter="\t") if row["split"] == split}
        self.mels, rows = [], []
        for path in sorted((corpus / "shards").glob("*.npz")):
            shard = np.load(path)
            scores = teacher.scores(weights, shard["crnn"], shard["cnn"])
            rows += [(str(track), int(start), len(self.mels), scores[i])
                     for i, (track, start) in enumerate(zip(shard["track"], shard["start"])) if str(track) in wanted]
            self.mels.append(shard["mel"])
        rows.sort(key=lambda row: row[:2])
        self.places = [(place, start) for _, start, place, _ in rows]
        self.scores = torch.from_numpy(np.stack([scores for *_, scores in rows]))

    def __len__(self):
        return len(self.places)

    def spectrograms(self, indices):
        """Standardised and padded, [N, 1, 96, 1440]."""
        places = (self.places[i] for i in indices)
        x = torch.stack([torch.from_numpy(self.mels[place][start:start + CLIP_FRAMES]) for place, start in places])
        x = x.float().transpose(1, 2)
        x = torch.maximum(x, x.amax((1, 2), keepdim=True) - 80)
        x = x - x.mean((1, 2), keepdim=True)
        x = x / (x.square().mean((1, 2), keepdim=True).sqrt() + 1e-8)
        return F.pad(x, (PAD_FRAMES, PAD_FRAMES)).unsqueeze(1)


def agreement(student_scores, teacher_scores):
    """Mean absolute difference, share of clips with the same first tag, mean number of common tags of the top 5."""
    top = [np.argsort(-scores, axis=1, kind="stable")[:, :5] for scores in (student_scores, teacher_scores)]
    common = np.mean([len(set(a) & set(b)) for a, b in zip(*top)])
    return {"mad": float(np.abs(student_scores - teacher_scores).mean()),
            "first": float((top[0][:, 0] == top[1][:, 0]).mean()), "top5": float(common)}
