"""The audit of a reward: do images become right or wrong if a metric is optimised?

In: score tables of pools of candidates, and what ``croc audit-reward`` found besides.
Out: by metric, how often the best of n images is right, for which properties, and what deceives the metric.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import Any

__all__ = ["RewardReport", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from croc.reward_audit import evaluation

        return getattr(evaluation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
