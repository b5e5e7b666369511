"""Make the small goldens: random networks and images, in the layout of the research code's.

    python -m tests.goldens.make

Run it only at a commit where `tests/models/test_goldens.py::test_research_networks` passes: they
pin what that one proved.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import yaml

from tests.conftest import GOLDENS, make_pixels
from trireid.models import (
    Head,
    NetworkConfig,
    ReIdNetwork,
    get_published_state,
    load_checkpoint,
    to_research_yaml,
)

CONFIG = NetworkConfig(
    image_size=(64, 32), width=64, depth=1, channels=32, cameras=4, aggregation_ratio=0.5
)


def make(name: str, config: NetworkConfig) -> None:
    """Write NAME.pth, NAME.yml and NAME.npz."""
    torch.manual_seed(7)
    state = {key: value.half() for key, value in get_published_state(ReIdNetwork(config)).items()}
    torch.save(state, GOLDENS / f"{name}.pth")
    (GOLDENS / f"{name}.yml").write_text(yaml.safe_dump(to_research_yaml(config)))
    network = load_checkpoint(GOLDENS / f"{name}.pth", GOLDENS / f"{name}.yml")
    arrays = {
        f"img/{m}": np.stack([make_pixels(10 * i + j) for j in range(3)])
        for i, m in enumerate(("RGB", "NI", "TI"))
    }
    arrays["cam"] = np.array([1, 3, 1])
    images = torch.from_numpy(np.stack([arrays[f"img/{m}"] for m in ("RGB", "NI", "TI")], axis=1))
    images = (images.permute(0, 1, 4, 2, 3).float() / 255 - 0.5) / 0.5
    for missing in ("nothing", "r", "n", "t", "rn", "rt", "nt"):
        present = torch.tensor(
            [[missing == "nothing" or letter not in missing for letter in "rnt"]] * 3
        )
        for pattern in (1, 2, 3):
            with torch.inference_mode():
                features = network(images, torch.from_numpy(arrays["cam"]), present, pattern)
            arrays[f"out/{missing}/{pattern}"] = features.numpy()
    np.savez_compressed(GOLDENS / f"{name}.npz", **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    make("tiny_sdtps", CONFIG)
    make("tiny_baseline", replace(CONFIG, head=Head.NONE))
