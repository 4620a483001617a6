"""Collections of the Hub of the tests."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .http import HubHandler, RefusalError, route
from .repositories import KINDS, object_id


@dataclass
class CollectionItem:
    object_id: str
    id: str
    type: str
    note: str | None


@dataclass
class Collection:
    slug: str
    title: str
    owner: str
    description: str | None
    private: bool
    items: list[CollectionItem] = field(default_factory=list)


class CollectionRoutes(HubHandler):
    def _collection(self, slug: str, *, writing: bool = False) -> Collection:
        role = self._role()
        collection = self._hub.collections.get(slug)
        if collection is None or (collection.private and role is None):
            raise RefusalError(HTTPStatus.NOT_FOUND, "Collection not found")
        if writing:
            self._require_writing(collection.owner)
        return collection

    @route("POST", "/api/collections")
    def _create_collection(self) -> None:
        asked = self._json()
        title, owner = asked["title"], asked.get("namespace") or self._hub.user
        self._require_writing(owner)
        description = asked.get("description")
        _limit("description", description, 150)
        with self._hub.lock:
            for known in self._hub.collections.values():
                if (known.owner, known.title) == (owner, title):
                    raise RefusalError(HTTPStatus.CONFLICT, "This collection already exists", slug=known.slug)
            words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
            slug = f"{owner}/{words}-{object_id(owner + title)}"
            collection = Collection(slug, title, owner, description, asked.get("private") is True)
            self._hub.collections[slug] = collection
        self._send_json(_describe_collection(collection))

    @route("GET", "/api/collections")
    def _list_collections(self) -> None:
        role = self._role()
        owners = self._query.get("owner")
        self._send_json(
            [
                {key: value for key, value in _describe_collection(collection).items() if key != "position"}
                for collection in self._hub.collections.values()
                if (not owners or collection.owner in owners) and (role or not collection.private)
            ]
        )

    @route("GET", "/api/collections/(?P<slug>[^/]+/[^/]+)")
    def _get_collection(self, slug: str) -> None:
        self._send_json(_describe_collection(self._collection(slug)))

    @route("PATCH", "/api/collections/(?P<slug>[^/]+/[^/]+)")
    def _change_collection(self, slug: str) -> None:
        collection = self._collection(slug, writing=True)
        asked = self._json()
        _limit("description", asked.get("description"), 150)
        collection.title = asked.get("title", collection.title)
        collection.description = asked.get("description", collection.description)
        collection.private = asked.get("private", collection.private)
        self._send_json({"success": True, "data": _describe_collection(collection)})

    @route("DELETE", "/api/collections/(?P<slug>[^/]+/[^/]+)")
    def _delete_collection(self, slug: str) -> None:
        del self._hub.collections[self._collection(slug, writing=True).slug]
        self._send_json({"success": True})

    @route("POST", "/api/collections/(?P<slug>[^/]+/[^/]+)/items")
    def _add_item(self, slug: str) -> None:
        collection = self._collection(slug, writing=True)
        asked = self._json()
        item, note = asked["item"], asked.get("note")
        _limit("note", note, 500)
        if item["type"] in KINDS and self._hub.find(item["type"], item["id"]) is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, f"{item['type']} {item['id']} not found")
        with self._hub.lock:
            if any((known.type, known.id) == (item["type"], item["id"]) for known in collection.items):
                raise RefusalError(HTTPStatus.CONFLICT, "This item is already in the collection")
            number = object_id(slug + item["type"] + item["id"])
            collection.items.append(CollectionItem(number, item["id"], item["type"], note))
        self._send_json(_describe_collection(collection))

    def _item(self, collection: Collection, object_id: str) -> CollectionItem:
        for item in collection.items:
            if item.object_id == object_id:
                return item
        raise RefusalError(HTTPStatus.NOT_FOUND, "Item not found")

    @route("PATCH", "/api/collections/(?P<slug>[^/]+/[^/]+)/items/(?P<object_id>[^/]+)")
    def _change_item(self, slug: str, object_id: str) -> None:
        collection = self._collection(slug, writing=True)
        item, asked = self._item(collection, object_id), self._json()
        _limit("note", asked.get("note"), 500)
        item.note = asked.get("note", item.note)
        if "position" in asked:
            collection.items.remove(item)
            collection.items.insert(asked["position"], item)
        self._send_json({"success": True})

    @route("DELETE", "/api/collections/(?P<slug>[^/]+/[^/]+)/items/(?P<object_id>[^/]+)")
    def _delete_item(self, slug: str, object_id: str) -> None:
        collection = self._collection(slug, writing=True)
        collection.items.remove(self._item(collection, object_id))
        self._send_json({"success": True})


def _describe_collection(collection: Collection) -> dict[str, Any]:
    items = [
        {
            "_id": item.object_id,
            "id": item.id,
            "type": item.type,
            "position": position,
            **({"note": {"text": item.note, "html": item.note}} if item.note else {}),
        }
        for position, item in enumerate(collection.items)
    ]
    return {
        "slug": collection.slug,
        "title": collection.title,
        "owner": {"type": "user", "name": collection.owner},
        "description": collection.description,
        "private": collection.private,
        "items": items,
        "lastUpdated": "2026-01-01T00:00:00.000Z",
        "position": 0,
        "theme": "blue",
        "upvotes": 0,
    }


def _limit(name: str, text: str | None, length: int) -> None:
    if text is not None and len(text) > length:
        raise RefusalError(HTTPStatus.BAD_REQUEST, f'"{name}" must be at most {length} characters, not {len(text)}')
