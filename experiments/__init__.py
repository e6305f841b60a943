"""One file per claim; see `harness.experiment.Experiment` for what a file must provide."""

import pkgutil


def names() -> list[str]:
    """Names of the experiments: the modules of this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
