"""HTML as the tests look at it."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """The elements of some HTML as (path of ``tag.class``, text) and as (tag, attributes)."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[dict[str, str]] = []  # of the open elements
        self.where: list[tuple[tuple[dict[str, str], ...], str]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag not in ("input", "img", "br", "meta", "link"):
            self.open.append(".".join([tag, *found.get("class", "").split()]))
            self.attributes.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().split(".")[0] == tag
        self.attributes.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self.open), data))
        self.where.append((tuple(self.attributes), data))

    def text(self, name: str) -> str:
        """The joined text inside every element called ``name`` (``tag`` and its first class)."""
        return "".join(data for path, data in self.texts if any(_is(part, name) for part in path))

    def text_where(self, attribute: str, value: str) -> str:
        """The joined text inside every element among whose values of an attribute is ``value``."""
        return "".join(
            data for path, data in self.where if any(value in a.get(attribute, "").split() for a in path)
        )

    def all(self, tag: str, cls: str = "") -> list[dict[str, str]]:
        return [a for t, a in self.tags if t == tag and (not cls or cls in a.get("class", "").split())]


def _is(part: str, name: str) -> bool:
    return part == name or part.startswith(name + ".")


def assert_inert(html: str) -> None:
    """Nothing of a hostile text became an element, a handler or a link that leads away."""
    page = Page(html)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    hrefs = [a["href"] for a in page.all("a")]
    assert all(href.startswith("#document=") for href in hrefs)
