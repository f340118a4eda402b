"""Trains the demo network and saves its weights beside this file: python -m deepvis.networks.demo.train

Training is adversarial (Madry et al. 2018, L2): each batch is first changed, within a small radius, to look as
little like its classes as possible. A network that still has to name it cannot rely on faint patterns, and what
excites its units becomes something that people recognise.
"""

import argparse
import logging
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from deepvis.networks.demo import LABELS, MEAN, STD, WEIGHTS_FILE
from deepvis.networks.demo.network import make_network
from deepvis.networks.demo.scenes import make_scenes

SEED = 0
TRAINING_PICTURES = 9600
HELD_OUT_PICTURES = 2400
HELD_OUT_SEED = 1_000_003
"""Unlike any training seed, so that held-out pictures are new."""
EPOCHS = 14
BATCH_SIZE = 64
LEARNING_RATE = 0.01
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.05
SHIFT_PIXELS = 5
RADIUS = 8.0
"""L2 norm of the adversary's change, in normalised input units (a quarter of 0..1)."""
ADVERSARY_STEPS = 2

log = logging.getLogger(__name__)


def main() -> None:
    """Trains from the seed given, measures on held-out pictures, saves the weights."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    began = time.monotonic()
    pictures, labels = scenes_as_tensors(TRAINING_PICTURES, arguments.seed)
    log.info("%d pictures drawn in %.0f s", len(labels), time.monotonic() - began)
    network = train(pictures, labels, epochs=arguments.epochs)
    right = accuracy(network, *scenes_as_tensors(HELD_OUT_PICTURES, HELD_OUT_SEED + arguments.seed))
    log.info("held-out accuracy %.2f %% of %d, %.0f s", 100 * right, HELD_OUT_PICTURES, time.monotonic() - began)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, arguments.output)
    log.info("saved %s, %d bytes", arguments.output, arguments.output.stat().st_size)


def train(pictures: Tensor, labels: Tensor, *, epochs: int) -> nn.Module:
    """A network trained on `pictures` (N, 3, 64, 64), normalised, and `labels` (N,)."""
    network = make_network(len(LABELS)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    steps = epochs * (len(labels) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for epoch in range(epochs):
        began, losses = time.monotonic(), []
        for batch in torch.randperm(len(labels)).split(BATCH_SIZE)[: len(labels) // BATCH_SIZE]:
            hard = attack(network, augment(pictures[batch]), labels[batch])
            losses.append(_update(network, optimizer, hard, labels[batch]))
            schedule.step()
        loss = sum(losses) / len(losses)
        log.info("epoch %d of %d: loss %.3f, %.0f s", epoch + 1, epochs, loss, time.monotonic() - began)
    return network.eval()


def scenes_as_tensors(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 64, 64) as the network takes them, and their labels (N,)."""
    pictures, labels = make_scenes(count, seed)
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last), torch.from_numpy(labels)


def augment(images: Tensor) -> Tensor:
    """(N, 3, H, W) each shifted by up to SHIFT_PIXELS with reflected edges, with another contrast and noise."""
    height, width = images.shape[-2:]
    padded = functional.pad(images, (SHIFT_PIXELS,) * 4, mode="reflect")
    corners = torch.randint(0, 2 * SHIFT_PIXELS + 1, (len(images), 2)).tolist()
    shifted = torch.stack([p[:, y : y + height, x : x + width] for p, (y, x) in zip(padded, corners, strict=True)])
    contrast = torch.empty(len(images), 1, 1, 1).uniform_(0.8, 1.2)
    noisy = shifted * contrast + torch.randn_like(shifted) * torch.rand(len(images), 1, 1, 1) * 0.3
    return noisy.contiguous(memory_format=torch.channels_last)


def attack(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The images changed within an L2 ball of RADIUS, by normalised gradient ascent on the loss."""
    change = torch.randn_like(images)
    change *= RADIUS * torch.rand(len(images), 1, 1, 1) / _norm(change)
    for _ in range(ADVERSARY_STEPS):
        change.requires_grad_(True)
        (gradient,) = torch.autograd.grad(_loss(network, images + change, labels), change)
        change = change.detach() + RADIUS * gradient / _norm(gradient).clamp_min(1e-12)
        change *= (RADIUS / _norm(change)).clamp_max(1)
    return images + change


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of (N, 3, 64, 64) normalised images whose strongest class unit is their label's."""
    with torch.no_grad():
        guesses = torch.cat([network(batch).argmax(1) for batch in images.split(256)])
    return float((guesses == labels).float().mean())


def _update(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = _loss(network, images, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        scores = network(images)
    return functional.cross_entropy(scores.float(), labels, label_smoothing=LABEL_SMOOTHING)


def _norm(images: Tensor) -> Tensor:
    return images.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(WEIGHTS_FILE))
    return parser.parse_args()


if __name__ == "__main__":
    main()
