"""Pictures by what they show: is another file the same picture, stored anew?

Two 64-bit hashes in their usual forms, so that lists made elsewhere can be checked: dHash (signs of
the differences of neighbours) and pHash (signs of the low frequencies of the discrete cosine
transform, against their median; Zauner, "Implementation and benchmarking of perceptual image hash
functions", 2010). Both are blind to colour and to small places. So a signature stands beside them:
the mean colours of a grid of 16 × 16 cells. Storing a picture anew moves the means by little; a
patch moves those of its cells.

None of this is secure against somebody who makes pictures that hash alike; the SHA-256 is.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.errors import MissingExtra

#: Cells on a side of the signature's grid.
CELLS = 16
#: A picture that was only stored anew: the mean colour of no cell changes by more than 20 of 255
#: levels, nor, above what the size of its cells explains, by more than 8 times the mean change
#: (noise is everywhere, a patch in one place); the mean change is at most 2, or 6 where at most 24
#: of the 128 bits of both hashes changed. Chosen with benchmarks/poisoning/split_view.py, first 0.
WORST, LOCAL, SLIGHT, MEAN, BITS = 20.0, 8.0, 2.0, 6.0, 24
#: Least side in pixels: cells merged each way, levels that their size explains.
SIZES = ((128, 1, 12.0), (64, 2, 10.0), (0, 4, 6.0))

Verdict = Literal["reencoded", "altered", "replaced"]


@dataclass(frozen=True)
class Signature:
    """What is kept of a picture.

    Attributes
    ----------
    width, height : int
    dhash, phash : int
        64 bits.
    cells : ndarray, shape (16, 16, 3), uint8
        Mean colours, transparent pixels over white.
    """

    width: int
    height: int
    dhash: int
    phash: int
    cells: NDArray[np.uint8]


def signature(content: bytes) -> Signature | None:
    """The signature of a picture; None where the bytes are none that can be read.

    Parameters
    ----------
    content : bytes
        A file of any format that Pillow reads; of a moving picture its first frame counts.

    Raises
    ------
    MissingExtra
        Where Pillow is not installed.
    """
    image_module, turned = _library()
    try:
        with image_module.open(io.BytesIO(content)) as opened:
            image = turned(opened)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                white = image_module.new("RGBA", image.size, (255, 255, 255, 255))
                image = image_module.alpha_composite(white, image)
            colour = image.convert("RGB")
    except Exception:  # noqa: BLE001  decoders raise errors of every kind on hostile files
        return None
    grid = colour.resize((CELLS, CELLS), image_module.Resampling.BOX)
    grey = colour.convert("L")
    return Signature(
        width=colour.width,
        height=colour.height,
        dhash=_bits(dhash(grey)),
        phash=_bits(phash(grey)),
        cells=np.asarray(grid, dtype=np.uint8),
    )


def dhash(grey: Any) -> NDArray[np.bool_]:
    """Whether each of 8 × 8 places is darker than its right neighbour.

    Parameters
    ----------
    grey : PIL.Image.Image
        Of mode "L".
    """
    small = np.asarray(grey.resize((9, 8), _library()[0].Resampling.LANCZOS), dtype=np.int64)
    return small[:, 1:] > small[:, :-1]


def phash(grey: Any) -> NDArray[np.bool_]:
    """Whether each of the 8 × 8 lowest frequencies of a 32 × 32 copy is above their median."""
    from scipy.fft import dct

    small = np.asarray(grey.resize((32, 32), _library()[0].Resampling.LANCZOS), dtype=np.float64)
    low = dct(dct(small, axis=0), axis=1)[:8, :8]
    return np.asarray(low > np.median(low))


def _bits(truth: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(truth.reshape(-1)).tobytes(), "big")


def judge(before: Signature, now: Signature) -> tuple[Verdict, float, float]:
    """Whether a picture was stored anew, altered in a place, or replaced.

    Returns
    -------
    verdict : {"reencoded", "altered", "replaced"}
    worst, mean : float
        Change of the mean colour of the cell that changed most, and of all, of 255 levels.
    """
    side = min(before.width, before.height, now.width, now.height)
    _, times, small = next(s for s in SIZES if side >= s[0])
    change = np.abs(_coarser(before.cells, times) - _coarser(now.cells, times))
    worst, mean = float(change.max()), float(change.mean())
    bits = (before.dhash ^ now.dhash).bit_count() + (before.phash ^ now.phash).bit_count()
    alike = mean <= SLIGHT or (mean <= MEAN and bits <= BITS)
    if alike and worst <= min(WORST, max(small, LOCAL * mean)):
        return "reencoded", worst, mean
    return ("altered" if bits <= BITS or mean <= MEAN else "replaced"), worst, mean


def _coarser(cells: NDArray[np.uint8], times: int) -> NDArray[np.float64]:
    """Means over so many cells each way: those of small pictures are at the mercy of JPEG."""
    n = CELLS // times
    means: NDArray[np.float64] = cells.reshape(n, times, n, times, 3).mean(axis=(1, 3))
    return means


def _library() -> Any:
    """Pillow's Image module, and its function that turns pictures upright."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingExtra("pillow", "images") from error
    return Image, ImageOps.exif_transpose
