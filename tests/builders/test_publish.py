"""Publishing against a Hub on loopback, with huggingface_hub as it is installed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_server import online
from publishing import CARD, send, tree, write

from builders import upload_files as outgoing
from builders.publish import publish
from builders.upload_files import collect
from croc.errors import CrocError, InputError

SECRET = "hf_" + "aB3" * 12


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three shards of noise: what is in them is no matter here, so they are not looked into."""
    monkeypatch.setattr(outgoing, "_problems", lambda folder: [])
    monkeypatch.setattr(outgoing, "_card", lambda kind, folder, repo: (folder / "README.md").read_text())
    return dataset(tmp_path / "set")


def dataset(folder: Path, *, shards: int = 3, size: int = 40_000, kind: str = "syn") -> Path:
    for number in range(shards):
        write(folder, f"data/test-{number:05d}.parquet", random.Random(number).randbytes(size))
    write(folder, "README.md", CARD.encode())
    write(folder, "build.json", b"{}\n")
    return sealed(folder, kind)


def sealed(folder: Path, kind: str = "syn") -> Path:
    """The folder with a manifest of what lies in it."""
    (folder / "manifest.json").unlink(missing_ok=True)
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / "manifest.json").write_text(json.dumps({"recipe": {"kind": kind}, "files": files}))
    return folder


def shas(folder: Path) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("data/*")}


# ---- What goes up ----


def test_all_files_of_the_manifest_go_up_in_one_commit_and_the_tag_points_at_it(hub, folder):
    done = send(hub, folder, tag="v1")
    repo = hub.repos["dataset", "org/set"]
    assert set(repo.head.tree) == {
        ".gitattributes",
        "README.md",
        "build.json",
        "manifest.json",
        *(f"data/test-{number:05d}.parquet" for number in range(3)),
    }
    assert len(repo.commits) == 2, "the Hub's own first commit and ours"
    assert repo.tags == {"v1": done.commit} == {"v1": repo.head.oid}
    assert {entry.sha256 for entry in repo.head.tree.values() if entry.sha256} == shas(folder)
    assert done.url == f"{hub.endpoint}/datasets/org/set"


def test_large_files_go_up_in_parts_where_the_hub_asks_for_it(hub, folder):
    hub.part_bytes = 15_000
    send(hub, folder)
    assert set(hub.stored) == shas(folder)
    assert sum(path.endswith("/3") for method, path, _ in hub.calls if method == "PUT") == 3


def test_a_hub_without_xet_storage_names_the_setting_for_plain_http(hub, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    waits = []
    with pytest.raises(CrocError, match="no Xet storage; set HF_HUB_DISABLE_XET=1"):
        send(hub, folder, sleep=waits.append)
    assert waits == []
    assert set(tree(hub)) == {".gitattributes"}


def test_a_dry_run_shows_every_file_and_the_card_and_sends_nothing(hub, folder):
    text = "\n".join(send(hub, folder, dry_run=True).lines())
    for path in ("README.md", "manifest.json", "build.json", "data/test-00002.parquet"):
        assert re.search(rf"^new .* {re.escape(path)}$", text, re.MULTILINE)
    assert CARD.rstrip() in text
    assert not hub.repos
    assert {method for method, _, _ in hub.calls} == {"GET"}


def test_a_dry_run_compares_with_what_is_there(hub, folder):
    send(hub, folder)
    write(folder, "data/test-00001.parquet", b"another")
    (folder / "data/test-00002.parquet").unlink()
    plan = send(hub, sealed(folder), dry_run=True)
    assert plan.changed == ("data/test-00001.parquet", "manifest.json")
    assert plan.removed == ("data/test-00002.parquet",)
    assert plan.same == ("README.md", "build.json", "data/test-00000.parquet")


def test_a_dry_run_works_without_a_hub(folder):
    plan = publish("syn", folder, "org/set", dry_run=True, endpoint="http://127.0.0.1:9")
    assert len(plan.added) == 6
    assert "cannot be reached" in plan.lines()[0]


@pytest.mark.parametrize(
    ("kind", "repo", "tag", "said"),
    [
        ("syn", "set", None, "organisation/name"),
        ("syn", "a/b/c", None, "organisation/name"),
        ("syn", "org/set", "v 1", "--tag"),
        ("sync", "org/set", None, "cannot be published"),
        ("hum", "org/set", None, "croc publish syn"),
    ],
)
def test_names_that_cannot_be_are_refused(hub, folder, kind, repo, tag, said):
    with pytest.raises(InputError, match=said):
        send(hub, folder, kind, repo, tag=tag)
    assert not hub.calls


def test_an_unfinished_or_damaged_dataset_is_refused_before_anything_is_sent(hub, tmp_path):
    folder = dataset(tmp_path / "set")
    write(folder, "data/test-00001.parquet", b"damaged")
    with pytest.raises(InputError, match=r"not fit to publish: .*test-00001"):
        send(hub, folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        send(hub, folder)
    assert not hub.calls


def test_files_beside_the_manifest_stay_at_home(hub, folder):
    write(folder, "notes.txt", b"private")
    write(folder, ".build/part", b"x")
    assert send(hub, folder).left_out == ("notes.txt",)
    assert "notes.txt" not in tree(hub)


# ---- Again ----


def test_publishing_again_sends_nothing_and_commits_nothing(hub, folder):
    first = send(hub, folder)
    received = hub.received
    again = send(hub, folder)
    assert again.commit == first.commit
    assert hub.received == received
    assert len(hub.repos["dataset", "org/set"].commits) == 2


def test_one_changed_shard_uploads_one_shard(hub, folder):
    send(hub, folder)
    before = dict(hub.stored)
    write(folder, "data/test-00001.parquet", b"z" * 50_000)
    done = send(hub, sealed(folder))
    new = {sha: count for sha, count in hub.stored.items() if sha not in before}
    assert list(new.values()) == [1]
    assert {sha: hub.stored[sha] for sha in before} == before
    assert done.changed == ("data/test-00001.parquet", "manifest.json")


def test_shards_that_are_gone_leave_in_the_commit_that_brings_the_new_ones(hub, folder):
    first = send(hub, folder, tag="v1")
    shutil.rmtree(folder / "data")
    (folder / "build.json").unlink()
    write(folder, "data/test-new.parquet", b"n" * 1000)
    second = send(hub, sealed(folder), tag="v2")
    repo = hub.repos["dataset", "org/set"]
    assert repo.head.parent == first.commit
    assert [path for path in repo.head.tree if path.startswith("data/")] == ["data/test-new.parquet"]
    assert len([path for path in repo.at("v1").tree if path.startswith("data/")]) == 3
    assert len(second.removed) == 4
    # Whatever commit a reader sees, its manifest and its shards belong together.
    for commit in list(repo.commits.values())[1:]:
        stored = json.loads((hub.folder / "small" / commit.tree["manifest.json"].oid).read_text())
        assert {path for path in stored["files"] if path in commit.tree} == set(stored["files"])
        held = {path: entry.sha256 for path, entry in commit.tree.items() if entry.sha256}
        assert held == {path: stored["files"][path]["sha256"] for path in held}


def test_what_somebody_else_put_there_stays(hub, folder):
    from huggingface_hub import HfApi

    send(hub, folder)
    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    api.upload_file(path_or_fileobj=b"hi", path_in_repo="FAQ.md", repo_id="org/set", repo_type="dataset")
    again = send(hub, folder)
    assert "FAQ.md" in tree(hub)
    assert again.notes == ("1 other file on the Hub not changed (FAQ.md …)",)


def test_a_version_does_not_move(hub, folder):
    done = send(hub, folder, tag="v1")
    assert send(hub, folder, tag="v1").commit == done.commit
    write(folder, "data/test-00001.parquet", b"other")
    received = hub.received
    with pytest.raises(InputError, match="already has a tag v1"):
        send(hub, sealed(folder), tag="v1")
    assert hub.received == received
    assert hub.repos["dataset", "org/set"].head.oid == done.commit


def test_a_dataset_of_unknown_origin_or_of_another_kind_is_not_written_over(hub, folder, tmp_path):
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    api.create_repo("org/theirs", repo_type="dataset")
    api.upload_file(
        path_or_fileobj=b"x", path_in_repo="data/a.parquet", repo_id="org/theirs", repo_type="dataset"
    )
    with pytest.raises(InputError, match="unknown origin"):
        send(hub, folder, repo="org/theirs")
    send(hub, folder)
    with pytest.raises(InputError, match="contains a syn dataset"):
        send(hub, dataset(tmp_path / "hum", kind="hum"), "hum")


# ---- Private, and who may ----


def test_private_is_private_from_the_first_byte_on(hub, folder):
    send(hub, folder, private=True)
    assert hub.repos["dataset", "org/set"].private
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    for token in (False, "hf_stranger"):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(endpoint=hub.endpoint, token=token).dataset_info("org/set")
    assert HfApi(endpoint=hub.endpoint, token="hf_reader").dataset_info("org/set").private


def test_private_refuses_a_repository_that_is_public(hub, folder):
    send(hub, folder)
    calls = len(hub.calls)
    for dry_run in (True, False):
        with pytest.raises(InputError, match="is public; make it private"):
            send(hub, folder, private=True, dry_run=dry_run)
    asked = [(method, path) for method, path, _ in hub.calls[calls:] if method not in ("GET", "HEAD")]
    assert asked == [("POST", "/api/repos/create")], "and that one answers that it is there"


@pytest.mark.parametrize(
    ("token", "said"),
    [("hf_reader", "no write access"), ("hf_unknown", "does not accept this access token")],
)
def test_a_token_that_may_not_is_told_so_at_once(hub, folder, token, said):
    waits = []
    with pytest.raises(CrocError, match=said):
        send(hub, folder, token=token, sleep=waits.append)
    assert waits == []


@pytest.mark.parametrize("token", [SECRET, SECRET + "\n", SECRET + "é"])
def test_tokens_appear_in_no_exception_log_or_output(hub, folder, token, caplog, capfd):
    """A token with a line break or a letter beyond ASCII makes the HTTP library quote its header."""
    caplog.set_level(logging.DEBUG)
    said = []
    with pytest.raises(CrocError) as caught:
        send(hub, folder, token=token, log=said.append)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + "".join(capfd.readouterr())
    assert SECRET not in shown + "".join(said)


def test_a_token_that_works_appears_nowhere_either(hub, folder, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    hub.users[SECRET] = hub.users["hf_writer"]
    hub.fail("POST", "/commit/", 503)
    said = []
    lines = send(hub, folder, token=SECRET, log=said.append).lines()
    assert "interrupted" in "".join(said)
    assert SECRET not in "".join(said + lines) + caplog.text + "".join(capfd.readouterr())
    for stored in hub.folder.glob("*/*"):
        assert SECRET.encode() not in stored.read_bytes()


@pytest.mark.parametrize("path", ["README.md", "build.json"])
def test_a_file_that_holds_a_token_does_not_go_up(hub, folder, path):
    content = (folder / path).read_bytes()
    for token in (SECRET, "hf_writer"):
        write(folder, path, content + token.encode())
        with pytest.raises(InputError, match=path) as caught:
            send(hub, sealed(folder))
        assert token not in str(caught.value)
    assert not hub.calls


# ---- When it goes wrong ----


@pytest.mark.parametrize("parts", [None, 15_000])
def test_a_connection_dropped_in_the_middle_of_an_upload_costs_one_file_or_part(hub, folder, parts):
    hub.part_bytes = parts
    hub.cut("PUT", "/storage/", after=10_000)
    send(hub, folder)
    assert sorted(hub.stored.values()) == [1, 1, 1]
    assert ("PUT", 0) in {(method, status) for method, _, status in hub.calls}


@pytest.mark.parametrize("status", [500, 503, 429])
@pytest.mark.parametrize("where", ["PUT /storage/", "POST /commit/", "POST /preupload/", "POST /tag/"])
def test_the_hub_stumbles_once_and_publishing_goes_on(hub, folder, status, where):
    method, path = where.split()
    hub.fail(method, path, status, Retry_After="0")
    done = send(hub, folder, tag="v1")
    assert set(tree(hub)) >= {"manifest.json", "data/test-00002.parquet"}
    assert hub.repos["dataset", "org/set"].tags == {"v1": done.commit}
    assert sorted(hub.stored.values()) == [1, 1, 1]


def test_the_hub_says_how_long_to_wait(hub, folder):
    hub.fail("POST", "/commit/", 429, Retry_After="37")
    waits = []
    send(hub, folder, sleep=waits.append)
    assert waits == [37.0]


@pytest.mark.parametrize("where", ["/commit/", "/tag/", "/repos/create"])
def test_an_answer_that_is_lost_does_not_make_it_happen_twice(hub, folder, where):
    hub.lose("POST", where)
    done = send(hub, folder, tag="v1")
    repo = hub.repos["dataset", "org/set"]
    assert len(repo.commits) == 2
    assert repo.tags == {"v1": done.commit}
    assert len(done.added) == 6, "what was sent is told, though its answer was lost"


def test_two_publications_at_once_leave_what_one_leaves(hub, folder):
    """The second one ends well or says that the repository has changed; nothing of the first one is lost."""

    def publish_once(_: int) -> str:
        try:
            send(hub, folder, tag="v1")
        except CrocError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as both:
        ends = list(both.map(publish_once, range(2)))
    assert "" in ends
    assert all(text.startswith("org/set: ") and "run the command again" in text for text in ends if text), (
        ends
    )
    send(hub, folder, tag="v1")
    repo = hub.repos["dataset", "org/set"]
    assert set(tree(hub)) == {".gitattributes", *(file.path for file in collect("syn", folder, "org/set")[0])}
    assert repo.tags == {"v1": repo.head.oid}


def test_a_folder_on_a_read_only_disk_is_published(hub, folder, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    bind = ["mount", "--bind", str(folder), str(disk)]
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("needs the permission to mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
        done = send(hub, disk, tag="v1")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert set(done.added) < set(tree(hub))


def test_a_hub_that_cannot_be_reached_at_all_is_said_after_two_attempts(folder, monkeypatch):
    waits = []
    with online(monkeypatch), pytest.raises(CrocError) as error:
        publish("syn", folder, "org/set", token=SECRET, endpoint="http://127.0.0.1:9", sleep=waits.append)
    assert str(error.value).startswith("org/set: http://127.0.0.1:9 cannot be reached (")
    assert str(error.value).endswith("check the network")
    assert len(waits) == 1 and waits[0] < 10


def test_a_hub_that_stays_down_is_given_up_and_the_next_run_goes_on(hub, folder):
    hub.fail("POST", "/commit/", 503, times=100)
    waits = []
    with pytest.raises(CrocError, match=r"stopped after 5 attempts .*run the command again"):
        send(hub, folder, sleep=waits.append)
    assert len(waits) == 4
    assert set(tree(hub)) == {".gitattributes"}, "a reader sees nothing of it"
    hub.faults.clear()
    send(hub, folder)
    assert sorted(hub.stored.values()) == [1, 1, 1], "nothing went up twice"


def test_somebody_who_commits_in_between_is_not_written_over(hub, folder, monkeypatch):
    from huggingface_hub import HfApi

    upload = HfApi.upload_folder

    def meanwhile(self, **options):
        entry = hub._keep("LICENSE", b"hello")
        theirs = hub.repos["dataset", "org/set"]
        theirs.commit("theirs", {**theirs.head.tree, "LICENSE": entry})
        monkeypatch.setattr(HfApi, "upload_folder", upload)
        return upload(self, **options)

    monkeypatch.setattr(HfApi, "upload_folder", meanwhile)
    with pytest.raises(CrocError, match="the repository changed during the upload"):
        send(hub, folder)
    assert "manifest.json" not in tree(hub)
    send(hub, folder)
    assert {"manifest.json", "LICENSE"} <= set(tree(hub))


# ---- Killed ----

_RUN = """
import sys
from builders import upload_files
upload_files._problems = lambda folder: []
upload_files._card = lambda kind, folder, repo: (folder / "README.md").read_text()
from builders.publish import publish
publish("syn", sys.argv[1], "org/set", tag="v1", token="hf_writer")
"""


@pytest.mark.slow
def test_an_upload_killed_at_random_moments_ends_as_an_undisturbed_one(hub, folder, tmp_path):
    """20 times: kill -9 somewhere in the run, then run again; the repository is as if never killed."""
    folder = dataset(folder, shards=8, size=300_000)
    environment = {**os.environ, **hub.client_environment(tmp_path / "home")}
    draw = random.Random(0)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", _RUN, str(folder)], env=environment)

    began = time.monotonic()
    assert start().wait() == 0
    whole = time.monotonic() - began
    assert hub.calls[0][1] == "/api/repos/create"
    wanted, requests = tree(hub), len(hub.calls)
    killed = 0
    for moment in range(20):
        hub.forget(page=3, part_bytes=100_000 if moment % 2 else None)
        victim = start()
        # Moments are spread over the requests of a run; most of its time is the import of libraries.
        target, deadline = draw.randrange(requests), time.monotonic() + 10 * whole + 10
        while len(hub.calls) < target and victim.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        victim.kill()
        killed += victim.wait() == -signal.SIGKILL
        send(hub, folder, tag="v1")
        assert tree(hub) == wanted
        repo = hub.repos["dataset", "org/set"]
        assert len(repo.commits) == 2
        assert repo.tags == {"v1": repo.head.oid}
        assert max(hub.stored.values()) == 1, "no file that had arrived was sent again"
    assert killed >= 15
