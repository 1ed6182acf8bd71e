"""Precision, recall and F1 on scenes, for the log: weftd eval has the last word."""

import numpy as np
import torch

import darknet
import scenes


def overlaps(a, b):
    """IoU of each of a with each of b, and intersection over the area of a."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clip(0).prod(-1)
    area = lambda x: (x[:, 2:] - x[:, :2]).prod(-1)
    return both / (area(a)[:, None] + area(b) - both + 1e-9), both / (area(a)[:, None] + 1e-9)


def corners(box):
    return np.concatenate((box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2), 1)


def thin(box, score, limit):
    """Non-maximum suppression; the boxes that stay, the surest first."""
    order, keep = np.argsort(-score, kind="stable"), []
    iou = overlaps(box, box)[0]
    while len(order):
        keep.append(order[0])
        order = order[1:][iou[order[0], order[1:]] <= limit]
    return keep


def pick(rows, size, least, nms):
    """The detections of a picture: class, score, box in fractions."""
    out = []
    scores = rows[:, 5:]
    box = corners(rows[:, :4]) / size
    for c in range(scores.shape[1]):
        sure = scores[:, c] > least
        b, s = box[sure].clip(0, 1), scores[sure, c]
        out += [(c, s[i], *b[i]) for i in thin(b, s, nms)]
    return np.array(sorted(out, key=lambda d: -d[1])).reshape(-1, 6)


def judge(found, t):
    """For each detection its score and 1 (right) or 0 (wrong); those that only
    fit an ignored object are left out. And the number of objects that count."""
    box, verdict = corners(t[:, 1:5]), []
    counts = t[:, 5] == 0
    free = counts.copy()
    for c, score, *b in found:
        iou, inside = (m[0] for m in overlaps(np.array([b]), box))
        same = t[:, 0] == c
        fit = np.where(same & free, iou, 0)
        if len(fit) and fit.max() >= 0.5:
            free[fit.argmax()] = False
            verdict.append((score, 1))
        elif not (same & ~counts & ((iou >= 0.5) | (inside >= 0.5))).any():
            verdict.append((score, 0))
    return verdict, counts.sum()


@torch.no_grad()
def evaluate(net, path, limit, nms=0.45, least=0.05, batch=4):
    """The verdicts on a file's scenes, sorted by falling score; the number of
    objects; and of the wrong ones those on scenes without objects."""
    net.eval()
    device = next(net.parameters()).device
    records = scenes.open_scenes(path)[:limit]
    size = records["rgb"].shape[1]
    verdicts, empty, objects, blank = [], [], 0, 0
    for i in range(0, len(records), batch):
        part = records[i : i + batch]
        x = torch.from_numpy(np.array(part["rgb"])).to(device).permute(0, 3, 1, 2).float() / 255
        rows = darknet.detections(net(x.contiguous(memory_format=torch.channels_last)), net.heads, size)
        for record, r in zip(part, rows.cpu().numpy()):
            t = scenes.truth(record)
            v, n = judge(pick(r, size, least, nms), t)
            verdicts += v
            objects += n
            if len(t) == 0:
                blank += 1
                empty += [s for s, _ in v]
    return np.array(sorted(verdicts, reverse=True)).reshape(-1, 2), objects, np.array(empty), blank


def f1(verdicts, objects, confidence):
    sure = verdicts[verdicts[:, 0] > confidence]
    right = sure[:, 1].sum()
    return 2 * right / max(len(sure) + objects, 1)
