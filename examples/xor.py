"""Exclusive or: no line separates the classes, so logistic regression fails; a network with two hidden units succeeds.

    python examples/xor.py
    python examples/xor.py --activation none      # without an activation the network is linear again
    python examples/xor.py --hidden 8 --activation relu

Points lie around (0, 0), (0, 1), (1, 0) and (1, 1); the class is 1 where exactly one coordinate is near 1. Both models are trained on the
same points; the picture shows what each has learned. The surface of the network's loss has local minima and flat places, so a start can
fail: it is then tried again from other starting values, judged by the training points alone.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

import gpudl
from gpudl import nn, optim

matplotlib.use("Agg")  # pictures go to files; no display is needed
import matplotlib.pyplot as plt  # noqa: E402

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "none": nn.Identity}


class LogisticRegression(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(2, 1))

    def forward(self, x):
        return self.model(x)


class NNet(nn.Module):
    """2 inputs, a few hidden units, 1 output: the logit of class 1."""

    def __init__(self, hidden, activation):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(2, hidden),
            ACTIVATIONS[activation](),
            nn.Linear(hidden, 1),
        )
        for p in self.parameters():  # larger than a Linear's own starting values: with two units those rarely lead to the solution
            nn.init.normal_(p)

    def forward(self, x):
        return self.model(x)


def noisy_xor(n, noise, rng):
    """n points around the four corners, and their classes."""
    corners = rng.integers(0, 2, size=(n, 2))
    points = corners + rng.normal(scale=noise, size=(n, 2))
    return points.astype(np.float32), (corners[:, 0] != corners[:, 1]).astype(np.float32)


def train(model, x, y, epochs, lr, name):
    """Gradient descent with Adam on all points at once; returns the loss after each step."""
    loss_of = nn.BCEWithLogitsLoss()  # the sigmoid and the cross-entropy in one, which stays exact for large logits
    optimizer = optim.Adam(model.parameters(), lr=lr)
    losses = []
    with tqdm(range(epochs), desc=f"{name:20s}", unit="epoch") as bar:
        for epoch in bar:
            optimizer.zero_grad()
            loss = loss_of(model(x).squeeze(1), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if epoch % 100 == 0 or epoch == epochs - 1:
                bar.set_postfix(loss=f"{losses[-1]:.4f}")
    return losses


@gpudl.no_grad()
def probability(model, points, device):
    """P(class 1) at each point."""
    return model(gpudl.tensor(points, device=device)).sigmoid().squeeze(1).cpu().numpy()


def accuracy(model, points, classes, device):
    return float(((probability(model, points, device) > 0.5) == classes).mean())


def draw(path, models, points, classes, losses, device):
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    a = np.linspace(-0.5, 1.5, 200, dtype=np.float32)
    grid = np.stack(np.meshgrid(a, a), axis=-1).reshape(-1, 2)
    for ax, (name, model) in zip(axes, models.items()):
        p = probability(model, grid, device).reshape(200, 200)
        filled = ax.contourf(a, a, p, levels=np.linspace(0, 1, 21), cmap="RdBu_r", alpha=0.6)
        ax.contour(a, a, p, levels=[0.5], colors="black")
        for c, marker, colour in ((0, "o", "#1f4e9c"), (1, "^", "#a81e2d")):
            at = points[classes == c]
            ax.scatter(at[:, 0], at[:, 1], s=18, marker=marker, color=colour, edgecolor="white", linewidth=0.4, label=f"class {c}")
        ax.set(title=f"{name}: {accuracy(model, points, classes, device):.1%} of the test points", xlabel="$x_0$", ylabel="$x_1$")
        ax.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), aspect="equal")
        ax.legend(loc="lower center", ncols=2)
    figure.colorbar(filled, ax=axes[:2], label="probability of class 1", shrink=0.85, ticks=[0, 0.25, 0.5, 0.75, 1])
    for (name, curve), style in zip(losses.items(), ("--", "-")):
        axes[2].plot(curve, style, color="black", label=name)
    axes[2].axhline(np.log(2), color="grey", linewidth=0.8)
    axes[2].annotate("log 2: a guess", (0.98, np.log(2)), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="grey")
    axes[2].set(title="training loss", xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
    axes[2].legend(loc="center right")
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate")
    parser.add_argument("--hidden", type=int, default=2, help="hidden units")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="sigmoid", help="of the hidden units; none leaves a linear model")
    parser.add_argument("--noise", type=float, default=0.12, help="standard deviation around the corners")
    parser.add_argument("--starts", type=int, default=20, help="how often to try again from other starting values")
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder for the picture")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)  # now, so that a folder that cannot be written does not cost a training run

    gpudl.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    points, classes = noisy_xor(400, args.noise, rng)
    test_points, test_classes = noisy_xor(400, args.noise, rng)
    x, y = gpudl.tensor(points, device=args.device), gpudl.tensor(classes, device=args.device)

    linear = LogisticRegression().to(args.device)
    losses = {"logistic regression": train(linear, x, y, args.epochs, args.lr, "logistic regression")}
    name = f"2-{args.hidden}-1 network"
    for start in range(1, args.starts + 1):
        network = NNet(args.hidden, args.activation).to(args.device)
        losses[name] = train(network, x, y, args.epochs, args.lr, f"{name}, start {start}")
        if accuracy(network, points, classes, args.device) > 0.97:
            break
        tqdm.write(f"start {start} ends at {accuracy(network, points, classes, args.device):.1%}: a local minimum, or a model that cannot do it")

    models = {"logistic regression": linear, name: network}
    for label, model in models.items():
        print(
            f"{label:20s}  training: loss {losses[label][-1]:.4f}, accuracy {accuracy(model, points, classes, args.device):6.1%}"
            f"   test: accuracy {accuracy(model, test_points, test_classes, args.device):6.1%}"
        )
    picture = args.output / "xor.png"
    draw(picture, models, test_points, test_classes, losses, args.device)
    print(f"Decision boundaries and losses: {picture.resolve()}")


if __name__ == "__main__":
    main()
