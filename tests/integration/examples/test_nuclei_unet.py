"""examples/nuclei_unet: five layouts are read as the same kind of image, and a U-Net learns from all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import hansa
from hansa.core.tree import Array

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "nuclei_unet"

FEW = 8
"""Images a site."""


@pytest.fixture
def source(real_data: Path) -> dict[str, Array]:
    """A few images of each site."""
    file = real_data / "nuclei-dsb2018" / "dsb2018_stage1_128.npz"
    if not file.is_file():
        pytest.skip(f"no images of nuclei: there is no {file}")
    with np.load(file) as arrays:
        modality, height = arrays["modality"], arrays["orig_hw"][:, 0]
        groups = [(modality == "grey-dark") & (height == pixels) for pixels in (256, 360, 520)]
        groups += [modality == "colour-bright", modality == "grey-bright"]
        rows = np.concatenate([np.flatnonzero(group)[:FEW] for group in groups])
        return {name: arrays[name][rows] for name in ("images", "masks", "modality", "orig_hw")}


@pytest.fixture
def sites(copied: Copied, source: dict[str, Array], tmp_path: Path) -> str:
    """The folder that prepare.py wrote."""
    np.savez(tmp_path / "source.npz", allow_pickle=False, **source)
    command = [sys.executable, "prepare.py", str(tmp_path / "source.npz"), str(tmp_path / "sites")]
    subprocess.run(command, cwd=copied.folder, check=True, capture_output=True)
    return str(tmp_path / "sites")


def bag(images: Array, masks: Array) -> set[tuple[bytes, bytes]]:
    """Each image with its mask, in no order."""
    return {(image.tobytes(), mask.tobytes()) for image, mask in zip(images, masks, strict=True)}


def test_whatever_the_layout_the_same_images_and_masks_are_read(
    copied: Copied, sites: str, source: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUCLEI", sites)
    data = hansa.shards_of(hansa.load_owners(copied.folder / "owners.toml"))
    assert set(data.clients) == {"wells", "plates", "fields", "stained", "brightfield"}
    for number, site in enumerate(("wells", "plates", "fields", "stained", "brightfield")):
        read = [shard.all() for shard in data.shard(site).values()]  # which are checked against the schema
        images = np.rint(255 * np.concatenate([batch["x"] for batch in read])).astype(np.uint8).transpose(0, 2, 3, 1)
        rows = slice(number * FEW, (number + 1) * FEW)
        negative = site in ("stained", "brightfield")
        expected = bag(source["images"][rows], source["masks"][rows])
        masks = np.concatenate([batch["y"] for batch in read])
        assert bag(255 - images if negative else images, masks) == expected


def test_it_learns_for_real_as_it_does_simulated(copied: Copied, sites: str) -> None:
    changes = {
        "ROUNDS = 15": "ROUNDS = 3",
        "EVERY = 5": "EVERY = 3",
        "STEPS = 8": "STEPS = 3",
        "WIDTH = 16": "WIDTH = 4",
    }
    copied.change("experiment.py", changes)
    history = copied.same_bits(NUCLEI=sites)
    losses = [entry.metrics.value("loss") for entry in history.entries if entry.work == "train"]
    assert losses[-1] < losses[0]
    (_, last) = history.evaluations()
    assert len(last.outcomes) == 5
    assert 0 < last.metrics.value("dice") < 1


def test_dice_of_all_pixels_does_not_depend_on_how_they_are_batched(copied: Copied) -> None:
    dice = hansa.load_experiment(copied.folder / "experiment.py").names["dice"]
    random = hansa.key(0).generator()
    logits, masks = random.normal(size=(6, 4, 4)), random.integers(0, 2, (6, 4, 4)).astype(np.uint8)
    parts = [dice(logits[rows], masks[rows]) for rows in (slice(0, 1), slice(1, 4), slice(4, 6))]
    found, true = (logits > 0).ravel(), masks.ravel() > 0
    expected = 2 * (found & true).sum() / (found.sum() + true.sum())
    assert parts[2].merge(parts[0]).merge(parts[1]).value == pytest.approx(expected, abs=0)
