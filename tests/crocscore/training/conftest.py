"""A tiny model, questions, and recipes that train one on the other."""

from __future__ import annotations

import pytest
import tiny_models as tiny
from tiny_training import checks_and_questions, written


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.save(*tiny.llava(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def questions(data):
    return data[1]


@pytest.fixture
def recipe(base, questions, tmp_path):
    def write(**more):
        return written(tmp_path / "recipe.yaml", **{"model": base, "questions": questions, **more})

    return write
