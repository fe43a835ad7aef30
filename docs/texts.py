"""Gathers what the pages say into the catalogues of every other language: `python docs/texts.py`; translations stay as they are."""

import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from cloud.web.language import DEFAULT, NAMES, catalogue

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "cloud" / "web"
METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
OPTIONS = {"templates/**.html": {"trimmed": "true", "newstyle_gettext": "true"}}
DATED = (b'"POT-Creation', b'"PO-Revision', b'"Last-Translator', b'"Language-Team', b'"Report-Msgid', b'"Generated-By')
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "say": None, "plural": (2, 3), "N_": None}


def spoken() -> Catalog:
    """Every text of templates and code, without line numbers: they would change with every edit."""
    found = Catalog(charset="utf-8", fuzzy=False)
    for file, _line, message, comments, context in extract_from_dir(
        WEB, METHODS, OPTIONS, keywords=KEYWORDS, comment_tags=("Translators:",), strip_comment_tags=True
    ):
        found.add(message, None, [(f"cloud/web/{file}", 0)], auto_comments=comments, context=context)
    return found


def renewed(code: str) -> bytes:
    """The catalogue of `code` with today's texts; what nobody says any more is dropped."""
    path = catalogue(code)
    known = Catalog(locale=code, fuzzy=False)
    if path.is_file():
        with path.open("rb") as source:
            known = read_po(source, locale=code)
    known.update(spoken(), no_fuzzy_matching=True)
    known.obsolete.clear()
    known.project, known.version, known.header_comment = "maskfleet", "1", f"# The pages in {NAMES[code]}."
    written = BytesIO()
    write_po(written, known, omit_header=False, sort_output=True, include_lineno=False, width=110)
    lines = [line for line in written.getvalue().split(b"\n") if not line.startswith(DATED)]
    return b"\n".join(lines)


def missing(code: str) -> list[str]:
    """The texts that have no translation yet."""
    texts = read_po(BytesIO(renewed(code)), locale=code)
    return [
        str(one.id)
        for one in texts
        if one.id and not all(one.string if isinstance(one.string, tuple) else (one.string,))
    ]


def main() -> int:
    """Write them anew; returns 1 where something has no translation, naming it."""
    lacking = 0
    for code in NAMES:
        if code == DEFAULT:
            continue
        catalogue(code).parent.mkdir(parents=True, exist_ok=True)
        catalogue(code).write_bytes(renewed(code))
        for text in missing(code):
            print(f"{code}: no translation of {text!r}")
            lacking += 1
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
