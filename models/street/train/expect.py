#!/usr/bin/python3
"""Writes what PyTorch finds on a few scenes, for a Go test to compare with what
OpenCV finds: expect.py CFG WEIGHTS FILE.json"""

import json
import os
import sys
import tempfile

import numpy as np
import torch

import darknet
import scenes
import score

LEAST, NMS = 0.1, 0.45
SCENES = ((1, 320), (1, 512), (7, 608))  # seed and size


def main(cfg, weights, out):
    with open(cfg) as f:
        net = darknet.Net(f.read())
    net.load(weights)
    net.eval()
    tool = os.environ.get("STREET_DATASET", "bin/street-dataset")
    expected = []
    with tempfile.TemporaryDirectory() as tmp, torch.no_grad():
        for seed, size in SCENES:
            path = os.path.join(tmp, f"{seed}-{size}")
            scenes.draw(tool, path, seed, seed, size)
            rgb = np.array(scenes.open_scenes(path)["rgb"])
            x = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
            rows = darknet.detections(net(x), net.heads, size)[0].numpy()
            found = [
                {"class": int(c), "score": round(float(s), 5), "box": [round(float(v), 6) for v in b]}
                for c, s, *b in score.pick(rows, size, LEAST, NMS)
            ]
            expected.append({"seed": seed, "resolution": size, "confidence": LEAST, "nms": NMS, "found": found})
    with open(out, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(e) for e in expected) + "\n]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
