"""Text that comes from outside: read as YAML, printed on one line.

Box, instrument and courier each use it and it knows none of them. ``printed`` and ``entries`` need Python's
own library alone, so that the instrument and the program on a box may import them.
"""
