"""Number formats: sources that compute in fp16, bf16 or int8, made from a chain's portable fp32 segments."""

from etbac.formats.choice import FORMATS, formats_of
from etbac.formats.typed import typed

__all__ = ["FORMATS", "formats_of", "typed"]
