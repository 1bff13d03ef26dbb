"""Under which licence a package may be passed on: an SPDX expression, from its own metadata.

Older packages say it in words. Words that mean one licence are translated; for the few packages that say too
little, the answer was read from the licence file in the package.
"""

from email.message import Message
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from deploy.errors import DeployError

WORDS: Final = {
    "MIT License": "MIT",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "PSF": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "unlicense.org": "Unlicense",
}
READ_FROM_FILE: Final = {
    "mpmath": "BSD-3-Clause",
    "numba": "BSD-2-Clause",
    "numpy": "BSD-3-Clause",
    "python-rtmidi": "MIT",
    "sympy": "BSD-3-Clause",
}
"""Package → licence, where the metadata says "BSD" or the licence's whole text."""


def licence_of(name: str, metadata: Message) -> str:
    """The SPDX expression of a package.

    Parameters
    ----------
    metadata: the wheel's ``METADATA``.

    Raises
    ------
    DeployError: it cannot be told.
    """
    said = [metadata.get("License-Expression", ""), READ_FROM_FILE.get(name, ""), metadata.get("License", "")]
    classifiers = metadata.get_all("Classifier", [])
    said += [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    for words in said:
        if words and "\n" not in words:
            try:
                return str(canonicalize_license_expression(WORDS.get(words, words)))
            except InvalidLicenseExpression:
                continue
    raise DeployError(f"{name}: its licence is not known; read it and add it to deploy/licences.py")
