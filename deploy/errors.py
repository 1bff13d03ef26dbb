"""The courier's one error: a line that says the fault, the place and the remedy."""

from kelly_edge.shared.printed import LONGEST_LINE, printed


class DeployError(Exception):
    """A fault a person can act on; the command line prints it and exits with 2.

    Its text is printable: what a box or a program said in it can neither begin a line nor colour one.
    """

    def __str__(self) -> str:
        return printed(super().__str__(), LONGEST_LINE)
