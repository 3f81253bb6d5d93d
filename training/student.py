"""The student: MusicTaggerCRNN's layout with fewer maps, in PyTorch, and its way into tagwave's weight file.

Each block pools before it normalises, which is the same network as normalising first as long as no scale is
negative (they are kept positive), at a quarter of the work; `tensors` writes it in the published order, with
the true mean and deviation of what each batch norm sees.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from spectrogram import CLIP_FRAMES, PAD_FRAMES

POOLS = [2, 3, 4, 4]
# What tagwave adds to a deviation, `restored`.
EPSILON = 1e-6


class Gru(nn.Module):
    """Keras 1's GRU: gates by hard sigmoid, the reset gate before the recurrent product."""

    def __init__(self, inputs, units):
        super().__init__()
        self.units = units
        self.input = nn.Linear(inputs, 3 * units)
        self.recurrent = nn.Parameter(torch.cat([nn.init.orthogonal_(torch.empty(units, units)) for _ in range(3)], 1))
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.zeros_(self.input.bias)

    def forward(self, x):
        """[N, T, C] to all states [N, T, units]."""
        xs, u = self.input(x), self.units
        h = x.new_zeros(x.shape[0], u)
        states = []
        for t in range(x.shape[1]):
            xz, xr, xh = xs[:, t].split(u, 1)
            hz, hr = (h @ self.recurrent[:, : 2 * u]).split(u, 1)
            z = torch.clamp(0.2 * (xz + hz) + 0.5, 0, 1)
            r = torch.clamp(0.2 * (xr + hr) + 0.5, 0, 1)
            candidate = torch.tanh(xh + (r * h) @ self.recurrent[:, 2 * u :])
            h = z * h + (1 - z) * candidate
            states.append(h)
        return torch.stack(states, 1)


class Student(nn.Module):
    def __init__(self, maps, units, labels=50):
        super().__init__()
        channels = [1, *maps[:-1]]
        self.convs = nn.ModuleList(nn.Conv2d(c, m, 3, padding=1, bias=False) for c, m in zip(channels, maps))
        self.norms = nn.ModuleList(nn.BatchNorm2d(m, momentum=0.02) for m in maps)
        self.gru1, self.gru2 = Gru(maps[-1], units), Gru(units, units)
        self.output = nn.Linear(units, labels)
        # Only while learning: each teacher's own logits, CRNN's and CNN's.
        self.teachers = nn.Linear(units, 2 * labels)
        # Mean and deviation of the standardised spectrogram, per frame; the padding has 0 and 1.
        self.register_buffer("frame_mean", torch.zeros(CLIP_FRAMES + 2 * PAD_FRAMES))
        self.register_buffer("frame_deviation", torch.ones(CLIP_FRAMES + 2 * PAD_FRAMES))

    def features(self, x):
        """[N, 1, 96, 1440] standardised and padded spectrograms to [N, units]."""
        x = (x - self.frame_mean) / (self.frame_deviation + EPSILON)
        x = x.contiguous(memory_format=torch.channels_last)
        for conv, norm, pool in zip(self.convs, self.norms, POOLS):
            x = F.elu(norm(F.max_pool2d(conv(x), pool)), inplace=True)
        return self.gru2(self.gru1(x.squeeze(2).transpose(1, 2)))[:, -1]

    def forward(self, x):
        """Logits [N, 50], and both teachers' logits [N, 100]."""
        features = self.features(x)
        return self.output(features), self.teachers(features)

    @torch.no_grad()
    def keep_scales_positive(self):
        for norm in self.norms:
            norm.weight.clamp_(min=1e-3)

    @torch.no_grad()
    def tensors(self, batches):
        """Named arrays as tagwave's `small` reads them; statistics are those of `batches` of spectrograms."""
        self.eval()
        sums = [[0, 0.0, 0.0] for _ in self.convs]
        for x in batches:
            x = (x - self.frame_mean) / (self.frame_deviation + EPSILON)
            for total, conv, norm, pool in zip(sums, self.convs, self.norms, POOLS):
                x = conv(x.contiguous(memory_format=torch.channels_last))
                total[0] += x.numel() // x.shape[1]
                total[1] = total[1] + x.double().sum((0, 2, 3))
                total[2] = total[2] + x.double().square().sum((0, 2, 3))
                x = F.elu(norm(F.max_pool2d(x, pool)))
        frames = len(self.frame_mean)
        out = {"bn0.gamma": torch.ones(frames), "bn0.beta": torch.zeros(frames),
               "bn0.mean": self.frame_mean, "bn0.deviation": self.frame_deviation}
        for i, (conv, norm, (count, total, squares)) in enumerate(zip(self.convs, self.norms, sums), 1):
            mean = total / count
            deviation = (squares / count - mean.square()).sqrt()
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            shift = norm.bias.double() - scale * norm.running_mean.double()
            out[f"conv{i}.kernel"] = conv.weight
            out[f"conv{i}.bias"] = torch.zeros(conv.out_channels)
            out[f"bn{i}.gamma"] = scale * (deviation + EPSILON)
            out[f"bn{i}.beta"] = shift + scale * mean
            out[f"bn{i}.mean"] = mean
            out[f"bn{i}.deviation"] = deviation
        for name, gru in (("gru1", self.gru1), ("gru2", self.gru2)):
            for gate, w, b, u in zip("zrh", gru.input.weight.chunk(3), gru.input.bias.chunk(3), gru.recurrent.chunk(3, 1)):
                out[f"{name}.input_{gate}"] = w.T
                out[f"{name}.bias_{gate}"] = b
                out[f"{name}.recurrent_{gate}"] = u
        out["output.weight"] = self.output.weight.T
        out["output.bias"] = self.output.bias
        return {name: np.ascontiguousarray(value.detach().numpy().astype(np.float16)) for name, value in out.items()}
