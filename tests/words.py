"""The project's words: banned names and phrases, each with the word to say instead.

python -m tests.words [FOLDER_OR_FILE ...]    prints the hits
python -m tests.words --lower                 writes the counts that fell
"""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
#: Hits that are left in each folder; no folder may gain any.
COUNTS = Path(__file__).with_name("words.json")
LONGEST = 100

SUFFIXES = {".py", ".md", ".html", ".js", ".css", ".yaml", ".yml", ".toml", ".cff"}
NAMES = {"Makefile", "Dockerfile", "run"}
#: Made by programs, or this list itself.
SKIPPED = {"build", "dist", "galleries", "runs", "locks", "node_modules", "__pycache__", "goldens"}
HIDDEN = {".ci", ".github", ".pre-commit-config.yaml"}
THIS = {"tests/words.py", "tests/test_words.py"}


class Hit(NamedTuple):
    """A line that breaks a rule."""

    path: str
    line: int
    rule: str
    say: str


class Rule(NamedTuple):
    """A pattern and the word to say instead."""

    name: str
    pattern: re.Pattern[str]
    say: str


def _rules(*rows: tuple[str, str, str]) -> list[Rule]:
    return [Rule(name, re.compile(pattern, re.IGNORECASE), say) for name, pattern, say in rows]


#: Over the whole text of a file: names, messages and prose alike.
TEXT_RULES = _rules(
    ("picture", r"picture", "image"),
    ("foreign", r"foreign(?![ _]?keys?\b)", "external"),
    ("fault", r"(?<!de)(?<!segmentation )faults?(?!handler)(?![a-z])", "error; vulnerability"),
    ("anew", r"(?<![a-z])anew(?![a-z])", "again; train, rebuild, merge, compact"),
    ("beside", r"\bbesides?\b", "next to; with; as well as"),
    ("whoever", r"\bwhoever\b", "a person who; the caller"),
    ("barred", r"(?<![a-z])barred(?![a-z])", "excluded"),
    ("patience", r"(?<![a-z])patience(?![a-z])", "timeout"),
    ("house", r"(?<![a-z])house(?![a-z])", "package, layer"),
    ("victim", r"(?<![a-z])victims?(?![a-z])", "crash worker"),
    ("upkeep", r"(?<![a-z])upkeep(?![a-z])", "logging; maintenance"),
    ("keyring", r"(?<![a-z])keyring(?![a-z])", "token store"),
    ("draft", r"(?<![a-z])drafts?(?![a-z])", "atomic write; temporary file"),
    ("room", r"(?<![a-z])rooms?(?![a-z])", "space (on a disk), capacity; package, layer"),
)

#: Over prose: docstrings, comments, messages, documents without their code.
PROSE_RULES = _rules(
    ("nobody", r"\bnobody\b", "no one; nothing"),
    ("meanwhile", r"\bmeanwhile\b", "while ...; at the same time"),
    ("so many", r"\bso\s+many\b", "that many; the number of"),
    ("hold against", r"\b(hold|holds|held|holding)\s+(\w+\s+)?against\b", "compare with"),
    ("set aside", r"\bset(s|ting)?\s+aside\b", "rejected"),
    (
        "is no X",
        r"(?<!there )\b(is|are|was|were)\s+no\b(?!\s+(longer|more|less|\w+er|\w+er-\w+)\b)",
        "is not a ...",
    ),
    ("is none", r"(?<!there )\b(is|are|was|were)\s+none\b(?!\s+of)", "is not one"),
    (
        "kept patches",
        r"\bkept[ _](token|patch)|\b(tokens|patches)\s+(\w+\s+){0,3}kept\b",
        "selected",
    ),
    ("known of it", r"\bknown\s+of\s+(it|an?|the|each|its)\b", "metadata"),
    ("score again", r"\bscor(e|es|ed|ing)\s+(\w+\s+){0,2}again\b", "rescore"),
    ("wait for long", r"\bwait(s|ed|ing)?\s+for\s+long\b", "timeout, deadline, retry, backoff"),
)

#: A sentence, or the cell of a table, that begins with one of these words.
SENTENCE = re.compile(r"(?:^|(?<=[.!?|:]\s)|(?<=\n\n))\W*(What|Whoever|Who|Where)\b[^.?!]*")

#: The first word of a function that is a participle, and so not a verb.
PARTICIPLE = re.compile(
    r"_*([a-z]+ed|[a-z]+ing|bound|bent|built|chosen|drawn|found|given|held|hidden|kept|known|left"
    r"|lost|made|met|seen|sent|shown|shrunk|sold|spent|spun|sunk|taken|thrown|told|torn|understood"
    r"|won|written)(_|$)"
)
#: Verbs and nouns that only look like participles.
VERBS = re.compile(
    r"_*(bed|bleed|breed|embed|exceed|feed|heed|need|proceed|reembed|seed|shed|speed|succeed"
    r"|bring|fling|king|ping|ring|sing|sting|string|swing|thing)(_|$)"
)
#: Names of others, which their libraries call.
GIVEN_NAMES = {"pause_writing", "resume_writing", "data_received", "connection_made"}
GIVEN_NAMES |= {"connection_lost", "_missing_", "_unsupported_upgrade_warning"}

#: Classes that words.md renames.
CLASSES = {
    "View": "LiveIndex",
    "Reading": "ReadSession",
    "Moment": "IndexSnapshot",
    "Seen": "IndexSnapshot",
    "State": "IndexSnapshot",
    "Position": "LogPosition",
    "Lists": "GrowingSegment",
    "Sealed": "SealedSegment",
    "Tier": "IndexSegment",
    "Partition": "CoarseQuantizer",
    "Look": "Probes",
    "Effort": "OperatingPoint",
    "Known": "ItemRecord",
    "Asked": "SearchParams",
    "Answer": "SearchResult",
    "Condition": "Filter",
    "Desk": "GalleryService",
    "Guard": "AuthMiddleware",
    "Keyring": "TokenStore",
    "Caller": "Principal",
    "Counter": "AdmissionControl",
    "Branch": "LossHead",
    "Outcome": "LossOutput",
}
#: Functions and modules that words.md renames.
FUNCTIONS = {
    "late": "deadline_exceeded",
    "settle_galleries": "resolve_galleries",
    "half_rounding": "fp16_emulation",
    "look": "embed_with_tokens",
    "made": "session",
    "squares": "exp_avg_sq",
}
MODULES = {
    "snapshot": "index_cache",
    "rewriting": "compaction",
    "place": "metadata",
    "preparation": "ingest",
    "stages": "timings",
    "calls": "requests",
    "launch": "run",
    "trial": "probe_inputs",
    "half_rounding": "fp16_emulation",
    "machine": "runtime",
    "course": "curve",
    "durable": "atomic",
    "utils": "the module's one idea",
}
#: Parameters that words.md renames, in these folders.
PARAMETERS = {
    "memory": ("quantization", ("gallery/", "trireid/")),
    "among": ("include", ("gallery/",)),
    "without": ("exclude", ("gallery/",)),
    "rate": ("lr", ("training/",)),
    "base_rate": ("lr", ("training/",)),
    "backbone_rate": ("backbone_lr", ("training/",)),
}

#: Hits that are right: a path, and a part of the line. Each says why.
EXCEPTIONS: tuple[tuple[str, str], ...] = (
    # the old name of an error, for one minor version
    ("CHANGELOG.md", "PictureError"),
    ("samples/errors.py", "PictureError"),
    ("samples/__init__.py", "PictureError"),
    ("trireid/__init__.py", "PictureError"),
    ("tests/test_facade.py", "PictureError"),
    # the old names of settings and of a JSON key, for one minor version
    ("CHANGELOG.md", "`upkeep`"),
    # old names of keys and a page, for one minor version
    ("CHANGELOG.md", "`faults`"),
    ("docs/training.md", "`upkeep`"),
    ("training/settings.py", '"upkeep"'),
    ("tests/training/test_settings.py", "upkeep"),
    ("training/diagnosis.py", '"faults"'),
    ("tests/training/test_diagnosis.py", '"upkeep"'),
    ("CHANGELOG.md", "docs/foreign.md"),
    ("export/report.py", '"faults"'),
    ("tests/export/test_verification.py", '"faults"'),
    # a value in the records of galleries
    ("inference/external.py", '"foreign"'),
    # the old name of a field, and an old path, for one minor version
    ("serving/schemas.py", "def kept(self)"),
    ("serving/routes.py", '"/pictures/{gallery}/{key}/{modality}"'),
    # names in stores and exports, which other versions read
    ("gallery/schema.py", "pictures"),
    ("gallery/old_schemas.py", "PICTURES"),
    ("gallery/old_schemas.py", "CREATE TABLE pictures"),
    ("gallery/exporting.py", '"pictures"'),
    ("gallery/exporting.py", "`pictures/`"),
    ("docs/gallery.md", "`pictures/`"),
    ("docs/gallery.md", "`.draft-*`"),
    ("samples/atomic_write.py", '".draft-"'),
    # the old names in a report's JSON
    ("export/report.py", "`kept` and `faults` are old names"),
)


def find_hits(parts: list[str]) -> list[Hit]:
    """List the hits in these folders or files, by path and line; in everything where none is given.

    Args:
        parts: Paths relative to the repository's root.
    """
    wanted = tuple(part.strip("/") for part in parts)
    hits: list[Hit] = []
    for path in sorted(iterate_files()):
        name = path.relative_to(ROOT).as_posix()
        if not wanted or name in wanted or name.startswith(tuple(f"{part}/" for part in wanted)):
            hits += check_file(path, name)
    return sorted(set(hits))


def iterate_files() -> Iterator[Path]:
    """Iterate over the files that people write."""
    for top in ROOT.iterdir():
        if top.name in SKIPPED or (top.name.startswith(".") and top.name not in HIDDEN):
            continue
        for path in [top] if top.is_file() else top.rglob("*"):
            is_written = path.suffix in SUFFIXES or path.name in NAMES
            name = path.relative_to(ROOT)
            if is_written and name.as_posix() not in THIS and not SKIPPED & set(name.parts):
                yield path


def check_file(path: Path, name: str) -> list[Hit]:
    """Check one file by all rules that fit its kind."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    # the changelog names what was renamed
    names = _without_code(text) if name == "CHANGELOG.md" else text
    hits = list(_match(TEXT_RULES, [(1, names)], name))
    if path.suffix == ".py":
        tree = ast.parse(text)
        prose = [*_docstrings_and_messages(tree), *_comments(text)]
        hits += _check_names(tree, name)
        hits += [Hit(name, i, "long line", f"at most {LONGEST}") for i in _long_lines(lines)]
    else:
        prose = list(_paragraphs(text, path.suffix))
    hits += _match(PROSE_RULES, prose, name)
    hits += _check_sentences(prose, name)
    return [hit for hit in hits if not _is_exception(hit, lines[hit.line - 1])]


def folder_name(path: str) -> str:
    """Name the folder under which a file's hits are counted; tests by their subfolder."""
    parts = path.split("/")
    if len(parts) == 1:
        return "."
    depth = 2 if parts[0] == "tests" and len(parts) > 2 else 1
    return "/".join(parts[:depth])


def _long_lines(lines: list[str]) -> list[int]:
    return [number for number, line in enumerate(lines, 1) if len(line) > LONGEST]


def _is_exception(hit: Hit, line: str) -> bool:
    return any(hit.path == path and part in line for path, part in EXCEPTIONS)


def _match(rules: list[Rule], blocks: list[tuple[int, str]], name: str) -> Iterator[Hit]:
    for start, text in blocks:
        for rule in rules:
            for match in rule.pattern.finditer(text):
                line = start + text.count("\n", 0, match.start())
                yield Hit(name, line, rule.name, rule.say)


def _check_sentences(blocks: list[tuple[int, str]], name: str) -> Iterator[Hit]:
    for start, text in blocks:
        for match in SENTENCE.finditer(text):
            if text[match.end() : match.end() + 1] != "?":
                line = start + text.count("\n", 0, match.start(1))
                yield Hit(name, line, f"{match[1]} ...", "a subject first; When or If")


def _docstrings_and_messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            texts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            yield node.lineno, "{}".join(str(text) for text in texts)
        elif id(node) not in inside and isinstance(node, ast.Constant):
            text = node.value if isinstance(node.value, str) else ""
            yield node.lineno, _without_code(text if " " in text else "")


def _comments(text: str) -> Iterator[tuple[int, str]]:
    start, last, block = 0, -1, ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, comment = token.start[0], token.string.lstrip("#: ")
        if line == last + 1:
            block = f"{block}\n{comment}"
        else:
            if block:
                yield start, _without_code(block)
            start, block = line, comment
        last = line
    if block:
        yield start, _without_code(block)


def _paragraphs(text: str, suffix: str) -> Iterator[tuple[int, str]]:
    if suffix == ".md":
        text = re.sub(r"(?ms)^```.*?^```", lambda match: "\n" * match[0].count("\n"), text)
        yield 1, _without_code(text)
        return
    start, block = 0, ""
    for number, line in enumerate([*text.split("\n"), ""], 1):
        comment = re.match(r"\s*(?:#:?|//|/?\*+|<!--)\s?(.*)", line)
        if comment and block:
            block += f"\n{comment[1]}"
            continue
        if block:
            yield start, _without_code(block)
        start, block = number, comment[1] if comment else ""
        if not comment:
            yield number, re.sub(r"<[^>]*>", " ", line)
            yield from ((number, part) for part in re.findall(r"[\"'`]([^\"'`]* [^\"'`]*)", line))


def _without_code(text: str) -> str:
    """Blank what stands between backquotes, and keep the lines."""
    return re.sub(r"`[^`]*`", lambda match: "`" + "\n" * match[0].count("\n") + "`", text)


def _check_names(tree: ast.AST, name: str) -> Iterator[Hit]:
    stem = Path(name).stem
    if stem in MODULES:
        yield Hit(name, 1, f"module {stem}", MODULES[stem])
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name.lstrip("_") in CLASSES:
            say = CLASSES[node.name.lstrip("_")]
            yield Hit(name, node.lineno, f"class {node.name}", say)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _check_function(node, name)


def _check_function(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[Hit]:
    bare = node.name.strip("_")
    for parameter in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
        say, folders = PARAMETERS.get(parameter.arg, ("", ()))
        if folders and name.startswith(folders):
            yield Hit(name, parameter.lineno, f"parameter {parameter.arg}", say)
    if bare in FUNCTIONS:
        yield Hit(name, node.lineno, f"def {node.name}", FUNCTIONS[bare])
    if _is_noun(node) or node.name in GIVEN_NAMES or bare.startswith("test_"):
        return
    if re.search(r"(^|_)of$", bare):
        yield Hit(name, node.lineno, f"def {node.name}", "a verb first, nothing of ..._of")
    elif PARTICIPLE.match(node.name) and not VERBS.match(node.name):
        yield Hit(name, node.lineno, f"def {node.name}", "a verb, not a participle")


def _is_noun(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Properties and fixtures are called like the thing that they are."""
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return bool(re.search(r"property|fixture|\.setter|hookimpl", decorators))


def count_hits(hits: list[Hit]) -> dict[str, int]:
    """Count the hits of each folder."""
    return dict(sorted(Counter(folder_name(hit.path) for hit in hits).items()))


def load_counts() -> dict[str, int]:
    """Load the counts that no folder may exceed."""
    counts: dict[str, int] = json.loads(COUNTS.read_text(encoding="utf-8"))
    return counts


def lower_counts() -> None:
    """Write the counts that fell; none ever rises."""
    counts, now = load_counts(), count_hits(find_hits([]))
    lower = {name: min(count, now.get(name, 0)) for name, count in counts.items()}
    left = {name: count for name, count in lower.items() if count}
    COUNTS.write_text(json.dumps(left, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Print the hits, or lower the counts."""
    if arguments == ["--lower"]:
        lower_counts()
        return 0
    hits = find_hits(arguments)
    for hit in hits:
        print(f"{hit.path}:{hit.line}: {hit.rule}: say {hit.say}")
    for name, count in count_hits(hits).items():
        print(f"{count:5} {name}", file=sys.stderr)
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
