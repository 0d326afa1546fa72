"""Run by .ci/wheel-check in an environment that has only the wheel: everything it should carry is there and loads."""

import sys
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path

import edgepart
from edgepart import plugins
from edgepart.exits.template import load_template, templates
from edgepart.hardware import catalogue

checkout = Path(sys.argv[1])
package = Path(edgepart.__file__).resolve().parent
assert checkout not in package.parents, f"edgepart is imported from the checkout ({package})"
assert find_spec("torch") is None, "this environment should hold the base dependencies only"

carried = {str(path) for path in files("edgepart") or ()}
needed = ["py.typed", *(f"_data/{path.relative_to(checkout)}" for path in (checkout / "templates").rglob("*.j2"))]
needed += [f"_data/{path.relative_to(checkout)}" for path in (checkout / "profiles").rglob("*.yaml")]
needed += ["_data/examples/digits/model.py"]
missing = [name for name in needed if f"edgepart/{name}" not in carried]
assert not missing, f"the wheel lacks {missing}"
assert any(name.endswith("licenses/LICENSE") for name in carried), "the wheel lacks the licence"

loaders = {
    "devices": (catalogue.devices, catalogue.device),
    "links": (catalogue.links, catalogue.link),
    "prices": (catalogue.prices, catalogue.price),
    "templates for torch": (lambda: templates("torch"), lambda name: load_template(name, "torch")),
    "templates for keras": (lambda: templates("keras"), lambda name: load_template(name, "keras")),
}
for what, (listing, load) in loaders.items():
    for path in listing().values():
        assert package in path.parents, f"{path} is not the wheel's"
    loaded = [load(name) for name in listing()]
    assert loaded, f"there are no {what}"
    print(f"{len(loaded)} {what} load")

for family in plugins.GROUPS:
    for name in plugins.names(family):
        plugins.load(family, name)
    print(f"{family}: {', '.join(plugins.names(family))} load")
