"""Split views: pictures stored anew told from altered and from replaced ones.

Run with ``python benchmarks/poisoning/split_view.py CIFAR_FOLDER [--pictures N]``, the folder with
``cifar10_batch_*.png`` (a thousand CIFAR-10 pictures in each, one a line). Beside those, tiles of
photographs that ship inside installed packages. Each picture is stored anew in nine ways (JPEG,
WebP, PNG, other sizes), altered in four (a patch of a hundredth and of a four-hundredth of its
area, a blend with noise, a turned colour) and replaced by another: by chance, and by the one whose
colours are most alike. Shares of each verdict, and what 10 bits of pHash alone would say.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from crenel.provenance.perceptual import Signature, judge, signature

Picture = Image.Image


def stored(image: Picture, kind: str, **settings: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **settings)
    return out.getvalue()


def scaled(times: float, kind: str, **settings: object) -> Callable[[Picture], bytes]:
    def store(image: Picture) -> bytes:
        size = (max(1, round(image.width * times)), max(1, round(image.height * times)))
        return stored(image.resize(size, Image.Resampling.BICUBIC), kind, **settings)

    return store


ANEW: dict[str, Callable[[Picture], bytes]] = {
    "PNG": lambda i: stored(i, "PNG"),
    "JPEG 95": lambda i: stored(i, "JPEG", quality=95),
    "JPEG 75": lambda i: stored(i, "JPEG", quality=75),
    "JPEG 40": lambda i: stored(i, "JPEG", quality=40),
    "WebP 80": lambda i: stored(i, "WEBP", quality=80),
    "half": scaled(0.5, "JPEG", quality=85),
    "three quarters": scaled(0.75, "JPEG", quality=85),
    "one and a half": scaled(1.5, "JPEG", quality=85),
    "double": scaled(2.0, "WEBP", quality=75),
}


def patched(share: float) -> Callable[[Picture], bytes]:
    """A checkered patch of this share of the area in the lower right corner."""

    def store(image: Picture) -> bytes:
        pixels = np.asarray(image).copy()
        side = max(2, round((share * image.width * image.height) ** 0.5))
        where = pixels[-side - 1 : -1, -side - 1 : -1]
        where[:] = np.where(where.mean() > 127, 0, 255)
        return stored(Image.fromarray(pixels), "PNG")

    return store


def blended(image: Picture) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    large = Image.fromarray(noise).resize(image.size, Image.Resampling.NEAREST)
    return stored(Image.blend(image, large, 0.2), "PNG")


def recoloured(image: Picture) -> bytes:
    return stored(Image.merge("RGB", image.split()[::-1]), "PNG")


ALTERED = {
    "patch 1/100": patched(0.01),
    "patch 1/400": patched(0.0025),
    "blend 20 %": blended,
    "colour": recoloured,
}


def pictures(folder: Path, n: int, first: int) -> dict[str, list[Picture]]:
    made: list[Picture] = []
    for file in sorted(folder.glob("cifar10_batch_*.png")):
        rows = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 32, 32, 3)
        made += [Image.fromarray(r) for r in rows]
    return {
        "CIFAR-10 (32 × 32)": some(made, n, first),
        "tiles of photographs (160 × 160)": some(tiles(), n, first),
    }


def some(made: list[Picture], n: int, first: int) -> list[Picture]:
    return made[first :: max(1, len(made) // n)][:n]


def tiles() -> list[Picture]:
    from sklearn.datasets import load_sample_images

    photos = list(load_sample_images().images)
    try:
        import matplotlib

        data = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
        photos.append(np.asarray(Image.open(data).convert("RGB")))
    except (ImportError, OSError):
        pass
    return [
        Image.fromarray(photo[top : top + 160, left : left + 160])
        for photo in photos
        for top in range(0, photo.shape[0] - 160, 40)
        for left in range(0, photo.shape[1] - 160, 40)
    ]


def read(content: bytes) -> Signature:
    made = signature(content)
    assert made is not None
    return made


def line(name: str, pairs: list[tuple[Signature, Signature]], truth: str) -> None:
    verdicts = Counter(judge(a, b)[0] for a, b in pairs)
    n = len(pairs)
    shares = "  ".join(f"{v} {verdicts[v] / n:6.1%}" for v in ("reencoded", "altered", "replaced"))
    phash = np.mean([(a.phash ^ b.phash).bit_count() <= 10 for a, b in pairs])
    print(f"  {truth:<9} {name:<16} {shares}   pHash alone, 10 bits: same {phash:6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--first", type=int, default=3, help="thresholds were chosen with 0")
    given = parser.parse_args()
    for name, images in pictures(given.folder, given.pictures, given.first).items():
        if not images:
            print(f"{name}: none found, left out")
            continue
        print(f"{name}, {len(images)} pictures")
        base = [read(stored(i, "PNG")) for i in images]
        for truth, ways in (("anew", ANEW), ("altered", ALTERED)):
            for way, store in ways.items():
                line(way, [(s, read(store(i))) for s, i in zip(base, images)], truth)
        cells = np.array([s.cells for s in base]).reshape(len(base), -1).astype(np.float64)
        apart = ((cells[:, None] - cells[None]) ** 2).sum(axis=2)
        np.fill_diagonal(apart, np.inf)
        chance = np.roll(np.arange(len(base)), 7)
        for way, other in (("by chance", chance), ("most alike", apart.argmin(axis=1))):
            line(way, [(s, base[j]) for s, j in zip(base, other)], "replaced")


if __name__ == "__main__":
    main()
