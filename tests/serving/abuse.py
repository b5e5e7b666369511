"""Requests that no honest client sends, each made from a number: the same number makes the same
request again.

Of the OpenAPI document's operations, with fields, forms, bodies, paths and headers out of joint,
and with images that are mutated files of every format that is read. Our own generator rather than
a fuzzer's: it knows where an image has its dimensions, every case is one request that its number
reproduces, and it needs no package.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from PIL import Image

from tests.conftest import make_pixels

BOUNDARY: Final = b"0b6c9f"
#: One of many is sent as it is, so that what is around it is what is wrong.
_WHOLE: Final = 0.15
_TEXTS: Final = (
    "",
    " ",
    "-1",
    "0",
    "1e999",
    "NaN",
    "Infinity",
    "9" * 400,
    "1.5",
    "true",
    "null",
    "[]",
    "{}",
    '{"camera":',
    '{"camera": {"gte": []}}',
    '{"time": {"lt": {"a": 1}}}',
    '{"": null}',
    '{"a": [[[]]]}',
    '{"a\\u0000": "\\ud800"}',
    '{"camera": [' + "1," * 3000 + "1]}",
    '{"a": ' + "9" * 5000 + "}",
    "[" * 20_000,
    '{"a":' * 5000,
    "' OR 1=1 --",
    "../../etc/passwd",
    "%00%0d%0a",
    "\x00\x01\x02",
    "\ud800",
    "\U000103ff" * 40,
    "a" * 20_000,
    "people",
    "person",
    "s1",
)


@dataclass(frozen=True)
class Abuse:
    """A request as it is sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def whole_files() -> list[bytes]:
    """Whole images: every format that is read, in several modes."""
    rgb = Image.fromarray(make_pixels(1))
    made = [(rgb, form) for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP")]
    made += [
        (rgb.convert("L"), "PNG"),
        (rgb.convert("P"), "PNG"),
        (rgb.convert("RGBA"), "PNG"),
        (rgb.convert("CMYK"), "JPEG"),
    ]
    made += [
        (rgb.convert("1"), "TIFF"),
        (rgb.convert("P"), "BMP"),
        (rgb.convert("I;16"), "PNG"),
        (rgb.convert("RGBA"), "WEBP"),
    ]
    return [_save(image, form) for image, form in made] + [
        _save(rgb, "TIFF", compression="tiff_lzw")
    ]


def _save(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def mutate(chance: random.Random, wholes: Sequence[bytes]) -> bytes:
    """An image's file after one or two mutations."""
    data = chance.choice(wholes)
    if chance.random() < _WHOLE:
        return data
    for _ in range(chance.choice((1, 1, 2))):
        data = chance.choice((_flip, _cut, _splice, _overwritten, _huge, _replace_head))(
            chance, data
        )
    return data


def _flip(chance: random.Random, data: bytes) -> bytes:
    bits = bytearray(data)
    reach = min(len(bits), chance.choice((64, len(bits)))) if bits else 0
    for _ in range(chance.randint(1, 24) if reach else 0):
        bits[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(bits)


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _splice(chance: random.Random, data: bytes) -> bytes:
    """A part is doubled, or left out."""
    first, second = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:second] + data[first:] if chance.random() < 0.5 else data[:first] + data[second:]


def _overwritten(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data) + 1)
    noise = chance.randbytes(chance.randint(1, 64)) if chance.random() < 0.7 else b"\xff" * 64
    return data[:start] + noise + data[start + len(noise) :]


def _replace_head(chance: random.Random, data: bytes) -> bytes:
    """The first bytes of another format, or of one that is not read."""
    heads = (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"RIFF\xff\xff\xff\xffWEBPVP8X",
        b"II*\x00",
        b"MM\x00*",
        b"BM",
        b"GIF89a",
    )
    others = (
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"8BPS\x00\x01",
        b"\x00\x00\x00\x0cjP  ",
        b"P6 9 9 255 ",
    )
    head = chance.choice(heads + others)
    return head + data[len(head) :]


def _huge(chance: random.Random, data: bytes) -> bytes:
    """Claims other dimensions in the header than the pixels have, up to the largest that the format
    can write.
    """
    side = chance.choice((0, 1, 7, 10_000, 65_535, 2**31 - 1))
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 33:
        head = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    places = {
        b"BM": (18, "<ii"),
        b"II": (None, "<"),
        b"MM": (None, ">"),
        b"\xff\xd8": (None, ">HH"),
        b"RI": (26, "<HH"),
    }
    at, form = places.get(data[:2], (0, "<ii"))
    if data[:2] == b"\xff\xd8":
        at = next(
            (found + 5 for found in (data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) if found > 0),
            20,
        )
    if data[:2] in (b"II", b"MM"):
        return _huge_tiff(data, form, side)
    packed = struct.pack(form, *[min(side, 65_535 if "H" in form else side)] * 2)
    return data[: at or 0] + packed + data[(at or 0) + len(packed) :]


def _huge_tiff(data: bytes, order: str, side: int) -> bytes:
    """Width and height are the values of the tags 256 and 257 of the first directory."""
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        changed = bytearray(data)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}H", data, entry)[0] in (256, 257):
                struct.pack_into(f"{order}HII", changed, entry + 2, 4, 1, side)
    except struct.error:
        return data
    return bytes(changed)


def with_mutated_images(number: int, wholes: Sequence[bytes]) -> Abuse:
    """A form that is in order but for its images."""
    chance = random.Random(f"images {number}")
    names = chance.sample(("rgb", "nir", "tir"), chance.randint(1, 3))
    parts = [_part(name, mutate(chance, wholes), "x.png") for name in names]
    path = chance.choice(("/search", "/embed", "/enroll"))
    return Abuse("POST", path, _form(BOUNDARY), b"".join(parts) + b"--" + BOUNDARY + b"--\r\n")


def make_malformed(number: int, document: Mapping[str, Any], wholes: Sequence[bytes]) -> Abuse:
    """A request of one of the document's operations, with one thing or several out of joint."""
    chance = random.Random(f"malformed {number}")
    path, method, operation = chance.choice(
        [
            (path, method, each)
            for path, methods in document["paths"].items()
            for method, each in methods.items()
        ]
    )
    for each in operation.get("parameters", ()):
        value = _text(chance).encode("utf-8", "surrogatepass")
        path = path.replace("{" + each["name"] + "}", quote(value[:2000], safe="") or "%20")
    media, schema = next(
        iter(operation.get("requestBody", {}).get("content", {}).items()), (None, None)
    )
    fields = (
        list(
            document["components"]["schemas"][schema["schema"]["$ref"].split("/")[-1]]["properties"]
        )
        if schema
        else []
    )
    headers, body = _body(chance, media, fields, wholes)
    if chance.random() < 0.15:
        method = chance.choice(
            ("get", "post", "put", "delete", "patch", "options", "head", "trace")
        )
    return Abuse(
        method.upper(),
        chance.choice(("", "", "/v1")) + path,
        {**headers, **_odd_headers(chance)},
        body,
    )


def _body(
    chance: random.Random, media: str | None, fields: Sequence[str], wholes: Sequence[bytes]
) -> tuple[dict[str, str], bytes]:
    if chance.random() < 0.1:
        return _odd_type(chance), chance.randbytes(chance.randint(0, 3000))
    if media == "multipart/form-data":
        return _broken(chance, _form_body(chance, fields, wholes))
    if media == "application/json":
        return {"Content-Type": media}, _json_body(chance, fields)
    return {}, b""


def _form_body(chance: random.Random, fields: Sequence[str], wholes: Sequence[bytes]) -> bytes:
    parts = []
    for name in chance.choices(
        [*fields, "rgb", "rgb", "nir", "unknown", "", "a" * 5000], k=chance.randint(0, 12)
    ):
        if name in ("rgb", "nir", "tir") and chance.random() < 0.85:
            parts.append(
                _part(
                    name,
                    mutate(chance, wholes),
                    chance.choice(("x.png", "", "\x00", "../x", "é" * 300)),
                )
            )
        else:
            value = _text(chance).encode("utf-8", "surrogatepass")
            parts.append(_part(name, value, chance.choice((None,) * 8 + ("f.txt",))))
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def _broken(chance: random.Random, body: bytes) -> tuple[dict[str, str], bytes]:
    """The form itself out of joint, half of the time."""
    ways: tuple[Callable[[], tuple[dict[str, str], bytes]], ...] = (
        lambda: (_form(BOUNDARY), _cut(chance, body)),
        lambda: (_form(BOUNDARY), _flip(chance, body)),
        lambda: (_form(BOUNDARY), _splice(chance, body)),
        lambda: (_form(b"other"), body),
        lambda: ({"Content-Type": "multipart/form-data"}, body),
        lambda: (_odd_type(chance), body),
        lambda: (_form(BOUNDARY), body.replace(b"\r\n", b"\n")),
        lambda: (_form(BOUNDARY), body + body),
        lambda: (
            _form(BOUNDARY),
            body.replace(b"name=", chance.choice((b"nam=", b"name*=utf-8''", b'name="'))),
        ),
    )
    return chance.choice(ways)() if chance.random() < 0.5 else (_form(BOUNDARY), body)


def _json_body(chance: random.Random, fields: Sequence[str]) -> bytes:
    values = (
        "null",
        "1",
        "-1e400",
        "true",
        "[]",
        "{}",
        '"a"',
        '["s1"]',
        "[1, null]",
        '[["a"]]',
        '"' + "a" * 3000 + '"',
        "[" * 9000,
    )
    names = chance.choices([*fields, "unknown", ""], k=chance.randint(0, 4))
    text = "{" + ", ".join(f'"{name}": {chance.choice(values)}' for name in names) + "}"
    body = chance.choice((text, text, text, _text(chance))).encode("utf-8", "surrogatepass")
    return chance.choice((body, body, _flip(chance, body), _cut(chance, body)))


def _odd_headers(chance: random.Random) -> dict[str, str]:
    odd = {
        "X-Request-Id": chance.choice(("", "a b", "é" * 20, "x" * 5000, "../../x")),
        "X-Deadline": chance.choice(("", "nan", "-1", "1e999", "soon", "é", "9" * 300, "30")),
        "Authorization": chance.choice(
            ("", "Bearer", "Bearer é", "Basic !!!!", "Bearer " + "x" * 5000)
        ),
        "Accept-Encoding": "x" * 3000,
        "Content-Encoding": chance.choice(("gzip", "br", "x")),
        "Range": "bytes=9-1,a",
        "If-None-Match": '"',
        "Expect": chance.choice(("", "200-ok")),
        "X-Forwarded-For": "127.0.0.1",
        "Cookie": "=;=,;" * 50,
    }
    return {name: odd[name] for name in chance.sample(sorted(odd), chance.choice((0, 0, 0, 1, 2)))}


def _odd_type(chance: random.Random) -> dict[str, str]:
    kinds = (
        "",
        "text/plain",
        "application/json; charset=utf-99",
        "application/x-www-form-urlencoded",
        "a/b/c",
        "multipart/mixed",
    )
    boundaries = (
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=é",
        'multipart/form-data; boundary="',
    )
    return {
        "Content-Type": chance.choice(
            kinds + boundaries + (f"multipart/form-data; boundary={'b' * 4000}",)
        )
    }


def _text(chance: random.Random) -> str:
    return chance.choice(_TEXTS)


def _form(boundary: bytes) -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"}


def _part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    return (
        b"--"
        + BOUNDARY
        + f'\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        + content
        + b"\r\n"
    )
