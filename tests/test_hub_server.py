"""The Hub of the tests against the real client: what it takes for the Hub must be one."""

from __future__ import annotations

import hashlib
import inspect
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub.cards import check_card
from hub.faults import Faults
from hub.server import Fault, HubServer, serve
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    RepoCard,
    constants,
    get_hf_file_metadata,
    hf_hub_url,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session

TransportError: type[Exception] = HfHubHTTPError.__bases__[0]  # of httpx or httpx2, by the client's version

WEIGHTS = bytes(range(256)) * 2000
CARD = """---
license: mit
library_name: ila-models
pipeline_tag: video-classification
tags: [video]
model-index:
- name: ila
  results:
  - task: {type: video-classification}
    dataset: {name: Kinetics-400, type: kinetics400}
    metrics: [{type: accuracy, value: 80.0}]
---
# A model
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serve(tmp_path / "hub") as server:
        # What HF_ENDPOINT sets: not everything in the client goes by the `endpoint` that it is given.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
        assert server.unknown == []


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have waited between its tries, in seconds."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture(autouse=True)
def _client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture
def anybody(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.url, token=False)


def additions(weights: bytes = WEIGHTS) -> list[CommitOperationAdd]:
    return [
        CommitOperationAdd("model.safetensors", weights),
        CommitOperationAdd("README.md", CARD.encode()),
        CommitOperationAdd("test/outputs.json", b"{}"),
    ]


@pytest.fixture
def released(api: HfApi) -> str:
    """A repository with weights, a card and the tag v1; its name."""
    api.create_repo("owner/ila")
    api.create_commit("owner/ila", additions(), commit_message="Release")
    api.create_tag("owner/ila", tag="v1")
    return "owner/ila"


def refused(caught: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return caught.value.response.status_code


# Repositories


def test_the_token_has_a_name_and_a_role(api: HfApi, hub: HubServer) -> None:
    assert api.whoami()["name"] == "owner"
    assert api.whoami()["auth"]["accessToken"]["role"] == "write"
    with pytest.raises(HfHubHTTPError) as caught:
        HfApi(endpoint=hub.url, token="hf_wrong").whoami()
    assert refused(caught) == 401


@pytest.mark.parametrize(("kind", "prefix"), [("model", ""), ("dataset", "datasets/"), ("space", "spaces/")])
def test_a_repository_of_every_kind(kind: str, prefix: str, api: HfApi, hub: HubServer, tmp_path: Path) -> None:
    sdk = {"space_sdk": "static"} if kind == "space" else {}
    url = api.create_repo("owner/ila", repo_type=kind, **sdk)
    assert str(url) == f"{hub.url}/{prefix}owner/ila"
    assert (url.repo_type, url.repo_id) == (kind, "owner/ila")
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("owner/ila", repo_type=kind, **sdk)
    assert refused(caught) == 409
    assert api.create_repo("owner/ila", repo_type=kind, exist_ok=True, **sdk) == url

    made = api.create_commit("owner/ila", additions(), commit_message="Release", repo_type=kind)
    assert made.commit_url == f"{hub.url}/{prefix}owner/ila/commit/{made.oid}"
    info = api.repo_info("owner/ila", repo_type=kind)
    assert (info.id, info.sha, info.private) == ("owner/ila", made.oid, False)
    for name, content in (("model.safetensors", WEIGHTS), ("README.md", CARD.encode())):
        found = api.hf_hub_download("owner/ila", name, repo_type=kind, cache_dir=tmp_path / "cache")
        assert Path(found).read_bytes() == content

    api.delete_repo("owner/ila", repo_type=kind)
    assert not api.repo_exists("owner/ila", repo_type=kind)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("owner/ila", repo_type=kind)


def test_a_private_repository(api: HfApi, anybody: HfApi, hub: HubServer, released: str, tmp_path: Path) -> None:
    api.update_repo_settings(released, private=True)
    assert api.model_info(released).private is True
    with pytest.raises(RepositoryNotFoundError) as caught:
        anybody.model_info(released)
    assert refused(caught) == 401
    with pytest.raises(RepositoryNotFoundError):
        anybody.hf_hub_download(released, "model.safetensors", cache_dir=tmp_path / "cache")
    path = api.hf_hub_download(released, "model.safetensors", cache_dir=tmp_path / "cache")
    assert Path(path).read_bytes() == WEIGHTS
    api.update_repo_settings(released, private=False)
    assert anybody.model_info(released).private is False


def test_a_repository_is_created_private(api: HfApi, anybody: HfApi) -> None:
    api.create_repo("owner/secret", private=True)
    assert (api.repo_exists("owner/secret"), anybody.repo_exists("owner/secret")) == (True, False)


def test_a_gated_repository(api: HfApi, anybody: HfApi, released: str, tmp_path: Path) -> None:
    api.update_repo_settings(released, gated="auto")
    assert anybody.model_info(released).gated == "auto"
    with pytest.raises(GatedRepoError):
        anybody.hf_hub_download(released, "README.md", cache_dir=tmp_path)
    assert Path(api.hf_hub_download(released, "README.md", cache_dir=tmp_path)).exists()


def test_what_is_not_there(api: HfApi, anybody: HfApi, released: str, tmp_path: Path) -> None:
    for client, status in ((api, 404), (anybody, 401)):  # who has no token is not told what is private
        with pytest.raises(RepositoryNotFoundError) as caught:
            client.model_info("owner/absent")
        assert refused(caught) == status
    with pytest.raises(RevisionNotFoundError):
        api.model_info(released, revision="v9")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(released, "absent.bin", cache_dir=tmp_path)
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(released, "absent"))


@pytest.mark.parametrize(("token", "status"), [(False, 401), ("hf_read", 403), ("hf_wrong", 401)])
def test_writing_needs_a_token_that_may_write(token: str | bool, status: int, hub: HubServer, released: str) -> None:
    other = HfApi(endpoint=hub.url, token=token)
    head = hub.repository(released).head
    for write in (
        lambda: other.create_repo("owner/other"),
        lambda: other.create_commit(released, additions(b"other"), commit_message="Change"),
        lambda: other.create_tag(released, tag="v2"),
        lambda: other.delete_tag(released, tag="v1"),
        lambda: other.create_collection("Videos", namespace="owner"),
        lambda: other.update_repo_settings(released, private=True),
        lambda: other.delete_repo(released),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            write()
        assert refused(caught) == status
    assert hub.repository(released).head is head
    assert hub.count("PUT", "^/upload/") == 1


def test_a_namespace_of_others(api: HfApi, hub: HubServer) -> None:
    hub.forbidden.add("others")
    with pytest.raises(HfHubHTTPError, match="others") as caught:
        api.create_repo("others/ila")
    assert refused(caught) == 403


# Commits


def test_one_commit_with_a_parent_holds_large_and_small_files(api: HfApi, hub: HubServer) -> None:
    api.create_repo("owner/ila")
    first = api.model_info("owner/ila").sha
    made = api.create_commit(
        "owner/ila", additions(), commit_message="Release", commit_description="All of it", parent_commit=first
    )
    history = api.list_repo_commits("owner/ila")
    assert [commit.commit_id for commit in history] == [made.oid, first]
    assert (history[0].title, history[0].message) == ("Release", "All of it")
    files = hub.repository("owner/ila").head.files
    assert files["model.safetensors"].sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert files["README.md"].sha256 is None
    assert hub.count("POST", "/commit/main") == 1


def test_a_stale_parent_is_refused(api: HfApi, hub: HubServer, released: str) -> None:
    first = hub.repository(released).commits[0].oid
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
        api.create_commit(
            released, [CommitOperationAdd("new.txt", b"new")], commit_message="Change", parent_commit=first
        )
    assert refused(caught) == 412
    assert "new.txt" not in hub.repository(released).head.files


def test_commit_ids_follow_from_content_and_parent(api: HfApi) -> None:
    ids = []
    for name in ("one", "two", "other"):
        api.create_repo(f"owner/{name}")
        weights = b"\0" if name == "other" else WEIGHTS
        ids.append(api.create_commit(f"owner/{name}", additions(weights), commit_message="Release").oid)
    assert ids[0] == ids[1] != ids[2]
    assert all(len(oid) == 40 for oid in ids)


def test_the_same_upload_again_transfers_nothing(api: HfApi, hub: HubServer, released: str) -> None:
    before = hub.repository(released).head.oid
    again = api.create_commit(released, additions(), commit_message="Release")
    assert again.oid == before
    assert hub.count("PUT", "^/upload/") == 1
    assert hub.count("POST", "/commit/") == 1  # the client sees that nothing has changed


def test_a_commit_that_changes_nothing_keeps_the_head(hub: HubServer, released: str) -> None:
    lines = b'{"key": "header", "value": {"summary": "Nothing"}}\n'
    url, headers = f"{hub.url}/api/models/{released}/commit/main", {"Authorization": f"Bearer {hub.token}"}
    answer = get_session().post(url, content=lines, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["commitOid"] == hub.repository(released).commits[1].oid == hub.repository(released).head.oid


def test_weights_under_another_name_are_not_sent_again(api: HfApi, hub: HubServer, released: str) -> None:
    api.create_commit(released, [CommitOperationAdd("other.safetensors", WEIGHTS)], commit_message="Again")
    assert hub.count("PUT", "^/upload/") == 1
    files = hub.repository(released).head.files
    assert files["other.safetensors"] == files["model.safetensors"]


def test_files_are_copied_and_deleted(api: HfApi, hub: HubServer, released: str) -> None:
    operations = [
        CommitOperationCopy("model.safetensors", "copy.safetensors"),
        CommitOperationCopy("README.md", "COPY.md"),
        CommitOperationDelete("model.safetensors"),
        CommitOperationDelete("test/"),
    ]
    api.create_commit(released, operations, commit_message="Move")
    assert set(api.list_repo_files(released)) == {".gitattributes", "README.md", "COPY.md", "copy.safetensors"}
    assert set(api.list_repo_files(released, revision="v1")) >= {"model.safetensors", "test/outputs.json"}
    with pytest.raises(EntryNotFoundError):
        api.create_commit(released, [CommitOperationDelete("absent.txt")], commit_message="Delete")


def test_which_files_are_large(api: HfApi, hub: HubServer) -> None:
    api.create_repo("owner/ila")
    content = {"a.bin": b"x", "b.txt": b"x", "c.png": b"\x89PNG\0", "d.json": b"x" * 10_000_001, "e.safetensors": b""}
    operations = [CommitOperationAdd(name, data) for name, data in content.items()]
    api.create_commit("owner/ila", operations, commit_message="Files")
    files = hub.repository("owner/ila").head.files
    assert {name for name, file in files.items() if file.sha256} == {"a.bin", "c.png", "d.json"}


def test_with_xet_on_open_files_go_by_lfs(
    api: HfApi, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    (tmp_path / "weights").write_bytes(WEIGHTS)
    api.create_repo("owner/ila")
    with (tmp_path / "weights").open("rb") as stream:
        operations = [CommitOperationAdd("model.safetensors", stream)]
        api.create_commit("owner/ila", operations, commit_message="Release")
    path = api.hf_hub_download("owner/ila", "model.safetensors", cache_dir=tmp_path / "cache")
    assert Path(path).read_bytes() == WEIGHTS
    assert (hub.count("PUT", "^/upload/"), hub.count("GET", "^/cdn/")) == (1, 1)


def test_weights_must_be_there_before_their_commit(hub: HubServer, released: str) -> None:
    line = f'{{"key": "lfsFile", "value": {{"path": "a.bin", "algo": "sha256", "oid": "{"0" * 64}", "size": 1}}}}'
    answer = get_session().post(
        f"{hub.url}/api/models/{released}/commit/main",
        content=f'{{"key": "header", "value": {{"summary": "Bad"}}}}\n{line}\n'.encode(),
        headers={"Authorization": f"Bearer {hub.token}"},
    )
    assert answer.status_code == 400
    assert "a.bin" not in hub.repository(released).head.files


def test_an_upload_must_be_what_was_announced(hub: HubServer, released: str) -> None:
    sha256 = hashlib.sha256(b"right").hexdigest()
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": sha256, "size": 5}]}
    url, headers = f"{hub.url}/{released}.git/info/lfs/objects/batch", {"Authorization": f"Bearer {hub.token}"}
    answer = get_session().post(url, json=batch, headers=headers).json()
    assert answer["transfer"] == "basic"
    actions = answer["objects"][0]["actions"]
    assert get_session().put(actions["upload"]["href"], content=b"wrong").status_code == 400
    verify = {"json": {"oid": sha256, "size": 5}, "headers": headers}
    assert get_session().post(actions["verify"]["href"], **verify).status_code == 404
    assert get_session().put(actions["upload"]["href"], content=b"right", headers=headers).status_code == 400
    assert get_session().put(actions["upload"]["href"], content=b"right").status_code == 200
    assert get_session().post(actions["verify"]["href"], **verify).status_code == 200


# Reading


def test_the_tree(api: HfApi, released: str) -> None:
    entries = {entry.path: entry for entry in api.list_repo_tree(released, recursive=True, expand=True)}
    assert set(entries) == {".gitattributes", "README.md", "model.safetensors", "test", "test/outputs.json"}
    weights, config = entries["model.safetensors"], entries["test/outputs.json"]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{weights.lfs.sha256}\nsize {len(WEIGHTS)}\n"
    assert (weights.size, weights.lfs.size, weights.lfs.pointer_size) == (len(WEIGHTS), len(WEIGHTS), len(pointer))
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert weights.blob_id == hashlib.sha1(f"blob {len(pointer)}\0{pointer}".encode()).hexdigest()
    assert (config.lfs, config.blob_id) == (None, hashlib.sha1(b"blob 2\0{}").hexdigest())
    titles = {path: entry.last_commit.title for path, entry in entries.items()}
    assert (titles[".gitattributes"], titles["test"]) == ("initial commit", "Release")
    assert {entry.path for entry in api.list_repo_tree(released)} == set(entries) - {"test/outputs.json"}
    assert [entry.path for entry in api.list_repo_tree(released, "test")] == ["test/outputs.json"]


def test_a_long_tree_comes_in_pages(api: HfApi, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.reading.PAGE", 2)
    api.create_repo("owner/ila")
    names = [f"{number}.txt" for number in range(5)]
    operations = [CommitOperationAdd(name, b"text") for name in names]
    api.create_commit("owner/ila", operations, commit_message="Files")
    assert [entry.path for entry in api.list_repo_tree("owner/ila")] == [".gitattributes", *names]
    assert hub.count("GET", "/tree/main") == 3


def test_paths_and_sizes(api: HfApi, released: str) -> None:
    found = api.get_paths_info(released, ["model.safetensors", "test", "absent"], revision="v1")
    assert [entry.path for entry in found] == ["model.safetensors", "test"]
    info = api.model_info(released, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}
    assert sizes["model.safetensors"] == len(WEIGHTS)
    assert (info.pipeline_tag, info.library_name, info.card_data.license) == (
        "video-classification",
        "ila-models",
        "mit",
    )
    assert api.model_info(released, expand=["sha"]).sha == info.sha


def test_tags(api: HfApi, released: str) -> None:
    tagged = api.model_info(released).sha
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_tag(released, tag="v1")
    assert refused(caught) == 409
    api.create_tag(released, tag="v1", exist_ok=True)
    api.create_commit(released, additions(b"other"), commit_message="Change")
    assert api.model_info(released, revision="v1").sha == tagged != api.model_info(released).sha
    refs = api.list_repo_refs(released)
    assert [(ref.name, ref.ref, ref.target_commit) for ref in refs.tags] == [("v1", "refs/tags/v1", tagged)]
    assert [(ref.name, ref.target_commit) for ref in refs.branches] == [("main", api.model_info(released).sha)]
    api.delete_tag(released, tag="v1")
    assert api.list_repo_refs(released).tags == []
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(released, tag="v1")


def test_folders_under_the_root_are_repositories(tmp_path: Path, hub: HubServer, anybody: HfApi) -> None:
    folder = tmp_path / "hub" / "owner" / "there"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "README.md").write_text("A repository.")
    info = anybody.model_info("owner/there", revision="v1")
    assert info.sha == anybody.model_info("owner/there").sha == hub.repository("owner/there").head.oid
    for revision in ("main", "v1", info.sha):
        found = anybody.hf_hub_download("owner/there", "model.safetensors", revision=revision, cache_dir=tmp_path)
        assert Path(found).read_bytes() == WEIGHTS
    assert hub.count("GET", "/cdn/") == 1


def test_what_the_headers_of_a_file_say(anybody: HfApi, hub: HubServer, released: str) -> None:
    head = hub.repository(released).head
    for name in ("model.safetensors", "README.md"):
        url = hf_hub_url(released, name, endpoint=hub.url)
        metadata = get_hf_file_metadata(url, token=False)
        file = head.files[name]
        assert (metadata.commit_hash, metadata.etag, metadata.size) == (head.oid, file.sha256 or file.oid, file.size)
        assert metadata.location.startswith(f"{hub.cdn_url}/cdn/" if file.sha256 else url)
        assert metadata.xet_file_data is None


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=511990-", 206, slice(511990, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=511990-999999", 206, slice(511990, None)),
        ("bytes=512000-", 416, slice(0, 0)),
    ],
)
def test_ranges(asked: str, status: int, part: slice, hub: HubServer, released: str) -> None:
    url = hf_hub_url(released, "model.safetensors", endpoint=hub.url)
    answer = get_session().get(url, headers={"Range": asked}, follow_redirects=True)
    assert (answer.status_code, answer.content) == (status, WEIGHTS[part])
    start = "*" if status == 416 else f"{part.indices(len(WEIGHTS))[0]}-"
    assert answer.headers["Content-Range"].startswith(f"bytes {start}")
    assert answer.headers["Content-Range"].endswith("/512000")


def test_a_snapshot(api: HfApi, released: str, tmp_path: Path) -> None:
    folder = Path(api.snapshot_download(released, revision="v1", cache_dir=tmp_path, allow_patterns=["*.md", "test/*"]))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"README.md", "test/outputs.json"}
    whole = Path(api.snapshot_download(released, revision="v1", cache_dir=tmp_path))
    assert (whole, (whole / "model.safetensors").read_bytes()) == (folder, WEIGHTS)


def test_routes_that_are_not_there_are_remembered(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        assert get_session().get(f"{server.url}/api/trending?x=1").status_code == 404
        assert server.unknown == ["GET /api/trending?x=1"] == server.requests


# Cards


@pytest.mark.skipif(
    "https://huggingface.co/" in inspect.getsource(RepoCard.validate), reason="1.0 asks huggingface.co, come what may"
)
@pytest.mark.usefixtures("hub")
def test_a_card_is_checked() -> None:
    ModelCard(CARD).validate()
    with pytest.raises(ValueError, match="pipeline_tag"):
        ModelCard(CARD.replace("pipeline_tag: video-classification", "pipeline_tag: [a, b]")).validate()


def test_a_commit_with_a_wrong_card_uploads_nothing(api: HfApi, hub: HubServer) -> None:
    api.create_repo("owner/ila")
    wrong = CommitOperationAdd("README.md", CARD.replace("license: mit", "license: mitt").encode())
    with pytest.raises(ValueError, match="Invalid metadata in README"):
        api.create_commit("owner/ila", [additions()[0], wrong], commit_message="Release")
    assert hub.count("PUT|POST", "upload|commit|lfs") == 0


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("- name: ila\n", "- title: ila\n", '"model-index[0].name" is required'),
        ("{type: video-classification}", "{}", '"model-index[0].results[0].task.type" is required'),
        (", type: kinetics400", "", '"model-index[0].results[0].dataset.type" is required'),
        (", value: 80.0", "", '"model-index[0].results[0].metrics[0].value" is required'),
        ("tags: [video]", "tags: video", '"tags" must be an array of strings'),
        ("license: mit", "license: [", "invalid yaml metadata"),
    ],
)
def test_what_is_wrong_with_a_card(old: str, new: str, error: str) -> None:
    assert check_card(CARD) == ([], [])
    errors, _ = check_card(CARD.replace(old, new))
    assert len(errors) == 1
    assert errors[0].startswith(error)


def test_a_card_without_metadata_is_only_odd() -> None:
    errors, warnings = check_card("# A model\n")
    assert (errors, len(warnings)) == ([], 1)


# Collections


def test_collections(api: HfApi, anybody: HfApi, released: str) -> None:
    made = api.create_collection("ILA models", namespace="owner", description="Video models")
    assert made.slug.startswith("owner/ila-models-")
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_collection("ILA models", namespace="owner")
    assert refused(caught) == 409
    assert api.create_collection("ILA models", namespace="owner", exists_ok=True).slug == made.slug

    api.add_collection_item(made.slug, released, "model", note="The first")
    with pytest.raises(HfHubHTTPError) as caught:
        api.add_collection_item(made.slug, released, "model")
    assert refused(caught) == 409
    with pytest.raises(HfHubHTTPError) as caught:
        api.add_collection_item(made.slug, "owner/absent", "model")
    assert refused(caught) == 404
    api.add_collection_item(made.slug, "2304.10465", "paper", exists_ok=True)
    found = anybody.get_collection(made.slug)
    assert [(item.item_id, item.item_type, item.note) for item in found.items] == [
        (released, "model", "The first"),
        ("2304.10465", "paper", None),
    ]
    api.update_collection_item(made.slug, found.items[1].item_object_id, position=0)
    api.delete_collection_item(made.slug, found.items[0].item_object_id)
    api.update_collection_metadata(made.slug, description="All of them")
    listed = list(anybody.list_collections(owner="owner"))
    assert [(one.slug, one.description, len(one.items)) for one in listed] == [(made.slug, "All of them", 1)]
    assert list(anybody.list_collections(owner="others")) == []
    api.delete_collection(made.slug)
    with pytest.raises(HfHubHTTPError) as caught:
        api.get_collection(made.slug)
    assert refused(caught) == 404


# Faults


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(("name", "content"), [("model.safetensors", WEIGHTS), ("README.md", CARD.encode())])
def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    name: str,
    content: bytes,
    anybody: HfApi,
    hub: HubServer,
    released: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 64)  # it keeps whole chunks only, of 10 MB if left alone
    fault = Fault("GET", name, "cut")
    hub.faults.append(fault)
    try:
        path = anybody.hf_hub_download(released, name, cache_dir=tmp_path)
    except TransportError:  # 1.0 leaves trying again to its caller
        path = anybody.hf_hub_download(released, name, cache_dir=tmp_path)
    assert Path(path).read_bytes() == content
    assert fault.happened == 1
    assert hub.ranges == [f"bytes={len(content) // 2 // 64 * 64}-"]


def test_a_download_of_other_bytes_is_not_noticed_by_the_client(
    anybody: HfApi, hub: HubServer, released: str, tmp_path: Path
) -> None:
    hub.faults.append(Fault("GET", "model.safetensors", "alter"))
    found = Path(anybody.hf_hub_download(released, "model.safetensors", cache_dir=tmp_path)).read_bytes()
    assert len(found) == len(WEIGHTS)
    assert [i for i, (a, b) in enumerate(zip(found, WEIGHTS, strict=True)) if a != b] == [len(WEIGHTS) - 1]


def test_a_download_that_is_too_short(anybody: HfApi, hub: HubServer, released: str, tmp_path: Path) -> None:
    hub.faults.append(Fault("GET", "model.safetensors", "truncate", times=None))
    with pytest.raises(OSError, match="Consistency check failed"):
        anybody.hf_hub_download(released, "model.safetensors", cache_dir=tmp_path)


def test_the_hub_is_down(anybody: HfApi, hub: HubServer, released: str, tmp_path: Path, waits: list[float]) -> None:
    fault = Fault("HEAD|GET", f"/{released}/resolve/", "status", times=None, status=500)
    hub.faults.append(fault)
    with pytest.raises((LocalEntryNotFoundError, HfHubHTTPError)):
        anybody.hf_hub_download(released, "README.md", cache_dir=tmp_path)
    assert fault.happened >= 1
    hub.faults.clear()
    assert Path(anybody.hf_hub_download(released, "README.md", cache_dir=tmp_path)).exists()


def test_too_many_requests(api: HfApi, hub: HubServer, released: str) -> None:
    hub.faults.append(Fault("GET", "/refs", "status", status=429, retry_after=7))
    with pytest.raises(HfHubHTTPError) as caught:
        api.list_repo_refs(released)
    assert refused(caught) == 429
    assert caught.value.response.headers["Retry-After"] == "7"
    assert api.list_repo_refs(released).tags[0].name == "v1"


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("action", ["status", "cut", "lose"])
def test_an_upload_that_fails_can_be_made_again(action: Any, api: HfApi, hub: HubServer, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(WEIGHTS * 8)  # more than the sockets hold
    api.create_repo("owner/ila")
    fault = Fault("PUT", "^/upload/", action)
    hub.faults.append(fault)
    for again in (False, True):
        operations = [CommitOperationAdd("model.safetensors", str(weights))]
        try:
            api.create_commit("owner/ila", operations, commit_message="Release")
            break
        except RuntimeError:  # 1.0 does not try again by itself where the connection breaks off; later ones do
            assert not again
            assert hub.repository("owner/ila").commits == hub.repository("owner/ila").commits[:1]
    assert fault.happened == 1
    files = hub.repository("owner/ila").head.files
    assert files["model.safetensors"].sha256 == hashlib.sha256(WEIGHTS * 8).hexdigest()
    lying = {path.name for path in hub.repository("owner/ila").folder.iterdir()}
    assert lying == {file.etag for file in files.values()}  # nothing half-done


def test_the_answer_to_a_commit_is_lost(api: HfApi, hub: HubServer, released: str) -> None:
    hub.faults.append(Fault("POST", "/commit/main", "lose"))
    operations = [CommitOperationAdd("new.txt", b"new")]
    with pytest.raises(Exception, match=r"disconnected|closed|reset") as caught:
        api.create_commit(released, operations, commit_message="Change")
    assert not isinstance(caught.value, HfHubHTTPError)
    assert "new.txt" in hub.repository(released).head.files


def test_a_commit_that_breaks_off_is_not_made(api: HfApi, hub: HubServer, released: str) -> None:
    hub.faults.append(Fault("POST", "/commit/main", "cut"))
    with pytest.raises(Exception, match=r"disconnected|closed|reset|[Bb]roken"):
        api.create_commit(released, [CommitOperationAdd("new.txt", b"new")], commit_message="Change")
    assert "new.txt" not in hub.repository(released).head.files


def test_a_slow_answer(anybody: HfApi, hub: HubServer, released: str) -> None:
    hub.faults.append(Fault("GET", "/api/models/", "delay", seconds=2.0))
    with pytest.raises(Exception, match="timed out"):
        anybody.model_info(released, timeout=0.1)
    assert anybody.model_info(released, timeout=30).id == released


def test_faults_are_skipped_and_counted() -> None:
    faults = Faults()
    second = Fault("GET", r"^/a\b", "cut", skip=1, times=2)
    always = Fault(".*", "^/b$", "delay", times=None)
    faults.append(second)
    faults.append(always)
    asked = [
        ("GET", "/a"),
        ("HEAD", "/a"),
        ("GET", "/a?x"),
        ("GET", "/ab"),
        ("GET", "/a"),
        ("GET", "/a"),
        ("PUT", "/b"),
    ]
    assert [faults.take(*request) for request in asked] == [None, None, second, None, second, None, always]
    assert (second.happened, always.happened) == (2, 1)


def test_commits_at_the_same_time_are_all_made(api: HfApi, hub: HubServer, released: str) -> None:
    def change(number: int) -> None:
        operations = [CommitOperationAdd(f"{number}.txt", str(number).encode())]
        api.create_commit(released, operations, commit_message=f"File {number}")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"{number}.txt" for number in range(6)} <= hub.repository(released).head.files.keys()
    assert len({commit.oid for commit in hub.repository(released).commits}) == 8
