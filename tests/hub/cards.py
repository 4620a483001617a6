"""What the Hub checks in the metadata of a model card, in part."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

# A part of the Hub's list: the licences that a model of this package may carry, and the usual ones.
_LICENSES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m gpl gpl-2.0 gpl-3.0 lgpl lgpl-3.0 agpl-3.0
    bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear mpl-2.0 isc cc cc0-1.0 cc-by-4.0 cc-by-sa-4.0 cc-by-nc-4.0
    cc-by-nc-sa-4.0 cc-by-nc-nd-4.0 cc-by-nd-4.0 etalab-2.0 odbl unlicense wtfpl llama3 gemma unknown other
"""
_FRONT_MATTER = re.compile(r"^\s*---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", re.DOTALL)


def read_card(content: str) -> dict[str, Any]:
    """Returns a card's metadata as JSON can hold them; nothing where they cannot be read."""
    matter = _FRONT_MATTER.match(content)
    try:
        data = yaml.safe_load(matter[1]) if matter else None
    except yaml.YAMLError:
        return {}
    return json.loads(json.dumps(data, default=str)) if isinstance(data, dict) else {}


def check_card(content: str) -> tuple[list[str], list[str]]:
    """Returns what is wrong with a card's metadata, and what is only odd: a part of what the Hub checks."""
    matter = _FRONT_MATTER.match(content)
    try:
        data = yaml.safe_load(matter[1]) if matter else None
    except yaml.YAMLError as error:
        return [f"invalid yaml metadata: {error}"], []
    if data is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(data, dict):
        return ["the yaml metadata must be a mapping"], []
    errors = []
    for key in ("pipeline_tag", "library_name", "license_name", "license_link", "base_model_relation"):
        if key in data and not isinstance(data[key], str):
            errors.append(f'"{key}" must be a string')
    for key in ("tags", "metrics", "datasets", "base_model", "language", "license"):
        value = data.get(key, [])
        if isinstance(value, str) and key != "tags":
            value = [value]
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            errors.append(f'"{key}" must be {"an array" if key == "tags" else "a string or an array"} of strings')
        elif key == "license":
            errors += [
                f'"license" must be one of the Hub\'s licences, not {part}'
                for part in value
                if part not in _LICENSES.split()
            ]
    return errors + _check_model_index(data.get("model-index", [])), []


def _check_model_index(index: object) -> list[str]:
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    errors = []
    for i, model in enumerate(index):
        errors += _missing(f"model-index[{i}]", model, {"name": str, "results": list})
        for j, result in enumerate(_list_of(model, "results")):
            place = f"model-index[{i}].results[{j}]"
            errors += _missing(place, result, {"task": dict, "dataset": dict, "metrics": list})
            if isinstance(result, dict):
                errors += _missing(f"{place}.task", result.get("task", {"type": ""}), {"type": str})
                dataset = result.get("dataset", {"type": "", "name": ""})
                errors += _missing(f"{place}.dataset", dataset, {"type": str, "name": str})
                if isinstance(result.get("source"), dict):
                    errors += _missing(f"{place}.source", result["source"], {"url": str})
            for k, metric in enumerate(_list_of(result, "metrics")):
                errors += _missing(f"{place}.metrics[{k}]", metric, {"type": str, "value": object})
    return errors


def _list_of(value: object, key: str) -> list[object]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _missing(place: str, value: object, wanted: dict[str, type]) -> list[str]:
    if not isinstance(value, dict):
        return [f'"{place}" must be of type object']
    absent = [f'"{place}.{key}" is required' for key in wanted if key not in value]
    wrong = [
        f'"{place}.{key}" must be of type {kind.__name__}, not {type(value[key]).__name__}'
        for key, kind in wanted.items()
        if key in value and not isinstance(value[key], kind)
    ]
    return absent + wrong
