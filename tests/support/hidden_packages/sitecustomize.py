"""Python as it is without some packages: put this folder on PYTHONPATH and name them in $HIDDEN_PACKAGES.

`HIDDEN_PACKAGES="torch=torch pillow=PIL"` (distribution=module) leaves neither modules nor metadata to be found, in
this process and in those that it starts.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, PackageNotFoundError

HIDDEN = dict(pair.split("=") for pair in os.environ.get("HIDDEN_PACKAGES", "").split())
find_spec, from_name = PathFinder.find_spec, Distribution.from_name


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN.values() else find_spec(name, path, target)


def seen(name):
    if name in HIDDEN:
        raise PackageNotFoundError(name)
    return from_name(name)


sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
Distribution.from_name = staticmethod(seen)
