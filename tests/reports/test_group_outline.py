"""How the group page is read without eyes or mouse."""

import re
from html.parser import HTMLParser
from pathlib import Path

from .fake_cohort import Cohort, build
from .test_group import report


class Outline(HTMLParser):
    """Headings by level, tables (name, cells that head a row), the roles of drawings that hold links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels, self.tables, self.roles, self._role = [], [], set(), None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        if re.fullmatch(r"h\d", tag):
            self.levels.append(int(tag[1]))
        elif tag == "table":
            self.tables.append([about.get("aria-label"), 0, 0])
        elif tag == "tr":
            self.tables[-1][1] += 1
        elif tag == "th" and about.get("scope") == "row":
            self.tables[-1][2] += 1
        elif tag == "svg":
            self._role = about["role"]
        elif tag == "a" and self._role:
            self.roles.add(self._role)

    def handle_endtag(self, tag):
        self._role = None if tag == "svg" else self._role


def test_headings_tables_and_drawings_can_be_read_without_eyes(tmp_path: Path) -> None:
    _, out = build(tmp_path, Cohort(3, ("A", "B"), ("T1w", "T2w")))
    (out / "sub-001.html").write_text("")
    page = report(tmp_path, drawn=True).page.read_text()
    found = Outline(page.partition("<script>")[0])
    assert found.levels[0] == 1
    steps = zip(found.levels, found.levels[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps), "no level is left out"
    names = [name for name, _, _ in found.tables]
    assert all(names)
    assert len(set(names)) == len(names)
    assert all(heads in (rows - 1, rows - 2) for _, rows, heads in found.tables), "every row has a head"
    assert re.findall(r'<th scope="colgroup"[^>]*>([^<]+)', page).count("Low field") == 2 * (1 + 2 + 2) + 2
    assert found.roles == {"group"}
