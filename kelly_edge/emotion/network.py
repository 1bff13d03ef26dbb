"""The emotion network's port: 128 features in, 64 values out, once per hop group."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EmotionNetwork(Protocol):
    """A streaming network; the LSTM's state (h and c) is held by the adapter between steps."""

    def step(self, features: NDArray[np.float32], /) -> NDArray[np.float32]:
        """float32 ``[128]`` to float32 ``[64]``; the result may be overwritten by the next call."""
        ...

    def reset(self) -> None:
        """Zero state: the beginning of a stream."""
        ...
