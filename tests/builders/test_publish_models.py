"""Publishing models and Spaces against a Hub on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hub_server import Hub
from publishing import CARD, send, tree, write
from reports import noisy, report_of

from builders.upload_files import collect, published_before
from croc.errors import InputError
from croc.results.hub_metadata import eval_result_entries
from hub_cards import space_card

ROOT = Path(__file__).parents[2]


def checkpoint(folder: Path) -> Path:
    write(folder, "README.md", CARD.encode())
    write(folder, "config.json", b"{}")
    write(folder, "model-00001-of-00002.safetensors", b"1" * 100)
    write(folder, "model-00002-of-00002.safetensors", b"2" * 100)
    write(folder, "model.safetensors.index.json", b"{}")
    return folder


def test_a_model_goes_up_without_the_state_of_its_training(hub, tmp_path):
    folder = checkpoint(tmp_path / "model")
    write(folder, "optimizer.pt", b"pickle")
    write(folder, "checkpoint-10/model.safetensors", b"old")
    write(folder, "training_args.bin", b"pickle")
    done = send(hub, folder, "model", "org/model")
    assert len(done.left_out) == 3
    assert not {path for path in tree(hub, "org/model", "model") if path.endswith((".pt", ".bin"))}
    for path in folder.glob("model*"):
        path.unlink()
    write(folder, "model.safetensors", b"whole")
    again = send(hub, folder, "model", "org/model")
    assert len(again.removed) == 3, "weights of two versions do not mix"


def test_results_on_a_dataset_of_the_hub_go_up_with_a_model_and_are_taken_off_again(hub, tmp_path):
    from huggingface_hub import HfApi, parse_eval_result_entries

    folder = checkpoint(tmp_path / "model")
    report = report_of({"mine": noisy(0, 12)}, dataset="org/checks", dataset_config="counting")
    write(folder, "results.json", report.to_json().encode())
    send(hub, folder, "model", "org/model")
    path = ".eval_results/org-checks.yaml"
    assert path in tree(hub, "org/model", "model")
    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    stored = api.hf_hub_download("org/model", path, local_dir=tmp_path / "downloaded")
    entries = parse_eval_result_entries(yaml.safe_load(Path(stored).read_text("utf-8")))
    assert entries == eval_result_entries(report)
    report = report_of({"mine": noisy(0, 12)}, dataset="my-folder")
    write(folder, "results.json", report.to_json().encode())
    send(hub, folder, "model", "org/model")
    assert path not in tree(hub, "org/model", "model")


def test_a_folder_without_safe_weights_is_no_model(hub, tmp_path):
    folder = checkpoint(tmp_path / "model")
    write(folder, "pytorch_model.bin", b"pickle")
    with pytest.raises(InputError, match="pickled"):
        send(hub, folder, "model", "org/model")
    for path in folder.glob("*model*"):
        path.unlink()
    with pytest.raises(InputError, match="not a checkpoint"):
        send(hub, folder, "model", "org/model")


def test_a_link_to_a_file_outside_of_the_folder_is_not_published(hub, tmp_path):
    folder = checkpoint(tmp_path / "model")
    write(tmp_path, "key", b"private")
    (folder / "inside.txt").symlink_to(folder / "config.json")
    assert "inside.txt" in {file.path for file in collect("model", folder, "org/model")[0]}
    (folder / "notes.txt").symlink_to(tmp_path / "key")
    with pytest.raises(InputError, match=r"has a symbolic link to \S+key, which is outside of the folder"):
        send(hub, folder, "model", "org/model")


def hub_add(hub: Hub, repo: str, kind: str, path: str) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    api.upload_file(path_or_fileobj=b"hi", path_in_repo=path, repo_id=repo, repo_type=kind)


def test_a_space_carries_its_evaluate_module_under_the_name_that_evaluate_looks_for(tmp_path):
    write(tmp_path, "app.py", b"pass\n")
    write(tmp_path, "space.yaml", b"module: croc.croc\n")
    files, _, card = collect("space", tmp_path, "org/mine")
    carried = {file.path: file for file in files}
    assert carried["mine.py"].read() == (ROOT / "croc" / "croc.py").read_bytes()
    assert "mine.py" in published_before(card)
    write(tmp_path, "space.yaml", b"module: croc.no_such_module\n")
    with pytest.raises(InputError, match=r"croc\.no_such_module"):
        collect("space", tmp_path, "org/mine")


@pytest.mark.parametrize("name", ["annotate", "croc", "crocscore"])
def test_the_cards_of_our_spaces_are_what_their_template_gives(name):
    folder = Path(__file__).parents[2] / "spaces" / name
    assert (folder / "README.md").read_text("utf-8") == space_card(folder)


def test_a_space_is_made_with_the_sdk_of_its_card(hub, tmp_path):
    write(tmp_path / "space", "README.md", b"by hand")
    write(tmp_path / "space", "app.py", b"pass\n")
    write(tmp_path / "space", "__pycache__/app.pyc", b"x")
    send(hub, tmp_path / "space", "space", "org/space")
    assert hub.repos["space", "org/space"].sdk == "gradio"
    assert set(tree(hub, "org/space", "space")) == {".gitattributes", "README.md", "app.py"}
    write(tmp_path / "space", "page.css", b"b {}\n")
    send(hub, tmp_path / "space", "space", "org/space")
    hub_add(hub, "org/space", "space", "theirs.txt")
    (tmp_path / "space" / "page.css").unlink()
    again = send(hub, tmp_path / "space", "space", "org/space")
    assert again.removed == ("page.css",), "what was published before goes, what others added stays"
    assert set(tree(hub, "org/space", "space")) == {".gitattributes", "README.md", "app.py", "theirs.txt"}
    calm = send(hub, tmp_path / "space", "space", "org/space")
    assert calm.commit == again.commit
    (tmp_path / "space" / "app.py").unlink()
    with pytest.raises(InputError, match="not a Space"):
        send(hub, tmp_path / "space", "space", "org/space")
