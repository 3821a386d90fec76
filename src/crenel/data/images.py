"""Folders of images: one subfolder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.data.sampling import MAX_BYTES
from crenel.errors import MissingExtra, SubjectError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"))


def load_images(
    folder: Path, notes: list[str], *, max_bytes: int = MAX_BYTES, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any]]:
    """Read images from one subfolder for each class.

    Parameters
    ----------
    folder : Path
    notes : list of str
        What was assumed is added here.
    max_bytes : int
        Above this size of the array a uniform sample of the images is taken.

    Returns
    -------
    x : ndarray, shape (n, c, h, w), float32
        In [0, 1], with c 1 (grey) or 3 (colour).
    labels : ndarray, shape (n,)
        Names of the subfolders.
    ids : ndarray, shape (n,)
        Paths within the folder.

    Raises
    ------
    MissingExtra
        Where pillow is not installed.
    SubjectError
        Where there are no subfolders with images, an image cannot be read, or sizes differ.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("pillow", "images") from error
    files = _files(folder)
    with _open(Image, files[0]) as first:
        size = first.size
    kept = _sample(files, size[0] * size[1] * 3 * 4, max_bytes, seed)
    if len(kept) < len(files):
        notes.append(f"{folder.name} has {len(files):,} images; {len(kept):,} of them are used")
    arrays = [_pixels(Image, path, size, kept[0]) for path in kept]
    colour = any(a.ndim == 3 for a in arrays)
    x = np.stack([_channels(a, colour) for a in arrays])
    notes.append(f"the images of {folder.name} are arrays (channel, row, column) in [0, 1]")
    labels = np.array([path.relative_to(folder).parts[0] for path in kept])
    ids = np.array([path.relative_to(folder).as_posix() for path in kept])
    return x, labels, ids


def _files(folder: Path) -> list[Path]:
    files = sorted(
        path
        for path in folder.glob("*/**/*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not files:
        raise SubjectError(
            f"{folder} holds no images in subfolders; make one subfolder for each class"
        )
    return files


def _sample(files: list[Path], each: int, max_bytes: int, seed: int) -> list[Path]:
    limit = max(1, max_bytes // max(1, each))
    if len(files) <= limit:
        return files
    chosen = np.random.default_rng(seed).choice(len(files), limit, replace=False)
    return [files[i] for i in np.sort(chosen)]


def _open(image: Any, path: Path) -> Any:
    try:
        return image.open(path)
    except (OSError, ValueError, image.DecompressionBombError) as error:
        raise SubjectError(f"{path} cannot be read as an image: {error}") from error


def _pixels(image: Any, path: Path, size: tuple[int, int], first: Path) -> NDArray[np.uint8]:
    """Grey (h, w) or colour (h, w, 3) bytes of one file."""
    with _open(image, path) as opened:
        if opened.size != size:
            raise SubjectError(
                f"{path} is {opened.size[0]} × {opened.size[1]} pixels and {first.name} is "
                f"{size[0]} × {size[1]}; make all images the size that the model takes"
            )
        grey = opened.mode in ("1", "L", "LA")
        try:
            return np.asarray(opened.convert("L" if grey else "RGB"), dtype=np.uint8)
        except (OSError, SyntaxError) as error:
            raise SubjectError(f"{path} is a damaged image: {error}") from error


def _channels(pixels: NDArray[np.uint8], colour: bool) -> NDArray[np.float32]:
    """An array (c, h, w) in [0, 1]."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3 if colour else 1, axis=2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
