"""The training loop: identity + batch-hard triplet loss on each branch, logged, validated,
resumable to the bit.

A run's folder holds `log.csv` (steps), `epochs.csv`, `events/` (TensorBoard), `resume.pt` (the last
save), `best.pth` with `best.yml` (the best epoch on the validation identities), `last.pth`,
`result.json`. The draws of a step follow from the seed and the step alone, so the last save needs
no state of any generator.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from trireid.evaluation import Scores
from trireid.models import NetworkConfig, ReIdNetwork, get_published_state, load_checkpoint
from trireid.samples.errors import ConfigError, TrainingDivergedError
from trireid.training.batch import Batch, Batches
from trireid.training.data import Data, list_not_used
from trireid.training.files import check_disk_space, save, save_checkpoint, write_text
from trireid.training.gradients import measure_gradients, to_columns
from trireid.training.initialization import initialize_loss_heads, initialize_network
from trireid.training.log import Log, Table
from trireid.training.loss_heads import LossHeads, LossOutput, sum_losses
from trireid.training.memory import peak_megabytes
from trireid.training.optimizer import get_exp_avg_sq, make_optimizer, set_lr
from trireid.training.runtime import SCALED, autocast_to, resolve_device
from trireid.training.settings import DataSettings, Settings, rename_flat
from trireid.training.validation import to_percent, validate

_DEFAULTS: Final = Settings(network=NetworkConfig(), data=DataSettings(source="")).flatten()
#: Parts of `resume.pt` in version 0.1, and their names today.
_OLD_PARTS: Final = {"branches": "loss_heads", "optimiser": "optimizer", "made of": "run"}


@dataclass
class Best:
    """The best epoch so far, by the validation mAP of the widest pattern; -1: none yet."""

    mAP: float = -1.0  # noqa: N815 - the field's own spelling
    epoch: int = 0


class Training:
    """One run: its network, optimizer and position in the schedule.

    Raises TrireidError before the first step if settings and data do not fit, the folder's last
    save is of another run, or its disk is full.
    """

    def __init__(self, settings: Settings, data: Data, folder: Path) -> None:
        self.settings, self.data, self.folder = settings, data, folder
        self.step, self.best = 0, Best()
        self.device = resolve_device(settings.runtime.device)
        self.batches = Batches(data.train, settings)
        self.network = initialize_network(settings).to(self.device)
        self.loss_heads = LossHeads(
            settings.network, int(self.batches.labels.max()) + 1, settings.loss
        ).to(self.device)
        initialize_loss_heads(self.loss_heads, settings)
        self.optimizer = make_optimizer(self.network, self.loss_heads, settings.optimizer)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=settings.runtime.precision in SCALED
        )
        self._features = self.network.features
        if settings.runtime.compile:
            self._features = torch.compile(self.network.features)
        self.steps_per_epoch = (
            settings.schedule.steps_per_epoch or self.batches.sampler.steps_per_epoch
        )
        self.steps = settings.schedule.epochs * self.steps_per_epoch
        folder.mkdir(parents=True, exist_ok=True)
        parameters = [*self.network.parameters(), *self.loss_heads.parameters()]
        check_disk_space(folder, sum(parameter.numel() for parameter in parameters))
        self.log = Log(folder, events=settings.logging.tensorboard)
        self.gradients = Table(folder / "gradients.csv")
        self._resume()

    def run(self) -> ReIdNetwork:
        """Train from the folder's last save to the end; return the best network, in eval mode."""
        if self.step == 0 and self.settings.logging.diagnose_every:
            self._diagnose(0)
        with tqdm(
            total=self.steps, initial=self.step, desc="training", unit="step", mininterval=1.0
        ) as bar:
            while self.step < self.steps:
                report = self.take_step()
                bar.update()
                shown = [name for name in report if name.startswith(("loss", "accuracy"))]
                bar.set_postfix({name: f"{report[name]:.3f}" for name in shown})
                self._record(report)
        return self._finish()

    def _record(self, report: dict[str, float]) -> None:
        """Log a step; validate and save when it is time to."""
        self.log.add_step(self.step, report)
        if self.step % self.steps_per_epoch == 0:
            self._end_epoch(self.step // self.steps_per_epoch)
        if self.step % self.settings.logging.save_every == 0 or self.step == self.steps:
            self._save()

    def take_step(self) -> dict[str, float]:
        """Take one batch and one update; return the step's row of the log."""
        began, used = time.perf_counter(), time.process_time()
        batch = self.batches.make(self.step).to(self.device)
        schedule, per_epoch = self.settings.schedule, self.steps_per_epoch
        set_lr(
            self.optimizer,
            self.step,
            schedule.warmup_lr,
            schedule.warmup_epochs * per_epoch,
            self.steps,
        )
        torch.manual_seed(_mix_seed(self.settings.seed, self.step))  # Gumbel noise
        outputs, norm, skipped = self._learn(batch)
        self.step += 1
        report = {"loss": float(sum(o.loss.item() for o in outputs.values()))}
        for name in self.loss_heads:  # a head that is held back has its columns all the same
            loss, accuracy = (
                (x.item() for x in outputs[name]) if name in outputs else (np.nan, np.nan)
            )
            report |= {f"loss_{name}": loss, f"accuracy_{name}": accuracy}
        lr = max(group["lr"] for group in self.optimizer.param_groups)
        report |= {
            "gradient": norm,
            "lr": lr,
            "rate": lr,  # the column's name in version 0.1
        }
        if self.scaler.is_enabled():
            report |= {
                "skipped": float(skipped),
                "scale": self.scaler.get_scale(),
                "zero_gradients": self._compute_zero_share(),
            }
        return report | {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - used,
        }

    def _learn(self, batch: Batch) -> tuple[dict[str, LossOutput], float, bool]:
        """Run forward, backward and one update; return the outputs, the gradient's norm, and
        whether the scaler skipped the update.
        """
        self.network.train(), self.loss_heads.train()
        with autocast_to(self.settings.runtime.precision, self.device):
            features = self._features(batch.images, batch.camera, batch.present)
            outputs = self.loss_heads.compute_losses(
                features, batch.labels, head=self._trains_head(self.step)
            )
        loss = sum_losses(outputs)
        value = loss.item()
        if not np.isfinite(value) or value > self.settings.logging.loss_limit:
            self._stop(batch, f"the loss is {value:.4g}")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = self._clip_gradient()
        if not np.isfinite(norm) and not self.scaler.is_enabled():
            self._stop(batch, "the gradient is not finite")
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return outputs, norm, self.scaler.get_scale() < before

    def _trains_head(self, step: int) -> bool:
        return step >= self.settings.schedule.sdtps_delay_epochs * self.steps_per_epoch

    def _clip_gradient(self) -> float:
        """Clip the network's gradient if the settings say so; return its norm before."""
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        limit = self.settings.optimizer.clip
        if limit is not None:
            return float(nn.utils.clip_grad_norm_(parameters, limit))
        return float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))

    def _compute_zero_share(self) -> float:
        """Compute the share of the network's gradient that is exactly 0 after the scaler."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return sum(int((g == 0).sum()) for g in gradients) / sum(g.numel() for g in gradients)

    def _end_epoch(self, epoch: int) -> None:
        every, last = self.settings.logging.evaluate_every, epoch == self.settings.schedule.epochs
        values = self._compute_epoch_means()
        for pattern in self.settings.logging.patterns:
            values |= {f"mAP_{pattern}": np.nan, f"rank1_{pattern}": np.nan}
        if last or (every and epoch % every == 0):
            scores = validate(self.network, self.data.validation, self.settings.logging.patterns)
            values |= to_percent(scores)
            self._keep_best(epoch, scores)
        self.log.add_epoch(epoch, self.step, values)
        every = self.settings.logging.diagnose_every
        if every and (last or epoch % every == 0):
            self._diagnose(epoch)

    def _compute_epoch_means(self) -> dict[str, float]:
        rows = self.log.steps.read_rows()[-self.steps_per_epoch :]
        means = {}
        for name in list(rows[-1])[1:]:  # after the step
            cells = [float(row[name]) for row in rows if row[name]]
            is_sum = name in ("skipped", "seconds", "cpu_seconds")
            means[name] = sum(cells) if is_sum else float(np.mean(cells or [np.nan]))
        return means

    def _keep_best(self, epoch: int, scores: dict[int, Scores]) -> None:
        score = scores[max(scores)].mAP
        if score > self.best.mAP:
            self.best = Best(score, epoch)
            self._save_checkpoint("best.pth", {"epoch": epoch, "validation": to_percent(scores)})

    def _save_checkpoint(self, name: str, measured: dict[str, Any]) -> None:
        state = get_published_state(self.network) | self.loss_heads.get_published_state()
        save_checkpoint(self.folder / name, self.settings, state, measured)

    def _diagnose(self, epoch: int) -> None:
        """Measure gradients on the epoch's first batch, on copies of network and heads."""
        step = min(epoch * self.steps_per_epoch, self.steps - 1)
        batch = self.batches.make(step).to(self.device)
        torch.manual_seed(_mix_seed(self.settings.seed, step))
        network, loss_heads = copy.deepcopy(self.network), copy.deepcopy(self.loss_heads)
        exp_avg_sq = get_exp_avg_sq(self.optimizer, self.network)
        measured = measure_gradients(
            network, loss_heads, batch, head=self._trains_head(step), exp_avg_sq=exp_avg_sq
        )
        self.gradients.add({"epoch": epoch, **to_columns(measured)})

    def _finish(self) -> ReIdNetwork:
        """Load the best network; write its scores on the test source to `result.json`."""
        self._save_checkpoint("last.pth", {"epoch": self.settings.schedule.epochs})
        network = load_checkpoint(self.folder / "best.pth", self.folder / "best.yml")
        network, path = network.to(self.device), self.folder / "result.json"
        if not path.exists():
            write_text(path, json.dumps(self._measure_result(network), indent=1) + "\n")
        return network

    def _measure_result(self, network: ReIdNetwork) -> dict[str, Any]:
        patterns, test = self.settings.logging.patterns, self.data.test
        result: dict[str, Any] = {"best_epoch": self.best.epoch, "validation_mAP": self.best.mAP}
        if test is not None:
            result["test"] = to_percent(validate(network, test, patterns))
            result["test_last"] = to_percent(validate(self.network, test, patterns))
        rows = self.log.steps.read_rows()
        return result | {
            "steps": self.steps,
            "seconds": round(sum(float(row["seconds"]) for row in rows), 1),
            "cpu_seconds": round(sum(float(row["cpu_seconds"]) for row in rows), 1),
            "peak_MB": peak_megabytes(),
            "skipped": sum(float(row.get("skipped") or 0) for row in rows),
            "final_scale": self.scaler.get_scale() if self.scaler.is_enabled() else None,
            "not_used": [each.to_json() for each in list_not_used(self.settings.data)],
        }

    def _stop(self, batch: Batch, why: str) -> None:
        path = self.folder / "stopped.pt"
        save({"step": self.step, **batch.to(torch.device("cpu"))._asdict()}, path)
        raise TrainingDivergedError(
            f"stopped at step {self.step}: {why}; its batch is in {path}; lower the learning "
            "rates, "
            "or see trireid diagnose",
            "loss",
        )

    def _save(self) -> None:
        parts = {name: part.state_dict() for name, part in self._get_parts().items()}
        best = (self.best.mAP, self.best.epoch)
        state = {"step": self.step, "best": best, "run": self._describe_run(), **parts}
        save(state, self.folder / "resume.pt")

    def _get_parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "loss_heads": self.loss_heads,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }

    def _resume(self) -> None:
        path = self.folder / "resume.pt"
        if path.exists():
            state = torch.load(path, map_location=self.device, weights_only=True)
            state = {_OLD_PARTS.get(name, name): part for name, part in state.items()}
            self._check_same(state["run"], path)
            for name, part in self._get_parts().items():
                part.load_state_dict(state[name])
            self.step, self.best = state["step"], Best(*state["best"])
        self.log.resume(self.step, self.step // self.steps_per_epoch)
        self.gradients.cut(self.step // self.steps_per_epoch if self.step else -1)

    def _check_same(self, held: dict[str, Any], path: Path) -> None:
        # a save of an earlier version lacks the settings that came later
        own, held = self._describe_run(), _DEFAULTS | rename_flat(held)
        other = next((key for key in own if held.get(key) != own[key]), None)
        if other is not None:
            raise ConfigError(
                f"{path} is of another run: {other} was {held.get(other)!r}, and is "
                f"{own[other]!r}; "
                "give another folder, or remove it to begin again",
                other,
            )

    def _describe_run(self) -> dict[str, Any]:
        """Describe the run by flat keys: a save that differs in any of them is not of this run."""
        sizes = {"samples": len(self.data.train), "identities": int(self.batches.labels.max()) + 1}
        return sizes | self.settings.flatten()


def prepare_training(settings: Settings, folder: Path) -> Training:
    """Read the data and prepare the run; `.run()` trains.

    Raises TrireidError if settings, data and folder do not fit.
    """
    if settings.runtime.threads:
        torch.set_num_threads(settings.runtime.threads)
    data = Data.load(settings.data, settings.network, settings.batch, settings.identities_per_step)
    return Training(settings, data, folder)


def _mix_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, 2, step)).generate_state(1, np.uint64)[0] >> 1)
