"""What the zero-shot experiment reads of others: the annotations of TIFA160."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from croc.errors import InputError
from crocscore.experiments.zero_shot import _ANNOTATIONS, tifa160


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "valid dictionary"),
        ({"a": 5}, "a: Input should be a valid dictionary"),
        ({"a": {"text": "x"}}, "a.text_id: Field required"),
        ({"a": {"text": ["x"], "text_id": "t"}}, "a.text: Input should be a valid string"),
    ],
)
def test_annotations_that_are_damaged_are_named_with_the_key(
    tmp_path: Path, content: Any, message: str
) -> None:
    file = tmp_path / _ANNOTATIONS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError) as refused:
        tifa160(tmp_path, None)
    assert str(file) in str(refused.value) and message in str(refused.value)
