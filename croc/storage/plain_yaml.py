"""What plain data in YAML may not have: aliases, tags, deep nesting.

Aliases can expand a few bytes to gigabytes or to an endless loop, tags can request objects, and deep nesting
exhausts the stack. Files of settings and prompts need none of them.
"""

from __future__ import annotations

from typing import Any

import yaml

from croc.errors import InputError

# libyaml's loader is ten times faster; a wheel without it falls back to the loader in Python.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def refuse_unsafe_yaml(text: str, source: str, *, depth: int) -> None:
    """Refuse anchors, aliases, tags and more than ``depth`` levels, before anything is constructed.

    Raises:
        InputError: there is one; the message names its line.
        yaml.YAMLError: it is not valid YAML.
    """
    level = 0
    for event in yaml.parse(text, Loader=LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise InputError(
                f"{source}, line {line}: {sign}{anchor}: anchors and aliases are not allowed; "
                "repeat the value"
            )
        if tag is not None:
            raise InputError(f"{source}, line {line}: {tag}: tags are not allowed; expected plain data")
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > depth:
                raise InputError(f"{source}, line {line}: nested more than {depth} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_yaml(value: Any, **options: Any) -> str:
    """Plain data as YAML, keys in their order; what occurs twice is written twice, as readers refuse aliases.

    Args:
        value: the data.
        options: of ``yaml.dump``.
    """
    return str(yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, **options))
