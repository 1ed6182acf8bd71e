"""Scenes of known truth, drawn by models/street/dataset and kept in files."""

import os
import subprocess

import numpy as np

MAGIC = b"WEFTSTR1"


def draw(tool, path, first, last, size):
    """Has the scenes of the seeds drawn, unless the file is there already."""
    if os.path.exists(path):
        return
    part = path + ".part"
    with open(part, "wb") as f:
        subprocess.run([tool, "-seeds", f"{first}-{last}", "-size", str(size)], stdout=f, check=True)
    os.rename(part, path)


def open_scenes(path):
    """The records of a file: fields n, objects (class, x, y, width, height in
    fractions with x, y upper left; visible; ignore) and rgb."""
    with open(path, "rb") as f:
        head = f.read(32)
    w, h, n, _, room = np.frombuffer(head, "<u4")[2:7]
    if head[:8] != MAGIC:
        raise ValueError(path + " holds no scenes")
    record = np.dtype(
        [("seed", "<u8"), ("frame", "<u4"), ("n", "<u4"), ("objects", "<f4", (room, 7)), ("rgb", "u1", (h, w, 3))]
    )
    return np.memmap(path, record, "r", offset=32, shape=(n,))


def truth(record):
    """An object a row: class, centre x, centre y, width, height, ignore."""
    o = np.array(record["objects"][: record["n"]])
    return np.column_stack((o[:, 0], o[:, 1] + o[:, 3] / 2, o[:, 2] + o[:, 4] / 2, o[:, 3], o[:, 4], o[:, 6]))


class Pool:
    """The training scenes of one size, in an order that its seed decides."""

    def __init__(self, paths, seed):
        self.files = [open_scenes(p) for p in paths]
        self.size = self.files[0]["rgb"].shape[1]
        self.index = [(f, i) for f in self.files for i in range(len(f))]
        self.seed = seed

    def batch(self, k, n):
        """The k-th batch: pictures (n, size, size, 3), half of them mirrored; a
        brightness and tint for each (n, 3); their truths."""
        pictures, gains, truths = [], [], []
        for j in range(k * n, (k + 1) * n):
            epoch, at = divmod(j, len(self.index))
            order = np.random.default_rng([self.seed, self.size, epoch]).permutation(len(self.index))
            f, i = self.index[order[at]]
            dice = np.random.default_rng([self.seed, self.size, j])
            rgb, t = f[i]["rgb"], truth(f[i])
            if dice.random() < 0.5:
                rgb = rgb[:, ::-1]
                t[:, 1] = 1 - t[:, 1]
            pictures.append(rgb)
            gains.append(dice.uniform(0.85, 1.15) * dice.uniform(0.95, 1.05, 3))
            truths.append(t)
        return np.stack(pictures), np.array(gains, "f4"), truths
