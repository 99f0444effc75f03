"""Croissant metadata (MLCommons, version 1.0): what the files of a dataset are, for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub_cards.cards import BIBTEX, LICENCE_URLS, PAPER, repo_of, title_of
from hub_cards.facts import Facts, read_facts

# The context that the specification of Croissant 1.0 gives.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {
    "string": "sc:Text",
    "int64": "sc:Integer",
    "int32": "sc:Integer",
    "float64": "sc:Float",
    "bool": "sc:Boolean",
}


def croissant(folder: str | Path | Facts, *, repo: str | None = None) -> dict[str, Any]:
    """The Croissant description of a finished folder of data, as JSON-LD.

    Args:
        folder: a folder with a ``manifest.json``, or its facts.
        repo: Hub id; None takes the usual one of its kind.

    Raises:
        InputError: the folder is not finished.
    """
    facts = folder if isinstance(folder, Facts) else read_facts(folder)
    repo, title = repo or repo_of(facts), title_of(facts)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": title.partition(":")[0].replace(" ", "-"),
        "description": title,
        "url": f"https://huggingface.co/datasets/{repo}",
        "citeAs": " ".join(BIBTEX.split()),
        "license": [LICENCE_URLS.get(name, name) for name in facts.values("license")] or ["unknown"],
        "inLanguage": list(facts.values("language")) or ["en"],
        "version": str(facts.recipe.get("version", "1.0.0")),
        "isAccessibleForFree": True,
        "sameAs": PAPER,
        "distribution": [*_files(facts), *_sets(facts)],
        "recordSet": [_records(facts, view.name) for view in facts.views[:1]],
    }


def _files(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "contentUrl": file.path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": "application/x-parquet",
            "sha256": file.sha256,
        }
        for file in (*facts.files, *facts.sample)
    ]


def _sets(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"files-of-{view.name}",
            "name": f"files-of-{view.name}",
            "description": f"The files of the configuration {view.name}.",
            "encodingFormat": "application/x-parquet",
            "includes": list(view.files.values()),
        }
        for view in facts.views
    ]


def _records(facts: Facts, view: str) -> dict[str, Any]:
    fields = []
    for column in facts.columns:
        if column.fields:
            continue  # a list of records, such as the votes, has no counterpart among Croissant's fields
        image = column.kind == "image"
        field: dict[str, Any] = {
            "@type": "cr:Field",
            "@id": f"{view}/{column.name}",
            "name": column.name,
            "description": f"{column.meaning or column.name}.",
            "dataType": "sc:ImageObject" if image else _TYPES.get(column.kind, "sc:Text"),
            "source": {"fileSet": {"@id": f"files-of-{view}"}, "extract": {"column": column.name}},
        }
        if column.many:
            field["repeated"] = True
        if image and not column.many:
            field["source"]["transform"] = {"jsonPath": "bytes"}
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": view,
        "name": view,
        "description": f"A row of the configuration {view}.",
        "key": {"@id": f"{view}/check_id"} if facts.kind != "train" else {"@id": f"{view}/pair_id"},
        "field": fields,
    }
