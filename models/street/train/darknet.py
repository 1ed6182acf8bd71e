"""Darknet's configs and weights in PyTorch: what OpenCV makes of them."""

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F


def parse(text):
    """The sections of a .cfg as (kind, {key: value})."""
    sections = []
    for line in text.splitlines():
        line = line.split("#")[0].replace(" ", "")
        if line.startswith("["):
            sections.append((line.strip("[]"), {}))
        elif line:
            key, value = line.split("=")
            sections[-1][1][key] = value
    return sections


def numbers(text):
    return [int(v) for v in text.split(",")]


class Head:
    """A [yolo] layer: its anchors in pixels of the input, how many of them a cell
    has on a side (stride), and how far a cell reaches."""

    def __init__(self, options, stride):
        anchors = torch.tensor(numbers(options["anchors"]), dtype=torch.float32).view(-1, 2)
        self.anchors = anchors[numbers(options["mask"])]
        self.classes = int(options["classes"])
        self.stride = stride
        self.reach = float(options.get("scale_x_y", 1))


class Net(nn.Module):
    """The network of a config. It returns, for each [yolo] layer, a tensor
    (pictures, anchors, height, width, 5 + classes) that is not yet decoded."""

    def __init__(self, text):
        super().__init__()
        self.steps, self.heads, self.convs = [], [], nn.ModuleList()
        (_, net), *layers = parse(text)
        channels, before = [], int(net["channels"])
        strides, stride = [], 1
        for i, (kind, o) in enumerate(layers):
            get = lambda key, otherwise=0: int(o.get(key, otherwise))
            if kind == "convolutional":
                size, norm = get("size"), get("batch_normalize")
                conv = nn.Conv2d(before, get("filters"), size, get("stride", 1), size // 2, bias=not norm)
                parts = [conv]
                if norm:
                    parts.append(nn.BatchNorm2d(conv.out_channels, eps=1e-6, momentum=0.03))
                if o["activation"] == "leaky":
                    parts.append(nn.LeakyReLU(0.1, inplace=True))
                elif o["activation"] != "linear":
                    raise ValueError("activation " + o["activation"])
                self.convs.append(nn.Sequential(*parts))
                self.steps.append(("conv", len(self.convs) - 1))
                before = conv.out_channels
                stride *= get("stride", 1)
            elif kind == "route":
                of = [n if n >= 0 else i + n for n in numbers(o["layers"])]
                groups, part = get("groups", 1), get("group_id")
                before = sum(channels[n] for n in of) // groups
                stride = strides[of[0]]
                self.steps.append(("route", (of, part * before, before)))
            elif kind == "maxpool" and get("size") == get("stride"):
                self.steps.append(("maxpool", get("size")))
                stride *= get("stride")
            elif kind == "upsample":
                self.steps.append(("upsample", get("stride")))
                stride //= get("stride")
            elif kind == "yolo":
                self.heads.append(Head(o, stride))
                self.steps.append(("yolo", self.heads[-1]))
            else:
                raise ValueError(f"layer {i}: [{kind}] {o}")
            channels.append(before)
            strides.append(stride)

    def forward(self, x):
        outs, heads = [], []
        for kind, o in self.steps:
            if kind == "conv":
                x = self.convs[o](x)
            elif kind == "route":
                of, first, n = o
                x = outs[of[0]] if len(of) == 1 else torch.cat([outs[k] for k in of], 1)
                x = x[:, first : first + n]
            elif kind == "maxpool":
                x = F.max_pool2d(x, o)
            elif kind == "upsample":
                x = F.interpolate(x, scale_factor=o, mode="nearest")
            else:
                b, _, h, w = x.shape
                heads.append(x.view(b, len(o.anchors), 5 + o.classes, h, w).permute(0, 1, 3, 4, 2).contiguous())
            outs.append(x)
        return heads

    def start(self):
        """Sets the biases so that an untrained net finds next to nothing."""
        for seq in self.convs:
            if len(seq) == 1:
                each = 5 + self.heads[0].classes
                bias = seq[0].bias.data.view(-1, each)
                nn.init.normal_(seq[0].weight, std=0.01)
                bias[:] = 0
                bias[:, 4] = -4.5
                bias[:, 5:] = -1.5

    def tensors(self):
        """The weights in the order of a weights file."""
        for seq in self.convs:
            if len(seq) > 1:
                norm = seq[1]
                yield from (norm.bias, norm.weight, norm.running_mean, norm.running_var)
            else:
                yield seq[0].bias
            yield seq[0].weight

    def save(self, path, seen):
        """Writes a weights file: version 0.2.5, the number of pictures seen, the weights."""
        with open(path, "wb") as f:
            f.write(np.array([0, 2, 5], "<i4").tobytes() + np.array([seen], "<u8").tobytes())
            for t in self.tensors():
                f.write(t.detach().cpu().contiguous().numpy().astype("<f4").tobytes())

    def load(self, path):
        data, at = np.fromfile(path, "<f4", offset=20), 0
        for t in self.tensors():
            t.data.copy_(torch.from_numpy(data[at : at + t.numel()]).view(t.shape))
            at += t.numel()
        if at != len(data):
            raise ValueError(f"{path}: {len(data)} weights, the config has {at}")


def decode(raw, head, size):
    """Centres and sizes in pixels of a square input, as OpenCV decodes them."""
    h, w = raw.shape[2:4]
    across, down = (torch.arange(n, device=raw.device) for n in (w, h))
    y, x = torch.meshgrid(down, across, indexing="ij")
    grid = torch.stack((x, y), -1).float()
    centre = (raw[..., :2].sigmoid() * head.reach - (head.reach - 1) / 2 + grid) * (size / w)
    return centre, raw[..., 2:4].exp() * head.anchors.to(raw.device).view(1, -1, 1, 1, 2)


def detections(raws, heads, size):
    """(pictures, boxes, 5 + classes): centre and size in pixels, objectness, scores."""
    rows = []
    for raw, head in zip(raws, heads):
        centre, wh = decode(raw, head, size)
        obj = raw[..., 4:5].sigmoid()
        row = torch.cat((centre, wh, obj, obj * raw[..., 5:].sigmoid()), -1)
        rows.append(row.flatten(1, 3))
    return torch.cat(rows, 1)
