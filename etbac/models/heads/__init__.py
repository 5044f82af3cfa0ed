"""Exit heads: small networks that predict from a block's features. Registered by name, sized by the features' shape."""

from etbac.models.heads.base import Head, read_by
from etbac.models.heads.registry import build, by_rank, names, options_for

__all__ = ["Head", "build", "by_rank", "names", "options_for", "read_by"]
