"""What instrument, box, workshop and courier share, and that knows none of them.

Text from outside, read as YAML and printed on one line; what every command line does alike; the table of
boards. ``printed`` and ``entries`` need Python's own library alone, so that the instrument and the program on
a box may import them.
"""
