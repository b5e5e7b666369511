"""The OpenAPI document as a page: every path, every field with an example.

Needs no script and no other host.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any


def docs_page(document: dict[str, Any]) -> str:
    """The page in HTML; its style is `/ui/docs.css`."""
    operations = [
        _operation(method, path, each, document)
        for path, methods in document["paths"].items()
        for method, each in methods.items()
    ]
    about = escape(document["info"]["description"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<title>trireid: HTTP</title><link rel="stylesheet" href="../ui/docs.css"></head>'
        "<body><main>"
        f"<h1>trireid over HTTP</h1><p>{about}</p>"
        "<p>With tokens: <code>Authorization: Bearer TOKEN</code>. The document: "
        '<a href="../openapi.json">openapi.json</a>. '
        'The page for people: <a href="../ui/">/ui/</a>.</p>'
        f"{''.join(operations)}</main></body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    parts = [
        f'<section><h2><span class="method">{method.upper()}</span> '
        f"<code>{escape(path)}</code></h2>",
        f"<p>{escape(operation['summary'])} {escape(operation['description'])}</p>",
    ]
    if "parameters" in operation:
        rows = [
            _row(each["name"], each["description"], _example(each["schema"]), "")
            for each in operation["parameters"]
        ]
        parts.append(_table("In the path", rows))
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(_fields(f"Sent as {media}", content["schema"], document))
    for media, content in operation["responses"]["200"]["content"].items():
        parts.append(_fields(f"Answer: {media}", content["schema"], document))
    errors = [
        f"<li><b>{status}</b> {escape(each['description'])}</li>"
        for status, each in operation["responses"].items()
        if status != "200"
    ]
    return (
        "".join(parts)
        + f"<details><summary>Errors</summary><ul>{''.join(errors)}</ul></details></section>"
    )


def _fields(title: str, schema: dict[str, Any], document: dict[str, Any]) -> str:
    fields = _resolve(schema, document).get("properties", {})
    rows = [
        _row(name, each.get("description", ""), _example(each), _kind(each, document))
        for name, each in fields.items()
    ]
    nested = [
        _fields(f"{name}, each", each["items"], document)
        for name, each in fields.items()
        if each.get("type") == "array" and "$ref" in each.get("items", {})
    ]
    return _table(title, rows) + "".join(nested) if rows else f"<p>{escape(title)}</p>"


def _example(field: dict[str, Any]) -> Any:
    return next(iter(field.get("examples", [])), None)


def _kind(field: dict[str, Any], document: dict[str, Any]) -> str:
    choices = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    return (
        " or ".join(str(_resolve(each, document).get("type", "")) for each in choices)
        if choices
        else ""
    )


def _resolve(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].split("/")[-1]]
    return found


def _table(title: str, rows: list[str]) -> str:
    head = "<tr><th>field</th><th>type</th><th>what</th><th>example</th></tr>"
    caption = f"<caption>{escape(title)}</caption>"
    return f'<div class="table"><table>{caption}{head}{"".join(rows)}</table></div>'


def _row(name: str, about: str, example: Any, kind: str) -> str:
    said = (
        ""
        if example is None
        else f"<code>{escape(example if isinstance(example, str) else json.dumps(example))}</code>"
    )
    cells = "".join(f"<td>{each}</td>" for each in (kind, escape(about), said))
    return f"<tr><th scope='row'><code>{escape(name)}</code></th>{cells}</tr>"
