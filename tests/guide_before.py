"""What a reader has when a page of the guide begins: a function a page, which leaves it in a folder."""

from __future__ import annotations

from pathlib import Path

import polars as pl


def first_experiments(folder: Path) -> None:
    """The stand-in for a checkpoint of CLIP that the page speaks of."""
    import tiny_models

    tiny_models.save(*tiny_models.clip(), folder / "tiny-clip")


def ratings(folder: Path) -> None:
    """A pair table of one's own: forty images, a metric that follows the ratings, one that does not."""
    human = [1 + number * 7 % 5 for number in range(40)]
    pl.DataFrame(
        {
            "item_id": [f"image-{number}" for number in range(40)],
            "system": ["first", "second"] * 20,
            "prompt": [f"prompt {number // 4}" for number in range(40)],
            "human_avg": human,
            "good": [rating + number % 3 / 4 for number, rating in enumerate(human)],
            "blind": [number * 11 % 13 for number in range(40)],
        }
    ).write_csv(folder / "ratings.csv")
