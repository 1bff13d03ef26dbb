"""Key profiles of Albrecht & Shanahan (2013): shares of the pitch classes by semitone above the tonic."""

from typing import Final

# Published figures of Albrecht & Shanahan, Music Perception 31(1), 2013.
MAJOR: Final = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
MINOR: Final = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)
