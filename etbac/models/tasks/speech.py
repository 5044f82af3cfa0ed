"""One class for each recording."""

from __future__ import annotations

from etbac.models.tasks.classification import Classification


class Speech(Classification):
    """The full model answers logits [B, classes] to waveforms; targets are classes int64 [B]."""

    name = "speech"
