"""MusicTaggerCRNN's layout with any number of maps, in PyTorch, and its way into tagwave's weight file.

Batch norm is folded into the convolutions, and a block pools before its ELU, which changes nothing since ELU is
monotonic; `tensors` writes the published order, with the true mean and deviation of what each batch norm sees.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from spectrogram import CLIP_FRAMES, PAD_FRAMES

POOLS = [2, 3, 4, 4]
FRAMES = CLIP_FRAMES + 2 * PAD_FRAMES
# What tagwave adds to a deviation, `--compat corrected`.
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


class Crnn(nn.Module):
    def __init__(self, maps, units, labels=50):
        super().__init__()
        # Of each frame of the standardised and padded spectrogram: its batch norm, as one scale and one shift.
        self.frame_scale = nn.Parameter(torch.ones(FRAMES))
        self.frame_shift = nn.Parameter(torch.zeros(FRAMES))
        channels = [1, *maps[:-1]]
        self.convs = nn.ModuleList(nn.Conv2d(c, m, 3, padding=1) for c, m in zip(channels, maps))
        self.gru1, self.gru2 = Gru(maps[-1], units), Gru(units, units)
        self.output = nn.Linear(units, labels)

    def block(self, i, x):
        """[N, C, F, T] through the pooled convolution, before its ELU."""
        return F.max_pool2d(self.convs[i](x.contiguous(memory_format=torch.channels_last)), POOLS[i])

    def bn0(self, x):
        return x * self.frame_scale + self.frame_shift

    def sequence(self, x):
        """[N, 1, 96, 1440] standardised and padded spectrograms to [N, 15, C]."""
        x = self.bn0(x)
        for i in range(len(self.convs)):
            x = F.elu(self.block(i, x), inplace=True)
        return x.squeeze(2).transpose(1, 2)

    def head(self, sequence, dropout=0.0):
        """[N, 15, C] to logits [N, 50]; `dropout` is what learning leaves out of each GRU's input."""
        x = self.gru1(F.dropout(sequence, dropout))
        return self.output(self.gru2(F.dropout(x, dropout))[:, -1])

    def forward(self, x):
        return self.head(self.sequence(x))

    @staticmethod
    @torch.no_grad()
    def published(path):
        """The original's network, `--compat corrected`, from its Theano file."""
        import h5py

        with h5py.File(path) as file:
            arrays = {}
            file.visititems(lambda name, item: arrays.update({name.split("/")[-1]: torch.tensor(item[()])})
                            if isinstance(item, h5py.Dataset) else None)
        gru = {n: [arrays[f"{n}_{kind}_{gate}"] for gate in "zrh" for kind in "WUb"] for n in ("gru1", "gru2")}
        maps = [len(arrays[f"conv{i}_b"]) for i in range(1, 5)]
        crnn = Crnn(maps, len(gru["gru1"][2]))

        def folded(norm):
            scale = arrays[f"{norm}_gamma"] / (arrays[f"{norm}_running_std"] + EPSILON)
            return scale, arrays[f"{norm}_beta"] - scale * arrays[f"{norm}_running_mean"]

        scale, shift = folded("bn_0_freq")
        crnn.frame_scale.copy_(scale)
        crnn.frame_shift.copy_(shift)
        for i, conv in enumerate(crnn.convs, 1):
            scale, shift = folded(f"bn{i}")
            # Theano convolves, PyTorch correlates.
            conv.weight.copy_(arrays[f"conv{i}_W"].flip(2, 3) * scale[:, None, None, None])
            conv.bias.copy_(arrays[f"conv{i}_b"] * scale + shift)
        for name, layer in (("gru1", crnn.gru1), ("gru2", crnn.gru2)):
            layer.input.weight.copy_(torch.cat(gru[name][0::3], 1).T)
            layer.recurrent.copy_(torch.cat(gru[name][1::3], 1))
            layer.input.bias.copy_(torch.cat(gru[name][2::3]))
        crnn.output.weight.copy_(next(v for k, v in arrays.items() if v.ndim == 2 and v.shape[1] == 50).T)
        crnn.output.bias.copy_(next(v for v in arrays.values() if v.shape == (50,)))
        return crnn.eval()

    @torch.no_grad()
    def tensors(self, batches):
        """Named arrays as tagwave's `small` reads them; statistics are those of `batches` of spectrograms."""
        frames, sums = [0, 0.0, 0.0], [[0, 0.0, 0.0] for _ in self.convs]

        def gather(total, x, axes):
            total[0] += x.numel() // x.mean(axes).numel()
            total[1] = total[1] + x.double().sum(axes)
            total[2] = total[2] + x.double().square().sum(axes)

        for x in batches:
            gather(frames, x, (0, 1, 2))
            x = self.bn0(x)
            for i, (total, conv) in enumerate(zip(sums, self.convs)):
                x = F.conv2d(x.contiguous(memory_format=torch.channels_last), conv.weight, padding=1)
                gather(total, x, (0, 2, 3))
                x = F.elu(F.max_pool2d(x + conv.bias[:, None, None], POOLS[i]))
        out = {}

        def norm(name, total, scale, shift):
            """What the scale and shift are as a batch norm over what it really sees."""
            count, mean, squares = total[0], total[1] / total[0], total[2] / total[0]
            deviation = (squares - mean.square()).clamp(min=0).sqrt()
            # A constant, as in the padding, has no deviation; any number does.
            deviation = torch.where(deviation < 1e-3, 1.0, deviation)
            out[f"{name}.gamma"] = scale * (deviation + EPSILON)
            out[f"{name}.beta"] = shift + scale * mean
            out[f"{name}.mean"] = mean
            out[f"{name}.deviation"] = deviation

        norm("bn0", frames, self.frame_scale, self.frame_shift)
        for i, (total, conv) in enumerate(zip(sums, self.convs), 1):
            out[f"conv{i}.kernel"] = conv.weight
            out[f"conv{i}.bias"] = torch.zeros(conv.out_channels)
            norm(f"bn{i}", total, 1.0, conv.bias)
        for name, gru in (("gru1", self.gru1), ("gru2", self.gru2)):
            for gate, w, b, u in zip("zrh", gru.input.weight.chunk(3), gru.input.bias.chunk(3), gru.recurrent.chunk(3, 1)):
                out[f"{name}.input_{gate}"] = w.T
                out[f"{name}.bias_{gate}"] = b
                out[f"{name}.recurrent_{gate}"] = u
        out["output.weight"] = self.output.weight.T
        out["output.bias"] = self.output.bias
        return {name: np.ascontiguousarray(value.detach().numpy().astype(np.float16)) for name, value in out.items()}
