from __future__ import annotations

from html.parser import HTMLParser

from benchmarks.connections.report import as_text, page
from benchmarks.connections.result import Case, Result


def test_the_table_tells_what_was_seen_and_what_is_over_its_ceiling(case: Case) -> None:
    case.figures["zombies"] = 7
    case.limits = [(0.0, 15)]
    text = as_text(Result(settings={}, cases=[case], complete=True))
    assert "redeploy-proxy" in text
    assert "redeploy-proxy, 5 callers, lambda: zombies: 7" in text
    assert "VIOLATION: redeploy-proxy, 5 callers, lambda: 20 connections" in text
    assert text.endswith("1 violations")


def test_an_interrupted_run_says_so(case: Case) -> None:
    case.complete = False
    result = Result(settings={}, cases=[case])
    text = as_text(result)
    assert "lambda (a part)" in text
    assert text.endswith("interrupted; nothing over its ceiling so far")
    assert "Stopped before the end" in page(result)


def test_a_run_that_was_interrupted_at_once_has_a_report() -> None:
    assert "interrupted" in as_text(Result(settings={}))
    assert "<h1>" in page(Result(settings={}))


def test_the_page_needs_nothing_else(case: Case) -> None:
    loads: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag in ("script", "link", "img", "iframe") or dict(attrs).get("src"):
                loads.append(tag)

    html = page(Result(settings={}, cases=[case], complete=True))
    Parser().feed(html)
    assert loads == []
    assert "<svg" in html
    assert "a &lt;mark&gt;" in html
