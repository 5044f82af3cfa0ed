"""The process of one row: `python -m benchmarks.zoo.child NAME` prints the row as JSON on its last line."""

from __future__ import annotations

import json
import sys

from benchmarks.zoo.catalogue import BY_NAME
from benchmarks.zoo.row import measure

if __name__ == "__main__":
    print(json.dumps(measure(BY_NAME[sys.argv[1]]).to_json()))
