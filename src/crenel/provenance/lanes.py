"""The compiled rounds of SHA-256, 64 messages side by side.

Everything lives in one flat array of 32-bit words, at distances that are known when the code is
compiled: only then does the compiler see that the lanes do not meet, and use vector registers.
``z`` holds, 64 lanes each, the state (0 to 7), the message's words (8 to 23) and the working
variables (24 to 31).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Words = NDArray[np.uint32]

LANES = 64

_PRIMES = [p for p in range(2, 312) if all(p % q for q in range(2, p))]


def _fractions(roots: NDArray[np.float64]) -> Words:
    """The first 32 bits of the fractional parts."""
    return (np.mod(roots, 1.0) * 2.0**32).astype(np.uint32)


#: Of the cube roots of the first 64 primes, and of the square roots of the first 8.
CONSTANTS = _fractions(np.cbrt(np.array(_PRIMES, dtype=np.float64)))
START = _fractions(np.sqrt(np.array(_PRIMES[:8], dtype=np.float64)))

u4 = np.uint32


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def rotated(x: int, n: int) -> Any:
    """A 32-bit word rotated right by n bits."""
    return u4(u4(x >> u4(n)) | u4(x << u4(32 - n)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def turned(
    a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, constant: int, word: int
) -> tuple[Any, Any]:
    """One round: what becomes of d and of h; the other variables change their names only."""
    # sums of 32-bit words are 64 bits wide for the compiler, hence the many casts
    s1 = u4(rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25))
    t1 = u4(u4(u4(h + s1) + u4(g ^ (e & (f ^ g)))) + u4(constant + word))
    t2 = u4(u4(rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + u4((a & b) | (c & (a | b))))
    return u4(d + t1), u4(t1 + t2)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def next_word(before16: int, before15: int, before7: int, before2: int) -> Any:
    """A word of the message schedule from four earlier ones."""
    s0 = u4(rotated(before15, 7) ^ rotated(before15, 18) ^ (before15 >> u4(3)))
    s1 = u4(rotated(before2, 17) ^ rotated(before2, 19) ^ (before2 >> u4(10)))
    return u4(u4(before16 + s0) + u4(before7 + s1))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def schedule(z: Words) -> None:
    """Put the next sixteen words of the message schedule in place of the last sixteen."""
    for i in range(LANES):
        z[8 * LANES + i] = next_word(
            z[8 * LANES + i], z[9 * LANES + i], z[17 * LANES + i], z[22 * LANES + i]
        )
        z[9 * LANES + i] = next_word(
            z[9 * LANES + i], z[10 * LANES + i], z[18 * LANES + i], z[23 * LANES + i]
        )
        z[10 * LANES + i] = next_word(
            z[10 * LANES + i], z[11 * LANES + i], z[19 * LANES + i], z[8 * LANES + i]
        )
        z[11 * LANES + i] = next_word(
            z[11 * LANES + i], z[12 * LANES + i], z[20 * LANES + i], z[9 * LANES + i]
        )
        z[12 * LANES + i] = next_word(
            z[12 * LANES + i], z[13 * LANES + i], z[21 * LANES + i], z[10 * LANES + i]
        )
        z[13 * LANES + i] = next_word(
            z[13 * LANES + i], z[14 * LANES + i], z[22 * LANES + i], z[11 * LANES + i]
        )
        z[14 * LANES + i] = next_word(
            z[14 * LANES + i], z[15 * LANES + i], z[23 * LANES + i], z[12 * LANES + i]
        )
        z[15 * LANES + i] = next_word(
            z[15 * LANES + i], z[16 * LANES + i], z[8 * LANES + i], z[13 * LANES + i]
        )
        z[16 * LANES + i] = next_word(
            z[16 * LANES + i], z[17 * LANES + i], z[9 * LANES + i], z[14 * LANES + i]
        )
        z[17 * LANES + i] = next_word(
            z[17 * LANES + i], z[18 * LANES + i], z[10 * LANES + i], z[15 * LANES + i]
        )
        z[18 * LANES + i] = next_word(
            z[18 * LANES + i], z[19 * LANES + i], z[11 * LANES + i], z[16 * LANES + i]
        )
        z[19 * LANES + i] = next_word(
            z[19 * LANES + i], z[20 * LANES + i], z[12 * LANES + i], z[17 * LANES + i]
        )
        z[20 * LANES + i] = next_word(
            z[20 * LANES + i], z[21 * LANES + i], z[13 * LANES + i], z[18 * LANES + i]
        )
        z[21 * LANES + i] = next_word(
            z[21 * LANES + i], z[22 * LANES + i], z[14 * LANES + i], z[19 * LANES + i]
        )
        z[22 * LANES + i] = next_word(
            z[22 * LANES + i], z[23 * LANES + i], z[15 * LANES + i], z[20 * LANES + i]
        )
        z[23 * LANES + i] = next_word(
            z[23 * LANES + i], z[8 * LANES + i], z[16 * LANES + i], z[21 * LANES + i]
        )


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def sixteen_rounds(z: Words, k: Words, at: int) -> None:
    """Turn the working variables sixteen times, with the words in z and the constants from k."""
    for i in range(LANES):
        a, b = z[24 * LANES + i], z[25 * LANES + i]
        c, d = z[26 * LANES + i], z[27 * LANES + i]
        e, f = z[28 * LANES + i], z[29 * LANES + i]
        g, h = z[30 * LANES + i], z[31 * LANES + i]
        d, h = turned(a, b, c, d, e, f, g, h, k[at + 0], z[8 * LANES + i])
        c, g = turned(h, a, b, c, d, e, f, g, k[at + 1], z[9 * LANES + i])
        b, f = turned(g, h, a, b, c, d, e, f, k[at + 2], z[10 * LANES + i])
        a, e = turned(f, g, h, a, b, c, d, e, k[at + 3], z[11 * LANES + i])
        h, d = turned(e, f, g, h, a, b, c, d, k[at + 4], z[12 * LANES + i])
        g, c = turned(d, e, f, g, h, a, b, c, k[at + 5], z[13 * LANES + i])
        f, b = turned(c, d, e, f, g, h, a, b, k[at + 6], z[14 * LANES + i])
        e, a = turned(b, c, d, e, f, g, h, a, k[at + 7], z[15 * LANES + i])
        d, h = turned(a, b, c, d, e, f, g, h, k[at + 8], z[16 * LANES + i])
        c, g = turned(h, a, b, c, d, e, f, g, k[at + 9], z[17 * LANES + i])
        b, f = turned(g, h, a, b, c, d, e, f, k[at + 10], z[18 * LANES + i])
        a, e = turned(f, g, h, a, b, c, d, e, k[at + 11], z[19 * LANES + i])
        h, d = turned(e, f, g, h, a, b, c, d, k[at + 12], z[20 * LANES + i])
        g, c = turned(d, e, f, g, h, a, b, c, k[at + 13], z[21 * LANES + i])
        f, b = turned(c, d, e, f, g, h, a, b, k[at + 14], z[22 * LANES + i])
        e, a = turned(b, c, d, e, f, g, h, a, k[at + 15], z[23 * LANES + i])
        z[24 * LANES + i], z[25 * LANES + i] = a, b
        z[26 * LANES + i], z[27 * LANES + i] = c, d
        z[28 * LANES + i], z[29 * LANES + i] = e, f
        z[30 * LANES + i], z[31 * LANES + i] = g, h


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def compress(z: Words, k: Words) -> None:
    """Take one block of 64 bytes into the state of each lane."""
    for i in range(8 * LANES):
        z[24 * LANES + i] = z[i]
    sixteen_rounds(z, k, 0)
    for at in range(16, 64, 16):
        schedule(z)
        sixteen_rounds(z, k, at)
    for i in range(8 * LANES):
        z[i] += z[24 * LANES + i]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def word_of(message: NDArray[np.uint8], at: int, last: bool) -> Any:
    """Four bytes of the padded message as a word; ``last``: the word that holds its length."""
    width = len(message)
    if last:
        return u4(8 * width)
    if at + 4 <= width:
        high = u4(u4(message[at]) << u4(24)) | u4(u4(message[at + 1]) << u4(16))
        return u4(high | u4(u4(message[at + 2]) << u4(8)) | u4(message[at + 3]))
    word = u4(0)
    for j in range(at, at + 4):
        byte = u4(0)
        if j < width:
            byte = u4(message[j])
        elif j == width:
            byte = u4(0x80)
        word = u4(u4(word << u4(8)) | byte)
    return word


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def hashed(messages: NDArray[np.uint8], k: Words, start: Words, out: NDArray[np.uint8]) -> None:
    """SHA-256 of each row of ``messages`` (n, width) into ``out`` (n, 32)."""
    n, width = messages.shape
    blocks = (width + 9 + 63) // 64
    z = np.zeros(32 * LANES, np.uint32)
    for first in range(0, n, LANES):
        count = min(LANES, n - first)
        for i in range(8 * LANES):
            z[i] = start[i // LANES]
        for block in range(blocks):
            for i in range(count):
                for j in range(16):
                    last = j == 15 and block == blocks - 1
                    z[(8 + j) * LANES + i] = word_of(messages[first + i], 64 * block + 4 * j, last)
            compress(z, k)
        for i in range(count):
            for j in range(32):
                out[first + i, j] = z[(j // 4) * LANES + i] >> u4(24 - 8 * (j % 4))


def digest_lanes(messages: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """SHA-256 of each row of ``messages`` (n, width), C-contiguous, into ``out`` (n, 32)."""
    hashed(messages, CONSTANTS, START, out)
