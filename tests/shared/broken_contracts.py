"""Which import contracts break on a wrong import: run in a copy of the tree, whose modules hold them all.

Reads ``{"MODULE": ["IMPORTED", …], …}`` on stdin, the imports that were written into the copy. Writes on
stdout the contracts broken without any of them (key "") and with each alone (key "MODULE IMPORTED"), as JSON.
"""

import copy
import json
import sys

import grimp
from importlinter import configuration
from importlinter.application.use_cases import _register_contract_types, read_user_options
from importlinter.domain.contract import registry


def main() -> None:
    """One graph of the copy; every wrong import is taken out of it and put back alone."""
    wrong: dict[str, list[str]] = json.load(sys.stdin)
    sys.path.insert(0, "")
    configuration.configure()
    options = read_user_options("pyproject.toml")
    _register_contract_types(options)
    first, *others = options.session_options["root_packages"]
    graph = grimp.build_graph(first, *others, include_external_packages=True, cache_dir=None)
    # In the graph a library is its top package.
    pairs = {
        f"{importer} {imported}": (
            importer,
            imported if imported in graph.modules else imported.split(".")[0],
        )
        for importer, several in wrong.items()
        for imported in several
    }
    for importer, imported in pairs.values():
        assert imported in graph.find_modules_directly_imported_by(importer), (importer, imported)
        graph.remove_import(importer=importer, imported=imported)

    def broken() -> list[str]:
        names = []
        for contract_options in options.contracts_options:
            kind = registry.get_contract_class(contract_options["type"])
            contract = kind(contract_options["name"], options.session_options, contract_options)
            if not contract.check(copy.deepcopy(graph), verbose=False).kept:
                names.append(contract_options["name"])
        return names

    answers = {"": broken()}
    for key, (importer, imported) in pairs.items():
        graph.add_import(importer=importer, imported=imported)
        answers[key] = broken()
        graph.remove_import(importer=importer, imported=imported)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
