"""A convolutional network learns to read handwritten digits: 1,797 images of 8 x 8 pixels that come with scikit-learn.

    python examples/digits.py                  # on the CPU, through NumPy
    python examples/digits.py --device cuda    # on a GPU, through gpudl's own kernels

The images are split in three: the network learns from the training images; the validation images choose the epoch that is kept; the test
images are looked at once, at the end. Two pictures are saved: the learning curves, and the test images that were misread.
"""

import argparse
import copy
import time
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

import gpudl
from gpudl import nn, optim
from gpudl.data import DataLoader, TensorDataset, digits

matplotlib.use("Agg")  # pictures go to files; no display is needed
import matplotlib.pyplot as plt  # noqa: E402


def build():
    """Images (N, 1, 8, 8) -> logits (N, 10)."""

    def convolution(channels_in, channels):
        return [nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]

    return nn.Sequential(
        *convolution(1, 32),
        *convolution(32, 32),
        *convolution(32, 64),
        nn.MaxPool2d(2),
        *convolution(64, 64),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(64 * 4 * 4, 10),
    )


def split(dataset, seed):
    """60% of the images to train with, 20% to validate, 20% to test, drawn at random."""
    images, labels = dataset.tensors
    order = np.random.default_rng(seed).permutation(len(dataset))
    a, b = int(0.6 * len(order)), int(0.8 * len(order))
    return [TensorDataset(images.numpy()[part], labels.numpy()[part]) for part in (order[:a], order[a:b], order[b:])]


def varied(images, rng):
    """Each image moved by up to one pixel in both directions and slanted: more training data for nothing."""
    n = len(images)
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (4, 4)))
    rows = np.arange(8)[:, None] + rng.integers(0, 3, size=(n, 1, 1))
    slant = rng.uniform(-1.2, 1.2, size=(n, 1, 1)) * np.linspace(-1, 1, 8)[:, None]
    columns = np.arange(8) + rng.integers(3, 6, size=(n, 1, 1)) + slant
    left = np.floor(columns).astype(int)
    share = columns - left  # of the pixel to the right, where a column falls between two
    image = np.arange(n)[:, None, None]
    moved = (1 - share) * padded[image, rows, left] + share * padded[image, rows, left + 1]
    return moved[:, None].astype(np.float32)


@gpudl.no_grad()
def evaluate(model, dataset, device):
    """(loss, accuracy, predicted classes) over a dataset."""
    model.eval()
    images, labels = (t.to(device) for t in dataset.tensors)
    logits = model(images)
    predicted = logits.argmax(1)
    return nn.functional.cross_entropy(logits, labels).item(), (predicted == labels).float().mean().item(), predicted.cpu().numpy()


def train(model, training, validation, args):
    """Train; leaves the model in its best epoch and returns (train loss, val loss, train accuracy, val accuracy) of each epoch."""
    loss_of = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    loader = DataLoader(training, batch_size=args.batch_size, shuffle=True, drop_last=True)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(args.epochs, 1))
    rng = np.random.default_rng(args.seed)
    history, best, best_state = [], np.inf, None
    with tqdm(range(1, args.epochs + 1), unit="epoch") as bar:
        for epoch in bar:
            model.train()
            for images, labels in loader:
                images = gpudl.tensor(varied(images.numpy(), rng), device=args.device)
                optimizer.zero_grad()
                loss = loss_of(model(images), labels.to(args.device))
                loss.backward()
                optimizer.step()
            schedule.step()
            (train_loss, train_accuracy, _), (loss, accuracy, _) = (evaluate(model, part, args.device) for part in (training, validation))
            history.append((train_loss, loss, train_accuracy, accuracy))
            if loss < best:
                best, best_state, args.best_epoch = loss, copy.deepcopy(model.state_dict()), epoch
            bar.set_postfix(train=f"{train_loss:.4f}", val=f"{loss:.4f}", val_accuracy=f"{accuracy:.1%}")
    if best_state is not None:
        model.load_state_dict(best_state)
    return np.array(history)


def draw_curves(path, history, best_epoch):
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = range(1, len(history) + 1)
    for ax, (first, second), title in zip(axes, ((0, 1), (2, 3)), ("cross-entropy", "accuracy")):
        ax.plot(epochs, history[:, first], "-", color="tab:blue", label="training")
        ax.plot(epochs, history[:, second], "-", color="tab:orange", label="validation")
        ax.axvline(best_epoch, color="grey", linewidth=0.8, linestyle=":", label=f"kept: epoch {best_epoch}")
        ax.set(title=title, xlabel="epoch")
        ax.legend()
    axes[0].set(yscale="log")
    axes[1].yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    figure.savefig(path, dpi=120)


def draw_mistakes(path, dataset, predicted):
    images, labels = (t.numpy() for t in dataset.tensors)
    wrong = np.flatnonzero(predicted != labels)[:24]
    columns = max(min(len(wrong), 8), 1)
    rows = max(-(-len(wrong) // columns), 1)
    figure, axes = plt.subplots(rows, columns, figsize=(max(1.5 * columns, 4.5), 1.8 * rows + 0.4), layout="constrained", squeeze=False)
    total = int((predicted != labels).sum())
    figure.suptitle(f"{total} of {len(labels)} test images misread" + (f", the first {len(wrong)}" if total > len(wrong) else ""))
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, wrong):
        ax.imshow(images[i, 0], cmap="gray_r")
        ax.set_title(f"{labels[i]} read as {predicted[i]}", fontsize=9)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.003, help="learning rate")
    parser.add_argument("--train", type=int, default=None, help="use only this many training images")
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder for the pictures")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)  # now, so that a folder that cannot be written does not cost a training run
    args.best_epoch = 0

    start = time.perf_counter()
    gpudl.manual_seed(args.seed)
    training, validation, test = split(digits(), args.seed)
    if args.train is not None:
        training = TensorDataset(*(t[: args.train] for t in training.tensors))
    model = build().to(args.device)
    print(model)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, device {args.device}")

    history = train(model, training, validation, args)
    results = {name: evaluate(model, part, args.device) for name, part in (("train", training), ("validation", validation), ("test", test))}
    print(f"Epoch {args.best_epoch} had the lowest validation loss and was kept ({time.perf_counter() - start:.0f} s).")
    for (name, (loss, accuracy, _)), part in zip(results.items(), (training, validation, test)):
        print(f"{name:10s}  {len(part):5d} images   loss {loss:.4f}   accuracy {accuracy:7.2%}")

    curves, mistakes = args.output / "digits_curves.png", args.output / "digits_mistakes.png"
    if len(history):
        draw_curves(curves, history, args.best_epoch)
        print(f"Learning curves: {curves.resolve()}")
    draw_mistakes(mistakes, test, results["test"][2])
    print(f"Misread test images: {mistakes.resolve()}")


if __name__ == "__main__":
    main()
