"""``odm cost`` as its users run it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from odm.cli.cost.simulation import Outcome, Simulation


def test_a_workload_by_options_is_told_as_text(odm_here: Any) -> None:
    ran = odm_here("cost", "--rate", "500", "--gather", "20", "--callers", "2000")
    assert (ran.code, ran.err) == (0, "")
    for expected in (
        "proxy, batches, arm64",
        "no proxy: every caller connects",
        "Batches save $",
        "2,000 callers hold 42,000 connections",
        "Assumed:",
        "as of 2026-09-19: https://aws.amazon.com/lambda/pricing/",
    ):
        assert expected in ran.out
    assert "simulat" not in ran.out.lower()


def test_json_is_one_document_with_everything(odm_here: Any) -> None:
    ran = odm_here("cost", "--rate", "10", "--simulate", "2", "--json")
    assert ran.code == 0
    document = json.loads(ran.out)
    assert document["ok"] is True
    names = ["direct", "single", "batches", "arm64", "provisioned", "snap_start"]
    assert [way["way"] for way in document["ways"]] == names
    assert document["problems"] == []
    for way in document["ways"]:
        assert way["usd_per_month"] == pytest.approx(
            sum(line["usd"] for line in way["bill"]), abs=0.01
        )
    assert set(document["simulations"]) == {"batches", "single"}
    for each in document["simulations"].values():
        assert each["complete"]
        assert each["answered"] + each["failed"] == each["commands"] > 0
        assert each["over_time"]
    assert document["assumptions"]
    assert all(source["as_of"] for source in document["sources"])
    again = json.loads(odm_here("cost", "--rate", "10", "--simulate", "2", "--json").out)
    assert again == document


def test_a_report_that_cannot_be_written_is_told_in_a_line(odm_here: Any, tmp_path: Path) -> None:
    html = tmp_path / "cost.html"
    html.symlink_to(tmp_path / "missing" / "cost.html")
    ran = odm_here("cost", "--html", str(html))
    assert ran.code == 2
    assert ran.err == f"odm: cannot write --html {html}: No such file or directory\n"


def test_the_report_is_one_file_with_plots(odm_here: Any, tmp_path: Path) -> None:
    html = tmp_path / "cost.html"
    ran = odm_here("cost", "--gather", "20", "--simulate", "2", "--html", str(html), "-q")
    assert (ran.code, ran.err) == (0, "")
    text = html.read_text()
    root = ElementTree.fromstring(text.removeprefix("<!doctype html>"))
    titles = [each.get("aria-label") for each in root.iter("{http://www.w3.org/2000/svg}svg")]
    assert titles == ["cost against rate", "concurrency", "throttles", "connections"]
    for unwanted in ("<script", "<link", "@import", "nan", "inf,"):
        assert unwanted not in text


def test_a_file_is_a_workload_and_options_win(odm_here: Any, tmp_path: Path) -> None:
    path = tmp_path / "workload.toml"
    path.write_text('rate = 5\nmemory_mb = 1024\nprofile = "office"\n')
    ran = odm_here("cost", "--workload", str(path), "--rate", "7", "--burst", "9@30", "--json")
    workload = json.loads(ran.out)["workload"]
    assert (workload["rate"], workload["memory_mb"]) == (7, 1024)
    assert (workload["burst"], workload["burst_every_s"]) == (9, 30)
    assert max(workload["profile"]) > min(workload["profile"])


def test_check_fails_where_the_workload_does_not_fit(odm_here: Any) -> None:
    fits = odm_here("cost", "--rate", "10", "--check")
    assert fits.code == 0
    busy = odm_here("cost", "--rate", "1000", "--check")
    assert busy.code == 1
    assert "Does not fit: 1,000 invokes a second need a reserved concurrency of 100" in busy.out
    assert odm_here("cost", "--rate", "1000", "--reserved", "120", "--check").code == 0
    limited = odm_here("cost", "--rate", "10", "--check", "--connection-limit", "70")
    assert limited.code == 1
    assert "75 connections at a server are more than 70" in limited.out


def test_other_prices_and_clusters(odm_here: Any, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    price = {
        "region": "moon-1",
        "item": "request",
        "usd": "0.001",
        "unit": "request",
        "source": "s",
    }
    path.write_text(
        json.dumps(
            {
                "sources": {"s": {"url": "https://example.org", "as_of": "2026-01-01"}},
                "tiers": {"source": "s", "x86_64": [], "arm64": []},
                "free_tier": {"source": "s", "requests": 0, "gb_seconds": 0},
                "prices": [price],
            }
        )
    )
    given = ("--prices", str(path), "--region", "moon-1", "--cluster-price", "own=80=2")
    ran = odm_here("cost", "--rate", "1", *given, "--json")
    batches = json.loads(ran.out)["ways"][2]
    assert batches["usd_per_month"] == pytest.approx(2_628_000 * 0.001)
    assert batches["unpriced"] == ["duration", "between_zones"]
    assert batches["smallest_cluster"] == "own"
    text = odm_here("cost", "--rate", "1", *given).out
    assert "Not priced for moon-1 in 'proxy, batches': duration, between zones" in text
    assert "own takes 80, $1,460.00 a month" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--memory-mb", "64"), "memory_mb is 64: it is between 128 and 10240"),
        (("--architecture", "arm"), "x86_64 or arm64"),
        (("--region", "moon-1"), "there are prices of af-south-1"),
        (("--burst", "200"), "200@60"),
        (("--profile", "weekend"), "flat, office, evening"),
        (("--workload", "missing.json"), "missing.json"),
        (("--prices", "missing.json"), "missing.json"),
        (("--log", "missing.log"), "missing.log"),
        (("--statistics", "missing.json"), "--over 3600"),
        (("--over", "60"), "--over is for"),
        (("--log", "a", "--statistics", "b"), "write one of them"),
        (("--cluster-price", "M40"), "M40=1.04"),
        (("--cluster-price", "nobody=1.04"), "another's connections"),
        (("--html", "missing/cost.html"), "no directory"),
        (("--rate", "900000000"), "more than one function can have"),
        (("--rate", "90000", "--simulate", "3600"), "--simulate: 3600 s are about 324,000,000"),
        (("--rate", "many"), "'--rate'"),
    ],
)
def test_a_users_mistake_is_one_clear_error(
    odm_here: Any, arguments: tuple[str, ...], says: str
) -> None:
    ran = odm_here("cost", *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert says in " ".join(ran.err.split())
    assert "Traceback" not in ran.err


def test_ctrl_c_ends_a_simulation_and_reports(watched: Any) -> None:
    watched.start("cost", "--rate", "5000", "--reserved", "900", "--simulate", "900", "--json")
    watched.wait_for("simulating")
    watched.signal(signal.SIGINT)
    ran = watched.finish()
    assert ran.code == 130
    # It may have come before the first event.
    for each in json.loads(ran.out)["simulations"].values():
        assert each["complete"] is False
    assert "Traceback" not in ran.err


def test_a_stopped_simulation_reports_what_there_is(
    odm_here: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    complete = Simulation.run

    def stopped(self: Simulation, progress: object = None) -> Outcome:
        def interrupt(share: float) -> None:
            raise KeyboardInterrupt

        return complete(self, interrupt)

    monkeypatch.setattr(Simulation, "run", stopped)
    html = tmp_path / "cost.html"
    given = ("--rate", "2000", "--reserved", "400", "--simulate", "60", "--html", str(html))
    ran = odm_here("cost", *given, "--json")
    assert ran.code == 130
    simulations = json.loads(ran.out)["simulations"]
    assert list(simulations) == ["batches"]
    assert not simulations["batches"]["complete"]
    assert simulations["batches"]["answered"] > 0
    assert "(stopped)" in html.read_text()
    assert "in batches (a part)" in odm_here("cost", *given).out


def test_help_teaches(odm_here: Any) -> None:
    ran = odm_here("cost", "--help")
    assert ran.code == 0
    assert "odm cost --rate 500" in ran.out
    assert "[256]" in ran.out
