#!/usr/bin/python3
"""Trains the default detector on drawn street scenes.

    make train-street            # draws the scenes, trains, writes out/street
    train.py --resume            # goes on where it was cut off

What is learnt is decided by --seed, --pictures, --batch and the versions of
PyTorch and the scenes (and by --device and --threads in the last digits, as
sums of floats depend on their order).
"""

import argparse
import concurrent.futures
import copy
import csv
import math
import os
import sys
import time

import numpy as np
import torch

import darknet
import loss
import scenes
import score

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = [512, 416, 608, 320]  # by turns; those that the detector serves
CHUNK = 500  # scenes a file
TRAIN_FROM, VALID_FROM = 1_000_000, 500_000  # seeds; below 500,000 nothing is learnt or chosen from


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cfg", default=os.path.join(HERE, "..", "detector", "street.cfg"))
    p.add_argument("--scenes", default="out/street/scenes", help="where the drawn scenes are kept")
    p.add_argument("--tool", default="bin/street-dataset", help="models/street/dataset, built")
    p.add_argument("--out", default="out/street")
    p.add_argument("--chunks", type=int, default=32, help=f"files of {CHUNK} scenes to train on")
    p.add_argument("--pictures", type=int, default=448000, help="to train on in all, scenes coming again counted again")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--rate", type=float, default=3e-3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="that PyTorch computes on")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--workers", type=int, default=0, help="processes that prepare batches; a GPU wants many")
    p.add_argument("--valid", type=int, default=100, help="scenes of each size that the log's F1 is of")
    p.add_argument("--every", type=int, default=75000, help="pictures between two lines of F1")
    p.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    p.add_argument("--start", metavar="WEIGHTS", help="begin with these weights")
    return p.parse_args()


def draw(a):
    """The files to train and to validate on, by size."""
    os.makedirs(a.scenes, exist_ok=True)
    train, valid = {s: [] for s in SIZES}, {}
    with concurrent.futures.ThreadPoolExecutor(a.threads) as pool:
        jobs = []
        for size in SIZES:
            valid[size] = os.path.join(a.scenes, f"valid-{size}-{VALID_FROM}-{a.valid}.bin")
            jobs.append(pool.submit(scenes.draw, a.tool, valid[size], VALID_FROM, VALID_FROM + a.valid - 1, size))
        for k in range(a.chunks):
            size, first = SIZES[k % len(SIZES)], TRAIN_FROM + CHUNK * k
            path = os.path.join(a.scenes, f"train-{size}-{first}.bin")
            jobs.append(pool.submit(scenes.draw, a.tool, path, first, first + CHUNK - 1, size))
            train[size].append(path)
        for n, job in enumerate(jobs):
            job.result()
            print(f"\r{n + 1} of {len(jobs)} files of scenes", end="", flush=True)
        print()
    return [scenes.Pool(train[s], a.seed) for s in SIZES if train[s]], valid


class Batches(torch.utils.data.Dataset):
    """What is learnt in each step: pictures (n, size, size, 3), a gain for each
    of their channels, and what each head is to find."""

    def __init__(self, pools, heads, batch):
        self.pools, self.heads, self.batch = pools, heads, batch

    def __len__(self):
        return sys.maxsize

    def __getitem__(self, step):
        pool = self.pools[step % len(self.pools)]
        pictures, gains, truths = pool.batch(step // len(self.pools), self.batch)
        wanted = loss.targets(truths, self.heads, pool.size)
        return torch.from_numpy(pictures), torch.from_numpy(gains), wanted


def on(device, x):
    """Tensors, in whatever lists and tuples, on a device."""
    if isinstance(x, torch.Tensor):
        return x.to(device, non_blocking=True)
    return type(x)([on(device, v) for v in x])


class Average:
    """The weights' moving average, which is what is kept in the end."""

    def __init__(self, net):
        self.net = copy.deepcopy(net).eval()

    @torch.no_grad()
    def update(self, net, step):
        decay = 0.998 * (1 - math.exp(-(step + 1) / 300))
        mine, its = self.net.state_dict(), net.state_dict()
        for k, v in mine.items():
            if v.dtype.is_floating_point:
                v.mul_(decay).add_(its[k], alpha=1 - decay)
            else:
                v.copy_(its[k])


def rate(a, step, steps):
    """Up for 3 % of the way, then down along a cosine to a fiftieth."""
    warm = max(steps * 0.03, 1)
    if step < warm:
        return a.rate * (step + 1) / warm
    at = (step - warm) / max(steps - warm, 1)
    return a.rate * (0.02 + 0.98 * (1 + math.cos(math.pi * at)) / 2)


def validate(a, net, valid, limit=None):
    """One row: F1 of each size at the one confidence at which their mean is
    best, and the false positives a picture on empty scenes."""
    results = [score.evaluate(net, valid[s], limit) for s in sorted(valid)]
    grid = np.arange(0.1, 0.8, 0.01)
    mean = [np.mean([score.f1(v, n, c) for v, n, _, _ in results]) for c in grid]
    best = float(grid[int(np.argmax(mean))])
    false = sum((e > best).sum() for _, _, e, _ in results) / max(sum(b for *_, b in results), 1)
    return best, [score.f1(v, n, best) for v, n, _, _ in results], false


def plot(log, path):
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with open(log) as f:
        rows = list(csv.DictReader(f))
    x = [int(r["pictures"]) for r in rows]
    fig, (up, down) = plt.subplots(2, 1, figsize=(8, 8), sharex=True)
    for part in ("box", "objectness", "class"):
        up.plot(x, [float(r[part]) for r in rows], label=part)
    up.set_ylabel("loss, of weights in training")
    scored = [r for r in rows if r["confidence"]]
    for s in sorted(SIZES):
        down.plot([int(r["pictures"]) for r in scored], [float(r[f"f1_{s}"]) for r in scored], "o-", label=str(s))
    down.set_ylabel("F1, of averaged weights")
    down.set_xlabel("pictures")
    for axes in (up, down):
        axes.legend()
        axes.grid(alpha=0.3)
    fig.tight_layout()
    fig.savefig(path, dpi=100)
    plt.close(fig)


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.backends.cudnn.benchmark = True  # there are but four sizes
    torch.manual_seed(a.seed)
    os.makedirs(a.out, exist_ok=True)
    at = lambda name: os.path.join(a.out, name)
    pools, valid = draw(a)
    with open(a.cfg) as f:
        text = f.read()
    net = darknet.Net(text)
    net.start()
    if a.start:
        net.load(a.start)
    net = net.to(a.device, memory_format=torch.channels_last)
    average = Average(net)
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0}], lr=a.rate
    )
    # Counting steps makes a run that was cut off go on as if it had not been.
    step, steps, spent = 0, a.pictures // a.batch, 0.0
    fields = ["pictures", "seconds", "rate", "box", "objectness", "class", "confidence"]
    fields += [f"f1_{s}" for s in sorted(SIZES)] + ["false_on_empty"]
    log = at("log.csv")
    if a.resume:
        kept = torch.load(at("checkpoint.pt"), map_location=a.device)
        net.load_state_dict(kept["net"])
        average.net.load_state_dict(kept["average"])
        optimiser.load_state_dict(kept["optimiser"])
        step, spent = kept["step"], kept["spent"]
        with open(log) as f:
            rows = [r for r in csv.DictReader(f) if int(r["pictures"]) <= step * a.batch]
    else:
        rows = []
    with open(log, "w", newline="") as f:
        out = csv.DictWriter(f, fields)
        out.writeheader()
        out.writerows(rows)
    print(f"{sum(t.numel() for t in net.tensors())} weights, {steps - step} steps to go", flush=True)
    began, saved = time.monotonic() - spent, time.monotonic()
    parts, logged, scored = [], step, step
    batches = torch.utils.data.DataLoader(
        Batches(pools, net.heads, a.batch),
        batch_size=None,
        sampler=range(step, steps),
        num_workers=a.workers,
        pin_memory=a.device != "cpu",
    )
    net.train()
    for pictures, gains, wanted in batches:
        size = pictures.shape[1]
        x = on(a.device, pictures).permute(0, 3, 1, 2).float()  # channels last, as they come
        x = x.mul_(on(a.device, gains)[:, :, None, None] / 255).clamp_(max=1)
        for group in optimiser.param_groups:
            group["lr"] = rate(a, step, steps)
        total, part = loss.loss(net(x), net.heads, on(a.device, wanted), size)
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimiser.step()
        average.update(net, step)
        parts.append(part)
        step += 1
        done = step == steps
        if (step - logged) * a.batch < a.every / 10 and not done:
            continue
        logged = step
        row = dict(zip(fields, [step * a.batch, round(time.monotonic() - began), f"{rate(a, step - 1, steps):.2e}"]))
        row.update(zip(fields[3:6], (f"{v:.4f}" for v in np.mean([[float(v) for v in p] for p in parts], 0))))
        parts = []
        if (step - scored) * a.batch >= a.every or done:
            scored = step
            best, f1, false = validate(a, average.net, valid)
            row.update(zip(fields[6:], [f"{best:.2f}", *(f"{v:.4f}" for v in f1), f"{false:.3f}"]))
            average.net.save(at("street.weights"), step * a.batch)
        with open(log, "a", newline="") as f:
            csv.DictWriter(f, fields).writerow(row)
        print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
        if time.monotonic() - saved < 20 and not done:
            continue
        saved = time.monotonic()
        kept = {
            "net": net.state_dict(),
            "average": average.net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
            "spent": saved - began,
        }
        torch.save(kept, at("checkpoint.pt.part"))
        os.replace(at("checkpoint.pt.part"), at("checkpoint.pt"))
    plot(log, at("curve.png"))
    with open(at("street.cfg"), "w") as f:
        f.write(text)
    with open(at("street.names"), "w") as f:
        f.write("car\ntruck\nbus\nperson\nbicycle\n")


if __name__ == "__main__":
    sys.exit(main())
