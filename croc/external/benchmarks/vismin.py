"""VisMin: two images that differ in an object, an attribute, a count or a relation, and a caption of each.

Awal et al. 2024, "VisMin: Visual Minimal-Change Understanding", NeurIPS, arXiv 2407.16772. The tables are
read as rabiulcste/vismin@29ce2c01:evals/dataset_zoo/dataset.py does. The same items on the Hub have other
columns, for which the repository has no reader; they are not read.
"""

from __future__ import annotations

from pathlib import Path

from croc.external.benchmark import Benchmark, Source
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, two_by_two
from croc.tables.delimited import read_delimited, require_cells, require_columns

CATEGORIES = ("object", "attribute", "relation", "counting")
_COLUMNS = ("edit_id", "image_path", "caption", "edited_image_path", "edited_caption")


def pairs(folder: Path) -> Pairs:
    """Read ``CATEGORY.csv`` of all categories, with ``original_images/`` and ``edited_images/``.

    Raises:
        InputError: a table or a column is missing, or a cell is empty.
    """
    original, edited = (ImageStore(folder, (name,)) for name in ("original_images", "edited_images"))
    checks = []
    for category in CATEGORIES:
        file = first_existing(folder, f"{category}.csv")
        table = read_delimited(file)
        require_columns(table, _COLUMNS, str(file))
        require_cells(table, _COLUMNS, str(file))
        for row in table.iter_rows(named=True):
            images = (
                original.find(row["image_path"].lstrip("/")),
                edited.find(row["edited_image_path"].lstrip("/")),
            )
            captions = (row["caption"], row["edited_caption"])
            checks.append(two_by_two(f"{category}/{row['edit_id']}", captions, images, category=category))
    return Pairs(tuple(checks))


BENCHMARK = Benchmark(
    name="vismin",
    title="VisMin (Awal et al. 2024, NeurIPS, arXiv 2407.16772)",
    kind="contrastive",
    holds="two images that differ in an object, an attribute, a count or a relation, and a caption of each",
    size="2,084 items",
    licence="not stated in its repository",
    source=Source(
        "rabiulcste/vismin",
        "29ce2c013b936af26233bb9d7c42ea625e05b28e",
        ("evals/dataset_zoo/dataset.py",),
        hub="mair-lab/vismin-bench",
        images="put object.csv, attribute.csv, relation.csv and counting.csv into a folder with "
        "'original_images/' and 'edited_images/'",
    ),
    scores=("text score", "image score", "group score", "all by category"),
    folders=("visMin",),
    files=("attribute.csv",),
    met="none",
    pairs=pairs,
)
