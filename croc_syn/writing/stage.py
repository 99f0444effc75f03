"""Specs → staged prompts by language models: a part is some checks for one language and one image model.

The rows are those of :mod:`croc_syn.writing.prompts`. A check whose answers could not be used stays in the
table, with its reasons.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from croc.checks.schema import SPEC_COLUMNS, STYLE, check_id, stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.parts import Abort, Part
from croc.jobs.worker_state import keep_one
from croc.storage.files import canonical, digest_of, file_stem, folder_digest
from croc.tables.metadata import library_versions
from croc_syn.painting.settings import ImageModel
from croc_syn.writing import Ask, Said, Writer, answers
from croc_syn.writing.instructions import about, digest, encoders_of, guide_of, instruction
from croc_syn.writing.prompts import columns_of, prompt_schema
from croc_syn.writing.rules import Checker
from croc_syn.writing.settings import Encoder, Text, TextModel, known_encoders

if TYPE_CHECKING:
    from croc_syn.presets import Preset
    from croc_syn.taxonomy.plan import Spec
    from croc_syn.taxonomy.taxonomy import Taxonomy

log = logging.getLogger(__name__)

SERVICE = "endpoint"
"""The kind of failure that is the service's, not the answer's."""

_MOST_RAW = 200_000


def write_parts(chosen: Iterable[tuple[Spec, int]], taxonomy: Taxonomy, preset: Preset) -> list[Part]:
    """The plan: language model by language model, so that a worker loads each one once.

    Args:
        chosen: (spec, generation) pairs.
        taxonomy: where the specs come from.
        preset: who writes for whom.

    Raises:
        InputError: there is no guide of a style.
    """
    text = preset.text
    rows = list(chosen)
    targets: Sequence[ImageModel | None] = preset.images.models or (None,)
    parts: list[Part] = []
    for model in text.models:
        for target in targets:
            for style in text.styles:
                guide = guide_of(style, target.style if target else None, text.templates)
                who = {
                    "model": model.name,
                    "text_model": identity(model),
                    "image_model": target.name if target else None,
                    "guide": guide,
                    "reads": target.text_tokens if target else None,
                }
                stem = f"{file_stem(model.name)[:40]}-{file_stem(target.name if target else guide)[:30]}"
                for start in range(0, len(rows), text.checks_per_part):
                    some = rows[start : start + text.checks_per_part]
                    name = f"{len(parts):06d}-{stem}"
                    parts.append(Part(name, {**who, **_jobs(some, taxonomy)}))
    return parts


def _jobs(rows: Sequence[tuple[Spec, int]], taxonomy: Taxonomy) -> dict[str, Any]:
    specs: dict[str, dict[str, Any]] = {}
    for spec, _ in rows:
        if spec.concept_id not in specs:
            specs[spec.concept_id] = {"columns": columns_of(spec), "about": about(spec, taxonomy)}
    places = {concept: place for place, concept in enumerate(specs)}
    return {
        "specs": list(specs.values()),
        "checks": [[places[spec.concept_id], generation] for spec, generation in rows],
    }


def identity(model: TextModel) -> str:
    """What the rows call a language model: ``repo@revision``."""
    if Path(model.model).is_dir():
        return f"{Path(model.model).name}@local:{folder_digest(Path(model.model))}"
    return f"{model.model}@{model.revision or 'unpinned'}"


def fingerprint(preset: Preset) -> dict[str, Any]:
    """What the answers depend on; how fast and where a model runs is no part of it."""
    return {"kind": "prompts", "seed": preset.seed, **fingerprint_of(preset.text), "versions": versions()}


def fingerprint_of(text: Text) -> dict[str, Any]:
    """The part of :func:`fingerprint` that the section ``text:`` says."""
    chosen = text.model_dump(
        mode="json", exclude={"endpoint", "transformers", "vllm", "templates", "checks_per_part", "backend"}
    )
    for model in chosen["models"]:
        model.pop("backend")
    return {**chosen, "templates": digest(text.templates)}


def versions() -> dict[str, str]:
    """The libraries that decide which answers hold, and about the bytes."""
    return library_versions("jinja2", "py3langid", "pyarrow", "rapidfuzz", "tokenizers")


def make_writer(model: TextModel, text: Text) -> Writer:
    """A language model, ready to answer.

    Raises:
        InputError: its backend is not installed, or has no key.
    """
    backend = model.backend or text.backend
    if backend == "endpoint":
        from croc_syn.writing.endpoint import EndpointWriter

        return EndpointWriter(model, text.sampling, text.endpoint)
    if backend == "vllm":
        from croc_syn.writing.offline import VllmWriter, require

        require()
        return VllmWriter(model, text.sampling, text.vllm)
    from croc_syn.writing.local import TransformersWriter

    return TransformersWriter(model, text.sampling, text.transformers)


def wants_gpu(text: Text) -> bool:
    """Whether a model runs where the parts are made, and not on its CPU by wish."""
    backends = {model.backend or text.backend for model in text.models}
    return "vllm" in backends or ("transformers" in backends and text.transformers.device != "cpu")


@dataclass
class Write:
    """Makes the parts of :func:`write_parts`; the model stays in the process from part to part.

    Attributes:
        text: how prompts are written.
        seed: of the sampling.
        writer: gives the writer of a model.
        kept: folder in which answers are kept until their part is done, so that an interrupted run need not
            ask, and pay, again; None keeps none.
    """

    text: Text
    seed: int = 0
    writer: Callable[[TextModel, Text], Writer] = field(default_factory=lambda: make_writer)
    kept: Path | None = None

    def __call__(self, payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Write one part.

        Returns:
            Counts: ``checks``, ``failed``, ``tries`` beyond the first, ``input_tokens``, ``output_tokens``,
            and ``refused``: how many answers for which reason.

        Raises:
            Abort: no answer at all came.
            CrocError: most answers did not come, because of the service.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        model = next(each for each in self.text.models if each.name == payload["model"])
        checker = _checker(self.text, payload["guide"], payload["reads"])
        jobs = [
            _Job(payload, payload["specs"][place], generation, self.text, self.seed, model, checker)
            for place, generation in payload["checks"]
        ]
        with self._memory(payload) as memory:
            self._answer(jobs, model, memory)
        lost = [job for job in jobs if job.kinds and job.kinds[-1] == SERVICE]
        if lost and len(lost) == len(jobs):
            raise Abort(
                f"text model {model.name}: none of {len(jobs)} questions was answered: {lost[0].reasons[-1]}"
            )
        if len(lost) > len(jobs) / 2:
            raise CrocError(f"{len(lost)} of {len(jobs)} questions were not answered: {lost[0].reasons[-1]}")
        rows = [job.row() for job in jobs]
        pq.write_table(pa.Table.from_pylist(rows, schema=prompt_schema()), path, compression="zstd")
        failed = sum(row["error"] is not None for row in rows)
        counts: dict[str, Any] = {"checks": len(rows) - failed, "failed": failed}
        counts |= {name: sum(row[name] for row in rows) for name in ("input_tokens", "output_tokens")}
        counts["tries"] = sum(row["tries"] - 1 for row in rows)
        return {**counts, "refused": dict(Counter(kind for job in jobs for kind in job.kinds))}

    def _answer(self, jobs: Sequence[_Job], model: TextModel, memory: _Memory) -> None:
        """Have every job settled: by what was said before the run was interrupted, then by the model."""
        waiting: list[_Job] = []
        asks: list[Ask] = []
        for job in jobs:
            ask: Ask | None = job.ask()
            while ask is not None and (known := memory.get(ask)) is not None:
                ask = job.hear(known)
            if ask is not None:
                waiting.append(job)
                asks.append(ask)
        if not asks:
            return
        under_way = list(asks)

        def again(number: int, said: Said) -> Ask | None:
            if said.error is None:
                memory.put(under_way[number], said)
            another = waiting[number].hear(said)
            if another is not None:
                under_way[number] = another
            return another

        _loaded(self.writer, model, self.text).answer(asks, again)

    @contextmanager
    def _memory(self, payload: Mapping[str, Any]) -> Iterator[_Memory]:
        if self.kept is None:
            yield _Memory(None, {})
            return
        self.kept.mkdir(parents=True, exist_ok=True)
        # Not how fast it is asked: who goes on with other limits has the same answers.
        asked = [payload, self.seed, fingerprint_of(self.text)]
        path = self.kept / f"{digest_of(asked, 'the payload')[:32]}.jsonl"
        known = _read_memory(path)
        with path.open("a", encoding="utf-8") as file:
            yield _Memory(file, known)


@dataclass
class _Memory:
    """Answers by their questions, on disk as soon as they are there."""

    file: IO[str] | None
    known: dict[str, Said]

    def get(self, ask: Ask) -> Said | None:
        return self.known.get(_key(ask))

    def put(self, ask: Ask, said: Said) -> None:
        if self.file is None:
            return
        # Lone halves of characters, which some models send, stay as escapes.
        self.file.write(json.dumps({"key": _key(ask), **asdict(said)}) + "\n")
        self.file.flush()


def _key(ask: Ask) -> str:
    return stable_hash("ask", list(ask.messages), ask.seed, length=32)


def _read_memory(path: Path) -> dict[str, Said]:
    known: dict[str, Said] = {}
    if not path.is_file():
        return known
    for line in path.read_text("utf-8").splitlines():
        try:
            stored = json.loads(line)
            key = stored.pop("key")
            known[key] = Said(**stored)
        except (ValueError, KeyError, TypeError):  # the line that was being written when the run was killed
            continue
    return known


@dataclass
class _Job:
    """One check, while it is written."""

    payload: Mapping[str, Any]
    spec: Mapping[str, Any]
    generation: int
    text: Text
    seed: int
    model: TextModel
    checker: Checker
    attempt: int = 0
    reasons: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    checked: Any = None
    pair: answers.Pair | None = None

    def ask(self) -> Ask:
        """The question, after what was wrong with the answer before."""
        columns, payload = self.spec["columns"], self.payload
        told = instruction(
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
        return Ask(({"role": "user", "content": told},), seed, answers.SCHEMA)

    def hear(self, said: Said) -> Ask | None:
        """Take an answer; the next question, or None when this check is settled."""
        self.said.append(said)
        self.attempt += 1
        if said.error is not None:
            # The client has tried this often enough.
            self._refuse(SERVICE, said.error)
            return None
        about = {"subset": self.spec["columns"]["subset"], **(self.spec["about"].get("property") or {})}
        self.pair = None
        try:
            self.pair = answers.pair_of(said, reasons=self.model.reasons)
            self.checked = self.checker.check(self.pair, about)
        except answers.Refused as refused:
            self._refuse(refused.kind, str(refused))
            return self.ask() if self.attempt < self.text.attempts else None
        return None

    def _refuse(self, kind: str, reason: str) -> None:
        self.kinds.append(kind)
        self.reasons.append(_clean(reason, 500))

    def row(self) -> dict[str, Any]:
        """The check as a row of :func:`croc_syn.writing.prompts.prompt_schema`."""
        payload, last = self.payload, self.said[-1]
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
            "answer": _clean(last.text, _MOST_RAW),
            "reasoning": None if last.reasoning is None else _clean(last.reasoning, _MOST_RAW),
            "served_as": last.served_as,
            "input_tokens": sum(said.input_tokens for said in self.said),
            "output_tokens": sum(said.output_tokens for said in self.said),
        }
        if self.pair is not None:
            row |= {
                name: _clean(getattr(self.pair, name), 20_000)
                for name in ("prompt", "contrast_prompt", "value", "contrast_value")
            }
            row["contrasted"] = _clean(self.pair.property, 20_000)
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


def _clean(text: str, most: int) -> str:
    """Text that a Parquet file can hold: no lone halves of characters; the end of what is too long."""
    return text[-most:].encode("utf-8", "replace").decode()


def readers(text: Text, guide: str, reads: int | None) -> tuple[tuple[Encoder, int | None, bool], ...]:
    """The encoders that read what is written by a guide: how many tokens, and whether more are refused."""
    rules = text.rules
    encoders: list[Encoder] = (
        [known_encoders()[name] for name in encoders_of(guide, text.templates)]
        if rules.encoders is None
        else list(rules.encoders)
    )
    if rules.clip and all(each.name != "clip" for each in encoders):
        encoders.append(known_encoders()["clip"])
    return tuple(
        (each, each.limit or reads, rules.clip if each.name == "clip" else True) for each in encoders
    )


_CHECKERS: dict[str, Checker] = {}


def _checker(text: Text, guide: str, reads: int | None) -> Checker:
    """Who holds answers to the rules, kept for the next part."""
    rules = text.rules
    key = canonical([rules.model_dump(mode="json"), text.language, guide, reads, str(text.templates)])
    if key not in _CHECKERS:
        read_by = readers(text, guide, reads)
        _CHECKERS[key] = Checker(text.language, read_by, rules.min_words, rules.max_characters)
    return _CHECKERS[key]


def _loaded(make: Callable[[TextModel, Text], Writer], model: TextModel, text: Text) -> Writer:
    """The writer of a model, kept for the next part; another model takes its place."""
    key = canonical([repr(make), model.model_dump(mode="json"), text.model_dump(mode="json")])
    return keep_one("croc_syn.writing", key, lambda: make(model, text))


def instructions(preset: Preset, count: int) -> list[str]:
    """The first instructions that a preset leads to, as the models would read them.

    Raises:
        InputError: the preset asks no language model.
    """
    from croc_syn.writing.prompts import choose

    if not preset.text.models:
        raise InputError(f"preset {preset.name}: its prompts are in controlled English, nobody is instructed")
    taxonomy, chosen = choose(preset)
    told: list[str] = []
    for part in write_parts(chosen[:count], taxonomy, preset):
        model = next(each for each in preset.text.models if each.name == part.payload["model"])
        for place, generation in part.payload["checks"]:
            job = _Job(
                part.payload,
                part.payload["specs"][place],
                generation,
                preset.text,
                preset.seed,
                model,
                Checker(),
            )
            told.append(job.ask().messages[-1]["content"])
    return told[:count]


def ready(preset: Preset) -> None:
    """Find out before anything starts what would stop every part: no key, no vLLM, no tokenizer.

    Raises:
        CrocError: something is missing; the sentence says what.
    """
    text = preset.text
    for model in text.models:
        make_writer(model, text)
    for target in preset.images.models or (None,):
        for style in text.styles:
            guide = guide_of(style, target.style if target else None, text.templates)
            _checker(text, guide, target.text_tokens if target else None)


def shared_out(text: Text, workers: int) -> Text:
    """The same settings for one of several workers, so that together they ask as fast as one may."""
    return text.model_copy(update={"endpoint": text.endpoint.shared_out(workers)})
