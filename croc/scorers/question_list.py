"""Question lists: a model answers questions about an image, and the share of right answers is the score.

The questions of each prompt come from a file (:mod:`croc.scorers.question_files`); the model is any that
gives a probability of "Yes". With p(q) the probability of the right answer to question q, and r(q) = 1 where
the right answer is more probable than the others and else 0:

- ``tifa``: mean of r (Hu et al. 2023, arXiv 2303.11897, section 3);
- ``dsg``: mean of r, where r counts 0 if r of a parent is 0 (Cho et al. 2024, arXiv 2310.18235, section 3.3;
  as in its code only the direct parents count, before their own parents are looked at);
- ``soft_tifa_am``: arithmetic mean of p (Kamath et al. 2025, arXiv 2512.16853, section 4);
- ``soft_tifa_gm``: geometric mean of p, 0 if any p is 0.

All lie in 0…1, higher is better. ``tifa`` and ``dsg`` have few values, so ties are frequent; the soft ones
have none as long as probabilities differ.

A question whose answer is not yes or no becomes one that is, once for each choice: *what color is the sky? Is
the answer "gray"?* Its r is 1 where the right choice is the most probable one (without choices: where p is
above 1/2), its p the probability of the right choice, divided by the sum over the choices if there are any.
TIFA's own code lets a model write the answer and takes the choice with the nearest embedding; that of
GenEval 2 reads the probability of the answer's token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.errors import InputError
from croc.scorers.pairs import UnscoredPairs, require_pairs, require_prompts, score_batches
from croc.scorers.question_files import NO, Question, prompt_key, read_questions

METHODS = ("tifa", "dsg", "soft_tifa_am", "soft_tifa_gm")
TEMPLATE = "{prompt} Answer Yes or No."


@dataclass(frozen=True)
class Answered:
    """What the model answered to a question.

    Attributes:
        question: the question.
        probability: of the right answer.
        right: whether the right answer is more probable than the others.
    """

    question: Question
    probability: float
    right: bool


class QuestionList:
    """The share of right answers to the questions of a prompt.

    Args:
        model: Hub id, folder or loaded model, which answers by P(Yes) / (P(Yes) + P(No)).
        questions: file with the questions.
        method: how the answers become a score; one of :data:`METHODS`.
        answerer: another scorer that answers, by its name or as an object, such as ``vqascore-gpt-4o``; its
            scores must be probabilities of "Yes".
        template: what is asked; it contains ``{prompt}`` once, where the question is put.
        name: of the scorer.
        options: of the answerer, see :class:`~croc.scorers.yes_no.YesNo`.

    Raises:
        InputError: there is no model and no answerer, or the method is unknown.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        questions: str | Path | None = None,
        method: str = "soft_tifa_am",
        answerer: Any = None,
        template: str = TEMPLATE,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if method not in METHODS:
            raise InputError(f"method {method!r} is unknown: use one of {', '.join(METHODS)}")
        if (model is None) == (answerer is None):
            raise InputError("questions need who answers them: pass model= or answerer=, one of the two")
        if model is not None:
            from croc.scorers.yes_no import YesNo

            # A calibration of the checkpoint is for its own question.
            calibration = (1.0, 0.0)
            self.answerer: Any = YesNo(
                model, question=template, probability=True, calibration=calibration, **options
            )
        elif isinstance(answerer, str):
            from croc.scorers.registry import load

            self.answerer = load(answerer, question=template, **options)
        else:
            self.answerer = answerer
        self.method = method
        self.name = name or f"{method.replace('_', '-')}-{self.answerer.name}"
        self.batch_size: int = getattr(self.answerer, "batch_size", 8)
        self.checkpoint = getattr(self.answerer, "checkpoint", None)
        self._file = questions
        if callable(getattr(self.answerer, "score_images_prompts", None)):
            # Offered only where they save something: a run compares them with `score`, which costs requests.
            self.score_prompts = self._score_prompts
            self.score_images_prompts = self._score_images_prompts

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """Score pair i = (``images[i]``, ``prompts[i]``); float64 (n,) in 0…1.

        Raises:
            UnscoredPairs: a prompt has no questions, or a question no answer; the others have their scores.
        """
        require_pairs(images, prompts)
        return self._scored(prompts, lambda rows, asked: self._by_pairs([images[i] for i in rows], asked))

    def _score_prompts(self, image: Image, prompts: Sequence[str]) -> np.ndarray:
        """Score one image with several prompts, the image's prefix computed once for all their questions."""
        return self._scored(prompts, lambda _, asked: self._of_images([image], [asked])[0])

    def _score_images_prompts(
        self, images: Sequence[Image], prompts: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Score image i with each of ``prompts[i]``; one prefix per image for all their questions."""
        flat = [prompt for texts in prompts for prompt in texts]
        ends = np.cumsum([len(texts) for texts in prompts])

        def ask(rows: list[int], asked: list[list[str]]) -> list[Any]:
            owner = np.searchsorted(ends, rows, side="right")
            groups = [[a for a, at in zip(asked, owner, strict=True) if at == i] for i in range(len(images))]
            return [values for group in self._of_images(images, groups) for values in group]

        return np.split(self._scored(flat, ask), ends[:-1])

    def answers(self, image: Image, prompt: str) -> list[Answered]:
        """Each question of a prompt with the answer about an image.

        Raises:
            UnscoredPairs: the prompt has no questions, or a question has no answer.
        """
        require_prompts([prompt])
        questions = self._questions_of(prompt)
        if isinstance(questions, str):
            raise UnscoredPairs({0: questions})
        (values,) = self._by_pairs([image], [self._asked(questions)])
        if isinstance(values, str):
            raise UnscoredPairs({0: values})
        return _answered(questions, values)

    def truncated(self, prompts: Sequence[str]) -> np.ndarray:
        """Prompts of which a question is longer than the model reads: bool (n,)."""
        cut = getattr(self.answerer, "truncated", None)
        lists = [self._questions_of(prompt) for prompt in prompts]
        return np.array(
            [cut is not None and not isinstance(q, str) and bool(np.any(cut(self._asked(q)))) for q in lists],
            dtype=bool,
        )

    def fields(self) -> dict[str, str]:
        """Settings of the answerer for the signature, with the method and the file of questions."""
        self.questions  # noqa: B018  a wrong file is an error before the first pair
        path = self._require_file()
        return {
            **self.answerer.fields(),
            "formula": self.method,
            "answerer": self.answerer.name,
            "questions": f"{path.name}@{sha256(path.read_bytes()).hexdigest()[:12]}",
        }

    def use_terms(self, terms: Any) -> None:
        """Pass the terms for calls of a paid service on to the answerer, if it calls one."""
        if hasattr(self.answerer, "use_terms"):
            self.answerer.use_terms(terms)

    def estimate(self, pairs: int, images: Sequence[Image], prompts: Sequence[str]) -> str:
        """What the answers take, estimated from some images and prompts; empty without a service."""
        if not hasattr(self.answerer, "estimate"):
            return ""
        lists = [self._questions_of(prompt) for prompt in prompts]
        asked = [text for found in lists if not isinstance(found, str) for text in self._asked(found)]
        calls = round(pairs * len(asked) / max(1, len(prompts)))
        return str(self.answerer.estimate(calls, images, asked))

    @property
    def usage(self) -> Any:
        """How much the answerer has used its service, where it has one."""
        return getattr(self.answerer, "usage", None)

    @cached_property
    def questions(self) -> dict[str, tuple[Question, ...]]:
        """The questions of each prompt.

        Raises:
            InputError: the file is missing or wrong.
        """
        return read_questions(self._require_file())

    def _require_file(self) -> Path:
        if self._file is None:
            raise InputError(
                f"{self.name} needs questions=FILE: the questions of each prompt (--option on a command line)"
            )
        return Path(self._file)

    def _questions_of(self, prompt: str) -> tuple[Question, ...] | str:
        """The questions of a prompt, or why there are none."""
        found = self.questions.get(prompt_key(prompt))
        return found if found is not None else f"no questions for this prompt in {self._require_file().name}"

    @staticmethod
    def _asked(questions: Sequence[Question]) -> list[str]:
        """What the model is asked for a prompt's questions, one text per yes/no question or choice."""
        return [text for question in questions for text in _texts(question)]

    def _scored(
        self, prompts: Sequence[str], ask: Callable[[list[int], list[list[str]]], list[Any]]
    ) -> np.ndarray:
        """Scores of pairs, ``ask`` being called with those that have questions."""
        scores = np.full(len(prompts), np.nan)
        reasons: dict[int, str] = {}
        rows: list[int] = []
        lists: list[tuple[Question, ...]] = []
        try:
            require_prompts(prompts)
        except UnscoredPairs as error:
            reasons |= error.reasons
        for i, prompt in enumerate(prompts):
            if i in reasons:
                continue
            questions = self._questions_of(prompt)
            if isinstance(questions, str):
                reasons[i] = questions
            else:
                rows.append(i)
                lists.append(questions)
        if rows:
            answered = ask(rows, [self._asked(questions) for questions in lists])
            for i, questions, values in zip(rows, lists, answered, strict=True):
                if isinstance(values, str):
                    reasons[i] = values
                else:
                    scores[i] = combine(_answered(questions, values), self.method)
        if reasons:
            raise UnscoredPairs(dict(sorted(reasons.items())), scores)
        return scores

    def _by_pairs(self, images: Sequence[Image], asked: Sequence[Sequence[str]]) -> list[Any]:
        """P(Yes) of each list of texts about its image, or the reason why one has none, pair by pair."""
        flat = [text for texts in asked for text in texts]
        shown = [image for image, texts in zip(images, asked, strict=True) for _ in texts]

        def compute(rows: list[int]) -> np.ndarray:
            return np.asarray(self.answerer.score([shown[i] for i in rows], [flat[i] for i in rows]))

        outcomes = iter(self._outcomes(lambda: score_batches(len(flat), max(1, len(flat)), compute), flat))
        return [_joined(list(islice(outcomes, len(texts)))) for texts in asked]

    def _of_images(
        self, images: Sequence[Image], asked: Sequence[Sequence[Sequence[str]]]
    ) -> list[list[Any]]:
        """The same for several lists of texts per image, with one prefix; equal texts are asked once."""
        unique = [list(dict.fromkeys(text for texts in lists for text in texts)) for lists in asked]
        held = [i for i, texts in enumerate(unique) if texts]
        if not held:
            return [[] for _ in asked]

        def compute() -> np.ndarray:
            return np.concatenate(
                self.answerer.score_images_prompts([images[i] for i in held], [unique[i] for i in held])
            )

        outcomes = iter(self._outcomes(compute, [text for texts in unique for text in texts]))
        found = [dict(zip(texts, islice(outcomes, len(texts)), strict=True)) for texts in unique]
        return [
            [_joined([of_text[text] for text in texts]) for texts in lists]
            for of_text, lists in zip(found, asked, strict=True)
        ]

    def _outcomes(self, ask: Callable[[], np.ndarray], texts: Sequence[str]) -> list[float | str]:
        """The answerer's probability of "Yes" for each text, or why there is none."""
        reasons: dict[int, str] = {}
        try:
            values = np.asarray(ask(), dtype=np.float64)
        except UnscoredPairs as error:
            if error.scores is None:
                raise
            values, reasons = error.scores, error.reasons
        known = values[~np.isnan(values)]
        if len(known) and (known.min() < 0.0 or known.max() > 1.0):
            wrong = known[(known < 0.0) | (known > 1.0)][0]
            raise InputError(
                f"{self.answerer.name} answered with {wrong:g}: an answerer's scores are probabilities "
                "in 0…1 (of the yes/no family with probability=True)"
            )
        return [
            f"no answer to {text!r}: {reasons.get(i, 'it is not a number')}"
            if np.isnan(value)
            else float(value)
            for i, (text, value) in enumerate(zip(texts, values, strict=True))
        ]


def _joined(outcomes: Sequence[float | str]) -> Any:
    """Probabilities as an array, or the first reason."""
    return next((one for one in outcomes if isinstance(one, str)), None) or np.array(outcomes)


def _texts(question: Question) -> list[str]:
    if question.is_yes_no:
        return [question.text]
    return [f'{question.text} Is the answer "{choice}"?' for choice in question.choices or (question.answer,)]


def _answered(questions: Sequence[Question], yes: np.ndarray) -> list[Answered]:
    """The answers from the probabilities of "Yes" of :func:`_texts`, one after the other."""
    found = []
    start = 0
    for question in questions:
        count = len(_texts(question))
        part = yes[start : start + count]
        start += count
        if len(question.choices) > 1:
            own = question.choices.index(question.answer)
            others = np.delete(part, own)
            total = part.sum()
            share = float(part[own] / total) if total > 0 else 1.0 / count
            found.append(Answered(question, share, bool(part[own] > others.max())))
        else:
            share = float(1.0 - part[0] if question.answer == NO else part[0])
            found.append(Answered(question, share, share > 0.5))
    return found


def combine(answers: Sequence[Answered], method: str) -> float:
    """The score of a prompt from the answers to its questions; see :data:`METHODS`.

    >>> first = Answered(Question("1", "Is there a dog?"), 0.2, False)
    >>> second = Answered(Question("2", "Is the dog red?", parents=("1",)), 0.8, True)
    >>> [round(combine([first, second], method), 3) for method in METHODS]
    [0.5, 0.0, 0.5, 0.4]
    """
    shares = np.array([one.probability for one in answers])
    if method == "soft_tifa_am":
        return float(shares.mean())
    if method == "soft_tifa_gm":
        return float(np.exp(np.log(shares).mean())) if shares.min() > 0 else 0.0
    right = {one.question.number: one.right for one in answers}
    if method == "dsg":
        counted = [one.right and all(right[n] for n in one.question.parents) for one in answers]
        return float(np.mean(counted))
    return float(np.mean(list(right.values())))
