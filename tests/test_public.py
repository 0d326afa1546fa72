"""The public names: which they are, that they work however edgepart was imported, and that each explains itself."""

import inspect
import pkgutil
from importlib import import_module

import pytest

import edgepart

FUNCTIONS = [
    "build", "capture", "choose_policy", "compare_runs", "evaluate", "exit_shares", "infer", "infer_all",
    "open_bundle", "partition", "profile", "record", "replay", "split",
]  # fmt: skip
CLASSES = [
    "Answers", "Boundary", "Bundle", "ChosenPolicy", "EdgepartError", "Graph", "Part", "Plan", "Profile", "Report",
    "Run", "RunsReport", "Trace",
]  # fmt: skip


def test_the_public_names_are_these():
    assert edgepart.__all__ == sorted([*FUNCTIONS, *CLASSES])
    assert set(edgepart.__all__) <= set(dir(edgepart))
    assert "__version__" in dir(edgepart)


@pytest.mark.parametrize("name", FUNCTIONS + CLASSES)
def test_a_public_name_explains_itself(name):
    public = getattr(edgepart, name)
    assert inspect.isfunction(public) if name in FUNCTIONS else inspect.isclass(public)
    assert public.__doc__
    if name in FUNCTIONS:
        signature = inspect.signature(public)
        untyped = [p for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty]
        assert not untyped
        assert signature.return_annotation is not inspect.Signature.empty


def test_each_name_is_defined_where_type_checkers_look():
    home = dict(edgepart._HOMES)
    assert list(home) == edgepart.__all__
    for name, package in home.items():
        assert getattr(import_module(package), name) is getattr(edgepart, name)


def test_names_survive_the_import_of_every_submodule():
    for module in pkgutil.walk_packages(edgepart.__path__, "edgepart."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    assert all(inspect.isfunction(getattr(edgepart, name)) for name in FUNCTIONS)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'partitoin'"):
        edgepart.partitoin  # noqa: B018


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert edgepart.__version__ == version("edgepart")
