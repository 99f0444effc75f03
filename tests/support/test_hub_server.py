"""The Hub of the tests, asked by the installed huggingface_hub: what it answers is what that client expects.

Statuses, error codes and headers are those that the client's own error handling distinguishes
(``hf_raise_for_status``) and that ``HfApi`` documents for the calls made here.
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_server import Hub, online
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session

REPO = "org/set"
SET = {"repo_id": REPO, "repo_type": "dataset"}
LARGE = random.Random(0).randbytes(100_000)
FILES = {"README.md": b"---\na: b\n---\n", "data/a.parquet": LARGE, "data/deep/b.txt": b"hello", "empty": b""}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def hub(server, monkeypatch):
    server.forget()
    with online(monkeypatch):
        yield server


@pytest.fixture
def api(hub):
    made = HfApi(endpoint=hub.endpoint, token="hf_writer")
    made.create_repo(**SET)
    made.create_commit(
        **SET, operations=[CommitOperationAdd(*item) for item in FILES.items()], commit_message="first"
    )
    return made


def as_user(hub, token) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def status(caught) -> int:
    return caught.value.response.status_code


def test_whoami_names_the_user_and_refuses_an_unknown_token(hub, api):
    assert api.whoami()["name"] == "tester"
    with pytest.raises(HfHubHTTPError) as caught:
        as_user(hub, "hf_nobody").whoami()
    assert status(caught) == 401


@pytest.mark.parametrize("part_bytes", [None, 30_000, 100_000, 99_999])
def test_what_goes_up_comes_down(hub, tmp_path, part_bytes):
    hub.part_bytes = part_bytes
    api = as_user(hub, "hf_writer")
    api.create_repo(**SET)
    operations = [CommitOperationAdd(*item) for item in FILES.items()]
    api.create_commit(**SET, operations=operations, commit_message="first")
    folder = Path(api.snapshot_download(**SET, cache_dir=tmp_path))
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert hub.stored == {hashlib.sha256(LARGE).hexdigest(): 1}


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_a_tree_comes_in_pages(hub, api, page):
    hub.page = page

    def paths(**more) -> str:
        return " ".join(entry.path for entry in api.list_repo_tree(**SET, **more))

    assert paths(recursive=True) == (
        ".gitattributes README.md data data/a.parquet data/deep data/deep/b.txt empty"
    )
    assert paths(path_in_repo="data") == "data/a.parquet data/deep"
    assert paths() == ".gitattributes README.md data empty"
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(**SET, path_in_repo="nowhere"))


def test_paths_info_tells_files_from_folders_and_leaves_out_what_is_not_there(api):
    found = api.get_paths_info(**SET, paths=["data", "data/a.parquet", "nothing"])
    assert [entry.path for entry in found] == ["data", "data/a.parquet"]
    assert found[1].lfs.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert found[1].size == len(LARGE)
    assert api.get_paths_info(**SET, paths="empty", expand=True)[0].last_commit.title == "first"


def test_revisions_are_commits_branches_and_tags(api):
    first = api.dataset_info(REPO).sha
    api.create_tag(**SET, tag="v1")
    api.create_commit(
        **SET, operations=[CommitOperationDelete("data/", is_folder=True)], commit_message="second"
    )
    for revision in (first, "v1"):
        assert api.dataset_info(REPO, revision=revision).sha == first
        assert api.file_exists(**SET, filename="data/a.parquet", revision=revision)
    assert not api.file_exists(**SET, filename="data/a.parquet")
    assert [ref.name for ref in api.list_repo_refs(**SET).tags] == ["v1"]
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_tag(**SET, tag="v1")
    assert status(caught) == 409
    api.delete_tag(**SET, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(REPO, revision="v1")


def test_errors_are_those_that_the_client_knows(hub, api):
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("org/none")
    with pytest.raises(RevisionNotFoundError):
        api.list_repo_files(**SET, revision="none")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(**SET, filename="none")
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo(**SET)
    assert status(caught) == 409
    for token, expected in (("hf_reader", 403), ("hf_stranger", 403), (False, 401), ("hf_nobody", 401)):
        with pytest.raises(HfHubHTTPError) as caught:
            as_user(hub, token).upload_file(**SET, path_or_fileobj=b"x", path_in_repo="x")
        assert status(caught) == expected, token


def test_private_repositories_are_there_for_their_members_only(hub, api):
    api.create_repo("org/secret", private=True)
    assert as_user(hub, "hf_reader").model_info("org/secret").private
    for token, expected in (("hf_stranger", 404), (False, 401)):
        with pytest.raises(RepositoryNotFoundError) as caught:
            as_user(hub, token).model_info("org/secret")
        assert status(caught) == expected


def test_a_commit_upon_another_head_is_refused(api):
    first = api.dataset_info(REPO).sha
    add = {**SET, "commit_message": "again"}
    api.create_commit(**add, operations=[CommitOperationAdd("x", b"1")], parent_commit=first)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_commit(**add, operations=[CommitOperationAdd("y", b"1")], parent_commit=first)
    assert status(caught) == 412
    assert not api.file_exists(**SET, filename="y")


def test_a_moved_repository_is_found_under_both_names_and_a_deleted_one_under_none(api):
    api.move_repo(REPO, "org/other", repo_type="dataset")
    assert api.dataset_info("org/other").sha == api.dataset_info(REPO).sha
    api.delete_repo("org/other", repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("org/other")


def test_resolve_says_commit_and_checksum_and_large_files_lie_elsewhere(hub, api):
    url = f"{hub.endpoint}/datasets/{REPO}/resolve/main/"
    small = get_session().head(url + "README.md")
    assert small.headers["X-Repo-Commit"] == api.dataset_info(REPO).sha
    assert small.headers["ETag"].strip('"') == api.get_paths_info(**SET, paths="README.md")[0].blob_id
    large = get_session().head(url + "data/a.parquet", follow_redirects=False)
    assert large.status_code == 302
    assert large.headers["X-Linked-ETag"].strip('"') == hashlib.sha256(LARGE).hexdigest()
    assert large.headers["X-Linked-Size"] == str(len(LARGE))
    assert large.headers["Location"].startswith(hub.storage)


def test_the_storage_host_takes_its_own_signatures_and_no_token(hub, api):
    place = (
        get_session()
        .head(f"{hub.endpoint}/datasets/{REPO}/resolve/main/data/a.parquet", follow_redirects=False)
        .headers["Location"]
    )
    assert get_session().get(place).content == LARGE
    assert get_session().get(place, headers={"Authorization": "Bearer hf_writer"}).status_code == 400
    assert get_session().get(place.partition("?")[0]).status_code == 403
    assert get_session().put(place.partition("?")[0], content=b"x").status_code == 403


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("0-9", 0, 10), ("99990-", 99_990, 100_000), ("-5", 99_995, 100_000), ("99998-200000", 99_998, 100_000)],
)
def test_ranges(hub, api, wanted, start, stop):
    url = f"{hub.endpoint}/datasets/{REPO}/resolve/main/data/a.parquet"
    answer = get_session().get(url, headers={"Range": f"bytes={wanted}"})
    assert (answer.status_code, answer.content) == (206, LARGE[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(LARGE)}"
    assert get_session().get(url, headers={"Range": "bytes=100000-"}).status_code == 416


def test_a_file_system_reads_pieces_of_a_large_file(hub, api):
    files = HfFileSystem(endpoint=hub.endpoint, token="hf_writer", skip_instance_cache=True)
    with files.open(f"datasets/{REPO}/data/a.parquet", block_size=1000) as file:
        file.seek(50_000)
        assert file.read(1234) == LARGE[50_000:51_234]
    assert files.glob(f"datasets/{REPO}/data/**/*.txt") == [f"datasets/{REPO}/data/deep/b.txt"]


def test_a_checksum_that_does_not_fit_is_refused_and_a_missing_file_is_not_committed(hub, api):
    answer = get_session().put(hub._signed(f"/storage/{'0' * 64}"), content=b"other")
    assert answer.status_code == 400
    header = '{"key": "header", "value": {"summary": "s"}}'
    line = '{"key": "lfsFile", "value": {"path": "p", "oid": "%s"}}'
    answer = get_session().post(
        f"{hub.endpoint}/api/datasets/{REPO}/commit/main",
        content=f"{header}\n{line % ('0' * 64)}",
        headers={"Authorization": "Bearer hf_writer"},
    )
    assert answer.status_code == 400
    assert not api.file_exists(**SET, filename="p")


def test_metadata_that_is_no_yaml_is_refused(api):
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.upload_file(**SET, path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md")


def test_faults_happen_as_often_as_asked_and_where(hub, api):
    hub.fail("GET", "/refs", 503, times=2, skip=1)
    url = f"{hub.endpoint}/api/datasets/{REPO}/refs"
    assert [get_session().get(url).status_code for _ in range(4)] == [200, 503, 503, 200]


def test_a_download_that_is_cut_goes_on_where_it_was(hub, api, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.cut("GET", "/storage/", after=40_000)
    path = api.hf_hub_download(**SET, filename="data/a.parquet", cache_dir=tmp_path)
    assert Path(path).read_bytes() == LARGE
    statuses = [status for method, path, status in hub.calls if method == "GET" and "/storage/" in path]
    assert statuses == [0, 206]


def test_an_unknown_address_is_no_silent_success(hub):
    assert get_session().get(f"{hub.endpoint}/api/trending").status_code == 404
