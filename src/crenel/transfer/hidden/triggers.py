"""What a recovered trigger does on images that it was not made for, by its size."""

from __future__ import annotations

from typing import Any

from crenel.evasion.gradients.network import generator, torch
from crenel.transfer.hidden.inversion import BATCH, Inverted
from crenel.transfer.hidden.kinds import Family, Sized, Trigger, changed, put_on
from crenel.transfer.hidden.scene import Scene

#: Pixels of a patch; sizes of what is added as multiples of what was found.
PIXELS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
#: No patch of more than this share of an image is called one.
LARGEST = 0.25
#: Gradients by which the values of a patch of fixed place are fitted again.
REFIT, RATE = 40, 0.1


def sized(scene: Scene, found: Inverted, at: int, sizes: tuple[float, ...], seed: int) -> Sized:
    """The trigger of the class at a position, cut to sizes; see `sizes_of`."""
    pairs = [_sized(scene, found, at, size, seed) for size in sizes]
    return Sized(found.family, sizes, [m for m, _ in pairs], [v for _, v in pairs])


def tried(scene: Scene, made: Sized, goal: int, seed: int) -> Trigger:
    """Put a trigger on held-out images and ask the scene's model whether it turns them to a class.

    Random values are put in the same places (patch) or of the same size (blend) beside it.
    """
    rows = scene.others(goal)
    x = scene.tried[torch.from_numpy(rows).to(scene.tried.device)]
    noise = [_noise(values, made.family, seed) for values in made.values]
    return put_on(made, noise, goal, x, rows, lambda images: scene.ask(images, rows))


def sizes_of(found: Inverted, at: int) -> tuple[float, ...]:
    """Sizes at which a trigger is tried."""
    if found.family == "patch":
        area = found.mask.shape[2] * found.mask.shape[3]
        return tuple(float(p) for p in PIXELS if p <= max(LARGEST * area, 4))
    return tuple(float(m * found.values[at].norm()) for m in MULTIPLES)


def _sized(scene: Scene, found: Inverted, at: int, size: float, seed: int) -> tuple[Any, Any]:
    """Mask and values of one size."""
    mask, values = found.mask[at], found.values[at]
    if found.family != "patch":
        return mask, values * (size / max(float(values.norm()), 1e-12))
    flat = mask.flatten()
    hard = torch.zeros_like(flat)
    hard[flat.topk(int(size)).indices] = 1.0
    hard = hard.reshape(mask.shape)
    return hard, _refitted(scene, hard, values, int(found.classes[at]), seed)


def _refitted(scene: Scene, mask: Any, values: Any, goal: int, seed: int) -> Any:
    """Values of a patch fitted again to its hard edges."""
    pool = torch.nonzero(scene.decided != goal)[:, 0]
    draw = generator(seed)
    free = torch.logit(values.clamp(0.02, 0.98)).requires_grad_(True)
    adam = torch.optim.Adam([free], lr=RATE, betas=(0.5, 0.9))
    aim = torch.full((BATCH,), goal, device=mask.device)
    for _ in range(REFIT):
        part = pool[torch.randint(len(pool), (BATCH,), generator=draw).to(pool.device)]
        with torch.enable_grad():
            adam.zero_grad()
            z = scene.logits(changed(scene.x[part], mask, torch.sigmoid(free), "patch"))
            torch.nn.functional.cross_entropy(z, aim).backward()
        free.grad = torch.nan_to_num(free.grad)
        adam.step()
    return torch.sigmoid(free.detach())


def _noise(values: Any, family: Family, seed: int) -> Any:
    draw = generator(seed + 7)
    if family == "patch":
        return torch.rand(values.shape, generator=draw).to(values)
    noise = torch.randn(values.shape, generator=draw).to(values)
    return noise * (values.norm() / noise.norm())
