"""Trains the demo network and saves its weights beside this file: python -m deepvis.networks.demo.train

Training is adversarial (Madry et al. 2018, L2): each batch is first changed, within a small radius, to look as
little like its classes as possible. A network that still has to name it cannot rely on faint patterns, and what
excites its units becomes something that people recognise. Among the pictures are things taken to pieces, which
belong to no class: without them, colours and textures alone would do, and units would not learn the form.
"""

import argparse
import logging
import time
from pathlib import Path
from statistics import fmean

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from deepvis.networks.demo import LABELS, MEAN, STD, WEIGHTS_FILE
from deepvis.networks.demo.network import make_network
from deepvis.networks.demo.scenes import Pictures, make_jumbles, make_scenes

SEED = 0
TRAINING_PICTURES = 9000
JUMBLED_PICTURES = 3000
HELD_OUT_PICTURES = 2400
HELD_OUT_SEED = 1_000_003
"""Unlike any training seed, so that held-out pictures are new."""
EPOCHS = 8
BATCH_SIZE = 64
LEARNING_RATE = 0.01
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.05
SHIFT_PIXELS = 5
RADIUS = 18.0
"""L2 norm of the adversary's change, in normalised input units (a quarter of 0..1)."""
ADVERSARY_STEPS = 1

log = logging.getLogger(__name__)


def main() -> None:
    """Trains from the seed given, measures on held-out pictures, saves the weights."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    began = time.monotonic()
    images, targets = training_set(arguments.seed)
    log.info("%d pictures drawn in %.0f s", len(images), time.monotonic() - began)
    network = train(images, targets, epochs=arguments.epochs)
    right = accuracy(network, *scenes_as_tensors(HELD_OUT_PICTURES, HELD_OUT_SEED + arguments.seed))
    log.info("held-out accuracy %.2f %% of %d, %.0f s", 100 * right, HELD_OUT_PICTURES, time.monotonic() - began)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, arguments.output)
    log.info("saved %s, %d bytes", arguments.output, arguments.output.stat().st_size)


def train(images: Tensor, targets: Tensor, *, epochs: int) -> nn.Module:
    """A network trained on `images` (N, 3, 64, 64), normalised, and the `targets` (N, 12) of its softmax."""
    network = make_network(len(LABELS))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    batches = len(images) // BATCH_SIZE
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches)
    for epoch in range(epochs):
        began, losses = time.monotonic(), []
        for batch in torch.randperm(len(images))[: batches * BATCH_SIZE].view(batches, BATCH_SIZE):
            hard = attack(network, augment(images[batch]), targets[batch])
            losses.append(_update(network, optimizer, hard, targets[batch]))
            schedule.step()
        log.info("epoch %d of %d: loss %.3f, %.0f s", epoch + 1, epochs, fmean(losses), time.monotonic() - began)
    network.eval()
    return network


def training_set(seed: int) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 64, 64), normalised, and targets (N, 12): one class of a whole thing, all alike of a jumble."""
    images, labels = scenes_as_tensors(TRAINING_PICTURES, seed)
    things = functional.one_hot(labels, len(LABELS)) * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / len(LABELS)
    jumbles = torch.full((JUMBLED_PICTURES, len(LABELS)), 1 / len(LABELS))
    every = torch.cat([images, as_images(make_jumbles(JUMBLED_PICTURES, seed))])
    return every.contiguous(memory_format=torch.channels_last), torch.cat([things, jumbles])


def scenes_as_tensors(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 64, 64) as the network takes them, and their labels (N,)."""
    pictures, labels = make_scenes(count, seed)
    return as_images(pictures), torch.from_numpy(labels)


def as_images(pictures: Pictures) -> Tensor:
    """(N, H, W, 3), 0..255 -> (N, 3, H, W), normalised."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(images: Tensor) -> Tensor:
    """(N, 3, H, W) each shifted by up to SHIFT_PIXELS with reflected edges, with another contrast and noise."""
    height, width = images.shape[-2:]
    padded = functional.pad(images, (SHIFT_PIXELS,) * 4, mode="reflect")
    corners = torch.randint(0, 2 * SHIFT_PIXELS + 1, (len(images), 2)).tolist()
    shifted = torch.stack([p[:, y : y + height, x : x + width] for p, (y, x) in zip(padded, corners, strict=True)])
    contrast = torch.empty(len(images), 1, 1, 1).uniform_(0.8, 1.2)
    noisy = shifted * contrast + torch.randn_like(shifted) * torch.rand(len(images), 1, 1, 1) * 0.3
    return noisy.contiguous(memory_format=torch.channels_last)


def attack(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """The images changed within an L2 ball of RADIUS, by normalised gradient ascent on the loss."""
    change = torch.randn_like(images)
    change *= RADIUS * torch.rand(len(images), 1, 1, 1) / _norm(change)
    for _ in range(ADVERSARY_STEPS):
        change.requires_grad_(True)
        (gradient,) = torch.autograd.grad(_loss(network, images + change, targets), change)
        change = change.detach() + RADIUS * gradient / _norm(gradient).clamp_min(1e-12)
        change *= (RADIUS / _norm(change)).clamp_max(1)
    return images + change


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of (N, 3, 64, 64) normalised images whose strongest class unit is their label's."""
    with torch.no_grad():
        guesses = torch.cat([network(batch).argmax(1) for batch in torch.split(images, 256)])
    return float((guesses == labels).float().mean())


def _update(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor) -> float:
    loss = _loss(network, images, targets)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return float(loss.detach())


def _loss(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        scores: Tensor = network(images)
    loss: Tensor = functional.cross_entropy(scores.float(), targets)
    return loss


def _norm(images: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
    return norms


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(WEIGHTS_FILE))
    return parser.parse_args()


if __name__ == "__main__":
    main()
