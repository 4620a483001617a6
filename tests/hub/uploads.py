"""What the Hub of the tests answers to those who publish: repositories, tags, uploads, commits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import os
import tempfile
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from .cards import check_card
from .http import PAGE_OF_REPOSITORY, REPOSITORY, REVISION, HubHandler, RefusalError, route
from .repositories import KINDS, LARGEST_REGULAR_FILE, Repository, StoredFile, object_id


class UploadRoutes(HubHandler):
    @route("POST", "/api/repos/create")
    def _create(self) -> None:
        asked = self._json()
        namespace = asked.get("organization") or self._hub.user
        self._require_writing(namespace)
        name, kind = f"{namespace}/{asked['name']}", asked.get("type") or "model"
        if kind not in KINDS:
            raise RefusalError(HTTPStatus.BAD_REQUEST, f'"type" must be one of {list(KINDS)}')
        private = asked.get("private") is True or asked.get("visibility") == "private"
        with self._hub.lock:
            repository = self._hub.find(kind, name)
            existed = repository is not None
            repository = repository or self._hub.create(kind, name, private=private)
        url = f"{self._hub.url}/{repository.address}"
        if existed:
            raise RefusalError(HTTPStatus.CONFLICT, f"You already created this {kind} repo", url=url)
        self._send_json({"url": url, "name": name, "id": object_id(kind + name), "private": private})

    @route("DELETE", "/api/repos/delete")
    def _delete(self) -> None:
        asked = self._json()
        name = f"{asked.get('organization') or self._hub.user}/{asked['name']}"
        with self._hub.lock:
            self._hub.delete(self._repository(asked.get("type") or "model", name, writing=True))
        self._send(HTTPStatus.OK, {}, io.BytesIO(), 0)

    @route("PUT", f"/api/{REPOSITORY}/settings")
    def _settings(self, kind: str, name: str) -> None:
        repository = self._repository(kind, name, writing=True)
        asked = self._json()
        if "visibility" in asked:
            asked["private"] = asked["visibility"] == "private"
        repository.private = asked.get("private", repository.private)
        repository.gated = asked.get("gated", repository.gated)
        self._send_json({"private": repository.private, "gated": repository.gated})

    @route("POST", f"/api/{REPOSITORY}/tag/{REVISION}")
    def _create_tag(self, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name, writing=True)
        tag = self._json()["tag"]
        with self._hub.lock:
            commit = self._commit_of(repository, revision)
            if tag in repository.tags:
                raise RefusalError(HTTPStatus.CONFLICT, f"Tag reference exists already: {tag}")
            repository.tags[tag] = commit.oid
        self._send(HTTPStatus.OK, {}, io.BytesIO(), 0)

    @route("DELETE", f"/api/{REPOSITORY}/tag/(?P<tag>[^/]+)")
    def _delete_tag(self, kind: str, name: str, tag: str) -> None:
        repository = self._repository(kind, name, writing=True)
        if repository.tags.pop(tag, None) is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, f"Tag reference does not exist: {tag}", code="RevisionNotFound")
        self._send(HTTPStatus.OK, {}, io.BytesIO(), 0)

    @route("POST", "/api/validate-yaml")
    def _validate(self) -> None:
        errors, warnings = check_card(self._json()["content"])
        status = HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK
        described = {
            "errors": [{"message": text} for text in errors],
            "warnings": [{"message": text} for text in warnings],
        }
        self._send_json(described, status)

    @route("POST", f"/api/{REPOSITORY}/preupload/{REVISION}")
    def _preupload(self, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name, writing=True)
        commit = self._commit_of(repository, revision)
        answers = []
        for asked in self._json()["files"]:
            lfs = repository.wants_lfs(asked["path"], asked["size"], base64.b64decode(asked["sample"]))
            known = commit.files.get(asked["path"])
            answers.append(
                {
                    "path": asked["path"],
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    **({"oid": known.etag} if known else {}),
                }
            )
        self._send_json({"files": answers, "commitOid": commit.oid})

    @route("POST", rf"/{PAGE_OF_REPOSITORY}\.git/info/lfs/objects/batch")
    def _lfs_batch(self, kind: str, name: str) -> None:
        repository = self._repository(kind, name, writing=True)
        asked = self._json()
        if asked["operation"] != "upload" or "basic" not in asked.get("transfers", ["basic"]):
            raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, "only uploads by the transfer basic are known here")
        answers = []
        for wanted in asked["objects"]:
            sha256, size = wanted["oid"], wanted["size"]
            answer = {"oid": sha256, "size": size, "authenticated": True}
            if sha256 not in repository.objects:
                repository.expected[sha256] = size
                upload = f"{self._hub.cdn_url}/upload/{kind}s/{quote(name)}/{sha256}"
                verify = f"{self._hub.url}/{repository.address}.git/info/lfs/objects/verify"
                answer["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            answers.append(answer)
        self._send_json({"transfer": "basic", "objects": answers})

    @route("PUT", f"/upload/{REPOSITORY}/(?P<sha256>[0-9a-f]{{64}})")
    def _upload(self, kind: str, name: str, sha256: str) -> None:
        self._require_signed_address()
        repository = self._hub.find(kind, name)
        if repository is None or sha256 not in repository.expected:
            raise RefusalError(HTTPStatus.FORBIDDEN, "AccessDenied")
        repository.folder.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=repository.folder, delete=False) as partial:
            try:
                for chunk in self._incoming:
                    digest.update(chunk)
                    size += len(chunk)
                    partial.write(chunk)
                if digest.hexdigest() != sha256 or size != repository.expected[sha256]:
                    raise RefusalError(HTTPStatus.BAD_REQUEST, "BadDigest: the bytes are not those that were announced")
            except BaseException:
                os.unlink(partial.name)
                raise
        os.replace(partial.name, repository.folder / sha256)
        repository.objects[sha256] = repository.folder / sha256
        self._send(HTTPStatus.OK, {"ETag": f'"{sha256[:32]}"'}, io.BytesIO(), 0)

    @route("POST", rf"/{PAGE_OF_REPOSITORY}\.git/info/lfs/objects/verify")
    def _lfs_verify(self, kind: str, name: str) -> None:
        repository = self._repository(kind, name, writing=True)
        asked = self._json()
        location = repository.objects.get(asked["oid"])
        if location is None or location.stat().st_size != asked["size"]:
            raise RefusalError(HTTPStatus.NOT_FOUND, "the object was not uploaded")
        self._send_json({"success": True})

    @route("POST", f"/api/{REPOSITORY}/commit/{REVISION}")
    def _commit(self, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name, writing=True)
        if self._query:
            raise RefusalError(HTTPStatus.NOT_IMPLEMENTED, f"the test double does not know {sorted(self._query)}")
        operations = [json.loads(line) for line in b"".join(self._incoming).splitlines()]
        if not operations or operations[0]["key"] != "header" or not operations[0]["value"].get("summary"):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "the first line must be a header with a summary")
        header = operations[0]["value"]
        with self._hub.lock:
            if self._commit_of(repository, revision) is not repository.find("main") or revision in repository.tags:
                raise RefusalError(HTTPStatus.BAD_REQUEST, f"commits go to main, not to {revision}")
            if not repository.head.oid.startswith(header.get("parentCommit", "")):
                message = "A commit has happened since. Please refresh and try again."
                raise RefusalError(HTTPStatus.PRECONDITION_FAILED, message)
            files = dict(repository.head.files)
            for operation in operations[1:]:
                _apply(repository, files, operation["key"], operation["value"])
            commit = repository.commit(files, header["summary"], header.get("description", ""))
        url = f"{self._hub.url}/{repository.address}/commit/{commit.oid}"
        self._send_json({"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""})


def _apply(repository: Repository, files: dict[str, StoredFile], key: str, value: dict[str, Any]) -> None:
    """Carries out one line of a commit on `files`."""
    path = value["path"].rstrip("/")
    if path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"invalid path {value['path']!r}")
    if key == "file":
        try:
            content = base64.b64decode(value["content"], validate=True)
        except binascii.Error:
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"{path}: the content is not base64") from None
        if len(content) > LARGEST_REGULAR_FILE:
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"{path} is larger than 10 MB: it must be an LFS file")
        errors = check_card(content.decode(errors="replace"))[0] if path == "README.md" else []
        if errors:
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"Invalid metadata in README.md: {'; '.join(errors)}")
        files[path] = repository.regular(content)
    elif key == "lfsFile":
        if value["oid"] not in repository.objects:
            message = f"Your push was rejected because an LFS pointer pointed to a file that does not exist: {path}"
            raise RefusalError(HTTPStatus.BAD_REQUEST, message)
        files[path] = repository.large(value["oid"])
    elif key in ("deletedFile", "deletedFolder"):
        gone = [path] if key == "deletedFile" else [name for name in files if name.startswith(f"{path}/")]
        if not gone or gone[0] not in files:
            message = "A file with this name doesn't exist" if key == "deletedFile" else f"no folder {path}"
            raise RefusalError(HTTPStatus.NOT_FOUND, message, code="EntryNotFound")
        for name in gone:
            del files[name]
    else:
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"the test double does not know the operation {key}")
