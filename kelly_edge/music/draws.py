"""The tokens drawn while a bar is composed: noted for the session log, and settled again in a replay."""

import numpy as np
from numpy.typing import NDArray


class Draws:
    """Notes each draw.

    Attributes
    ----------
    tokens: drawn since ``clear``, in order.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def clear(self) -> None:
        """Begin a new list."""
        self.tokens.clear()

    def settle(self, drawn: int, legal: NDArray[np.bool_]) -> int:
        """The token that counts where the network's probabilities gave ``drawn``: the same."""
        self.tokens.append(drawn)
        return drawn
