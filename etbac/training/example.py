"""Two samples that a run looks at before it trains anything: does the model take and answer what the data hold?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from etbac.errors import EtbacError, UsageError, one_line
from etbac.models import tasks
from etbac.models.capture import evaluating, prediction_of
from etbac.preprocessing import TextPreprocessing
from etbac.training.batches import read
from etbac.training.begin import Begin, Data

HINT = {
    "text": "; is the tokenizer the model's own, and max_length no more than it takes (--preprocess max_length=…)?",
    "speech": "; has the model the data's rate and length (--preprocess rate=… and length=…)?",
}
SIZES = "; does the model take pictures of this size (--preprocess height=… and width=…)?"


def example_inputs(begin: Begin) -> dict[str, Tensor]:
    """The inputs of two samples of the training set, by name.

    Raises UsageError where the model fails on them or answers another number of classes or joints than the data have,
    UnsupportedModelError where its answer is not of the task's kind.
    """
    inputs, _ = next(read(begin.data.of("train"), [np.arange(2)]))
    _refuse_unknown_tokens(begin.trunk, begin.data)
    prediction = _answer(begin, inputs)
    tasks.get(begin.task).check(prediction, inputs)
    wanted, found = begin.data.answers, prediction.shape[1]
    if wanted is not None and (found < wanted or (found > wanted and not begin.data.opened.class_names)):
        names = begin.data.opened.class_names
        what = f"classes ({', '.join(names[:3])} …)" if names else "joints" if begin.task == "pose" else "number"
        raise UsageError(
            f"the model answers {found} values a sample{', or place in it,' if prediction.ndim == 4 else ''} and the "
            f"data have {wanted} {what}: make it with as many answers (--model-options, or in its factory)"
        )
    return inputs


def _answer(begin: Begin, inputs: Mapping[str, Tensor]) -> Tensor:
    try:
        with evaluating(begin.trunk):
            return prediction_of(begin.trunk(**inputs))
    except EtbacError:
        raise
    except Exception as error:
        kinds = (f"{name} {str(value.dtype)[6:]} {list(value.shape)}" for name, value in inputs.items())
        raise UsageError(
            f"the model ({type(begin.trunk).__name__}) fails on the data's first samples, {', '.join(kinds)} "
            f"({type(error).__name__}: {one_line(error)[:200]}){HINT.get(begin.task, SIZES)}"
        ) from error


def _refuse_unknown_tokens(trunk: nn.Module, data: Data) -> None:
    """UsageError where a tokenizer's last tokens are none of the model's, which would fail when one of them comes."""
    form, embedding = data.opened.preprocessing, getattr(trunk, "get_input_embeddings", lambda: None)
    if not isinstance(form, TextPreprocessing):
        return
    known = getattr(embedding(), "num_embeddings", None)
    if known is not None and known < form.tokens:
        raise UsageError(
            f"the tokenizer has {form.tokens:,} tokens and the model {known:,}: name the model's own tokenizer "
            "(--preprocess tokenizer=…), or make the model with as many (vocab_size in its configuration)"
        )
