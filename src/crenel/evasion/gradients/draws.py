"""Random numbers that belong to a row: the same in any batch, any order, on any device."""

from __future__ import annotations

from typing import Any

from crenel.evasion.gradients.network import torch

_MASK64 = (1 << 64) - 1
#: Increment and multipliers of SplitMix64 (Steele, Lea and Flood, 2014).
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def row_keys(x: Any, seed: int) -> Any:
    """A key for each row, from its values and a seed.

    Parameters
    ----------
    x : tensor, shape (n, …)
    seed : int

    Returns
    -------
    tensor of int64, shape (n,)
    """
    bits = x.detach().to(torch.float32).flatten(1).contiguous().view(torch.int32).to(torch.int64)
    place = torch.arange(bits.shape[1], device=x.device, dtype=torch.int64)
    return _mixed(_mixed(bits * 0x10001 + place * _signed(_STEP)).sum(dim=1) + _signed(seed))


def following(keys: Any, count: int) -> Any:
    """Keys, shape (n * count,): shard k of a row's are the shards k to k + count - 1 of its own."""
    step = torch.arange(count, device=keys.device, dtype=torch.int64) * _signed(_FIRST)
    return (keys[:, None] + step[None]).flatten()


def uniform(keys: Any, count: int, shard: int) -> Any:
    """Numbers in [0, 1), shape (n, count), float32: a fresh set for each shard.

    Parameters
    ----------
    keys : tensor of int64, shape (n,)
        From `row_keys`.
    count, shard : int
    """
    place = torch.arange(1, count + 1, device=keys.device, dtype=torch.int64) * _signed(_STEP)
    own = _mixed(keys + _signed((shard + 1) * _FIRST))
    # 24 bits: what a float32 below one holds exactly
    return (_mixed(own[:, None] + place[None]) & 0xFFFFFF).to(torch.float32) / 0x1000000


def normal(keys: Any, count: int, shard: int) -> Any:
    """Standard normal numbers, shape (n, count), float32, by Box and Muller (1958)."""
    u = uniform(keys, 2 * count, shard)
    size = (-2 * torch.log1p(-u[:, :count])).sqrt()
    return size * torch.cos(2 * torch.pi * u[:, count:])


def _signed(value: int) -> int:
    """An unsigned 64-bit number as the signed one of the same bits."""
    value &= _MASK64
    return value - (1 << 64) if value >> 63 else value


def _mixed(z: Any) -> Any:
    """The finaliser of SplitMix64; int64 products wrap as it needs."""
    z = (z ^ _shifted(z, 30)) * _signed(_FIRST)
    z = (z ^ _shifted(z, 27)) * _signed(_SECOND)
    return z ^ _shifted(z, 31)


def _shifted(z: Any, by: int) -> Any:
    """A logical shift to the right; the tensor's own is arithmetic."""
    return (z >> by) & ((1 << (64 - by)) - 1)
