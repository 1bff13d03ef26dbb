"""What is inside a release, as CycloneDX 1.5: libraries and models, licences, training data.

It stands in the manifest, so that the signature covers it. Written by hand: the format's own library
describes the Python that runs it, and this is another machine's.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.box.manifest import PRODUCT, Layer
from deploy.errors import DeployError
from deploy.layers import model_name
from deploy.wheelhouse import Wheel

OWN_LICENCE: Final = "MIT"
MODEL: Final = "model-"
NON_COMMERCIAL: Final = re.compile(r"non-commercial|\bNC\b", re.IGNORECASE)


def bill_of_materials(
    layers: Sequence[Layer], version: str, wheels: Sequence[Wheel], models: Path
) -> dict[str, Any]:
    """The document.

    Parameters
    ----------
    wheels: what the libraries were made from.
    models: folder of the models' descriptions (``NAME.yaml``: licence and data).

    Raises
    ------
    DeployError: a model's description cannot be read.
    """
    described = _models(models)
    made_from = {wheel.name: wheel for wheel in wheels}
    components = [_component(layer, made_from.get(layer.name), described) for layer in layers]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "firmware", "name": PRODUCT, "version": version}},
        "components": sorted(components, key=lambda component: str(component["name"])),
    }


def _component(
    layer: Layer, wheel: Wheel | None, described: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library" if layer.into == "site-packages" else "data",
        "name": layer.name,
        "version": layer.version,
        "hashes": [{"alg": "SHA-256", "content": layer.source_sha256}],
    }
    if layer.checked_by == "size":
        component["purl"] = f"pkg:pypi/{layer.name}@{layer.version}"
        if wheel is not None:
            component["licenses"] = [{"expression": wheel.licence}]
            inside = [
                {"type": "library", "name": part.name, "licenses": [{"expression": part.licence}]}
                for part in wheel.parts
            ]
            component |= {"components": inside} if inside else {}
    elif model := described.get(layer.name.removeprefix(MODEL)) if layer.name.startswith(MODEL) else None:
        licence = str(model["licence"])
        component["type"] = "machine-learning-model"
        # A sentence, since its training data has licences of several kinds.
        component["licenses"] = [{"license": {"name": licence}}]
        is_free = NON_COMMERCIAL.search(licence) is None
        component["properties"] = [{"name": "kelly-edge:commercial-use", "value": "yes" if is_free else "no"}]
        datasets = [{"type": "dataset", "name": str(name)} for name in model["data"]]
        component["modelCard"] = {"modelParameters": {"datasets": datasets}}
    else:
        component["licenses"] = [{"expression": OWN_LICENCE}]
    return component


def _models(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Model, as its layer is named, → its description."""
    described: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            raise DeployError(f"cannot read {path}; restore it") from None
        if not isinstance(content, dict):
            raise DeployError(f"{path} describes no model; restore it")
        if "file" not in content:
            continue  # the list of models
        if not content.get("licence") or not isinstance(content.get("data"), list):
            raise DeployError(f"{path} says neither licence nor data; a model is shipped with both")
        described[model_name(path.relative_to(folder).as_posix())] = content
    return described
