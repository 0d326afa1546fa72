"""The modules of an example, which import each other by bare names, for as long as a test needs them."""

import importlib
import sys
from contextlib import contextmanager
from types import SimpleNamespace


@contextmanager
def loaded(folder, names):
    """The modules by name; what else was imported under their names comes back afterwards."""
    kept = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(folder))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(folder))
        for name, module in kept.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
