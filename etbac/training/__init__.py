"""Training a trunk and exits on it: `etbac.train`."""

from etbac.training.options import ExitOptions, RunOptions, TrunkOptions
from etbac.training.train import train

__all__ = ["ExitOptions", "RunOptions", "TrunkOptions", "train"]
