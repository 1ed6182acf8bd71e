"""What the network is to learn: YOLO's loss, with several positives an object."""

import math

import numpy as np
import torch
import torch.nn.functional as F

import darknet

SPREAD = 4  # an anchor may differ from an object's width and height by this factor


def ciou(centre, wh, centre2, wh2):
    """IoU and complete IoU of boxes, row by row."""
    low = torch.maximum(centre - wh / 2, centre2 - wh2 / 2)
    high = torch.minimum(centre + wh / 2, centre2 + wh2 / 2)
    both = (high - low).clamp(min=0).prod(-1)
    iou = both / (wh.prod(-1) + wh2.prod(-1) - both + 1e-9)
    hull = torch.maximum(centre + wh / 2, centre2 + wh2 / 2) - torch.minimum(centre - wh / 2, centre2 - wh2 / 2)
    far = ((centre - centre2) ** 2).sum(-1) / ((hull**2).sum(-1) + 1e-9)
    v = 4 / math.pi**2 * (torch.atan(wh2[..., 0] / wh2[..., 1]) - torch.atan(wh[..., 0] / wh[..., 1])) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v + 1e-9)
    return iou, iou - far - alpha * v


def assign(truths, head, size):
    """Which cells are to find which object: (picture, anchor, row, column),
    class and box in pixels of each; and the objectness that counts, 0 where an
    object is that is to be ignored."""
    cells = size // head.stride
    counts = torch.ones(truths.pictures, len(head.anchors), cells, cells)
    for b, _, x, y, w, h, _ in truths.ignored:
        first = [max(math.floor((c - e / 2) * cells - 0.5), 0) for c, e in ((x, w), (y, h))]
        last = [math.ceil((c + e / 2) * cells + 0.5) for c, e in ((x, w), (y, h))]
        counts[int(b), :, first[1] : last[1], first[0] : last[0]] = 0
    box = truths.rows[:, 2:6] * size
    ratio = box[:, None, 2:] / head.anchors
    which, anchor = (torch.maximum(ratio, 1 / ratio).amax(-1) < SPREAD).nonzero(as_tuple=True)
    # The cell with the centre, taken last, and the two that are nearest to it.
    at = box[which, :2] * (cells / size)
    side = torch.where(at % 1 < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(side[:, 0])
    beside = torch.stack((side[:, 0], zero), 1), torch.stack((zero, side[:, 1]), 1), torch.zeros_like(side)
    cell = torch.cat([at + off for off in beside]).floor().long()
    which, anchor = which.repeat(3), anchor.repeat(3)
    ok = ((cell >= 0) & (cell < cells)).all(-1)
    which, anchor, cell = which[ok], anchor[ok], cell[ok]
    where = torch.stack((truths.rows[which, 0].long(), anchor, cell[:, 1], cell[:, 0]))
    # Of those that want the same cell, the last.
    flat = ((where[0] * len(head.anchors) + where[1]) * cells + where[2]) * cells + where[3]
    flat, number = flat.numpy(), np.arange(len(which))
    owner = np.empty(counts.numel(), int)
    owner[flat] = number
    keep = torch.from_numpy(owner[flat] == number)
    which = which[keep]
    where = where[:, keep].unbind(0)
    counts[where] = 1
    return where, truths.rows[which, 1].long(), box[which], counts


class Truths:
    """The truths of a batch: rows of picture, class, centre, width, height in
    fractions, and whether to ignore. Those that count have the largest first, so
    that of two the smaller takes a cell."""

    def __init__(self, each):
        self.pictures = len(each)
        rows = np.concatenate([np.column_stack((np.full(len(t), b), t)) for b, t in enumerate(each)])
        self.ignored = rows[rows[:, 6] != 0].tolist()
        rows = rows[rows[:, 6] == 0]
        order = np.argsort(-rows[:, 4] * rows[:, 5], kind="stable")
        self.rows = torch.from_numpy(rows[order]).float()


def targets(truths, heads, size):
    """What each head is to find in a batch of these truths."""
    truths = Truths(truths)
    return [assign(truths, head, size) for head in heads]


def loss(raws, heads, wanted, size):
    """The loss of a batch, and its parts: boxes, objectness, classes."""
    box = obj = cls = 0.0
    positives = 0
    for raw, head, (where, label, want, counts) in zip(raws, heads, wanted):
        where = tuple(where)
        target = torch.zeros_like(raw[..., 4])
        if len(label):
            centre, wh = darknet.decode(raw, head, size)
            iou, full = ciou(centre[where], wh[where], want[:, :2], want[:, 2:])
            box = box + (1 - full).sum()
            target[where] = iou.detach()
            cls = cls + F.binary_cross_entropy_with_logits(
                raw[where][:, 5:], F.one_hot(label, head.classes).float(), reduction="sum"
            )
            positives += len(label)
        obj = obj + F.binary_cross_entropy_with_logits(raw[..., 4], target, counts, reduction="sum")
    n = max(positives, 16 * len(raws[0]))
    parts = [5 * box / n, obj / n, cls / n]
    return sum(parts), [torch.as_tensor(p).detach() for p in parts]
