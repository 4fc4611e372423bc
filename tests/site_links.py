"""Check the links of a built site: python tests/site_links.py SITE prints what it checked, and exits with 1 if any is broken.

Every link and anchor within the site must lead somewhere, and pages must not load anything from elsewhere: no script, style,
font or picture of another host. Links that a reader may follow to other hosts are counted, not opened.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src", "video": "src"}


@dataclass
class Page(HTMLParser):
    """The ids of a page, the links to follow in it, and what it loads."""

    text: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.ids |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADED and LOADED[tag] in found and found.get("rel") not in ("next", "prev", "canonical"):
            self.loads.append(found[LOADED[tag]])


@dataclass
class Checked:
    """What was checked: numbers of pages, links, anchors, files loaded, links to other hosts; and every problem."""

    pages: int = 0
    links: int = 0
    anchors: int = 0
    loads: int = 0
    elsewhere: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def check(site: Path) -> Checked:
    """Check every page of the built site."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    done = Checked(pages=len(pages))
    for path, page in pages.items():
        where = path.relative_to(site)
        for link in page.loads:
            done.loads += 1
            if urlsplit(link).netloc:
                done.problems.append(f"{where} loads {link} from another host")
            elif not link.startswith("data:") and not target(site, path, link).is_file():
                done.problems.append(f"{where} loads {link}, which does not exist")
        for link in page.links:
            if urlsplit(link).scheme:
                done.elsewhere.add(link)
                continue
            done.links += 1
            goal = target(site, path, link)
            anchor = unquote(urldefrag(link).fragment)
            if not goal.is_file():
                done.problems.append(f"{where} links to {link}, which does not exist")
            elif anchor and goal.suffix == ".html":
                done.anchors += 1
                if anchor not in pages[goal].ids:
                    done.problems.append(f"{where} links to {link}, which has no such anchor")
    for path in site.rglob("*.css"):
        done.problems += [
            f"{path.relative_to(site)} loads {url}" for url in re.findall(r"url\((https?:[^)]*)\)", path.read_text())
        ]
    return done


def target(site: Path, page: Path, link: str) -> Path:
    """The file that a link on a page leads to."""
    path = unquote(urlsplit(link).path)
    base = site if path.startswith("/") else page.parent
    goal = (base / path.lstrip("/")).resolve() if path else page
    return goal / "index.html" if goal.is_dir() else goal


def main(site: Path) -> int:
    done = check(site.resolve())
    print(
        f"{done.pages} pages, {done.links} links within the site ({done.anchors} to anchors), {done.loads} files loaded"
    )
    print(f"{len(done.elsewhere)} links to other hosts, not opened")
    print(*(done.problems or ["no broken link, no file from another host"]), sep="\n")
    return int(bool(done.problems))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
