"""What the Hub of the tests answers to those who read: accounts, repositories, files."""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote

from .cards import read_card
from .http import PAGE_OF_REPOSITORY, REPOSITORY, REVISION, HubHandler, RefusalError, route
from .repositories import StoredFile, describe, describe_entry, folders, object_id

PAGE = 1000  # entries of a tree in one answer


class ReadingRoutes(HubHandler):
    @route("GET", "/api/whoami-v2")
    def _whoami(self) -> None:
        role = self._role()
        if role is None:
            raise RefusalError(HTTPStatus.UNAUTHORIZED, "Invalid username or password.")
        user = self._hub.user
        token = {"displayName": "test", "role": role}
        self._send_json(
            {
                "type": "user",
                "id": object_id(user),
                "name": user,
                "fullname": user,
                "email": f"{user}@example.com",
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": token},
            }
        )

    @route("GET", "/api/agent-harnesses")
    def _harnesses(self) -> None:
        """What the client asks for its user agent, once a day."""
        self._send_json({"standardEnvVars": [], "harnesses": {}})

    @route("GET", f"/api/{REPOSITORY}(?:/revision/{REVISION})?")
    def _info(self, kind: str, name: str, revision: str = "main") -> None:
        repository = self._repository(kind, name)
        commit = self._commit_of(repository, revision)
        readme = commit.files.get("README.md")
        card = read_card(readme.location.read_text(errors="replace")) if readme else {}
        tags = card.get("tags") if isinstance(card.get("tags"), list) else []
        named = [card[key] for key in ("library_name", "pipeline_tag") if isinstance(card.get(key), str)]
        info = {
            "id": name,
            "_id": object_id(kind + name),
            "modelId": name,
            "author": name.partition("/")[0],
            "sha": commit.oid,
            "lastModified": commit.date,
            "createdAt": repository.commits[0].date,
            "private": repository.private,
            "gated": repository.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [*named, *tags],
            "cardData": card,
            "siblings": [self._sibling(path, file) for path, file in sorted(commit.files.items())],
            "usedStorage": sum(location.stat().st_size for location in repository.objects.values()),
            **{key: card[key] for key in ("library_name", "pipeline_tag", "model-index") if key in card},
        }
        wanted = self._query.get("expand", []) + self._query.get("expand[]", [])
        if wanted:
            info = {key: value for key, value in info.items() if key in ("id", "_id", *wanted)}
        self._send_json(info)

    def _sibling(self, path: str, file: StoredFile) -> dict[str, Any]:
        if not self._asked("blobs"):
            return {"rfilename": path}
        described = describe(path, file)
        if file.sha256:
            described["lfs"]["sha256"] = described["lfs"].pop("oid")
        return {"rfilename": path, "size": file.size, "blobId": file.oid, "lfs": described.get("lfs")}

    # Files and history

    @route("GET", f"/api/{REPOSITORY}/tree/{REVISION}(?:/(?P<path>.+))?")
    def _tree(self, kind: str, name: str, revision: str, path: str = "") -> None:
        repository = self._repository(kind, name)
        commit = self._commit_of(repository, revision)
        below = f"{path.strip('/')}/" if path else ""
        if below and not any(name.startswith(below) for name in commit.files):
            raise RefusalError(HTTPStatus.NOT_FOUND, f"{path} does not exist on {revision!r}", code="EntryNotFound")
        entries = folders(commit.files) | commit.files.keys()
        depth = below.count("/")
        listed = sorted(
            entry
            for entry in entries
            if entry.startswith(below) and (self._asked("recursive") or entry.count("/") == depth)
        )
        start = int(self._query.get("cursor", ["0"])[0])
        page = int(self._query.get("limit", [str(PAGE)])[0])
        headers = {}
        if start + page < len(listed):
            flags = "&".join(f"{flag}={str(self._asked(flag)).lower()}" for flag in ("recursive", "expand"))
            address = f"{self._hub.url}{self.path.partition('?')[0]}?{flags}&limit={page}&cursor={start + page}"
            headers["Link"] = f'<{address}>; rel="next"'
        expand = self._asked("expand")
        found = [describe_entry(repository, commit, entry, expand=expand) for entry in listed[start : start + page]]
        self._send_json(found, headers=headers)

    @route("POST", f"/api/{REPOSITORY}/paths-info/{REVISION}")
    def _paths_info(self, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name)
        commit = self._commit_of(repository, revision)
        if "json" in self.headers.get("Content-Type", ""):
            asked = self._json()
        else:
            form = parse_qs(b"".join(self._incoming).decode())
            asked = {"paths": form.get("paths", []), "expand": form.get("expand") == ["true"]}
        known = folders(commit.files) | commit.files.keys()
        paths = dict.fromkeys(path.strip("/") for path in asked["paths"])
        expand = asked.get("expand") is True
        self._send_json([describe_entry(repository, commit, path, expand=expand) for path in paths if path in known])

    @route("GET", f"/api/{REPOSITORY}/commits/{REVISION}")
    def _commits(self, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name)
        newest = repository.commits.index(self._commit_of(repository, revision))
        self._send_json(
            [
                {
                    "id": commit.oid,
                    "title": commit.title,
                    "message": commit.message,
                    "authors": [{"user": self._hub.user}],
                    "date": commit.date,
                }
                for commit in reversed(repository.commits[: newest + 1])
            ]
        )

    @route("GET", f"/api/{REPOSITORY}/refs")
    def _refs(self, kind: str, name: str) -> None:
        repository = self._repository(kind, name)
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.head.oid}
        tags = [
            {"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid}
            for tag, oid in sorted(repository.tags.items())
        ]
        asked = {"pullRequests": []} if self._asked("include_prs") else {}
        self._send_json({"branches": [main], "converts": [], "tags": tags, **asked})

    @route("GET", f"/{PAGE_OF_REPOSITORY}/resolve/{REVISION}/(?P<path>.+)")
    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        repository = self._repository(kind, name)
        if repository.gated and self._role() is None:
            raise RefusalError(HTTPStatus.UNAUTHORIZED, f"Access to {kind} {name} is restricted.", code="GatedRepo")
        commit = self._commit_of(repository, revision)
        file = commit.files.get(path)
        headers = {"X-Repo-Commit": commit.oid}
        if file is None:
            refusal = RefusalError(HTTPStatus.NOT_FOUND, "Entry not found", code="EntryNotFound")
            refusal.headers |= headers
            raise refusal
        headers["ETag"] = f'"{file.etag}"'
        if file.sha256 is None:
            return self._send_file(file.location, headers)
        where = f"{self._hub.cdn_url}/cdn/{kind}s/{quote(name)}/{file.sha256}?filename={quote(path)}"
        headers |= {
            "Location": where,
            "X-Linked-Etag": f'"{file.sha256}"',
            "X-Linked-Size": str(file.size),
            "Accept-Ranges": "bytes",
        }
        text = f"Found. Redirecting to {where}".encode()
        self._send(HTTPStatus.FOUND, headers, io.BytesIO(text), len(text))

    @route("GET", f"/cdn/{REPOSITORY}/(?P<sha256>[0-9a-f]{{64}})")
    def _cdn(self, kind: str, name: str, sha256: str) -> None:
        self._require_signed_address()
        repository = self._hub.find(kind, name)
        location = repository and repository.objects.get(sha256)
        if not location:
            raise RefusalError(HTTPStatus.FORBIDDEN, "AccessDenied")
        self._send_file(location, {"ETag": f'"{sha256[:32]}"'})
