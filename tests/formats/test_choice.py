from __future__ import annotations

import pytest

from etbac.errors import UsageError
from etbac.formats import FORMATS, formats_of

CHAIN = (3, 7, 12, 0)


@pytest.mark.parametrize("dtype", FORMATS)
def test_without_keep_every_segment_has_the_format(dtype):
    assert formats_of(dtype, None, CHAIN) == (dtype,) * 4


def test_named_exits_and_last_stay_in_fp32():
    assert formats_of("int8", "3,last", CHAIN) == ("fp32", "int8", "int8", "fp32")


@pytest.mark.parametrize(
    ("dtype", "keep", "says"),
    [
        ("int4", None, "int4"),
        ("int8", "4", "no exit 4; it has exits 3, 7, 12"),
        ("int8", "first", "'first' is neither"),
        ("int8", "3,", "'' is neither"),
        ("int8", "0", "no exit 0"),
        ("fp32", "3", "fp32 already"),
    ],
)
def test_what_there_is_not_is_refused_by_name(dtype, keep, says):
    with pytest.raises(UsageError, match=says):
        formats_of(dtype, keep, CHAIN)
