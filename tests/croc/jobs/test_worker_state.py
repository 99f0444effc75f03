"""One object per purpose stays in a process; the one before is closed before the next is loaded."""

from __future__ import annotations

from croc.jobs.worker_state import drop, keep_one


class Model:
    def __init__(self, name: str, events: list[str]) -> None:
        self.name, self.events = name, events
        events.append(f"load {name}")

    def close(self) -> None:
        self.events.append(f"close {self.name}")


def test_an_object_is_loaded_once_and_closed_before_another_takes_its_place() -> None:
    events: list[str] = []
    first = keep_one("test", "a", lambda: Model("a", events))
    assert keep_one("test", "a", lambda: Model("again", events)) is first
    keep_one("test", "b", lambda: Model("b", events))
    assert events == ["load a", "close a", "load b"]
    drop("test")
    assert events[-1] == "close b"


def test_purposes_do_not_replace_each_other() -> None:
    events: list[str] = []
    first = keep_one("one", "a", lambda: Model("a", events))
    keep_one("two", "a", lambda: "no close method")
    assert keep_one("one", "a", lambda: Model("again", events)) is first
    drop("one")
    drop("two")
    drop("never kept")
    assert events == ["load a", "close a"]
