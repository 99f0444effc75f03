"""The small models without torch: ONNX graphs, run by onnxruntime on the weights of the folder.

A folder of a model may hold two graphs, ``image.onnx`` and ``text.onnx``, and ``graphs.json``, which
describes them; ``python -m crocscore.graph_export`` writes the three files. The graphs hold no weights: those
are read from ``model.safetensors``, converted to float32 and bound by their names. Graphs that were exported
for another architecture, or that need weights which the folder lacks, are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling
from pydantic import Field
from typing_extensions import TypedDict

from croc.checks.decoding import to_rgb
from croc.errors import InputError
from croc.scorers.dual_encoder import DualEncoder
from croc.scorers.fingerprints import folder_fingerprint
from croc.scorers.loading import Checkpoint, in_batches, require_options
from croc.scorers.pairs import require_prompts
from croc.scorers.tokenizer_files import NAME as TOKENIZER
from croc.scorers.tokenizer_files import check_tokenizer
from croc.scorers.vision_language import MARK, VisionLanguageScorer
from croc.storage.files import digest_of, read_json, sha256_of
from croc.storage.text_files import parse_json, require_kind

DESCRIPTION = "graphs.json"
IMAGE, TEXT = "image.onnx", "text.onnx"
WEIGHTS = "model.safetensors"
RUNTIME = "onnx"
RUNTIMES = (RUNTIME, "torch")

FORMAT = 1
UNBOUND = "bound-by-name"
"""File that a graph names for its weights. There is none, so that a weight that was not bound is an error."""

_LARGEST_HEADER = 16 * 2**20
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}

Array = NDArray[np.float32]


class GraphFile(TypedDict):
    """A graph: the SHA-256 of its file, and the shape of each weight that it needs."""

    sha256: str
    weights: dict[str, list[int]]


class GraphDescription(TypedDict):
    """What :data:`DESCRIPTION` says.

    ``architecture`` is :func:`architecture_digest` of the folder, ``turn`` the text of a turn with
    ``{question}`` in it (null for a dual encoder), ``prefix`` the number of tokens of an image.
    """

    format: int
    architecture: str
    turn: str | None
    prefix: int
    graphs: dict[str, GraphFile]


def has_graphs(folder: str | Path) -> bool:
    """Whether a folder of a model has graphs."""
    return (Path(folder) / DESCRIPTION).is_file()


def choose_runtime(model: Any, runtime: str | None, options: Mapping[str, Any]) -> str:
    """What runs a model: ``onnx`` or ``torch``.

    Args:
        model: folder, Hub id or loaded model.
        runtime: the given one; None takes ``onnx`` for a folder with graphs, on the CPU in float32, whether
            torch is installed or not.
        options: of the scorer; None stands for an option that is not given.

    Raises:
        InputError: there is no such runtime, or no graphs for it.
    """
    if runtime not in (None, *RUNTIMES):
        raise InputError(f"runtime {runtime!r} is unknown: use one of {', '.join(RUNTIMES)}")
    found = isinstance(model, str | Path) and has_graphs(model)
    if runtime == RUNTIME and not found:
        raise InputError(
            f"{model} has no graphs: use runtime=torch, or python -m crocscore.graph_export FOLDER"
        )
    if runtime is None:
        needs_torch = any(_needs_torch(name, value) for name, value in options.items())
        return RUNTIME if found and not needs_torch else "torch"
    return runtime


def require_graph_options(options: Mapping[str, Any]) -> None:
    """Require options that graphs have.

    Raises:
        InputError: one needs torch.
    """
    for name, value in options.items():
        if _needs_torch(name, value):
            raise InputError(f"{name}={value!r} needs runtime=torch: graphs run on the CPU in float32")


def _needs_torch(name: str, value: Any) -> bool:
    """Whether graphs lack an option, or have it with another value only."""
    if not value or name == "auto":
        return False
    allowed = {"device": "cpu", "dtype": "float32"}
    if name in allowed:
        return bool(value != allowed[name])
    return (
        name == "system" or name in signature(Checkpoint).parameters or (name, value) == ("formula", "logit")
    )


def architecture_digest(folder: Path) -> str:
    """A digest of all that a graph depends on, except for the weights: layers, template, image size."""
    config = read_json(folder / "config.json", "no config.json: not the folder of a model", dict[str, Any])
    kept = {
        key: value for key, value in config.items() if key not in ("croc", "transformers_version", "dtype")
    }
    template = folder / "chat_template.jinja"
    return digest_of(
        {
            "config": kept,
            "processor": read_json(
                folder / "processor_config.json", "no processor_config.json", dict[str, Any]
            ),
            "template": template.read_text("utf-8") if template.is_file() else None,
        },
        "architecture",
    )


class GraphCheckpoint:
    """The graphs of a folder with its tokenizer and settings; stands for a checkpoint of transformers.

    Args:
        model: folder with :data:`DESCRIPTION`.
        options: those of :class:`~croc.scorers.loading.Checkpoint`, of which only ``device="cpu"`` and
            ``dtype="float32"`` are possible; ``auto`` is ignored.

    Raises:
        InputError: another option is given, or the graphs do not fit the folder.
    """

    is_spread = False
    is_local = True

    def __init__(self, model: str | Path, **options: Any) -> None:
        require_options(options)
        require_graph_options(options)
        self.folder = self.source = Path(model)
        self.name = self.folder.name
        self.processor_options: dict[str, Any] = {}
        self.description = _description(self.folder)

    def fields(self) -> dict[str, str]:
        """The checkpoint's part of a scorer's fields."""
        return {
            "model": self.name,
            "revision": f"local:{folder_fingerprint(self.folder)}",
            "runtime": f"onnxruntime {version('onnxruntime')}",
            "dtype": "float32",
            "image_processor": "pil",
            "pillow": version("pillow"),
        }

    @cached_property
    def model(self) -> Any:
        """An object with the configuration of the model; its layers are in the graphs."""
        return SimpleNamespace(
            config=_Config(read_json(self.folder / "config.json", "no config.json", dict[str, Any]))
        )

    @cached_property
    def processor(self) -> Any:
        """An object with the tokenizer."""
        return SimpleNamespace(tokenizer=FileTokenizer(self.folder))

    def run(self, name: str, inputs: Mapping[str, Any]) -> list[Array]:
        """The outputs of a graph."""
        session = self._image if name == IMAGE else self._text
        return list(session.run(None, dict(inputs)))

    @cached_property
    def _image(self) -> Any:
        return self._session(IMAGE)

    @cached_property
    def _text(self) -> Any:
        return self._session(TEXT)

    @cached_property
    def _weights(self) -> dict[str, Array]:
        return read_weights(self.folder / WEIGHTS)

    def _session(self, name: str) -> Any:
        import onnxruntime as runtime

        graph, file = self.description["graphs"][name], self.folder / name
        if not file.is_file() or sha256_of(file) != graph["sha256"]:
            raise InputError(f"{file} is not the graph that {DESCRIPTION} describes: {_again(self.folder)}")
        for weight, shape in graph["weights"].items():
            found = self._weights.get(weight)
            if found is None or list(found.shape) != shape:
                has = "lacks" if found is None else f"has the shape {list(found.shape)} of"
                raise InputError(
                    f"{self.folder / WEIGHTS} {has} the weight {weight}, which {name} needs as {shape}: "
                    f"{_again(self.folder)}"
                )
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        names = list(graph["weights"])
        # Without a copy: the session reads the arrays, which this object keeps.
        values = [runtime.OrtValue.ortvalue_from_numpy(self._weights[weight]) for weight in names]
        options.add_external_initializers(names, values)
        try:
            session = runtime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has many classes of errors for a damaged graph
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{file}: cannot be loaded ({reason}): {_again(self.folder)}") from None
        return session

    def prepared(self, image: Image) -> dict[str, Any]:
        """The pixels of an image: float32 (1, 3, height, width)."""
        return {"pixel_values": self.pixel_values([image])}

    def joined(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Several outputs of :meth:`prepared` in one batch."""
        return {"pixel_values": np.concatenate([item["pixel_values"] for item in items])}

    def pixels(self, images: Sequence[Image]) -> dict[str, Any]:
        """The pixels of images: float32 (n, 3, height, width)."""
        return {"pixel_values": self.pixel_values(images)}

    def pixel_values(self, images: Sequence[Image]) -> Array:
        """Resize, rescale and normalise images as the processor's settings say."""
        settings = self._pixel_settings
        rows = []
        for image in images:
            resized = to_rgb(image).resize(settings.size, settings.resample)
            rows.append(np.asarray(resized, dtype=np.float32))
        values = np.stack(rows).transpose(0, 3, 1, 2) * settings.scale
        return np.ascontiguousarray((values - settings.mean) / settings.std, dtype=np.float32)

    @cached_property
    def _pixel_settings(self) -> Any:
        file = self.folder / "processor_config.json"
        found = read_json(file, "no processor_config.json", dict[str, Any])["image_processor"]
        return pixel_settings(found, str(file))


def pixel_settings(found: Mapping[str, Any], where: str) -> Any:
    """Size, filter, scale, mean and standard deviation of an image processor.

    Raises:
        InputError: it does something else than to resize, to rescale and to normalise.
    """
    steps = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_center_crop": False}
    for name, value in steps.items():
        if found.get(name, False) is not value:
            raise InputError(f"{where}: {name} must be {str(value).lower()} for a graph")
    size, mean, std = found["size"], found["image_mean"], found["image_std"]
    return SimpleNamespace(
        size=(int(size["width"]), int(size["height"])),
        resample=Resampling(int(found["resample"])),
        scale=np.float32(found["rescale_factor"]),
        mean=np.asarray(mean, dtype=np.float32)[:, None, None],
        std=np.asarray(std, dtype=np.float32)[:, None, None],
    )


class GraphAnswers(VisionLanguageScorer):
    """The part of a yes/no scorer that computes logits, with graphs in place of a model of transformers.

    The image graph computes the keys and values of an image once; the text graph continues them with each of
    its prompts.
    """

    checkpoint_class = GraphCheckpoint

    def __init__(self, model: str | Path, **options: Any) -> None:
        require_graph_options(options)
        super().__init__(model, **options)

    def logits(self, images: Sequence[Image], prompts: Sequence[str]) -> Array:
        """The logits of the first answer token: float32 (n, vocabulary)."""
        states, _ = self._read(images)
        return self._answer(states, list(range(len(images))), [self._suffix(prompt) for prompt in prompts])

    def answer_prompts(self, image: Image, prompts: Sequence[str]) -> tuple[NDArray[np.float64], Array]:
        """The scores of an image with prompts, float64 (n,), and its features; it is encoded once."""
        require_prompts(prompts)
        states, features = self._read([image])
        return self._from_states(states, [0] * len(prompts), prompts), features

    def image_features(self, images: Sequence[Image]) -> Array:
        """What the language model reads of images: float32 (n, tokens, width)."""
        batches = in_batches(len(images), self.batch_size)
        return np.concatenate([self._read(images[batch])[1] for batch in batches])

    def _from_prefixes(
        self, images: Sequence[Image], prompts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        states, _ = self._read(images)
        owner = [i for i, texts in enumerate(prompts) for _ in texts]
        scores = self._from_states(states, owner, [prompt for texts in prompts for prompt in texts])
        return np.split(scores, np.cumsum([len(texts) for texts in prompts])[:-1])

    def _from_states(
        self, states: Array, owner: Sequence[int], prompts: Sequence[str]
    ) -> NDArray[np.float64]:
        """Scores of prompts, of which number i follows the image of row ``owner[i]``."""
        scores = np.zeros(len(prompts))
        for batch in in_batches(len(prompts), self.batch_size):
            suffixes = [self._suffix(prompt) for prompt in prompts[batch]]
            scores[batch] = self.from_logits(self._answer(states, owner[batch], suffixes))
        return scores

    def _read(self, images: Sequence[Image]) -> tuple[Array, Array]:
        """The keys and values of images, and their features."""
        states, features = _graphs(self.checkpoint).run(IMAGE, self.checkpoint.pixels(self.resized(images)))
        return states, features

    def _answer(self, states: Array, owner: Sequence[int], suffixes: Sequence[Sequence[int]]) -> Array:
        """The logits behind suffix i, which follows the image of row ``owner[i]`` of the states."""
        width = max(map(len, suffixes))
        pad = self._tokenizer.tokenizer.pad_token_id or 0
        # Causal attention: what stands behind the last token of a row does not change its logits.
        ids = [[*suffix, *[pad] * (width - len(suffix))] for suffix in suffixes]
        inputs = {
            "states": states,
            "owner": np.asarray(owner, dtype=np.int64),
            "ids": np.asarray(ids, dtype=np.int64),
            "last": np.asarray([len(suffix) - 1 for suffix in suffixes], dtype=np.int64),
        }
        logits: Array = _graphs(self.checkpoint).run(TEXT, inputs)[0]
        return logits

    def _rendered(self) -> str:
        turn = _graphs(self.checkpoint).description["turn"]
        if turn is None:
            raise InputError(f"the graphs of {self.checkpoint.name} are those of a dual encoder")
        return str(turn).replace("{question}", MARK)


class GraphDualEncoder(DualEncoder):
    """A dual encoder whose two encoders are graphs.

    Args:
        model: folder with :data:`DESCRIPTION`.
        options: those of :class:`~croc.scorers.dual_encoder.DualEncoder`; the formula ``logit`` needs a model
            of transformers.
    """

    checkpoint_class = GraphCheckpoint

    def __init__(self, model: str | Path, **options: Any) -> None:
        require_graph_options(options)
        super().__init__(model, **options)

    def encode_texts(self, prompts: Sequence[str]) -> Array:
        """Unit vectors of prompts: float32 (n, d).

        Raises:
            UnscoredPairs: a prompt is empty.
        """
        require_prompts(prompts)
        rows = [self._ids(prompt)[0] for prompt in prompts]
        return self._stack([self._text_rows(rows[batch]) for batch in in_batches(len(rows), self.batch_size)])

    def _text_rows(self, rows: Sequence[Sequence[int]]) -> Array:
        width = max(map(len, rows))
        pad = self.checkpoint.processor.tokenizer.pad_token_id or 0
        ids = np.asarray([[*row, *[pad] * (width - len(row))] for row in rows], dtype=np.int64)
        last = np.asarray([len(row) - 1 for row in rows], dtype=np.int64)
        vectors: Array = _graphs(self.checkpoint).run(TEXT, {"ids": ids, "last": last})[0]
        return vectors

    def _image_rows(self, batches: Iterable[dict[str, Any]]) -> Array:
        return self._stack([_graphs(self.checkpoint).run(IMAGE, inputs)[0] for inputs in batches])


class FileTokenizer:
    """The tokenizer of a ``tokenizer.json``, with what ``PromptTokenizer`` needs of transformers' classes."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        check_tokenizer(folder / TOKENIZER)
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # the library raises Exception itself
            raise InputError(f"{folder / TOKENIZER}: {str(error).splitlines()[0]}") from None
        settings = read_json(folder / "tokenizer_config.json", "no tokenizer_config.json", dict[str, Any])
        self.added_tokens_decoder = self._tokenizer.get_added_tokens_decoder()
        special = {id_: token.content for id_, token in self.added_tokens_decoder.items() if token.special}
        self.all_special_ids, self.all_special_tokens = list(special), list(special.values())
        self.bos_token = settings.get("bos_token")
        self.bos_token_id, self.eos_token_id, self.unk_token_id, self.pad_token_id = (
            self._id(settings.get(f"{name}_token")) for name in ("bos", "eos", "unk", "pad")
        )

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any:
        """The ids of a text, as the attribute ``input_ids``."""
        return SimpleNamespace(
            input_ids=self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        )

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens of ids of the vocabulary."""
        return [str(self._tokenizer.id_to_token(i)) for i in ids]

    def _id(self, token: str | None) -> int | None:
        found: int | None = None if token is None else self._tokenizer.token_to_id(token)
        return found


class _Config:
    """A configuration in JSON, read by attribute."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            setattr(self, key, _Config(value) if key.endswith("_config") else value)

    def get_text_config(self) -> Any:
        """The configuration of the text encoder."""
        return getattr(self, "text_config", self)


def read_weights(file: Path) -> dict[str, Array]:
    """The tensors of a safetensors file in float32.

    Raises:
        InputError: it is no such file, or has a tensor of another type than float16 or float32.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_LARGEST_HEADER, len(content) - 8):
        raise InputError(f"{file}: not a safetensors file")
    header = require_kind(
        parse_json(content[8 : 8 + length], str(file)), dict[str, dict[str, Any]], str(file)
    )
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        found = require_kind(entry, _Tensor, f"{file}: {name}")
        start, end = (8 + length + offset for offset in found["data_offsets"])
        dtype, shape = _DTYPES.get(found["dtype"]), found["shape"]
        if dtype is None:
            raise InputError(f"{file}: the weight {name} is {found['dtype']}; a graph needs F16 or F32")
        if not 8 + length <= start <= end <= len(content) or end - start != math.prod(shape) * dtype.itemsize:
            raise InputError(f"{file}: the weight {name} is damaged")
        values = np.frombuffer(content, dtype, math.prod(shape), start)
        tensors[name] = values.astype(np.float32).reshape(shape)
    return tensors


class _Tensor(TypedDict):
    """A tensor in the header of a safetensors file."""

    dtype: str
    shape: list[Annotated[int, Field(ge=0)]]
    data_offsets: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]


def _graphs(checkpoint: Any) -> GraphCheckpoint:
    """The checkpoint of a scorer whose ``checkpoint_class`` is :class:`GraphCheckpoint`."""
    graphs: GraphCheckpoint = checkpoint
    return graphs


def _description(folder: Path) -> GraphDescription:
    found = read_json(folder / DESCRIPTION, f"no {DESCRIPTION}: the folder has no graphs", GraphDescription)
    if found["format"] != FORMAT or set(found["graphs"]) != {IMAGE, TEXT}:
        raise InputError(f"{folder / DESCRIPTION} is of another version: {_again(folder)}")
    if found["architecture"] != architecture_digest(folder):
        raise InputError(
            f"the graphs in {folder} were exported for another architecture, template or image size: "
            f"{_again(folder)}"
        )
    return found


def _again(folder: Path) -> str:
    return f"export them again with python -m crocscore.graph_export {folder}, or use runtime=torch"
