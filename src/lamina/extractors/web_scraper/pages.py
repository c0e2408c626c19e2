"""A web page taken apart: its main text, code blocks, pictures and links.

Main text is found by `trafilatura` (Barbaresi, ACL 2021), which leaves out menus, footers and what else a
site repeats, and comes as Markdown. Of a page that it finds nothing
in, all words but those of menus are taken.
"""

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

import trafilatura
from charset_normalizer import from_bytes
from lxml import etree, html  # type: ignore[import-untyped]
from markdown_it import MarkdownIt
from trafilatura.settings import use_config

MAX_TEXT: Final = 2_000_000
"""Characters of one page's main text; what is beyond is left out."""

MAX_LINKS: Final = 5_000
MAX_BLOCKS: Final = 500
"""Code blocks of one page, and pictures of one page."""

_SMALLEST: Final = 32
"""Pixels along a side below which a picture is an icon or counts visitors."""

_CONFIG: Final = use_config()
_CONFIG.set("DEFAULT", "MIN_EXTRACTED_SIZE", "25")  # below that, its other ways lose what short pages hold
_CONFIG.set("DEFAULT", "EXTENSIVE_DATE_SEARCH", "off")  # a date that the page states, or none

_INLINE_FILE: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]+")
_ENDLESS_TAG: Final = re.compile(r"<[^<>]{50000,}>?")
"""No page has such; the time that libxml2 takes grows with the square of a tag's attributes."""

_META_CHARSET: Final = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_LANGUAGE_CLASS: Final = re.compile(r"(?:^|\s)(?:language|lang|highlight|brush:?)[-\s]\s*([\w+#.-]+)")
_NO_LANGUAGE: Final = frozenset({"none", "default", "text", "plaintext", "notranslate"})
_MARKUP: Final = re.compile(
    r"<(?:!doctype|html|head|body|article|section|main|div|p|h[1-6]|ul|ol|table|pre|img|a)\b[^>]*>",
    re.IGNORECASE,
)
_NOT_SHOWN: Final = ("script", "style", "noscript", "template", "nav", "footer", "aside")
_HEADING: Final = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Code:
    """A block of code, and the language that the page says it is in."""

    text: str
    language: str | None


@dataclass(frozen=True, slots=True)
class ImageLink:
    """A picture that a page shows, and what it says of it."""

    url: str
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """Where a page links to, and the words of the link."""

    url: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds. `indexed` and `followed` say what its author lets robots do with it."""

    url: str
    title: str | None
    text: str
    description: str | None = None
    author: str | None = None
    published: str | None = None
    codes: Sequence[Code] = ()
    images: Sequence[ImageLink] = ()
    links: Sequence[Link] = ()
    indexed: bool = True
    followed: bool = True


def read_html(text: str, url: str, *, robots: str = "") -> Page:
    """A page of HTML; `robots` is its `X-Robots-Tag` header. An empty one has no text."""
    parser = html.HTMLParser(encoding="utf-8")
    plain = _ENDLESS_TAG.sub(" ", _INLINE_FILE.sub("data:,", text.replace("\0", "")))
    try:
        tree = html.document_fromstring(plain.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return Page(url, None, "")
    base = next(iter(tree.xpath("//base/@href")), "")
    place = _joined(url, base) or url
    found = trafilatura.bare_extraction(
        deepcopy(tree),
        url=url or None,
        with_metadata=True,
        include_comments=False,
        output_format="markdown",
        config=_CONFIG,
    )
    said = {} if found is None else found if isinstance(found, dict) else found.as_dict()
    allowed = _directives(tree, robots)
    return Page(
        url=url,
        title=_clean(said.get("title")) or _clean(tree.findtext(".//title")),
        text=(str(said.get("text") or "").strip() or _visible(tree))[:MAX_TEXT],
        description=_clean(said.get("description")),
        author=_clean(said.get("author")),
        published=_clean(said.get("date")),
        codes=_codes(tree),
        images=_images(tree, place),
        links=_links(tree, place),
        indexed=not allowed & {"noindex", "none"},
        followed=not allowed & {"nofollow", "none"},
    )


def read_markdown(text: str, url: str) -> Page:
    """A page of Markdown, or of plain text, which is taken as it is."""
    heading = _HEADING.search(text)
    if url == "" and not re.search(r"[`!<\[]", text):
        return Page(url, heading[1] if heading else None, text.strip()[:MAX_TEXT])
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    try:
        tree = html.document_fromstring(f"<body>{rendered}</body>")
    except (etree.ParserError, etree.XMLSyntaxError):
        return Page(url, None, text.strip()[:MAX_TEXT])
    return Page(
        url=url,
        title=heading[1] if heading else None,
        text=text.strip()[:MAX_TEXT],
        codes=_codes(tree),
        images=_images(tree, url),
        links=_links(tree, url),
    )


def is_html(text: str) -> bool:
    """Whether a text that nobody named the type of is HTML."""
    return _MARKUP.search(text, 0, 10_000) is not None


def decode(content: bytes, charset: str | None) -> str:
    """A page's characters: by the server's word, its byte order mark, its own word, or a guess."""
    named = [charset] if charset else []
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        named.append("utf-16")
    found = _META_CHARSET.search(content[:2048])
    if found is not None:
        named.append(found[1].decode("ascii"))
    for encoding in (*named, "utf-8-sig"):
        try:
            return content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    guess = from_bytes(content[:200_000]).best()
    return content.decode(guess.encoding if guess is not None else "latin-1", "replace")


def _codes(tree: html.HtmlElement) -> list[Code]:
    return [
        Code(text, _language(block))
        for block in tree.xpath("//pre")[:MAX_BLOCKS]
        if (text := block.text_content().strip("\n").rstrip())
    ]


def _language(block: html.HtmlElement) -> str | None:
    """As the element, the one inside of it, or one of the two around it names it in its class."""
    around = [block, *block.findall("code"), block.getparent(), block.getparent().getparent()]
    for element in around:
        if element is None:
            continue
        found = element.get("data-lang") or element.get("data-language")
        match = _LANGUAGE_CLASS.search(element.get("class") or "")
        language = (found or (match[1] if match else "")).lower()
        if language and language not in _NO_LANGUAGE:
            return language
    return None


def _images(tree: html.HtmlElement, base: str) -> list[ImageLink]:
    """The pictures of the page itself, not those of menus, each once."""
    found: dict[str, ImageLink] = {}
    for element in tree.xpath("//img[not(ancestor::nav or ancestor::footer or ancestor::aside)]"):
        sides = [element.get("width") or "", element.get("height") or ""]
        if any(side.isdigit() and int(side) < _SMALLEST for side in sides):
            continue
        url = _joined(base, element.get("src") or element.get("data-src") or "")
        if url is None or len(found) >= MAX_BLOCKS:
            continue
        captions = element.xpath("ancestor::figure[1]//figcaption")
        caption = captions[0].text_content() if captions else None
        said = [_clean(element.get("alt")), _clean(element.get("title")), _clean(caption)]
        text = ". ".join(dict.fromkeys(words for words in said if words))
        found.setdefault(url, ImageLink(url, text))
    return list(found.values())


def _links(tree: html.HtmlElement, base: str) -> list[Link]:
    """Where the page sends its readers, each place once, in order."""
    found: dict[str, Link] = {}
    for element in tree.xpath("//a[@href]"):
        url = _joined(base, element.get("href"))
        nofollow = "nofollow" in (element.get("rel") or "").lower().split()
        if url is None or nofollow or len(found) >= MAX_LINKS:
            continue
        found.setdefault(url, Link(url, _clean(element.text_content()) or ""))
    return list(found.values())


def _joined(base: str, reference: str) -> str | None:
    """The absolute URL of a reference, without its fragment; None for what is not fetched."""
    try:
        url = urljoin(base, reference.strip()).partition("#")[0]
    except ValueError:
        return None
    return url if url.startswith(("http://", "https://")) else None


def _directives(tree: html.HtmlElement, header: str) -> set[str]:
    """What the page's author tells robots, in its head and in the answer's."""
    metas = tree.xpath("//meta[translate(@name, 'ROBTS', 'robts') = 'robots']/@content")
    return {word.strip().lower() for text in (*metas, header) for word in str(text).split(",")}


def _visible(tree: html.HtmlElement) -> str:
    """All words of a page's body, but for its menus."""
    lines = (" ".join(piece.split()) for piece in _pieces(tree))
    return "\n".join(line for line in lines if line)


def _pieces(tree: html.HtmlElement) -> Iterator[str]:
    hidden = " or ".join(f"ancestor::{name}" for name in _NOT_SHOWN)
    yield from (str(piece) for piece in tree.xpath(f"//body//text()[not({hidden})]"))


def _clean(text: object) -> str | None:
    return " ".join(text.split()) or None if isinstance(text, str) else None
