"""Export a small model to the graphs that :mod:`crocscore.graphs` runs without torch.

    python -m crocscore.graph_export runs/crocscore-tiny

Needs the packages ``onnx`` and those of the extra ``score``. The folder gets ``image.onnx``, ``text.onnx``
and ``graphs.json``. The graphs hold no weights, so they stay valid when the weights are trained further. They
have to be exported again when the architecture, the chat template or the image size change. Before it writes
anything, the command compares the scores of the graphs with those of torch.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from croc.errors import CrocError, InputError, MissingExtra, exit_status
from croc.scorers.dual_encoder import DualEncoder
from croc.scorers.vision_language import MARK
from croc.scorers.yes_no import YesNo
from croc.storage.files import atomic, read_json, sha256_of, write_json
from crocscore.graphs import (
    DESCRIPTION,
    FORMAT,
    IMAGE,
    TEXT,
    UNBOUND,
    WEIGHTS,
    GraphAnswers,
    GraphDualEncoder,
    architecture_digest,
    read_weights,
)

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference between a score of the graphs and one of torch."""

_PROMPTS = ("a red dog", "two blue cars to the left of three green trees", "Kitchen: no cat, 3 cups.")


def export(folder: str | Path) -> Path:
    """Write the graphs of a model into its folder.

    Args:
        folder: of a yes/no model whose prefix is its image alone, or of a dual encoder.

    Returns:
        The file that describes them.

    Raises:
        InputError: the model is of another kind.
        CrocError: the scores of the graphs differ from those of torch.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json", f"{folder} has no config.json: not a model", dict[str, Any])
    is_dual = "projection_dim" in config
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for file in folder.glob("*.*"):
            if file.suffix != ".onnx":
                shutil.copyfile(file, work / file.name)
        (_export_dual if is_dual else _export_yes_no)(work)
        _compare(work, is_dual)
        for made in (IMAGE, TEXT, DESCRIPTION):  # the description last: it makes the graphs valid
            with atomic(folder / made) as temporary:
                shutil.copyfile(work / made, temporary)
    return folder / DESCRIPTION


def _export_yes_no(folder: Path) -> None:
    """Write the graphs of a yes/no model."""
    import torch

    scorer = YesNo(folder, device="cpu", dtype="float32")
    model = scorer.checkpoint.model
    side = scorer.checkpoint.processor.image_processor.size
    pixels = torch.rand(2, 3, side["height"], side["width"])
    _, prefixes = scorer._read_images([Image.new("RGB", (32, 32))])
    if set(prefixes[0]) != {model.config.image_token_id}:
        raise InputError(f"{folder}: the chat template has text before the image, which a graph cannot have")
    model.set_attn_implementation("eager")
    language: Any = model.model.language_model
    embedding, prefix = language.embed_tokens, len(prefixes[0])

    class Read(torch.nn.Module):
        """Pixels → keys and values of the image, and its features."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model.model

        def forward(self, pixel_values: Any) -> tuple[Any, Any]:
            features = self.model.get_image_features(pixel_values, return_dict=True).pooler_output
            mask = _causal(features.shape[1], features.shape[1])
            cache = self.model.language_model(
                inputs_embeds=features, attention_mask=mask, use_cache=True
            ).past_key_values
            states = [torch.stack([layer.keys, layer.values], 1) for layer in cache.layers]
            return torch.stack(states, 1), features

    class Answer(torch.nn.Module):
        """Keys and values of images, and the ids that follow → logits behind the last of them."""

        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.ModuleDict({"language_model": language})

        def forward(self, states: Any, owner: Any, ids: Any, last: Any) -> Any:
            from transformers import DynamicCache

            states = states[owner]
            cache = DynamicCache()
            for number in range(states.shape[1]):
                cache.update(states[:, number, 0], states[:, number, 1], number)
            hidden = self.model["language_model"](
                input_ids=ids,
                attention_mask=_causal(ids.shape[1], prefix + ids.shape[1]),
                position_ids=(prefix + torch.arange(ids.shape[1]))[None],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            chosen = hidden[torch.arange(ids.shape[0]), last]
            return chosen @ embedding.weight.T

    def _causal(queries: Any, keys: Any) -> Any:
        """What a position may not see: (1, 1, queries, keys), to be added to the attention."""
        seen = torch.arange(keys)[None, :] <= torch.arange(queries)[:, None] + (keys - queries)
        return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]

    with torch.inference_mode():
        states, features = Read()(pixels)
    if features.shape[1] != prefix or not model.config.get_text_config().tie_word_embeddings:
        raise InputError(f"{folder}: not an architecture that can be exported to graphs")
    ids = torch.randint(4, 100, (3, 7))
    answer_inputs = {
        "states": states,
        "owner": torch.tensor([0, 0, 1]),
        "ids": ids,
        "last": torch.tensor([6, 4, 5]),
    }
    graphs = {
        IMAGE: _graph(
            Read(), {"pixel_values": pixels}, ("states", "features"), {"pixel_values": {0: "images"}}
        ),
        TEXT: _graph(
            Answer(),
            answer_inputs,
            ("logits",),
            {
                "states": {0: "images"},
                "owner": {0: "rows"},
                "ids": {0: "rows", 1: "tokens"},
                "last": {0: "rows"},
            },
        ),
    }
    _write(folder, graphs, turn=scorer._rendered().replace(MARK, "{question}"), prefix=prefix)


def _export_dual(folder: Path) -> None:
    """Write the graphs of a dual encoder."""
    import torch

    scorer = DualEncoder(folder, device="cpu")
    model = scorer.checkpoint.model
    model.set_attn_implementation("eager")
    size = scorer.checkpoint.processor.image_processor.size

    class ReadImage(torch.nn.Module):
        """Pixels → unit vectors of images."""

        def __init__(self) -> None:
            super().__init__()
            self.vision_model, self.visual_projection = model.vision_model, model.visual_projection

        def forward(self, pixel_values: Any) -> Any:
            pooled = self.vision_model(pixel_values=pixel_values, return_dict=True).pooler_output
            vectors = self.visual_projection(pooled)
            return vectors / vectors.norm(dim=-1, keepdim=True)

    class ReadText(torch.nn.Module):
        """Ids, right-padded → unit vectors of texts."""

        def __init__(self) -> None:
            super().__init__()
            self.text_model, self.text_projection = model.text_model, model.text_projection

        def forward(self, ids: Any, last: Any) -> Any:
            text = self.text_model
            length = ids.shape[1]
            seen = torch.arange(length)[None, :] <= torch.arange(length)[:, None]
            mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]
            hidden = text.embeddings(input_ids=ids)
            hidden = text.encoder(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
            hidden = text.final_layer_norm(hidden)
            vectors = self.text_projection(hidden[torch.arange(ids.shape[0]), last])
            return vectors / vectors.norm(dim=-1, keepdim=True)

    pixels = torch.rand(2, 3, size["height"], size["width"])
    ids = torch.randint(4, 100, (3, 7))
    graphs = {
        IMAGE: _graph(ReadImage(), {"pixel_values": pixels}, ("vectors",), {"pixel_values": {0: "images"}}),
        TEXT: _graph(
            ReadText(),
            {"ids": ids, "last": torch.tensor([6, 4, 5])},
            ("vectors",),
            {"ids": {0: "rows", 1: "tokens"}, "last": {0: "rows"}},
        ),
    }
    _write(folder, graphs, turn=None, prefix=0)


def _graph(
    module: Any, inputs: dict[str, Any], outputs: Sequence[str], axes: dict[str, dict[int, str]]
) -> Any:
    """The ONNX graph of a module."""
    import torch

    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("exporting graphs", "dev") from error
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about this exporter's age, and what it traced as a constant
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            file := Path(folder) / IMAGE,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={**axes, **{name: {0: "out"} for name in outputs}},
            opset_version=OPSET,
            do_constant_folding=False,  # it would store a second copy of weights, transposed
            dynamo=False,
        )
        return onnx.load(file)


def _write(folder: Path, graphs: dict[str, Any], *, turn: str | None, prefix: int) -> None:
    """Write graphs without their weights, and their description."""
    import onnx

    weights = read_weights(folder / WEIGHTS)
    description: dict[str, Any] = {
        "format": FORMAT,
        "architecture": architecture_digest(folder),
        "turn": turn,
        "prefix": prefix,
        "graphs": {},
    }
    for name, graph in graphs.items():
        needed = {}
        for tensor in graph.graph.initializer:
            key = (
                tensor.name
                if tensor.name in weights
                else tensor.name.replace("vision_model.model.", "vision_model.")
            )
            if key not in weights:
                raise InputError(f"{folder / WEIGHTS} has no weight {key}")
            values = onnx.numpy_helper.to_array(tensor)
            if not np.array_equal(values, weights[key]):
                raise CrocError(f"the weight {key} of the graph is not that of {folder / WEIGHTS}")
            _rename(graph.graph, tensor.name, key)
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
            tensor.name, tensor.data_location = key, onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=UNBOUND)
            needed[key] = list(values.shape)
        graph.doc_string = graph.producer_version = ""
        (folder / name).write_bytes(graph.SerializeToString(deterministic=True))
        description["graphs"][name] = {
            "sha256": sha256_of(folder / name),
            "weights": dict(sorted(needed.items())),
        }
    write_json(folder / DESCRIPTION, description)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for number, name in enumerate(node.input):
            if name == old:
                node.input[number] = new


def _compare(folder: Path, is_dual: bool) -> None:
    """Require that graphs and torch score the same."""
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)) for _ in range(len(_PROMPTS))
    ]
    if is_dual:
        scores = [
            kind(folder, device="cpu").score(images, _PROMPTS) for kind in (DualEncoder, GraphDualEncoder)
        ]
    else:

        class GraphYesNo(GraphAnswers, YesNo):
            pass

        scores = [kind(folder, device="cpu").score(images, _PROMPTS) for kind in (YesNo, GraphYesNo)]
    difference = float(np.abs(scores[0] - scores[1]).max())
    if not difference <= TOLERANCE:
        raise CrocError(f"the scores of the graphs differ from those of torch by {difference:.2g}")


@exit_status
def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    from croc.cli.output import echo

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folder of a model")
    for folder in parser.parse_args(arguments).folders:
        echo(f"wrote {export(folder)}")


if __name__ == "__main__":
    sys.exit(main())
