#!/usr/bin/env python3
"""Makes truth.json and found.json from a seed, and figures.json from them.

    python3 make.py

It needs pycocotools (https://github.com/cocodataset/cocoapi), which computes
the figures; the tests need neither. The pictures are powers of two wide and
high and the boxes multiples of 1/8 pixel, so that fractions of the picture are
exact and so are the many overlaps that lie right on a threshold.
"""
import contextlib
import io
import json
import random

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

rng = random.Random(2021)
NAMES = ["car", "person", "bus", "dog", "unseen", "never-found"]
ids = [3, 1, 7, 11, 12, 20]  # neither dense nor in order
W, H = 512, 256


def eighths(v):
    return round(v * 8) / 8


def box():
    w, h = eighths(rng.uniform(4, 160)), eighths(rng.uniform(4, 120))
    return [eighths(rng.uniform(0, W - w)), eighths(rng.uniform(0, H - h)), w, h]


def near(b, much):
    def by(side):
        return eighths(rng.gauss(0, much) * side)
    x, y, w, h = b
    return [x + by(w), y + by(h), max(1, w + by(w)), max(1, h + by(h))]


images, annotations, found = [], [], []
for i in range(40):
    image = 1000 - 7 * i
    images.append({"id": image, "file_name": "%012d.jpg" % image, "width": W, "height": H})
    if i % 10 == 9:  # nothing in it, something found
        found += [{"image_id": image, "category_id": 3, "bbox": box(), "score": 0.5} for _ in range(3)]
        continue
    for k, category in enumerate(ids):
        if k == 4:
            continue  # found below, never there
        for _ in range(rng.choice([0, 0, 1, 2, 5])):
            b = box()
            crowd = rng.random() < 0.12
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": category,
                                "bbox": b, "area": b[2] * b[3], "iscrowd": int(crowd)})
            if k == 5:
                continue
            for _ in range(rng.choice([0, 1, 1, 1, 2]) + 3 * crowd):
                right = category if rng.random() < 0.9 else rng.choice(ids)
                b2 = b if rng.random() < 0.1 else near(b, rng.choice([0.03, 0.1, 0.3]))
                if rng.random() < 0.1:  # half of it: an IoU of exactly 0.5
                    b2 = [b[0], b[1], b[2] / 2, b[3]]
                found.append({"image_id": image, "category_id": right, "bbox": b2,
                              "score": round(rng.betavariate(4, 2), 2)})  # two digits: many are equal
        for _ in range(rng.choice([0, 0, 1, 3])):
            found.append({"image_id": image, "category_id": category if k != 5 else ids[4], "bbox": box(),
                          "score": round(rng.betavariate(2, 4), 2)})
# More than a hundred of one class in one picture.
for k in range(130):
    a = rng.choice([a for a in annotations if a["image_id"] == 1000])
    found.append({"image_id": 1000, "category_id": 1, "bbox": near(a["bbox"], 0.1), "score": round(rng.uniform(0, 1), 2)})

truth = {
    "info": {"description": "made by make.py"},
    "annotations": annotations,
    "images": images,
    "categories": [{"id": i, "name": n, "supercategory": "none"} for i, n in zip(ids, NAMES)],
}


def write(name, v):
    with open(name, "w") as f:
        json.dump(v, f, separators=(",", ":"))
        f.write("\n")


def lines(name, head, rows):
    """One row a line, so that a difference can be read."""
    with open(name, "w") as f:
        f.write(head + "[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]")
        f.write("}\n" if head else "\n")


rest = {k: v for k, v in truth.items() if k != "annotations"}
lines("truth.json", json.dumps(rest, separators=(",", ":"))[:-1] + ',"annotations":', annotations)
lines("found.json", "", found)

with contextlib.redirect_stdout(io.StringIO()):
    gt = COCO("truth.json")
    run = COCOeval(gt, gt.loadRes("found.json"), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
p = run.eval["precision"][:, :, :, 0, -1]  # IoU × recall × class, all areas, 100 detections
figures = {"map": run.stats[0], "ap50": run.stats[1], "classes": {}}
for k, category in enumerate(run.params.catIds):
    of = p[:, :, k]
    if (of > -1).all():
        figures["classes"][gt.cats[category]["name"]] = {"ap": of.mean(), "ap50": of[0].mean()}
with open("figures.json", "w") as f:
    json.dump(figures, f, indent=1, sort_keys=True)
    f.write("\n")
print(json.dumps(figures, indent=1))
