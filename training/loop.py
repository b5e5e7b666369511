"""The training loop: identity + batch-hard triplet loss on each branch, resumable, with a log and a progress bar."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from models import NetworkConfig, ReIdNetwork
from training.augment import Augmentation
from training.losses import batch_hard_triplet, identity_loss
from training.pictures import PictureSet, normalised
from training.sampler import IdentitySampler

BRANCHES = ("ori", "sdtps")
IDENTITY_WEIGHT, TRIPLET_WEIGHT = 1.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: batches of `identities` x `samples`, AdamW, linear warm-up and then a cosine to 0.001 of the rate."""

    steps: int = 700
    identities: int = 16
    samples: int = 4
    rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 50
    seed: int = 0
    save_every: int = 50
    augmentation: Augmentation = field(default_factory=Augmentation)


class Branch(nn.Module):
    """A branch's batch-norm neck and classifier (training only)."""

    def __init__(self, width: int, identities: int) -> None:
        super().__init__()
        self.bottleneck = nn.BatchNorm1d(width)
        self.bottleneck.bias.requires_grad_(False)
        self.classifier = nn.Linear(width, identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, D], labels [B] -> the branch's loss and its accuracy."""
        logits = self.classifier(self.bottleneck(features))
        total = IDENTITY_WEIGHT * identity_loss(logits, labels) + TRIPLET_WEIGHT * batch_hard_triplet(features, labels)
        return total, (logits.argmax(dim=1) == labels).float().mean()


class Training:
    """One run: its network, optimiser and place in the schedule. The folder holds `resume.pt` and `log.csv`."""

    def __init__(self, config: NetworkConfig, data: PictureSet, recipe: Recipe, folder: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.data, self.recipe, self.folder, self.step = data, recipe, folder, 0
        self.labels = data.labels
        self.network = ReIdNetwork(config)
        self.branches = nn.ModuleList(Branch(3 * config.channels, int(self.labels.max()) + 1) for _ in BRANCHES)
        self.sampler = IdentitySampler(self.labels, recipe.identities, recipe.samples, recipe.seed)
        parameters = [*self.network.parameters(), *self.branches.parameters()]
        matrices = [p for p in parameters if p.requires_grad and p.ndim > 1]
        vectors = [p for p in parameters if p.requires_grad and p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=recipe.rate,
        )

    def run(self) -> ReIdNetwork:
        """Train from where the folder's last save stands to the end; return the network in eval mode."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        bar = tqdm(total=self.recipe.steps, initial=self.step, desc="training", unit="step", mininterval=1.0)
        while self.step < self.recipe.steps:
            report = self._step()
            bar.update()
            bar.set_postfix({name: f"{value:.3f}" for name, value in report.items()})
            self._log(report)
            if self.step % self.recipe.save_every == 0 or self.step == self.recipe.steps:
                self._save()
        return self.network.eval()

    def _step(self) -> dict[str, float]:
        draw = np.random.default_rng((self.recipe.seed, 1, self.step))
        chosen = self.sampler.batch(self.step)
        augmentation = self.recipe.augmentation
        images = normalised(augmentation.pictures(self.data.images[chosen], draw), self.network.config)
        camera = torch.from_numpy(augmentation.cameras(self.data.cameras[chosen], draw))
        present = torch.from_numpy(augmentation.presence(len(chosen), draw))
        labels = torch.from_numpy(self.labels[chosen])

        self._set_rate()
        self.network.train()
        features = self.network.features(images, camera, present)
        assert features.head is not None
        outcomes = [branch(f, labels) for branch, f in zip(self.branches, (features.ori, features.head), strict=True)]
        loss = torch.stack([of_branch for of_branch, _ in outcomes]).sum()
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.step}: lower the rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        return {
            "loss": loss.item(),
            **{f"accuracy_{name}": accuracy.item() for name, (_, accuracy) in zip(BRANCHES, outcomes, strict=True)},
        }

    def _set_rate(self) -> None:
        recipe = self.recipe
        if self.step < recipe.warmup:
            factor = (self.step + 1) / recipe.warmup
        else:
            progress = (self.step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
            factor = 0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate * factor

    def _log(self, report: dict[str, float]) -> None:
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", *report])
            writer.writerow([self.step, *(f"{value:.5f}" for value in report.values())])

    def _save(self) -> None:
        state = {
            "step": self.step,
            "made of": self._made_of(),
            "network": self.network.state_dict(),
            "branches": self.branches.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        temporary = self.folder / "resume.pt.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.folder / "resume.pt")

    def _resume(self) -> None:
        path = self.folder / "resume.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["made of"] != self._made_of():
            raise ValueError(f"{path} is of another recipe, network or data: give another folder, or remove it to start anew")
        self.network.load_state_dict(state["network"])
        self.branches.load_state_dict(state["branches"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self._cut_log()

    def _made_of(self) -> dict[str, Any]:
        """What a run is: one that differs in any of it cannot be gone on with."""
        network = {
            **asdict(self.network.config),
            "head": self.network.config.head.value,
            "backbone": self.network.config.backbone.value,
        }
        return {
            "recipe": asdict(self.recipe),
            "network": network,
            "samples": len(self.labels),
            "identities": int(self.labels.max()) + 1,
        }

    def _cut_log(self) -> None:
        """Drop the rows of steps that were taken after the last save, and are taken again."""
        path = self.folder / "log.csv"
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(lines[: 1 + self.step]))
