"""Damaged uploads and odd values to the endpoints of the demo Space, on a real server."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import pytest
from fuzz_mutations import ODD, damage
from fuzz_runner import LARGEST
from PIL import Image

from croc.rendering import fragments as pages

pytest.importorskip("gradio", reason="needs gradio, which shows the pages")
pytestmark = pytest.mark.slow

# Gradio prints the traceback of a value that it refuses itself; none may pass through our code.
_OUR_FRAME = rf'File "{re.escape(str(Path(__file__).parents[2]))}/(?!.*site-packages)'
COUNT = int(os.environ.get("CROC_FUZZ", "1200")) // 6


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    import tiny_models
    from page_server import serve

    folder = tmp_path_factory.mktemp("space")
    with serve("crocscore", folder, model=tiny_models.save(*tiny_models.llava(), folder / "tiny")) as page:
        yield page


@pytest.fixture(scope="module")
def client(server):
    from gradio_client import Client

    return Client(server.url, verbose=False, httpx_kwargs={"timeout": 300})


def _fault(client, values, endpoint) -> str:
    """Why this call did not end in an answer or a sentence; empty if it did."""
    from gradio_client.exceptions import AppError

    try:
        client.predict(*values, api_name=endpoint)
    except (AppError, ValueError) as refused:
        said = str(refused)
        return "" if re.search(r"\w+ \w+", said) and "Traceback" not in said else f"says only {said!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _call(draw: random.Random, folder: Path) -> tuple[str, list, str]:
    """An endpoint, its values with one that it does not expect, and what that is."""
    from gradio_client import handle_file

    odd = draw.choice([one for one in ODD if one != "\ud800"])
    endpoint = draw.choice(("/benchmark", "/benchmark", "/score", "/score", "/contrast", "/draw", "/browse"))
    if endpoint == "/benchmark":
        file = folder / f"table{draw.choice(('.parquet', '.csv'))}"
        _example_table(file)
        how = damage(file, draw)
        while not file.is_file():  # a browser sends files alone
            file.unlink(missing_ok=True) if not file.is_dir() else file.rmdir()
            _example_table(file)
            how = damage(file, draw)
        return endpoint, [handle_file(str(file)), None, draw.random() < 0.5], how
    if endpoint in ("/score", "/contrast"):
        file = folder / "image.png"
        Image.new(draw.choice(("RGB", "RGBA", "L", "P", "1", "I;16")), (40, 30)).save(file)
        how = ""
        if draw.random() < 0.6:
            data = bytearray(file.read_bytes())
            data[draw.randrange(len(data)) :] = draw.randbytes(draw.choice((0, 10)))
            file.write_bytes(data)
            how = "a damaged image, "
        prompt = odd if draw.random() < 0.5 else "a red dog"
        images = [handle_file(str(file))]
        values = [*images, prompt] if endpoint == "/score" else [*images * 2, prompt, "a blue dog"]
        return endpoint, values, f"{how}prompt {prompt!r:.40}"
    values = ["a dog", "two dogs", 1] if endpoint == "/draw" else ["any", "any", "any", 1]
    place = draw.randrange(len(values))
    values[place] = odd
    return endpoint, values, f"value {place} = {odd!r:.40}"


def _example_table(file: Path) -> None:
    import polars as pl

    if file.suffix == ".parquet":
        shutil.copy(pages.EXAMPLE_TABLE, file)
        return
    table = pl.read_parquet(pages.EXAMPLE_TABLE)
    table.select(name for name, kind in table.schema.items() if not kind.is_nested()).write_csv(file)


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_odd_uploads_and_values_end_in_a_sentence(server, client, tmp_path):
    faults = []
    for number in range(COUNT):
        folder = tmp_path / str(number)
        folder.mkdir()
        endpoint, values, how = _call(random.Random(number), folder)
        if fault := _fault(client, values, endpoint):
            faults.append(f"{number}: {endpoint} {how}: {fault}")
    print(f"\ntried {COUNT}, clean {COUNT - len(faults)}, faulty {len(faults)}")  # noqa: T201
    assert not faults, "\n".join(faults)
    assert server.answers()
    log = server.log.read_text()
    assert not re.search(_OUR_FRAME, log), log[-3000:]
    assert _peak(server.pid) < LARGEST
