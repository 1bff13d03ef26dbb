"""The part that modules of learned numbers have in common: biases, and a block of numbers to be split."""

import textwrap
from typing import Any, Final

from numpy.typing import NDArray

WIDTH: Final = 105
"""Columns of a written file. Chosen for its line length."""


def block(weights: NDArray[Any], n_digits: int, width: int = WIDTH) -> str:
    """Numbers in lines, as ``str.split`` reads them."""
    return textwrap.fill(
        " ".join(f"{value:.{n_digits}g}" for value in weights.ravel()), width, break_on_hyphens=False
    )


def biases_and_numbers(biases: NDArray[Any], weights: NDArray[Any], n_digits: int) -> str:
    """``BIASES``, and the numbers of ``WEIGHTS`` as the string ``_NUMBERS``."""
    return (
        f"BIASES = np.array([{', '.join(f'{value:.6g}' for value in biases)}])\n"
        '"""Learned: measured on the training split."""\n'
        f'_NUMBERS = """\n{block(weights, n_digits)}\n"""\n'
    )
