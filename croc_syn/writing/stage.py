"""Specs → prompt pairs by language models: a part is some checks for one language model and one image model.

The rows are those of :mod:`croc_syn.writing.table`. A check without a usable response stays in the table,
with the reasons.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from croc.checks.schema import SPEC_COLUMNS, STYLE, check_id, stable_hash
from croc.errors import CrocError
from croc.jobs.paid_calls import Expected, tokens_of
from croc.jobs.parts import Abort, Part
from croc.storage.files import digest_of, file_stem
from croc.tables.metadata import library_versions
from croc.wording import counted
from croc_syn.cost import ANSWERED
from croc_syn.model_runtime import load_once
from croc_syn.writing import PromptRequest, Writer, WriterResponse
from croc_syn.writing.instructions import (
    encoders_of,
    guide_of,
    render_instruction,
    spec_facts,
    templates_digest,
)
from croc_syn.writing.responses import SCHEMA, Pair, UnusableResponse, read_pair
from croc_syn.writing.rules import CheckedPair, PairChecker
from croc_syn.writing.settings import Encoder, Text, TextModel, known_encoders
from croc_syn.writing.table import columns_of, prompt_schema

if TYPE_CHECKING:
    from croc_syn.painting.settings import ImageModel
    from croc_syn.presets import Preset
    from croc_syn.taxonomy.plan import Spec
    from croc_syn.taxonomy.taxonomy import Taxonomy

SERVICE = "endpoint"
"""The kind of failure that the service causes, not the response."""

_MOST_RAW = 200_000


# ---- The plan ----


def plan_parts(selected: Iterable[tuple[Spec, int]], taxonomy: Taxonomy, preset: Preset) -> list[Part]:
    """The plan, sorted by language model, so that a worker loads each one once.

    Args:
        selected: (spec, generation) pairs.
        taxonomy: where the specs come from.
        preset: which models write, and for which image models.

    Raises:
        InputError: the guide of a style is unknown.
    """
    text = preset.text
    checks = list(selected)
    parts: list[Part] = []
    for model in text.models:
        for target, guide in _targets(preset):
            writing = {
                "model": model.name,
                "text_model": model.pinned_name(),
                "image_model": target.name if target else None,
                "guide": guide,
                "reads": target.text_tokens if target else None,
            }
            stem = f"{file_stem(model.name)[:40]}-{file_stem(target.name if target else guide)[:30]}"
            for start in range(0, len(checks), text.checks_per_part):
                some = checks[start : start + text.checks_per_part]
                parts.append(Part(f"{len(parts):06d}-{stem}", {**writing, **_payload(some, taxonomy)}))
    return parts


def _targets(preset: Preset) -> list[tuple[ImageModel | None, str]]:
    """The image models for which prompts are written, each with a guide; None stands for any model."""
    text = preset.text
    return [
        (target, guide_of(style, target.style if target else None, text.templates))
        for target in preset.images.models or (None,)
        for style in text.styles
    ]


def _payload(checks: Sequence[tuple[Spec, int]], taxonomy: Taxonomy) -> dict[str, Any]:
    specs: dict[str, dict[str, Any]] = {}
    for spec, _ in checks:
        if spec.concept_id not in specs:
            specs[spec.concept_id] = {"columns": columns_of(spec), "about": spec_facts(spec, taxonomy)}
    positions = {concept: position for position, concept in enumerate(specs)}
    return {
        "specs": list(specs.values()),
        "checks": [[positions[spec.concept_id], generation] for spec, generation in checks],
    }


def fingerprint(preset: Preset) -> dict[str, Any]:
    """What the prompts depend on; where and how fast a model runs does not count."""
    versions = library_versions("jinja2", "py3langid", "pyarrow", "rapidfuzz", "tokenizers")
    return {"kind": "prompts", "seed": preset.seed, **_text_fingerprint(preset.text), "versions": versions}


def _text_fingerprint(text: Text) -> dict[str, Any]:
    settings = text.model_dump(
        mode="json", exclude={"endpoint", "transformers", "vllm", "templates", "checks_per_part", "backend"}
    )
    for model in settings["models"]:
        model.pop("backend")
    return {**settings, "templates": templates_digest(text.templates)}


def needs_gpu(text: Text) -> bool:
    """Whether a model runs where the parts are made, and not on the CPU as the settings demand."""
    backends = {model.backend or text.backend for model in text.models}
    return "vllm" in backends or ("transformers" in backends and text.transformers.device != "cpu")


def check_ready(preset: Preset) -> None:
    """Check before the run for what would stop every part: no key, no vLLM, no tokenizer.

    Raises:
        CrocError: something is missing; the sentence says what.
    """
    for model in preset.text.models:
        make_writer(model, preset.text)
    for target, guide in _targets(preset):
        _pair_checker(preset.text, guide, target.text_tokens if target else None)


# ---- Making a part ----


def make_writer(model: TextModel, text: Text) -> Writer:
    """A language model, ready to respond.

    Raises:
        InputError: its backend is not installed, or has no key.
    """
    backend = model.backend or text.backend
    if backend == "endpoint":
        from croc_syn.writing.endpoint import EndpointWriter

        return EndpointWriter(model, text.sampling, text.endpoint)
    if backend == "vllm":
        from croc_syn.writing.offline import VllmWriter, require_vllm

        require_vllm()
        return VllmWriter(model, text.sampling, text.vllm)
    from croc_syn.writing.local import TransformersWriter

    return TransformersWriter(model, text.sampling, text.transformers)


@dataclass
class PromptPartMaker:
    """Makes the parts of :func:`plan_parts`; the model stays in the process from part to part.

    Attributes:
        text: how prompts are written.
        seed: of the sampling.
        writer: makes the writer of a model.
        responses: folder in which responses are stored until their part is finished, so that an interrupted
            run need not request, and pay for, them again; None stores none.
    """

    text: Text
    seed: int = 0
    writer: Callable[[TextModel, Text], Writer] = field(default_factory=lambda: make_writer)
    responses: Path | None = None

    def __call__(self, payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Make one part.

        Returns:
            Counts: ``checks``, ``failed``, ``tries`` beyond the first, ``input_tokens``, ``output_tokens``,
            and ``refused``: how many responses for which reason.

        Raises:
            Abort: no request got a response.
            CrocError: most requests got no response from the service.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        model = next(model for model in self.text.models if model.name == payload["model"])
        checker = _pair_checker(self.text, payload["guide"], payload["reads"])
        drafts = [
            _Draft(payload, payload["specs"][position], generation, self.text, self.seed, model, checker)
            for position, generation in payload["checks"]
        ]
        with self._store(payload) as store:
            self._write(drafts, model, store)
        lost = [draft for draft in drafts if draft.kinds and draft.kinds[-1] == SERVICE]
        if lost and len(lost) == len(drafts):
            raise Abort(
                f"text model {model.name}: no response to any of {counted(len(drafts), 'request')}: "
                f"{lost[0].reasons[-1]}"
            )
        if len(lost) > len(drafts) / 2:
            reason = lost[0].reasons[-1]
            raise CrocError(f"no response to {len(lost):,} of {counted(len(drafts), 'request')}: {reason}")
        rows = [draft.row() for draft in drafts]
        pq.write_table(pa.Table.from_pylist(rows, schema=prompt_schema()), path, compression="zstd")
        failed = sum(row["error"] is not None for row in rows)
        counts: dict[str, Any] = {"checks": len(rows) - failed, "failed": failed}
        counts |= {name: sum(row[name] for row in rows) for name in ("input_tokens", "output_tokens")}
        counts["tries"] = sum(row["tries"] - 1 for row in rows)
        return {**counts, "refused": dict(Counter(kind for draft in drafts for kind in draft.kinds))}

    def _write(self, drafts: Sequence[_Draft], model: TextModel, store: _ResponseStore) -> None:
        """Finish all drafts: with responses stored before the run was interrupted, then with new ones."""
        waiting: list[_Draft] = []
        current: list[PromptRequest] = []
        for draft in drafts:
            request: PromptRequest | None = draft.request()
            while request is not None and (known := store.get(request)) is not None:
                request = draft.receive(known)
            if request is not None:
                waiting.append(draft)
                current.append(request)
        if not current:
            return

        def follow_up(number: int, response: WriterResponse) -> PromptRequest | None:
            if response.error is None:
                store.put(current[number], response)
            following = waiting[number].receive(response)
            if following is not None:
                current[number] = following
            return following

        load_once(self.writer, model, self.text).write(list(current), follow_up)

    @contextmanager
    def _store(self, payload: Mapping[str, Any]) -> Iterator[_ResponseStore]:
        if self.responses is None:
            yield _ResponseStore(None, {})
            return
        self.responses.mkdir(parents=True, exist_ok=True)
        # How fast requests are sent is no part of it: a run resumed with other limits has the same responses.
        identity = [payload, self.seed, _text_fingerprint(self.text)]
        path = self.responses / f"{digest_of(identity, 'the payload')[:32]}.jsonl"
        known = _read_responses(path)
        with path.open("a", encoding="utf-8") as file:
            yield _ResponseStore(file, known)


@dataclass
class _ResponseStore:
    """Responses by their requests, written to disk as soon as they arrive."""

    file: IO[str] | None
    known: dict[str, WriterResponse]

    def get(self, request: PromptRequest) -> WriterResponse | None:
        return self.known.get(_request_key(request))

    def put(self, request: PromptRequest, response: WriterResponse) -> None:
        if self.file is None:
            return
        # Lone surrogates, which some models send, stay as escapes.
        self.file.write(json.dumps({"key": _request_key(request), **asdict(response)}) + "\n")
        self.file.flush()


def _request_key(request: PromptRequest) -> str:
    return stable_hash("ask", list(request.messages), request.seed, length=32)


def _read_responses(path: Path) -> dict[str, WriterResponse]:
    known: dict[str, WriterResponse] = {}
    if not path.is_file():
        return known
    for line in path.read_text("utf-8").splitlines():
        try:
            stored = json.loads(line)
            key = stored.pop("key")
            known[key] = WriterResponse(**stored)
        except (ValueError, KeyError, TypeError):  # the line that was being written when the run was killed
            continue
    return known


@dataclass
class _Draft:
    """One check while it is written."""

    payload: Mapping[str, Any]
    spec: Mapping[str, Any]
    generation: int
    text: Text
    seed: int
    model: TextModel
    checker: PairChecker
    attempt: int = 0
    reasons: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    responses: list[WriterResponse] = field(default_factory=list)
    checked: CheckedPair | None = None
    pair: Pair | None = None

    def request(self) -> PromptRequest:
        """The request, with what was wrong with the response before."""
        columns, payload = self.spec["columns"], self.payload
        content = render_instruction(
            columns["subset"],
            self.spec["about"],
            guide=payload["guide"],
            image_model=payload["image_model"],
            language=self.text.language,
            generation=self.generation,
            clip=self.text.rules.clip,
            refused=self.reasons[-1] if self.reasons else None,
            folder=self.text.templates,
        )
        names = (payload["text_model"], payload["image_model"], payload["guide"])
        place = (columns["concept_id"], self.generation, self.attempt)
        seed = int(stable_hash("write", self.seed, *names, *place, length=8), 16) % 2**31
        return PromptRequest(({"role": "user", "content": content},), seed, SCHEMA)

    def receive(self, response: WriterResponse) -> PromptRequest | None:
        """Take a response; the next request, or None when this check is finished."""
        self.responses.append(response)
        self.attempt += 1
        if response.error is not None:
            # The client has tried this often enough.
            self._refuse(SERVICE, response.error)
            return None
        about = {"subset": self.spec["columns"]["subset"], **(self.spec["about"].get("property") or {})}
        self.pair = None
        try:
            self.pair = read_pair(response, reasons=self.model.reasons)
            self.checked = self.checker.check(self.pair, about)
        except UnusableResponse as error:
            self._refuse(error.kind, str(error))
            return self.request() if self.attempt < self.text.attempts else None
        return None

    def _refuse(self, kind: str, reason: str) -> None:
        self.kinds.append(kind)
        self.reasons.append(_storable(reason, 500))

    def row(self) -> dict[str, Any]:
        """The check as a row of :func:`croc_syn.writing.table.prompt_schema`."""
        payload, last = self.payload, self.responses[-1]
        row: dict[str, Any] = dict.fromkeys(prompt_schema().names)
        row |= {name: self.spec["columns"][name] for name in SPEC_COLUMNS}
        row |= {name: payload[name] for name in ("text_model", "image_model")}
        row |= {
            "generation": self.generation,
            "language": self.text.language,
            STYLE: payload["guide"],
            "tries": self.attempt,
            "refused": list(self.reasons),
            "refused_kinds": list(self.kinds),
            "answer": _storable(last.text, _MOST_RAW),
            "reasoning": None if last.reasoning is None else _storable(last.reasoning, _MOST_RAW),
            "served_as": last.served_as,
            "input_tokens": sum(response.input_tokens for response in self.responses),
            "output_tokens": sum(response.output_tokens for response in self.responses),
        }
        if self.pair is not None:
            row |= {
                name: _storable(getattr(self.pair, name), 20_000)
                for name in ("prompt", "contrast_prompt", "value", "contrast_value")
            }
            row["contrasted"] = _storable(self.pair.property, 20_000)
        if self.checked is None:
            row["error"] = self.reasons[-1]
            return row
        row["edits"] = self.checked.edits
        row["tokens"] = [asdict(count) for count in self.checked.tokens]
        row["check_id"] = check_id(
            row["concept_id"],
            row["prompt"],
            row["contrast_prompt"],
            row["text_model"],
            row["image_model"],
            self.generation,
            row[STYLE],
        )
        return row


def _storable(text: str, most: int) -> str:
    """Text that a Parquet file can hold: no lone surrogates; the end of what is too long."""
    return text[-most:].encode("utf-8", "replace").decode()


def _encoder_limits(
    text: Text, guide: str, reads: int | None
) -> tuple[tuple[Encoder, int | None, bool], ...]:
    """The encoders that read the prompts of a guide, their limits, and whether longer prompts are refused."""
    rules = text.rules
    encoders: list[Encoder] = (
        [known_encoders()[name] for name in encoders_of(guide, text.templates)]
        if rules.encoders is None
        else list(rules.encoders)
    )
    if rules.clip and all(encoder.name != "clip" for encoder in encoders):
        encoders.append(known_encoders()["clip"])
    return tuple(
        (encoder, encoder.limit or reads, rules.clip if encoder.name == "clip" else True)
        for encoder in encoders
    )


def _pair_checker(text: Text, guide: str, reads: int | None) -> PairChecker:
    """The checker of responses, kept for the next part."""
    limits = _encoder_limits(text, guide, reads)
    return _make_checker(text.language, limits, text.rules.min_words, text.rules.max_characters)


_make_checker = lru_cache(PairChecker)


def estimates(parts: Sequence[Part], done: Collection[str], preset: Preset) -> list[str]:
    """What the parts that are not done will ask of each service, before the first call."""
    sentences = []
    for model in preset.text.models:
        left = [part for part in parts if part.payload["model"] == model.name and part.name not in done]
        if not left or (model.backend or preset.text.backend) != "endpoint":
            continue
        calls = sum(len(part.payload["checks"]) for part in left)
        some = instructions_of(left[0].payload, preset)[:8]
        asked = sum(map(tokens_of, some)) / len(some)
        remark = f"up to {preset.text.attempts} attempts where responses are refused"
        expected = Expected(
            model.name, calls, round(calls * asked), calls * ANSWERED[model.reasons], remark=remark
        )
        sentences.append(expected.text(preset.text.endpoint))
    return sentences


def instructions_of(payload: Mapping[str, Any], preset: Preset) -> list[str]:
    """The first instruction for each check of a part, as the language model would read it."""
    model = next(model for model in preset.text.models if model.name == payload["model"])
    drafts = [
        _Draft(
            payload,
            payload["specs"][position],
            generation,
            preset.text,
            preset.seed,
            model,
            PairChecker(),
        )
        for position, generation in payload["checks"]
    ]
    return [draft.request().messages[-1]["content"] for draft in drafts]
