"""Trains the student on what the teacher says of the training clips.

    python train.py CORPUS OUT --weights FOLDER

The convolutions come first, layer by layer: each is the least-squares solution for the responses of CRNN's own layer,
at the student's inputs, so that a layer makes up for what the one before it lost. Where the student has fewer maps, it
follows those that explain the others best. The GRUs and the dense layer then learn the teacher's scores by gradient
from a random start, the convolutions standing still. Reads CORPUS/shards and CORPUS/tracks.tsv, writes OUT/student.pt
and prints one JSON object a step. The seed, the clips and the number of threads decide everything.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from clips import Clips, agreement
from student import Crnn

MAPS, UNITS = [24, 56, 128, 128], 64
# Ridge of a least-squares fit, as a share of the mean square of an input.
RIDGE = 1e-4
BATCH, RATE, DECAY, DROPOUT = 64, 3e-3, 1e-2, 0.1


def representatives(covariance, count):
    """Indices of the `count` maps that explain most of all maps: Cholesky's pivots."""
    rest, chosen = covariance.clone(), []
    for _ in range(count):
        # The map whose removal takes most of the variance that is left.
        gain = rest.square().sum(0) / rest.diagonal().clamp(min=1e-9)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        rest = rest - torch.outer(rest[:, best], rest[best]) / rest[best, best]
    return sorted(chosen)


def entering(network, layer, x):
    """What enters the convolution `layer`."""
    x = network.bn0(x)
    for i in range(layer):
        x = F.elu(network.block(i, x))
    return x


def chosen_maps(crnn, layer, count, batches):
    """The maps of CRNN's `layer` that a student of `count` follows, each weighed by what the next layer does with it."""
    if count == crnn.convs[layer].out_channels:
        return list(range(count))
    weight = crnn.convs[layer + 1].weight.square().sum((0, 2, 3)).sqrt()
    rows = torch.cat([entering(crnn, layer + 1, x).transpose(0, 1).flatten(1)[:, ::17] for x in batches], 1)
    return representatives(torch.cov(rows * weight[:, None]), count)


def fit_frames(student, crnn, x):
    """The first batch norm, frame by frame."""
    ours, theirs = x[:, 0], crnn.bn0(x)[:, 0]
    mean, deviation = ours.mean((0, 1)), ours - ours.mean((0, 1))
    # The padding is constant: its scale says nothing.
    scale = (deviation * theirs).sum((0, 1)) / deviation.square().sum((0, 1)).clamp(min=1e-3)
    student.frame_scale.copy_(scale)
    student.frame_shift.copy_(theirs.mean((0, 1)) - scale * mean)


def fit_layer(student, crnn, layer, chosen, batches):
    """One convolution, by the normal equations."""
    conv, target = student.convs[layer], crnn.convs[layer]
    size, count = conv.in_channels * 9 + 1, 0
    gram, moment, squares = (torch.zeros(*shape, dtype=torch.double) for shape in ((size, size), (size, len(chosen)), (2, len(chosen))))
    for x in batches:
        responses = F.conv2d(entering(crnn, layer, x), target.weight[chosen], target.bias[chosen], padding=1)
        inputs = F.unfold(entering(student, layer, x).contiguous(), 3, padding=1)
        for clip, wanted in zip(inputs, responses.flatten(2)):
            clip = torch.cat([clip, torch.ones(1, clip.shape[1])])
            gram += clip @ clip.T
            moment += clip @ wanted.T
            squares += torch.stack([wanted.sum(1), wanted.square().sum(1)])
            count += clip.shape[1]
    # The bias, last, is not held back.
    ridge = torch.full((size,), float(RIDGE * gram.diagonal()[:-1].mean()), dtype=torch.double)
    ridge[-1] = 0
    solution = torch.linalg.solve(gram + torch.diag(ridge), moment)
    conv.weight.copy_(solution[:-1].T.reshape(conv.weight.shape))
    conv.bias.copy_(solution[-1])
    explained = 1 - (squares[1] - (solution * moment).sum(0)) / (squares[1] - squares[0].square() / count)
    print(json.dumps({"layer": f"conv{layer + 1}", "maps": len(chosen), "explained": round(float(explained.mean()), 4),
                      "least": round(float(explained.min()), 4)}), flush=True)


def sequences(student, clips):
    """What enters the GRUs, [clips, 15, C]."""
    parts = np.array_split(np.arange(len(clips)), max(1, len(clips) // 8))
    return torch.cat([student.sequence(clips.spectrograms(part)) for part in parts])


def loss_of(logits, scores):
    """Relative entropy of the scores, and their mean absolute difference: what is learnt is the sum."""
    entropy = F.binary_cross_entropy_with_logits(logits, scores) - F.binary_cross_entropy(scores, scores)
    return entropy, (torch.sigmoid(logits) - scores).abs().mean()


def fit_head(student, clips, held, epochs):
    """The GRUs and the dense layer; `clips` and `held` are sequences and scores."""
    (x, scores), (held_x, held_scores) = clips, held
    parameters = [*student.gru1.parameters(), *student.gru2.parameters(), *student.output.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * steps + 1, pct_start=0.1)
    for epoch in range(1, epochs + 1):
        differences = []
        for rows in torch.randperm(len(x)).split(BATCH)[:steps]:
            entropy, difference = loss_of(student.head(x[rows], DROPOUT), scores[rows])
            optimiser.zero_grad()
            (entropy + difference).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            differences.append(difference.item())
        if epoch % 10 == 0 or epoch == epochs:
            with torch.no_grad():
                ours = torch.sigmoid(student.head(held_x)).numpy()
            print(json.dumps({"epoch": epoch, "mad": float(np.mean(differences)),
                              "validation": agreement(ours, held_scores.numpy())}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--clips", type=int, default=128, help="that the convolutions are fitted on")
    parser.add_argument("--epochs", type=int, default=60, help="of the GRUs and the dense layer, on all clips")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    clips, held = (Clips(args.corpus, split, args.weights) for split in ("training", "validation"))
    crnn = Crnn.published(args.weights / "music_tagger_crnn_weights_theano.h5")
    student = Crnn(MAPS, UNITS)
    print(json.dumps({"training": len(clips), "validation": len(held)}), flush=True)
    with torch.no_grad():
        indices = np.random.default_rng(args.seed).choice(len(clips), args.clips, replace=False)
        batches = [clips.spectrograms(part) for part in np.array_split(indices, args.clips // 4)]
        fit_frames(student, crnn, torch.cat(batches))
        for layer, maps in enumerate(MAPS):
            fit_layer(student, crnn, layer, chosen_maps(crnn, layer, maps, batches[::4]), batches)
        began = time.time()
        stored = [(sequences(student, part), part.scores) for part in (clips, held)]
        print(json.dumps({"sequences": len(clips) + len(held), "seconds": round(time.time() - began)}), flush=True)
    fit_head(student, *stored, args.epochs)
    torch.save(student.state_dict(), args.out / "student.pt")


if __name__ == "__main__":
    main()
