"""The registry of scorers: which there are, and how a name becomes a scorer.

A model of a known family is one entry of a ``*.yaml`` file in this folder; a family is imported when one of
its scorers is loaded. An entry looks like this (:class:`ScorerEntry` has all keys)::

    - name: clipscore-b32
      family: croc.scorers.dual_encoder:DualEncoder
      model: openai/clip-vit-base-patch32
      revision: 3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268
      options: {formula: clipscore}
      licence: MIT
      source: "Hessel et al. 2021, arXiv 2104.08718"
      summary: 2.5 · max(cos, 0) with CLIP ViT-B/32
      aliases: [clipscore]
      extra: score
      parameters: 151

The class is called as ``Class(model, name=name, revision=revision, **options)``, without ``model`` and
``revision`` when the entry has none; options of the caller replace those of the entry.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from croc.errors import CrocError, InputError
from croc.scorers import Judge, Scorer

ENTRY_POINTS = "croc.scorers"
Task = Literal["alignment", "preference", "judge", "questions"]
"""What a scorer measures, and how: the match of image and prompt; what people prefer; the match by a grade
or a comparison that a model gives; the match by answers to questions."""
TASKS: tuple[str, ...] = get_args(Task)
SIZES = ("small", "medium", "large", "service")
"""Up to 1 billion weights (or none), up to 5, more; a service, whose model runs elsewhere."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class ScorerEntry(BaseModel):
    """One scorer of the registry, or a plug-in.

    Attributes:
        name: what people type; unique; lower-case letters, digits, dots and dashes.
        family: ``module:Class``.
        model: first argument of the class; None for a class without weights. The model of a service, which
            has no commit, is one of the ``options``.
        revision: commit of the model, 40 hexadecimal digits.
        options: further arguments of the class.
        licence: of the weights.
        source: where the metric is defined.
        summary: a line for ``croc scorers list``.
        aliases: other names.
        extra: the extra of this package that it needs.
        parameters: number of weights of the model in millions, to estimate its memory before it is here.
        gated: whether the Hub gives the weights only to people who accepted their licence there.
        baseline: True for a baseline, which ignores the image, the prompt or both.
        task: what it measures, and how.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    family: Annotated[str, Field(pattern=r"^[^:]+:[^:]+$")]
    model: str | None = None
    revision: str | None = None
    options: Mapping[str, Any] = Field(default_factory=dict)
    licence: str | None = None
    source: str | None = None
    summary: str | None = None
    aliases: tuple[str, ...] = ()
    extra: str | None = None
    parameters: int | None = None
    gated: bool = False
    baseline: bool = False
    task: Task = "alignment"

    @property
    def size(self) -> str | None:
        """One of :data:`SIZES`; None for a plug-in of others, which does not say."""
        if self.parameters is not None:
            return "small" if self.parameters <= 1000 else "medium" if self.parameters <= 5000 else "large"
        if "model" in self.options:
            return "service"
        return "small" if self.family.startswith(("croc.", "crocscore.")) else None

    @model_validator(mode="after")
    def _require_commit(self) -> ScorerEntry:
        if self.model is not None and not _COMMIT.fullmatch(self.revision or ""):
            raise ValueError(f"revision must be the commit of {self.model}, 40 hexadecimal digits")
        return self


def available() -> list[ScorerEntry]:
    """Every scorer that has a name: those of this package, then those of installed plug-ins."""
    plugins = [
        # Not validated: a plug-in chooses its name itself.
        ScorerEntry.model_construct(name=name, family=point.value, summary=f"plug-in of {_owner(point)}")
        for name, point in sorted(_plugins().items())
        if name not in _registered()
    ]
    return [*{info.name: info for info in _registered().values()}.values(), *plugins]


def info(name: str) -> ScorerEntry:
    """The entry of a named scorer; does not import it.

    Raises:
        InputError: no scorer has that name.
    """
    if name in _registered():
        return _registered()[name]
    for plugin in available():
        if plugin.name == name:
            return plugin
    raise _unknown(name)


def family_of(entry: ScorerEntry) -> Any:
    """The class or function that creates a scorer, imported.

    Raises:
        InputError: it cannot be imported here.
    """
    return _imported(entry.family)


def load(spec: Any, **options: Any) -> Scorer:
    """Create a scorer that gives scores: anything that :func:`load_any` creates, but pairwise judges.

    Raises:
        InputError: see :func:`load_any`; or it is a pairwise judge.
    """
    found = load_any(spec, **options)
    if isinstance(found, Judge):
        raise _no_scores(found.name)
    return found


def load_any(spec: Any, **options: Any) -> Scorer | Judge:
    """Create a scorer or a pairwise judge.

    Args:
        spec: a registered name or alias, the name of a plug-in, ``module:Class``, ``file.py:function``,
            ``evaluate:MODULE``; or an object: a scorer, a callable ``(images, prompts) → scores``, a class, a
            loaded ``evaluate`` module.
        options: arguments of its class; they replace those of its entry.

    Raises:
        InputError: the name is unknown, the object is not a scorer, or it does not take these options.
    """
    if not isinstance(spec, str):
        return _as_scorer(spec, None, options)
    if spec in _registered():
        entry = _registered()[spec]
        given: dict[str, Any] = {"name": entry.name, **entry.options}
        if entry.revision is not None and "model" not in options:
            given["revision"] = entry.revision
        given.update(options)
        model = given.pop("model", entry.model)
        return _as_scorer(_imported(entry.family), spec, given, positional=() if model is None else (model,))
    if spec in _plugins():
        return _as_scorer(_loaded(_plugins()[spec]), spec, options)
    if spec.startswith("evaluate:"):
        from croc.scorers.custom import EvaluateScorer

        return EvaluateScorer(spec.removeprefix("evaluate:"), **options)
    if ":" in spec:
        return _as_scorer(_imported(spec), spec, options)
    raise _unknown(spec)


def takes(spec: Any, option: str) -> bool:
    """Whether the class behind a name has an argument of that name; False for functions and objects.

    Raises:
        InputError: the name is unknown.
    """
    found = _behind(spec)
    if not inspect.isclass(found) and not _is_factory(found):
        return False
    parameters = inspect.signature(found).parameters
    return option in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def require_no_judge(specs: Sequence[Any]) -> None:
    """Refuse the names of pairwise judges before anything is made for them; no model is loaded.

    Raises:
        InputError: one is a pairwise judge, or unknown.
    """
    for spec in specs:
        if all(hasattr(_behind(spec), method) for method in ("choose_prompts", "choose_images")):
            raise _no_scores(str(spec))


def _no_scores(name: str) -> InputError:
    return InputError(
        f"{name} is a pairwise judge, which compares and gives no scores: only 'croc score' runs it, and "
        "'croc evaluate' reads its answers"
    )


def _behind(spec: Any) -> Any:
    """The class, function or object behind a name; None for objects and modules of ``evaluate``.

    Raises:
        InputError: the name is unknown.
    """
    if not isinstance(spec, str) or spec.startswith("evaluate:"):
        return None
    if spec in _registered():
        return _imported(_registered()[spec].family)
    if spec in _plugins():
        return _loaded(_plugins()[spec])
    if ":" in spec:
        return _imported(spec)
    raise _unknown(spec)


def _as_scorer(
    found: Any, spec: str | None, options: Mapping[str, Any], positional: tuple[Any, ...] = ()
) -> Scorer | Judge:
    """A scorer from the object that a name refers to, or that the caller passed."""
    from croc.scorers import custom

    label = spec if spec is not None else str(getattr(found, "__name__", type(found).__name__))
    if custom.is_evaluate_module(found):
        return custom.EvaluateScorer(found, **options)
    if inspect.isclass(found) or (spec is not None and _is_factory(found)):
        found = _called(found, label, positional, options, named=spec is not None)
        options = {}
    if isinstance(found, Judge) or callable(getattr(found, "score", None)):
        if options:
            raise InputError(f"{label} is an object and takes no options; {', '.join(options)} cannot be set")
        if isinstance(found, Judge):
            return found
        return (
            found if isinstance(found, Scorer) else custom.CallableScorer(found.score, _name_of(found, label))
        )
    if callable(found):
        name = options.get("name") or _name_of(found, label)
        unknown = sorted(set(options) - {"name"})
        if unknown:
            raise InputError(f"{label} is a function of pairs and takes no option {', '.join(unknown)}")
        return custom.CallableScorer(found, name)
    raise InputError(
        f"{label} is no scorer: it must have score(images, prompts), or be a function of images and prompts; "
        "a pairwise judge has name, choose_prompts, choose_images and fields"
    )


def _is_factory(found: Any) -> bool:
    """Whether an object is a function that creates a scorer: it has no required arguments."""
    if not inspect.isfunction(found):
        return False
    required = [
        p
        for p in inspect.signature(found).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return not required


def _called(
    cls: Any, label: str, positional: tuple[Any, ...], options: Mapping[str, Any], *, named: bool
) -> Any:
    try:
        return cls(*positional, **options)
    except CrocError:
        raise
    except (Exception, SystemExit) as error:  # whatever the class of somebody else does
        arguments = r"unexpected keyword argument|missing \d+ required|positional argument"
        if isinstance(error, TypeError) and re.search(arguments, str(error)):
            known = ", ".join(name for name in inspect.signature(cls).parameters if name != "self")
            raise InputError(f"{label} cannot be created: {error}; its options are {known}") from None
        if not named:  # the caller's own class: its error as it is
            raise
        raise InputError(f"{label} cannot be created: {_reason(error)}") from error


def _name_of(found: Any, label: str) -> str:
    name = getattr(found, "name", None)
    return name if isinstance(name, str) and name else getattr(found, "__name__", label).split(":")[-1]


def _imported(spec: str) -> Any:
    """The object behind ``module:name`` or ``file.py:name``."""
    where, _, name = spec.rpartition(":")
    if not where or not name:
        raise InputError(f"{spec!r} is no name of a scorer: write module:Class or file.py:Class")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except ModuleNotFoundError as error:
        file = Path(f"{where}.py")
        hint = f"; for {file.name} in this folder write {file.name}:{name}" if file.is_file() else ""
        raise InputError(f"{spec}: no module named {error.name!r} can be imported here{hint}") from error
    except CrocError:
        raise
    except (Exception, SystemExit) as error:  # whatever the module of somebody else does
        raise InputError(f"{spec}: {where} cannot be imported: {_reason(error)}") from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"{spec}: {where} has no {part!r}{hint}")
        found = getattr(found, part)
    return found


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    name = f"croc_scorer_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered so that inspect and pickle find its definitions.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except CrocError:
        raise
    except (Exception, SystemExit) as error:  # whatever the package of somebody else does
        reason = _reason(error)
        raise InputError(f"the plug-in {point.name} of {_owner(point)} cannot be loaded: {reason}") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ended the program (sys.exit({error.code!r:.80}))"
    where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}{where}: {' '.join(str(error).split())[:500]}"


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "a package"


def _unknown(name: str) -> InputError:
    names = sorted({*_registered(), *_plugins()})
    # A metric without its model or version, such as vqascore or hpsv2, stands for none of them.
    several = [known for known in names if re.match(re.escape(name.lower()) + r"[-.\d]", known)]
    if several:
        return InputError(f"no scorer is called {name!r}: name its model, one of {', '.join(several)}")
    near = difflib.get_close_matches(name.lower(), names, 3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "see `croc scorers list`"
    return InputError(f"no scorer is called {name!r}: {hint} (or write module:Class)")


@cache
def _registered() -> dict[str, ScorerEntry]:
    """Each entry by its name and its aliases, in the order of the files."""
    import yaml

    found: dict[str, ScorerEntry] = {}
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        for number, raw in enumerate(yaml.safe_load(path.read_text("utf-8")) or [], 1):
            entry = parse_entry(raw, f"{path}, entry {number}")
            for name in (entry.name, *entry.aliases):
                if name in found:
                    raise InputError(f"{path}, entry {number}: the name {name!r} is taken")
                found[name] = entry
    return found


def parse_entry(raw: Any, where: str) -> ScorerEntry:
    """Validate one entry of a registry file.

    Raises:
        InputError: a key is unknown, missing or has a wrong value; the message begins with ``where``.
    """
    if not isinstance(raw, dict):
        raise InputError(f"{where}: an entry is a mapping with name and family")
    try:
        return ScorerEntry.model_validate(raw)
    except ValidationError as problem:
        raise InputError(f"{where}: {_explained(problem.errors(include_url=False)[0])}") from None


def _explained(error: Any) -> str:
    """The first problem of an entry in one sentence."""
    key = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, ScorerEntry.model_fields, 1)
        return f"unknown key {key!r}" + (f"; did you mean {near[0]}?" if near else "")
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] in ("missing", "string_type"):
        return f"{key} is missing or not a text"
    expected = {
        "name": "lower-case letters, digits, dots and dashes",
        "family": "module:Class",
        "options": "a mapping",
        "aliases": "a list of names",
        "baseline": "true or false",
        "task": f"one of {', '.join(TASKS)}",
    }
    return f"{key} must be {expected.get(key, error['msg'])}, not {error['input']!r:.80}"


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
