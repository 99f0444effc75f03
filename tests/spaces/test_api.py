"""The demo Space for programs: every endpoint, and what must not bring it down."""

from __future__ import annotations

import concurrent.futures
import http.server
import io
import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from croc.checks.schema import CATEGORIES, DIRECTIONS
from croc.rendering import fragments as pages

pytest.importorskip("gradio", reason="needs gradio, which shows the pages")
pytestmark = pytest.mark.slow

ENDPOINTS = {
    *("/score", "/contrast", "/draw", "/benchmark"),
    *("/leaderboard", "/external", "/browse"),
}
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    import tiny_models
    from page_server import serve

    folder = tmp_path_factory.mktemp("space")
    model = tiny_models.save(*tiny_models.llava(), folder / "tiny")
    with serve("crocscore", folder, model=model) as page:
        yield page


@pytest.fixture(scope="module")
def client(server):
    from gradio_client import Client

    return Client(server.url, verbose=False, httpx_kwargs={"timeout": 300})


@pytest.fixture
def image(tmp_path):
    from gradio_client import handle_file

    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    return handle_file(str(tmp_path / "red.png"))


def refused(client, *values, api_name):
    """What the endpoint says to a call that it refuses."""
    from gradio_client.exceptions import AppError

    with pytest.raises((AppError, ValueError)) as problem:
        client.predict(*values, api_name=api_name)
    return str(problem.value)


# ---- Every endpoint ----


def test_the_endpoints_are_named_and_documented(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == ENDPOINTS
    assert all(endpoint["description"] for endpoint in named.values())
    assert [parameter["parameter_name"] for parameter in named["/score"]["parameters"]] == ["path", "text"]


def test_the_python_of_the_card_runs(server, image, tmp_path, monkeypatch):
    from walk import blocks

    Image.new("RGB", (64, 48), "red").save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    card = Path(__file__).parents[2] / "spaces" / "crocscore" / "README.md"
    (text,) = [text for language, text in blocks(card) if language == "python"]
    assert 'Client("croc/crocscore")' in text
    exec(compile(text.replace("croc/crocscore", server.url), "card", "exec"), {})


def test_score_gives_margins_probabilities_and_clauses_in_the_order_given(client, image):
    prompts = ["a red dog, and no cat", "a blue dog"]
    found = client.predict(image, "\n".join(prompts), api_name="/score")
    assert [each["prompt"] for each in found["prompts"]] == prompts
    first = found["prompts"][0]
    assert [clause["text"] for clause in first["clauses"]] == ["a red dog", "no cat"]
    assert first["probability"] is None and first["margin"] != 0
    assert found["calibrated"] is False  # a random model


def test_contrast_gives_the_matrix_and_the_four_directions(client, image):
    found = client.predict("a red dog", "a blue dog", image, image, api_name="/contrast")
    assert np.shape(found["margins"]) == (2, 2)
    assert set(found["directions"]) == set(DIRECTIONS)
    # One image for both sides: neither can score higher, so that both image directions are ties.
    assert found["directions"]["forward_image"] == found["directions"]["inverse_image"] == 0.5


def test_draw_makes_both_images_and_another_seed_makes_others(client):
    first = [Path(f).read_bytes() for f in client.predict("a dog", "two dogs", 1, api_name="/draw")]
    again = [Path(f).read_bytes() for f in client.predict("a dog", "two dogs", 1, api_name="/draw")]
    other = [Path(f).read_bytes() for f in client.predict("a dog", "two dogs", 2, api_name="/draw")]
    assert first == again
    assert first != other
    assert Image.open(io.BytesIO(first[0])).size == (512, 512)


def test_what_cannot_be_drawn_is_explained(client):
    message = refused(client, "a dog", "a tyrannosaur in a tutu", 1, api_name="/draw")
    assert "Prompt B cannot be drawn" in message
    assert "tyrannosaur" in message


def test_benchmark_gives_the_report(client):
    from gradio_client import handle_file

    found = client.predict(handle_file(str(pages.EXAMPLE_TABLE)), None, False, api_name="/benchmark")
    assert found == json.loads(pages.evaluate_upload(str(pages.EXAMPLE_TABLE), None, False).to_json())


def test_others_benchmarks_give_rows_that_say_where_their_scores_come_from(client):
    found = client.predict(None, api_name="/external")
    assert found["benchmark"] == found["benchmarks"][0] and "not run" in found["statement"]
    other = client.predict("ts2", api_name="/external")
    assert other["benchmark"] == "ts2" and other["rows"][0]["rank"] == 1
    for row in (*found["rows"], *other["rows"]):
        assert row["acc_eq_ci_low"] <= row["acc_eq"] <= row["acc_eq_ci_high"]
        assert row["url"].startswith("https://github.com/") and "dataset_revision:" in row["signature"]


def test_leaderboard_gives_rows_with_signatures(client):
    found = client.predict(None, api_name="/leaderboard")
    assert [name[:3] for name in found["benchmarks"]] == ["syn", "hum"]
    assert all(row["signature"] for row in found["rows"])
    assert {"forward_text", "trained_on_croc", "ci_low"} <= set(found["rows"][0])
    human = client.predict(found["benchmarks"][1], api_name="/leaderboard")
    assert human["benchmark"] == found["benchmarks"][1]


def test_browse_filters_and_turns_pages(client):
    everything = client.predict("any", "any", "any", 1, api_name="/browse")
    assert everything["found"] > len(everything["checks"]) == 12
    some = client.predict("negation", "any", "any", 1, api_name="/browse")
    assert some["found"]
    assert {check["category"] for check in some["checks"]} == {"negation"}
    assert client.predict("any", "any", "any", 9_999, api_name="/browse")["page"] == everything["pages"]


def test_every_category_has_pairs_to_start_from():
    from croc_hum.candidates.prompts import load

    ready = {category: [pair for pair in found.pairs if pair.exact] for category, found in load().items()}
    assert set(ready) == set(CATEGORIES)
    assert all(ready.values())


# ---- What people and programs send that is wrong ----


def broken_images(folder: Path) -> dict[str, bytes]:
    def encoded(size, kind="PNG", mode="RGB"):
        buffer = io.BytesIO()
        Image.new(mode, size).save(buffer, kind)
        return buffer.getvalue()

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.html", EVIL)
    return {
        "empty": b"",
        "text": b"this is no image",
        "truncated": encoded((300, 300), "JPEG")[:400],
        "broken": encoded((64, 64))[:40] + b"\0" * 200,
        "bomb": encoded((30_000, 30_000), mode="1"),
        "archive": archive.getvalue(),
        "page": f"<html>{EVIL}</html>".encode(),
    }


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "broken", "bomb", "archive", "page"])
def test_an_upload_that_is_no_image_is_refused_with_a_sentence(server, client, tmp_path, kind):
    from gradio_client import handle_file

    file = tmp_path / "upload.png"
    file.write_bytes(broken_images(tmp_path)[kind])
    message = refused(client, handle_file(str(file)), "a dog", api_name="/score")
    assert "image" in message
    assert str(tmp_path) not in message
    assert server.answers()


def test_a_pixel_and_a_polyglot_are_images_and_nothing_else(client, tmp_path):
    from gradio_client import handle_file

    Image.new("RGB", (1, 1)).save(tmp_path / "pixel.png")
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "GIF")
    (tmp_path / "both.gif").write_bytes(buffer.getvalue() + f"<script>{EVIL}</script>".encode())
    for name in ("pixel.png", "both.gif"):
        found = client.predict(handle_file(str(tmp_path / name)), "a dog", api_name="/score")
        assert np.isfinite(found["prompts"][0]["margin"])


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "Enter a prompt first"), ("x" * 100_000, "100,000 characters"), ("a\n" * 40, "at most 8")],
)
def test_prompts_that_cannot_be_read_are_refused(client, image, text, message):
    assert message in refused(client, image, text, api_name="/score")


def test_prompts_with_markup_are_scored_as_text(client, image):
    found = client.predict(image, EVIL, api_name="/score")
    assert found["prompts"][0]["prompt"] == EVIL


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("table.csv", b"", "empty"),
        ("table.csv", b"a,b\n1,2\n", "check_id"),
        ("table.parquet", b"PAR1 not at all PAR1", "Parquet"),
        ("table.tsv", b"\xff\xfe\x00\x01" * 50, "table.tsv"),
        ("table.png", b"\x89PNG\r\n\x1a\n", "table.png"),
    ],
)
def test_a_table_that_cannot_be_evaluated_is_refused_with_a_sentence(
    server, client, tmp_path, name, content, message
):
    from gradio_client import handle_file

    (tmp_path / name).write_bytes(content)
    answer = refused(client, handle_file(str(tmp_path / name)), None, False, api_name="/benchmark")
    assert message in answer
    assert server.answers()


def test_a_table_of_a_million_rows_is_evaluated(server, client, tmp_path):
    from gradio_client import handle_file

    rows = pl.read_parquet(pages.EXAMPLE_TABLE)
    copies = -(-1_000_000 // len(rows))
    many = pl.concat([rows] * copies).with_columns(
        check_id=pl.col("check_id") + "-" + (pl.int_range(pl.len()) // len(rows)).cast(pl.String)
    )
    assert len(many) >= 1_000_000
    many.write_parquet(tmp_path / "many.parquet")
    table = handle_file(str(tmp_path / "many.parquet"))
    found = client.predict(table, ["subset"], False, api_name="/benchmark")
    assert found["checks"] == copies * rows["check_id"].n_unique()
    assert server.answers()


def test_an_upload_larger_than_the_limit_is_refused(server, tmp_path):
    boundary = b"----x"
    head = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head + b"\0" * 70_000_000 + b"\r\n--" + boundary + b"--\r\n"
    request = urllib.request.Request(
        f"{server.url}/gradio_api/upload",
        body,
        {"Content-Type": "multipart/form-data; boundary=" + boundary.decode()},
    )
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError)) as problem:
        urllib.request.urlopen(request, timeout=300)
    if isinstance(problem.value, urllib.error.HTTPError):
        assert problem.value.code == 413
    assert server.answers()


def call(server, name, data):
    """An endpoint without the client, which would refuse such values itself; gives the last event."""
    body = json.dumps({"data": data}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/gradio_api/call/{name}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            event = json.load(reply)["event_id"]
        with urllib.request.urlopen(f"{server.url}/gradio_api/call/{name}/{event}", timeout=300) as reply:
            return reply.read().decode()
    except urllib.error.HTTPError as problem:
        return f"event: error {problem.code} {problem.read().decode()}"


PATHS = ["/etc/passwd", "../../../../etc/passwd", "file:///etc/passwd", "/proc/self/environ"]


@pytest.mark.parametrize("path", PATHS)
def test_no_file_field_reads_a_file_of_the_server(server, path):
    stolen = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for name, data in (
        ("score", [stolen, "a dog"]),
        ("contrast", ["a dog", "two dogs", stolen, stolen]),
        ("benchmark", [stolen, None, False]),
    ):
        answer = call(server, name, data)
        assert "event: error" in answer, name
        assert "root:" not in answer
    quoted = urllib.parse.quote(path, safe="")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{server.url}/gradio_api/file={quoted}", timeout=60)


def test_no_file_field_fetches_an_address_of_this_machine(server):
    asked = []

    class Inside(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    inside = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Inside)
    threading.Thread(target=inside.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{inside.server_port}/secret"
        file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        assert "event: error" in call(server, "score", [file, "a dog"])
    finally:
        inside.shutdown()
    assert asked == []


def test_answers_do_not_cross_between_users(client, tmp_path):
    from gradio_client import handle_file

    files = []
    for k in range(6):
        file = tmp_path / f"{k}.png"
        Image.new("RGB", (32, 32), (40 * k, 255 - 40 * k, 90)).save(file)
        files.append(handle_file(str(file)))
    alone = [
        client.predict(file, f"{k} dogs", api_name="/score")["prompts"][0] for k, file in enumerate(files)
    ]

    def ask(k):
        return client.predict(files[k], f"{k} dogs", api_name="/score")["prompts"][0]

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(ask, range(6)))
    assert together == alone


def test_a_few_users_at_random_times_get_their_own_answers(tmp_path):
    """The benchmark of the page under load, for a few seconds."""
    import tiny_models

    model = tiny_models.save(*tiny_models.llava(), tmp_path / "tiny")
    script = Path(__file__).parents[2] / "benchmarks" / "bench_space.py"
    options = ["--users", "3", "--seconds", "4", "--rate", "3", "--model", str(model)]
    done = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, check=True, timeout=600
    )
    sent = int(re.search(r"(\d+) requests of 3 users", done.stdout)[1])
    assert sent >= 3
    assert f"answered {sent}, refused 0, of another user 0" in done.stdout


def test_a_full_queue_refuses_the_next_caller_in_words_and_answers_everybody_before():
    import gradio as gr
    from gradio_client import Client
    from gradio_client.utils import QueueError

    from croc.rendering import gradio_app as webui

    begun, go_on = threading.Event(), threading.Event()

    def slow(number: float) -> int:
        """Wait until the test lets go."""
        begun.set()
        go_on.wait(300)
        return int(number) + 1000

    with webui.blocks("Slow") as demo:
        webui.Wiring(demo).endpoint("slow", slow, [gr.Number(visible=False)], limit="model")
    address = webui.serve(demo, block=False).rstrip("/")
    try:
        caller = Client(address, verbose=False, httpx_kwargs={"timeout": 300})
        waiting = [caller.submit(0, api_name="/slow")]
        assert begun.wait(60)
        posted = [_posted(address, "slow", number) for number in range(1, webui.QUEUE + 1)]
        with pytest.raises(QueueError, match="Queue is full! Please try again"):
            caller.predict(webui.QUEUE + 1, api_name="/slow")
        with pytest.raises(urllib.error.HTTPError) as problem:
            _posted(address, "slow", webui.QUEUE + 1)
        assert problem.value.code == 503
        assert f"Queue is full. Max size is {webui.QUEUE}" in problem.value.read().decode()
        go_on.set()
        assert waiting[0].result() == 1000
        for number, event in enumerate(posted, 1):
            with urllib.request.urlopen(f"{address}/gradio_api/call/slow/{event}", timeout=300) as reply:
                assert f"[{number + 1000}]" in reply.read().decode()
        assert caller.predict(7, api_name="/slow") == 1007  # there is room again
    finally:
        go_on.set()
        demo.close()


def _posted(address, name, value):
    """Sends a call that will wait; gives its event."""
    request = urllib.request.Request(
        f"{address}/gradio_api/call/{name}",
        json.dumps({"data": [value]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)["event_id"]


def test_a_page_starts_from_the_wheel_too(tmp_path):
    """Unpacked beside the checkout's environment: the page and its sample come out of the wheel."""
    from page_server import serve

    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "build", "--wheel", "-o", str(tmp_path), str(root)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    for page in ("croc", "crocscore"):
        assert (tmp_path / "installed" / "croc" / "spaces" / page / "app.py").is_file()
    with serve("croc", tmp_path, package=tmp_path / "installed") as page:
        assert page.answers()
