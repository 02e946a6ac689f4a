"""The literature that the app cites, by key: as text and as BibTeX."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from . import read_text

NAMED = 3
"""Authors named in a text; of more the first alone, "et al."."""

OTHERS = "others"
"""The last author where not all are listed, as BibTeX has it."""


@cache
def references() -> Mapping[str, Mapping[str, Any]]:
    """Entries by key: author (family, given), year, title, venue; volume, pages, doi and note where they have one.

    >>> references()["n4"]["doi"]
    '10.1109/TMI.2010.2046908'
    """
    entries: dict[str, dict[str, Any]] = json.loads(read_text("references.json"))
    return entries


def reference_text(key: str) -> str:
    """An entry in one line; what is no key is a reference written out, and stays as it is.

    >>> reference_text("kendall")[-64:]
    'for computer vision? NeurIPS 2017. doi:10.48550/arXiv.1703.04977'
    """
    if key not in references():
        return key
    entry = references()[key]
    place = f";{entry['volume']}:{entry['pages'].replace('--', '-')}" if "volume" in entry else ""
    title = entry["title"] + ("" if entry["title"].endswith("?") else ".")
    parts = [f"{_authors(entry['author'])}. {title} {entry['venue']} {entry['year']}{place}"]
    parts += [f"doi:{entry['doi']}"] if "doi" in entry else []
    parts += [entry["note"][0].upper() + entry["note"][1:]] if "note" in entry else []
    return ". ".join(parts)


def _authors(names: list[str]) -> str:
    several = OTHERS in names or len(names) > NAMED
    shown = [_initials(name) for name in (names[:1] if several else names)]
    return ", ".join(shown) + (" et al" if several else "")


def _initials(name: str) -> str:
    family, _, given = name.strip("{}").partition(", ")
    return f"{family} {''.join(word[0] for word in given.split())}".strip()


def bibtex(keys: Iterable[str]) -> str:
    """These entries as BibTeX, each once, in this order."""
    known, written_out = references(), "@misc{{reference{},\n  note = {{{}}},\n}}\n"
    entries = enumerate(dict.fromkeys(keys), start=1)
    return "\n".join(_entry(key, known[key]) if key in known else written_out.format(n, key) for n, key in entries)


def _entry(key: str, entry: Mapping[str, Any]) -> str:
    kind = "article" if "volume" in entry else "misc" if "preprint" in entry["venue"] else "inproceedings"
    place = {"article": "journal", "misc": "howpublished", "inproceedings": "booktitle"}[kind]
    fields = {"author": " and ".join(entry["author"]), "title": f"{{{entry['title']}}}", place: entry["venue"]}
    fields |= {name: entry[name] for name in ("volume", "pages", "year", "doi", "note") if name in entry}
    return f"@{kind}{{{key},\n" + "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items()) + "}\n"
