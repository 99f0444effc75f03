"""Check specs → prompt pairs: plans and makes the prompts that a preset asks for.

Pairs in controlled English come from :mod:`croc_syn.writing.exact`, those of language models from
:mod:`croc_syn.writing.stage`. Both write the same table, :mod:`croc_syn.writing.table`.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from croc.errors import InputError
from croc.jobs.parts import Executor, MakePart, Part
from croc.jobs.progress import Show, progress_bar
from croc.jobs.runner import Manifest, Status, finished, run
from croc.wording import counted
from croc_syn.taxonomy.plan import select
from croc_syn.world import Scope
from croc_syn.world.declarations.languages import ENGLISH
from croc_syn.writing import exact, stage
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    from croc_syn.presets import Preset
    from croc_syn.taxonomy.plan import Spec

logger = logging.getLogger(__name__)

RESPONSES = "answers"
"""Folder beside the parts: what models responded for parts that are not finished."""

_MANY = 20_000
"""Pairs in controlled English from which a second process saves more time than it takes to start."""


@dataclass(frozen=True)
class PromptPlan:
    """The prompts that a preset asks for.

    Attributes:
        parts: the plan for :func:`croc.jobs.runner.run`.
        checks: number of checks in it.
        passed_over: specs that were left out because the exact world cannot draw them.
    """

    parts: list[Part]
    checks: int
    passed_over: int = 0


def plan_prompts(
    preset: Preset,
    keep: Callable[[Spec], bool] | None = None,
    chosen: Sequence[tuple[Spec, int]] | None = None,
) -> PromptPlan:
    """Select the checks that a preset asks for and cut them into parts.

    Args:
        preset: what is contrasted, and who writes.
        keep: which specs to select from; None keeps all.
        chosen: these checks of the exact world, as spec and generation; None selects them.

    Raises:
        InputError: a property is not in the taxonomy, or nothing is left to contrast.
    """
    taxonomy, specs = preset.plan_specs()
    if keep is not None:
        specs = [spec for spec in specs if keep(spec)]
        chosen = [check for check in chosen if keep(check[0])] if chosen is not None else None
    if not specs or (chosen is not None and not chosen):
        raise InputError("the preset selects no check specs; change its section specs")
    if not preset.text.models:
        exact.require_language(preset.text.language)
    if chosen is not None:
        return PromptPlan(exact.plan_parts(chosen, taxonomy), len(chosen))
    count = preset.specs.checks or len(specs) * preset.text.generations
    if preset.text.models:
        selected = select(specs, count, preset.seed, allocation=preset.specs.allocation)
        parts = stage.plan_parts(selected, taxonomy, preset)
        return PromptPlan(parts, sum(len(part.payload["checks"]) for part in parts))
    feasible = exact.FeasibleSpecs(taxonomy, preset.seed, preset.scope, preset.text.language)
    selected = select(specs, count, preset.seed, accept=feasible, allocation=preset.specs.allocation)
    if not selected:
        raise InputError("the exact world can draw nothing of this taxonomy in these subsets")
    parts = exact.plan_parts(selected, taxonomy, rows=feasible.rows)
    return PromptPlan(parts, len(selected), feasible.rejected)


def make_prompts(
    preset: Preset,
    out: str | Path,
    *,
    plan: PromptPlan | None = None,
    executor: Executor | None = None,
    keep_responses: bool = True,
    progress: bool = True,
    existing: Literal["resume", "overwrite"] = "resume",
    log: Callable[[str], None] = logger.info,
) -> Manifest:
    """Make the prompts that a preset asks for; an interrupted run is resumed.

    Args:
        preset: what is contrasted, and who writes.
        out: the folder of the parts.
        plan: from :func:`plan_prompts` with this preset; None makes it.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
            Several workers call an endpoint at once: give each its share of the limits by ``Text.shared_by``.
        keep_responses: keep the responses of models in the folder until their part is finished, so that a
            resumed run does not request them again. Workers on other machines cannot write there.
        progress: show a bar, in pairs.
        existing: ``overwrite`` starts from nothing.
        log: called with an estimate for each model behind a service.

    Raises:
        InputError: the preset cannot be used, or the folder holds other work.
        PartsFailed: some parts could not be made; the others are kept.
    """
    folder = Path(out)
    plan = plan or plan_prompts(preset)
    make: MakePart
    responses = None
    if preset.text.models:
        text = preset.text.model_copy(update={"endpoint": preset.text.endpoint.in_one_run()})
        preset = preset.model_copy(update={"text": text})
        responses = folder / RESPONSES if keep_responses else None
        make = stage.PromptPartMaker(preset.text, preset.seed, responses=responses)
        fingerprint = stage.fingerprint(preset)
        stage.check_ready(preset)
        for sentence in stage.estimates(plan.parts, finished(folder) if existing == "resume" else (), preset):
            log(sentence)
    else:
        language = preset.text.language
        make = partial(exact.make_part, seed=preset.seed, scope=preset.scope, language=language)
        fingerprint = {"kind": "prompts", "text_model": EXACT, "seed": preset.seed}
        fingerprint |= scope_record(preset.scope) | language_record(language)
        executor = executor if plan.checks > _MANY else None
    with progress_bar("prompts", "pairs") if progress else nullcontext(_show_nothing) as show:
        made = run(
            plan.parts,
            make,
            folder,
            suffix=".parquet",
            fingerprint=fingerprint,
            executor=executor,
            progress=partial(_show_pairs, total=plan.checks, show=show),
            existing=existing,
            what="parts of prompts",
        )
    if responses is not None:
        shutil.rmtree(responses, ignore_errors=True)
    return made


def scope_record(scope: Scope) -> dict[str, Any]:
    """The entries of a manifest for a scope; the usual one has none."""
    if scope == Scope():
        return {}
    return {"style": scope.style, "held_out": scope.held_out.as_dict(), "only_held_out": scope.only}


def language_record(language: str) -> dict[str, Any]:
    """The entry of a manifest for the language of the exact world's prompts; English has none."""
    return {} if language == ENGLISH else {"language": language}


def _show_nothing(done: int, total: int | None, note: str) -> None:
    pass


def _show_pairs(status: Status, *, total: int, show: Show) -> None:
    failed, tokens = (int(status.counts.get(name, 0)) for name in ("failed", "output_tokens"))
    notes = [f"{failed:,} failed"] if failed else []
    notes += [counted(tokens, "token")] if tokens else []
    notes += [f"{counted(len(status.failed), 'part')} failed"] if status.failed else []
    show(int(status.counts.get("checks", 0)) + failed, total, ", ".join(notes))


def first_instructions(preset: Preset, count: int) -> list[str]:
    """The first instructions that a preset leads to, as the language models would read them.

    Raises:
        InputError: the preset uses no language model.
    """
    if not preset.text.models:
        raise InputError(
            f"preset {preset.name}: its prompts are in controlled English, which needs no instructions; "
            "name a language model in text.models"
        )
    instructions: list[str] = []
    for part in plan_prompts(preset).parts:
        if len(instructions) < count:
            instructions += stage.instructions_of(part.payload, preset)
    return instructions[:count]
