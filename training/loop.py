"""The training loop: identity + batch-hard triplet loss on each branch, logged, validated,
resumable to the bit.

A run's folder holds `log.csv` (steps), `epochs.csv`, `events/` (TensorBoard), `resume.pt` (the last
save), `best.pth` with `best.yml` (the best epoch on the validation identities), `last.pth`,
`result.json`. What is drawn at a step follows from the seed and the step alone, so the last save
needs no state of any generator.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from trireid.evaluation import Scores
from trireid.models import ReIdNetwork, load_checkpoint, published_state
from trireid.samples.errors import ConfigError, TrainingDivergedError
from trireid.training.batch import Batch, Batches
from trireid.training.data import Data, list_not_used
from trireid.training.files import check_room, save, save_checkpoint, write_text
from trireid.training.gradients import columns, measure
from trireid.training.initialization import start_branches, start_network
from trireid.training.log import Log, Table
from trireid.training.loss_heads import Branches, Outcome, total_loss
from trireid.training.memory import peak_megabytes
from trireid.training.optimizer import make_optimiser, squares_of
from trireid.training.runtime import SCALED, device_of, in_precision
from trireid.training.schedule import set_rates
from trireid.training.settings import Settings
from trireid.training.validation import figures, validate


@dataclass
class Best:
    """The best epoch so far, by the validation mAP of the widest pattern; -1: none yet."""

    mAP: float = -1.0  # noqa: N815 - the field's own spelling
    epoch: int = 0


class Training:
    """One run: its network, optimiser and place in the schedule.

    Raises TrireidError before the first step where settings and data do not fit, the folder's last
    save is of another run, or its disk is full.
    """

    def __init__(self, settings: Settings, data: Data, folder: Path) -> None:
        self.settings, self.data, self.folder, self.step, self.best = (
            settings,
            data,
            folder,
            0,
            Best(),
        )
        self.device = device_of(settings.machine.device)
        self.batches = Batches(data.train, settings)
        self.network = start_network(settings).to(self.device)
        self.branches = Branches(
            settings.network, int(self.batches.labels.max()) + 1, settings.loss
        ).to(self.device)
        start_branches(self.branches, settings)
        self.optimiser = make_optimiser(self.network, self.branches, settings.optimiser)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=settings.machine.precision in SCALED
        )
        compiled = (
            torch.compile(self.network.features)
            if settings.machine.compile
            else self.network.features
        )
        self._features = compiled
        self.steps_per_epoch = (
            settings.schedule.steps_per_epoch or self.batches.sampler.steps_per_epoch
        )
        self.steps = settings.schedule.epochs * self.steps_per_epoch
        folder.mkdir(parents=True, exist_ok=True)
        check_room(
            folder,
            sum(p.numel() for p in [*self.network.parameters(), *self.branches.parameters()]),
        )
        self.log = Log(folder, events=settings.upkeep.tensorboard)
        self.gradients = Table(folder / "gradients.csv")
        self._resume()

    def run(self) -> ReIdNetwork:
        """Train from where the folder's last save stands to the end; the best network, in eval
        mode.
        """
        if self.step == 0 and self.settings.upkeep.diagnose_every:
            self._diagnose(0)
        with tqdm(
            total=self.steps, initial=self.step, desc="training", unit="step", mininterval=1.0
        ) as bar:
            while self.step < self.steps:
                report = self.take_step()
                bar.update()
                bar.set_postfix(
                    {
                        name: f"{report[name]:.3f}"
                        for name in report
                        if name.startswith(("loss", "accuracy"))
                    }
                )
                self._record(report)
        return self._finish()

    def _record(self, report: dict[str, float]) -> None:
        """Log a step; validate and save where it is time to."""
        self.log.step(self.step, report)
        if self.step % self.steps_per_epoch == 0:
            self._end_epoch(self.step // self.steps_per_epoch)
        if self.step % self.settings.upkeep.save_every == 0 or self.step == self.steps:
            self._save()

    def take_step(self) -> dict[str, float]:
        """One batch, one update; what the step's row in the log says."""
        began, used = time.perf_counter(), time.process_time()
        batch = self.batches.at(self.step).to(self.device)
        schedule, per_epoch = self.settings.schedule, self.steps_per_epoch
        set_rates(
            self.optimiser,
            self.step,
            schedule.warmup_rate,
            schedule.warmup_epochs * per_epoch,
            self.steps,
        )
        torch.manual_seed(_mixed(self.settings.seed, self.step))  # Gumbel noise
        outcomes, norm, skipped = self._learn(batch)
        self.step += 1
        report = {"loss": float(sum(o.loss.item() for o in outcomes.values()))}
        for name in self.branches:  # a head that is held back has its columns all the same
            loss, accuracy = (
                (x.item() for x in outcomes[name]) if name in outcomes else (np.nan, np.nan)
            )
            report |= {f"loss_{name}": loss, f"accuracy_{name}": accuracy}
        report |= {
            "gradient": norm,
            "rate": max(group["lr"] for group in self.optimiser.param_groups),
        }
        if self.scaler.is_enabled():
            report |= {
                "skipped": float(skipped),
                "scale": self.scaler.get_scale(),
                "zero_gradients": self._zeros(),
            }
        return report | {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - used,
        }

    def _learn(self, batch: Batch) -> tuple[dict[str, Outcome], float, bool]:
        """Forward, backward and one update; the outcomes, the gradient's norm, whether the scaler
        skipped the update.
        """
        self.network.train(), self.branches.train()
        with in_precision(self.settings.machine.precision, self.device):
            features = self._features(batch.images, batch.camera, batch.present)
            outcomes = self.branches.outcomes(
                features, batch.labels, head=self._head_trains(self.step)
            )
        loss = total_loss(outcomes)
        value = loss.item()
        if not np.isfinite(value) or value > self.settings.upkeep.loss_limit:
            self._stop(batch, f"the loss is {value:.4g}")
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        norm = self._clipped()
        if not np.isfinite(norm) and not self.scaler.is_enabled():
            self._stop(batch, "the gradient is not finite")
        before = self.scaler.get_scale()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return outcomes, norm, self.scaler.get_scale() < before

    def _head_trains(self, step: int) -> bool:
        return step >= self.settings.schedule.sdtps_delay_epochs * self.steps_per_epoch

    def _clipped(self) -> float:
        """The norm of the network's gradient, which is clipped where the settings say so."""
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        limit = self.settings.optimiser.clip
        if limit is not None:
            return float(nn.utils.clip_grad_norm_(parameters, limit))
        return float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))

    def _zeros(self) -> float:
        """Share of the network's gradient numbers that are exactly 0 after the scaler."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return sum(int((g == 0).sum()) for g in gradients) / sum(g.numel() for g in gradients)

    def _end_epoch(self, epoch: int) -> None:
        every, last = self.settings.upkeep.evaluate_every, epoch == self.settings.schedule.epochs
        values = self._epoch_means()
        values |= {
            f"{name}_{p}": np.nan
            for p in self.settings.upkeep.patterns
            for name in ("mAP", "rank1")
        }
        if last or (every and epoch % every == 0):
            scores = validate(self.network, self.data.validation, self.settings.upkeep.patterns)
            values |= figures(scores)
            self._keep_best(epoch, scores)
        self.log.epoch(epoch, self.step, values)
        every = self.settings.upkeep.diagnose_every
        if every and (last or epoch % every == 0):
            self._diagnose(epoch)

    def _epoch_means(self) -> dict[str, float]:
        rows = self.log.steps.rows()[-self.steps_per_epoch :]
        means = {
            name: float(np.mean([float(row[name]) for row in rows if row[name]] or [np.nan]))
            for name in rows[-1]
            if name != "step"
        }
        if "skipped" in means:
            means["skipped"] = sum(float(row["skipped"]) for row in rows)
        return means | {
            name: sum(float(row[name]) for row in rows) for name in ("seconds", "cpu_seconds")
        }

    def _keep_best(self, epoch: int, scores: dict[int, Scores]) -> None:
        score = scores[max(scores)].mAP
        if score > self.best.mAP:
            self.best = Best(score, epoch)
            self._checkpoint("best.pth", {"epoch": epoch, "validation": figures(scores)})

    def _checkpoint(self, name: str, measured: dict[str, Any]) -> None:
        state = published_state(self.network) | self.branches.published_state()
        save_checkpoint(self.folder / name, self.settings, state, measured)

    def _diagnose(self, epoch: int) -> None:
        """Measure gradients on the epoch's first batch, on copies, so that training goes on as if
        nothing had been.
        """
        step = min(epoch * self.steps_per_epoch, self.steps - 1)
        batch = self.batches.at(step).to(self.device)
        torch.manual_seed(_mixed(self.settings.seed, step))
        network, branches = copy.deepcopy(self.network), copy.deepcopy(self.branches)
        squares = squares_of(self.optimiser, self.network)
        measured = measure(network, branches, batch, head=self._head_trains(step), squares=squares)
        self.gradients.add({"epoch": epoch, **columns(measured)})

    def _finish(self) -> ReIdNetwork:
        """The best network; what it scores on the test source goes to `result.json`."""
        self._checkpoint("last.pth", {"epoch": self.settings.schedule.epochs})
        network = load_checkpoint(self.folder / "best.pth", self.folder / "best.yml").to(
            self.device
        )
        if not (self.folder / "result.json").exists():
            write_text(
                self.folder / "result.json", json.dumps(self._result(network), indent=1) + "\n"
            )
        return network

    def _result(self, network: ReIdNetwork) -> dict[str, Any]:
        patterns, test = self.settings.upkeep.patterns, self.data.test
        result: dict[str, Any] = {"best_epoch": self.best.epoch, "validation_mAP": self.best.mAP}
        if test is not None:
            result["test"] = figures(validate(network, test, patterns))
            result["test_last"] = figures(validate(self.network, test, patterns))
        rows = self.log.steps.rows()
        return result | {
            "steps": self.steps,
            **{
                name: round(sum(float(row[name]) for row in rows), 1)
                for name in ("seconds", "cpu_seconds")
            },
            "peak_MB": peak_megabytes(),
            "skipped": sum(float(row.get("skipped") or 0) for row in rows),
            "final_scale": self.scaler.get_scale() if self.scaler.is_enabled() else None,
            "not_used": [each.to_json() for each in list_not_used(self.settings.data)],
        }

    def _stop(self, batch: Batch, why: str) -> None:
        path = self.folder / "stopped.pt"
        save(
            {"step": self.step, **{name: part.cpu() for name, part in batch._asdict().items()}},
            path,
        )
        raise TrainingDivergedError(
            f"stopped at step {self.step}: {why}; its batch is in {path}; lower the rates, or see trireid diagnose",
            "loss",
        )

    def _save(self) -> None:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        made_of = self._made_of()
        save(
            {
                "step": self.step,
                "best": (self.best.mAP, self.best.epoch),
                "made of": made_of,
                **parts,
            },
            self.folder / "resume.pt",
        )

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "branches": self.branches,
            "optimiser": self.optimiser,
            "scaler": self.scaler,
        }

    def _resume(self) -> None:
        path = self.folder / "resume.pt"
        if path.exists():
            state = torch.load(path, map_location=self.device, weights_only=True)
            self._check_same(state["made of"], path)
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.step, self.best = state["step"], Best(*state["best"])
        self.log.resume(self.step, self.step // self.steps_per_epoch)
        self.gradients.cut(self.step // self.steps_per_epoch if self.step else -1)

    def _check_same(self, held: dict[str, Any], path: Path) -> None:
        own = self._made_of()
        other = next((key for key in own if held.get(key) != own[key]), None)
        if other is not None:
            raise ConfigError(
                f"{path} is of another run: {other} was {held.get(other)!r}, and is {own[other]!r}; give another folder, or "
                "remove it to start anew",
                other,
            )

    def _made_of(self) -> dict[str, Any]:
        """What a run is, as flat keys: one that differs in any of it cannot be gone on with."""
        sizes = {"samples": len(self.data.train), "identities": int(self.batches.labels.max()) + 1}
        return sizes | self.settings.flat()


def train(settings: Settings, folder: Path) -> Training:
    """Read the data and make the run;

    `.run()` trains. Raises TrireidError before the first step for what does not fit.
    """
    if settings.machine.threads:
        torch.set_num_threads(settings.machine.threads)
    data = Data.of(settings.data, settings.network, settings.batch, settings.identities_per_step)
    return Training(settings, data, folder)


def _mixed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, 2, step)).generate_state(1, np.uint64)[0] >> 1)
