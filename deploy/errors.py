"""The courier's one error: a line that says the fault, the place and the remedy."""


class DeployError(Exception):
    """A fault a person can act on; the command line prints it and exits with 2."""
