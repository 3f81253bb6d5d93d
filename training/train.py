"""Trains the student on the teacher's scores.

    python train.py CORPUS OUT --weights FOLDER [--steps N]

Reads CORPUS/shards and CORPUS/tracks.tsv, writes OUT/student.pt and prints one JSON object every few steps.
A run is repeatable: the seed, the shards and the number of threads decide everything. A checkpoint is written
every few minutes, and the same command goes on from it.
"""

import argparse
import csv
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import teacher
from spectrogram import CLIP_FRAMES, PAD_FRAMES
from student import Student

MAPS, UNITS = [16, 40, 112, 144], 48


class Clips:
    """Clips of spectrograms with the teacher's scores; shards may be added while it is in use."""

    def __init__(self, corpus, split, weights):
        with open(corpus / "tracks.tsv", newline="") as file:
            self.splits = {row["id"]: row["split"] for row in csv.DictReader(file, delimiter="\t")}
        self.folder, self.split, self.weights = corpus / "shards", split, weights
        self.mels, self.rows, self.seen = [], [], set()

    def scan(self, names="*"):
        for path in sorted(self.folder.glob(f"{names}.npz")):
            if path in self.seen:
                continue
            self.seen.add(path)
            shard = np.load(path)
            target = teacher.scores(self.weights, shard["crnn"], shard["cnn"])
            logits = teacher.logits(self.weights, shard["crnn"], shard["cnn"])
            # A version of a track is named <id>+<k>; a mix of two <id>+<k>&<id>.
            wanted = [i for i, track in enumerate(shard["track"])
                      if all(self.splits[part.split("+")[0]] == self.split for part in str(track).split("&"))]
            if wanted:
                self.mels.append(shard["mel"])
                place = len(self.mels) - 1
                self.rows += [(place, int(shard["start"][i]), target[i], logits[i], str(shard["track"][i])) for i in wanted]
        return self

    def __len__(self):
        return len(self.rows)

    def batch(self, indices):
        """Standardised, padded spectrograms [N, 1, 96, 1440], scores [N, 50], teachers' logits [N, 100]."""
        x = torch.stack([torch.from_numpy(self.mels[m][s:s + CLIP_FRAMES]) for m, s, *_ in (self.rows[i] for i in indices)])
        x = x.float().transpose(1, 2)
        x = torch.maximum(x, x.amax((1, 2), keepdim=True) - 80)
        x = x - x.mean((1, 2), keepdim=True)
        x = x / (x.square().mean((1, 2), keepdim=True).sqrt() + 1e-8)
        x = F.pad(x, (PAD_FRAMES, PAD_FRAMES)).unsqueeze(1)
        scores = torch.from_numpy(np.stack([self.rows[i][2] for i in indices]))
        logits = torch.from_numpy(np.stack([self.rows[i][3] for i in indices])).float()
        return x, scores, logits


def agreement(student_scores, teacher_scores):
    """Mean absolute difference, share of clips with the same first tag, mean number of common tags of the top 5."""
    top = [np.argsort(-scores, axis=1, kind="stable")[:, :5] for scores in (student_scores, teacher_scores)]
    common = np.mean([len(set(a) & set(b)) for a, b in zip(*top)])
    return {"mad": float(np.abs(student_scores - teacher_scores).mean()),
            "first": float((top[0][:, 0] == top[1][:, 0]).mean()), "top5": float(common)}


@torch.no_grad()
def evaluate(student, clips, limit=None):
    student.eval()
    indices = np.linspace(0, len(clips) - 1, min(limit or len(clips), len(clips))).astype(int)
    ours, theirs = [], []
    for part in np.array_split(indices, max(1, len(indices) // 16)):
        x, scores, _ = clips.batch(part)
        ours.append(torch.sigmoid(student(x)[0]).numpy())
        theirs.append(scores.numpy())
    student.train()
    return agreement(np.concatenate(ours), np.concatenate(theirs))


def frame_statistics(student, clips, rng):
    """Mean and deviation per frame over 512 clips; the padding is left alone."""
    x = torch.cat([clips.batch(rng.choice(len(clips), 32))[0] for _ in range(16)])[:, 0, :, PAD_FRAMES:-PAD_FRAMES]
    student.frame_mean[PAD_FRAMES:-PAD_FRAMES] = x.mean((0, 1))
    student.frame_deviation[PAD_FRAMES:-PAD_FRAMES] = x.std((0, 1))


def averaged(student, mean, clips, rng, batches=40):
    """A copy with the averaged weights `mean`, its batch norms' statistics measured anew."""
    copy = Student(MAPS, UNITS)
    copy.load_state_dict(student.state_dict())
    for value, of in zip(copy.parameters(), mean):
        value.data.copy_(of)
    for norm in copy.norms:
        norm.reset_running_stats()
        norm.momentum = None
    copy.train()
    with torch.no_grad():
        for _ in range(batches):
            copy(clips.batch(rng.choice(len(clips), 16))[0])
    return copy.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    clips = Clips(args.corpus, "training", args.weights).scan()
    held = Clips(args.corpus, "validation", args.weights).scan("original-*")
    print(json.dumps({"training": len(clips), "validation": len(held)}), flush=True)

    student = Student(MAPS, UNITS)
    frame_statistics(student, clips, np.random.default_rng(args.seed))
    print(json.dumps({"parameters": sum(v.numel() for n, v in student.named_parameters() if not n.startswith("teachers"))}))
    optimiser = torch.optim.AdamW(student.parameters(), lr=args.rate, weight_decay=1e-3)

    def rate(step):
        """A tenth of the run rises to the largest rate, a cosine falls to nothing over the rest."""
        at = step / args.steps
        return at / 0.1 if at < 0.1 else 0.5 + 0.5 * math.cos(math.pi * (at - 0.1) / 0.9)

    mean = [value.detach().clone() for value in student.parameters()]
    first, checkpoint = 0, args.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        student.load_state_dict(state["student"])
        optimiser.load_state_dict(state["optimiser"])
        mean, first = state["mean"], state["step"]
    started, order = time.time(), []
    losses = []
    student.train()
    for step in range(first, args.steps):
        rng = np.random.default_rng([args.seed, step])
        if len(order) < args.batch:
            clips.scan()
            order = list(rng.permutation(len(clips)))
        x, scores, logits = clips.batch([order.pop() for _ in range(args.batch)])
        ours, teachers = student(x)
        bce = F.binary_cross_entropy_with_logits(ours, scores) - F.binary_cross_entropy(scores, scores)
        l1 = (torch.sigmoid(ours) - scores).abs().mean()
        aux = F.smooth_l1_loss(teachers, logits)
        loss = bce + l1 + 0.05 * (1 - step / args.steps) * aux
        for group in optimiser.param_groups:
            group["lr"] = args.rate * rate(step + 1) + 1e-6
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        student.keep_scales_positive()
        decay = min(0.998, (step + 1) / (step + 10))
        for value, of in zip(mean, student.parameters()):
            value.lerp_(of.detach(), 1 - decay)
        losses.append((bce.item(), l1.item(), aux.item()))
        if (step + 1) % 100 == 0:
            bce, l1, aux = np.mean(losses[-100:], axis=0)
            print(json.dumps({"step": step + 1, "bce": round(bce, 5), "mad": round(l1, 5), "aux": round(aux, 4),
                              "clips": len(clips), "clips_per_s": round((step + 1 - first) * args.batch / (time.time() - started), 2)}),
                  flush=True)
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            last = step + 1 == args.steps
            copy = averaged(student, mean, clips, np.random.default_rng([args.seed, 0, step]), 160 if last else 25)
            print(json.dumps({"step": step + 1, "validation": evaluate(copy, held, None if last else 256)}), flush=True)
            part = args.out / "checkpoint.part"
            torch.save({"student": student.state_dict(), "optimiser": optimiser.state_dict(),
                        "mean": mean, "step": step + 1}, part)
            part.rename(checkpoint)
            torch.save(copy.state_dict(), args.out / "student.pt")


if __name__ == "__main__":
    main()
