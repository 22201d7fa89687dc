"""Hands the images out to five sites, each in the layout that such a site might have. Run it once.

python prepare.py $HANSA_DATA/nuclei-dsb2018/dsb2018_stage1_128.npz sites
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

FLUORESCENCE, STAINED, BRIGHTFIELD = "grey-dark", "colour-bright", "grey-bright"


def prepare(source: Path, target: Path) -> None:
    arrays = np.load(source)
    images, masks, modality = arrays["images"], arrays["masks"], arrays["modality"]
    height = np.where(modality == FLUORESCENCE, arrays["orig_hw"][:, 0], 0)
    wells, plates = height == 256, height == 360
    sites = {
        "wells": wells,
        "plates": plates,
        "fields": (modality == FLUORESCENCE) & ~wells & ~plates,
        "stained": modality == STAINED,
        "brightfield": modality == BRIGHTFIELD,
    }
    write = {
        "wells": one_archive,
        "plates": grey_bytes,
        "fields": channels_first,
        "stained": pictures,
        "brightfield": runs,
    }
    for name, rows in sites.items():
        (target / name).mkdir(parents=True)
        write[name](target / name, images[rows], masks[rows])
        print(f"{target / name}: {rows.sum()} images")


def one_archive(folder: Path, images: np.ndarray, masks: np.ndarray) -> None:
    """Bytes, height × width × colour, in one .npz."""
    np.savez_compressed(folder / "nuclei.npz", images=images, masks=masks)


def grey_bytes(folder: Path, images: np.ndarray, masks: np.ndarray) -> None:
    """Bytes of one channel; masks packed to bits."""
    np.save(folder / "grey.npy", images[..., 0])
    np.save(folder / "masks.npy", np.packbits(masks, axis=-1))


def channels_first(folder: Path, images: np.ndarray, masks: np.ndarray) -> None:
    """Floats in [0, 1], colour × height × width, as frameworks have them."""
    np.save(folder / "x.npy", (images.transpose(0, 3, 1, 2) / 255).astype(np.float32))
    np.save(folder / "y.npy", masks.astype(bool))


def pictures(folder: Path, images: np.ndarray, masks: np.ndarray) -> None:
    """A folder of PNG files, and one of masks with the same names."""
    for kind, arrays in (("images", images), ("masks", masks * np.uint8(255))):
        (folder / kind).mkdir()
        for index, array in enumerate(arrays):
            Image.fromarray(array).save(folder / kind / f"{index:04}.png")


def runs(folder: Path, images: np.ndarray, masks: np.ndarray) -> None:
    """PNG files, and a CSV of masks in run lengths: first pixel from 1, column by column, as Kaggle has them."""
    (folder / "images").mkdir()
    with (folder / "masks.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "runs"])
        for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
            Image.fromarray(image).save(folder / "images" / f"{index:04}.png")
            edges = np.flatnonzero(np.diff(mask.T.ravel(), prepend=0, append=0)) + 1
            starts, ends = edges[::2], edges[1::2]
            pairs = [f"{start} {end - start}" for start, end in zip(starts, ends, strict=True)]
            table.writerow([f"{index:04}.png", " ".join(pairs)])


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), Path(sys.argv[2]))
