"""Two interleaving half moons: which architecture, which regularisation, which optimiser?

    python examples/half_moons.py                                     # two hidden layers of 32 ReLU units
    python examples/half_moons.py --activation none                   # a linear model, whatever its depth
    python examples/half_moons.py --optimizer momentum --lr 0.1       # or sgd, adam
    python examples/half_moons.py --hidden 16 16 16 16 16 16 16 16 --residual --batch-norm

A wide network, few and noisy points, and no help from the validation points overfit; compare the losses of train and validation:

    python examples/half_moons.py --hidden 256 256 --train 50 --noise 0.3 --lr 0.003 --last
    python examples/half_moons.py --hidden 256 256 --train 50 --noise 0.3 --lr 0.003 --last --weight-decay 0.01
    python examples/half_moons.py --hidden 256 256 --train 50 --noise 0.3 --lr 0.003 --last --dropout 0.8

The validation points choose the epoch that is kept (without --last); the test points are looked at once, at the end.
"""

import argparse
import copy
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

import gpudl
from gpudl import nn, optim
from gpudl.data import DataLoader, TensorDataset, half_moons

matplotlib.use("Agg")  # pictures go to files; no display is needed
import matplotlib.pyplot as plt  # noqa: E402

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "elu": nn.ELU, "leaky-relu": nn.LeakyReLU, "none": nn.Identity}
OPTIMIZERS = {
    "sgd": lambda parameters, lr: optim.SGD(parameters, lr=lr),
    "momentum": lambda parameters, lr: optim.SGD(parameters, lr=lr, momentum=0.9),
    "adam": lambda parameters, lr: optim.Adam(parameters, lr=lr),
}


class Block(nn.Module):
    """One hidden layer: activation(batch norm(W x)), with a connection around it where that was asked for and the widths agree."""

    def __init__(self, width_in, width, activation, batch_norm, dropout, residual):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width_in, width))
        if batch_norm:
            self.layers.append(nn.BatchNorm1d(width))
        self.layers.append(ACTIVATIONS[activation]())
        if dropout:
            self.layers.append(nn.Dropout(dropout))
        self.residual = residual and width_in == width

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


def build(args):
    """Points (N, 2) -> logits (N, 2)."""
    model = nn.Sequential()
    width = 2
    for hidden in args.hidden:
        model.append(Block(width, hidden, args.activation, args.batch_norm, args.dropout, args.residual))
        width = hidden
    return model.append(nn.Linear(width, 2))


def weight_penalty(model):
    """The sum of all squared weights; biases and batch norm's parameters are left alone."""
    return sum((module.weight**2).sum() for module in model.modules() if isinstance(module, nn.Linear))


@gpudl.no_grad()
def evaluate(model, dataset, device):
    """(loss, accuracy) over a dataset, without the weight penalty."""
    model.eval()
    x, y = (t.to(device) for t in dataset.tensors)
    logits = model(x)
    return nn.functional.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def train(model, training, validation, args):
    """Train; leaves the model in its best epoch by the validation loss (or its last); returns the losses (train, val) of every epoch."""
    loss_of = nn.CrossEntropyLoss()
    optimizer = OPTIMIZERS[args.optimizer](model.parameters(), args.lr)
    loader = DataLoader(training, batch_size=args.batch_size, shuffle=True)
    curves, best, best_state = [], np.inf, None
    with tqdm(range(args.epochs), unit="epoch") as bar:
        for _ in bar:
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = loss_of(model(x.to(args.device)), y.to(args.device))
                if args.weight_decay:
                    loss = loss + args.weight_decay * weight_penalty(model)
                loss.backward()
                optimizer.step()
            curves.append((evaluate(model, training, args.device)[0], evaluate(model, validation, args.device)[0]))
            if curves[-1][1] < best:
                best, best_state = curves[-1][1], copy.deepcopy(model.state_dict())
            bar.set_postfix(train=f"{curves[-1][0]:.4f}", val=f"{curves[-1][1]:.4f}")
    if best_state is not None and not args.last:
        model.load_state_dict(best_state)
    return np.array(curves).reshape(-1, 2)


@gpudl.no_grad()
def draw(path, model, parts, curves, last, device):
    model.eval()
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    a, b = np.linspace(-1.6, 2.6, 240, dtype=np.float32), np.linspace(-1.3, 1.8, 200, dtype=np.float32)
    grid = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)
    p = nn.functional.softmax(model(gpudl.tensor(grid, device=device)), 1).cpu().numpy()[:, 1].reshape(len(b), len(a))
    for ax, (name, dataset) in zip(axes, parts.items()):
        filled = ax.contourf(a, b, p, levels=np.linspace(0, 1, 21), cmap="RdBu_r", alpha=0.6)
        ax.contour(a, b, p, levels=[0.5], colors="black")
        points, classes = (t.numpy() for t in dataset.tensors)
        for c, marker, colour in ((0, "o", "#1f4e9c"), (1, "^", "#a81e2d")):
            at = points[classes == c]
            ax.scatter(at[:, 0], at[:, 1], s=18, marker=marker, color=colour, edgecolor="white", linewidth=0.4, label=f"class {c}")
        loss, accuracy = evaluate(model, dataset, device)
        ax.set(title=f"{name}: loss {loss:.3f}, accuracy {accuracy:.1%}", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]), aspect="equal")
        ax.legend(loc="upper left")
    figure.colorbar(filled, ax=axes[:2], label="probability of class 1", shrink=0.85, ticks=[0, 0.25, 0.5, 0.75, 1])
    for curve, style, name in zip(curves.T, ("-", "--"), ("train", "validation")):
        axes[2].plot(range(1, len(curve) + 1), curve, style, color="black", label=name)
    if len(curves):
        kept = len(curves) - 1 if last else int(curves[:, 1].argmin())
        axes[2].plot(kept + 1, curves[kept, 1], "o", color="black", label=f"kept: epoch {kept + 1}")
    axes[2].set(title="cross-entropy", xlabel="epoch", ylim=(0, None))
    axes[2].legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--hidden", type=int, nargs="*", default=[32, 32], help="widths of the hidden layers")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="none leaves a linear model")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--weight-decay", type=float, default=0.0, metavar="LAMBDA", help="lambda of the penalty on squared weights")
    parser.add_argument("--dropout", type=float, default=0.0, metavar="P", help="probability to drop a hidden unit")
    parser.add_argument("--batch-norm", action="store_true", help="normalise each hidden layer")
    parser.add_argument("--residual", action="store_true", help="a connection around each hidden layer of equal width")
    parser.add_argument("--last", action="store_true", help="keep the last epoch, not the one that was best on the validation points")
    parser.add_argument("--noise", type=float, default=0.2, help="standard deviation of the points")
    parser.add_argument("--train", type=int, default=300, help="training points")
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder for the picture")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)  # now, so that a folder that cannot be written does not cost a training run

    gpudl.manual_seed(args.seed)
    moons = half_moons(args.train + 1000, noise=args.noise, seed=args.seed)
    x, y = moons.tensors  # already in random order
    ends = (0, args.train, args.train + 500, args.train + 1000)
    training, validation, test = (TensorDataset(x[a:b], y[a:b]) for a, b in zip(ends, ends[1:]))

    model = build(args).to(args.device)
    print(model)
    curves = train(model, training, validation, args)
    for name, part in (("train", training), ("validation", validation), ("test", test)):
        loss, accuracy = evaluate(model, part, args.device)
        print(f"{name:10s}  {len(part):4d} points   loss {loss:.4f}   accuracy {accuracy:6.1%}")
    picture = args.output / "half_moons.png"
    draw(picture, model, {"train": training, "validation": validation}, curves, args.last, args.device)
    print(f"Decision boundary and losses: {picture.resolve()}")


if __name__ == "__main__":
    main()
