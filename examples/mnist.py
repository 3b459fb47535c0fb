"""A convolutional network reads the 70,000 handwritten digits of MNIST, with at least 99% of the test images right.

    python examples/mnist.py                           # downloads MNIST once (11 MB); GPUDL_DATA names a folder that holds it
    python examples/mnist.py --device cuda
    python examples/mnist.py --optimizer momentum --dropout 0 --batch-norm

Of the 60,000 training images 5,000 are kept for validation: they choose the epoch that is kept. The 10,000 test images are looked at once,
at the end. Two pictures are saved: the learning curves, and test images that were misread.
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
from gpudl.data import MNIST, DataLoader, FashionMNIST, Subset

matplotlib.use("Agg")  # pictures go to files; no display is needed
import matplotlib.pyplot as plt  # noqa: E402

OPTIMIZERS = {
    "sgd": lambda parameters, lr, decay: optim.SGD(parameters, lr=lr, weight_decay=decay),
    "momentum": lambda parameters, lr, decay: optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=decay),
    "adam": lambda parameters, lr, decay: optim.AdamW(parameters, lr=lr, weight_decay=decay),
}
LEARNING_RATES = {"sgd": 0.2, "momentum": 0.05, "adam": 0.003}


def build(dropout, batch_norm):
    """Images (N, 1, 28, 28) -> logits (N, 10)."""

    def normalise(channels):
        return [nn.BatchNorm2d(channels)] if batch_norm else []

    return nn.Sequential(
        nn.Conv2d(1, 16, 5),
        *normalise(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),
        *normalise(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(32 * 4 * 4, 128),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(128, 10),
    )


@gpudl.no_grad()
def evaluate(model, dataset, device):
    """(loss, accuracy, predicted classes) over a dataset."""
    model.eval()
    loss, predicted, right = 0.0, [], 0
    for images, labels in DataLoader(dataset, batch_size=500):
        logits = model(images.to(device))
        loss += nn.functional.cross_entropy(logits, labels.to(device), reduction="sum").item()
        predicted.append(logits.argmax(1).cpu().numpy())
        right += int((predicted[-1] == labels.numpy()).sum())
    return loss / len(dataset), right / len(dataset), np.concatenate(predicted)


def train(model, training, validation, args):
    """Train; leaves the model in its best epoch and returns (train loss, val loss, val accuracy) of each epoch."""
    loss_of = nn.CrossEntropyLoss()
    loader = DataLoader(training, batch_size=args.batch_size, shuffle=True, num_workers=1)
    optimizer = OPTIMIZERS[args.optimizer](model.parameters(), args.lr, args.weight_decay)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=args.lr, total_steps=max(args.epochs * len(loader), 1))
    history, best, best_state = [], -1.0, None
    for epoch in range(1, args.epochs + 1):
        model.train()
        losses = []
        with tqdm(loader, desc=f"epoch {epoch}/{args.epochs}", unit="batch") as bar:
            for images, labels in bar:
                optimizer.zero_grad()
                loss = loss_of(model(images.to(args.device)), labels.to(args.device))
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.detach())
                if len(losses) % 50 == 0:  # reading a loss waits for the device
                    bar.set_postfix(loss=f"{losses[-1].item():.4f}")
        loss, accuracy, _ = evaluate(model, validation, args.device)
        history.append((float(np.mean([x.item() for x in losses])), loss, accuracy))
        print(f"epoch {epoch:2d}  train loss {history[-1][0]:.4f}  validation loss {loss:.4f}  accuracy {accuracy:.2%}")
        if accuracy > best:
            best, best_state, args.best_epoch = accuracy, copy.deepcopy(model.state_dict()), epoch
    if best_state is not None:
        model.load_state_dict(best_state)
    return np.array(history)


def draw_curves(path, history, best_epoch):
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    axes[0].plot(epochs, history[:, 0], "o-", label="training, during the epoch")
    axes[0].plot(epochs, history[:, 1], "o-", label="validation, after it")
    axes[0].set(title="cross-entropy", xlabel="epoch", yscale="log")
    axes[1].plot(epochs, history[:, 2], "o-", color="tab:orange", label="validation")
    axes[1].set(title="accuracy", xlabel="epoch")
    axes[1].yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    for ax in axes:
        ax.axvline(best_epoch, color="grey", linewidth=0.8, linestyle=":", label=f"kept: epoch {best_epoch}")
        ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        ax.legend()
    figure.savefig(path, dpi=120)


def draw_mistakes(path, dataset, predicted):
    wrong = np.flatnonzero(predicted != dataset.targets)
    figure, axes = plt.subplots(5, 8, figsize=(10, 7.4), layout="constrained")
    shown = wrong[: axes.size]
    figure.suptitle(f"{len(wrong)} of {len(dataset):,} test images misread" + (f", the first {len(shown)}" if len(wrong) > len(shown) else ""))
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, shown):
        ax.imshow(dataset.data[i], cmap="gray_r")
        ax.set_title(f"{dataset.classes[dataset.targets[i]]} as {dataset.classes[predicted[i]]}", fontsize=8)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam")
    parser.add_argument("--lr", type=float, default=None, help=f"highest learning rate; by default {LEARNING_RATES}")
    parser.add_argument("--weight-decay", type=float, default=0.0, metavar="LAMBDA")
    parser.add_argument("--dropout", type=float, default=0.3, metavar="P")
    parser.add_argument("--batch-norm", action="store_true")
    parser.add_argument("--fashion", action="store_true", help="Fashion-MNIST (clothes) instead of digits")
    parser.add_argument("--train", type=int, default=None, help="use only this many training images")
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder for the pictures")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)  # now, so that a folder that cannot be written does not cost a training run
    args.lr = LEARNING_RATES[args.optimizer] if args.lr is None else args.lr
    args.best_epoch = 0

    start = time.perf_counter()
    gpudl.manual_seed(args.seed)
    kind = FashionMNIST if args.fashion else MNIST
    images, test = kind(train=True), kind(train=False)
    order = np.random.default_rng(args.seed).permutation(len(images))
    held = len(images) // 12  # 5,000 of 60,000
    validation, training = Subset(images, order[:held]), Subset(images, order[held:][: args.train])

    model = build(args.dropout, args.batch_norm).to(args.device)
    print(model)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, device {args.device}")
    history = train(model, training, validation, args)

    loss, accuracy, predicted = evaluate(model, test, args.device)
    print(f"Epoch {args.best_epoch} had the best validation accuracy and was kept ({time.perf_counter() - start:.0f} s).")
    if len(history):
        print(f"validation  {len(validation):6d} images   accuracy {history[args.best_epoch - 1, 2]:.2%}")
    print(f"test        {len(test):6d} images   accuracy {accuracy:.2%}   loss {loss:.4f}")

    name = "fashion_mnist" if args.fashion else "mnist"
    curves, mistakes = args.output / f"{name}_curves.png", args.output / f"{name}_mistakes.png"
    if len(history):
        draw_curves(curves, history, args.best_epoch)
        print(f"Learning curves: {curves.resolve()}")
    draw_mistakes(mistakes, test, predicted)
    print(f"Misread test images: {mistakes.resolve()}")


if __name__ == "__main__":
    main()
