"""The benchmark as its users run it. Nothing is asserted of how long anything takes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pymongo
import pytest

SMALL = (
    *("--quick", "--rounds", "1", "--documents", "200"),
    *("--callers", "2", "--concurrency", "2"),
)


def test_a_run_over_the_fake_has_all_its_outputs(odm_here: Any, tmp_path: Path) -> None:
    html = tmp_path / "bench.html"
    parts = ("--only", "read", "--only", "write", "--only", "list", "--only", "scan")
    ran = odm_here("bench", "-u", "fake:///b", *SMALL, *parts, "--json", "--html", str(html))
    assert ran.code == 0, ran.out + ran.err
    document = json.loads(ran.out)
    assert document["ok"] is True
    assert list(document["contenders"]) == ["fake"]
    assert list(document["workloads"]) == ["read", "write", "list", "scan"]
    assert html.read_text().startswith("<!doctype html>")


def test_every_contender_does_every_workload_and_nothing_is_left_behind(
    watched: Any, mongod: None
) -> None:
    wanted = ("read", "write", "scan", "page", "gather", "scale", "trace", "connections")
    parts = [argument for part in wanted for argument in ("--only", part)]
    watched.start("bench", "--json", "--quiet", *SMALL, *parts)
    ran = watched.finish()
    assert ran.code == 0, ran.out + ran.err
    document = json.loads(ran.out)
    assert document["errors"] == []
    assert document["skipped"] == {}
    assert document["tls"] is True
    everybody = {"driver", "driver+pydantic", "beanie", "odm", "motor"}
    everybody |= {"lambda-driver", "lambda", "lambda-single", "invoke", "post", "proxy-2020"}
    assert set(document["contenders"]) == everybody
    for workload in document["workloads"].values():
        assert {name for name, each in workload["contenders"].items() if each["summary_ms"]} == (
            everybody
        )
    read = document["workloads"]["read"]["contenders"]
    assert read["proxy-2020"]["invokes_per_operation"] == 1
    assert read["driver"]["invokes"] == 0
    gathered = document["workloads"]["gather"]["contenders"]
    assert gathered["lambda"]["invokes_per_operation"] < 100
    assert gathered["lambda-single"]["invokes_per_operation"] >= 100
    assert {each["name"]: each["value"] for each in document["judged"]}[
        "100 gathered over lambda, invokes"
    ] == pytest.approx(gathered["lambda"]["invokes_per_operation"], abs=0.001)
    assert {
        (each["contender"], each["operation"], each["documents"]) for each in document["scale"]
    } == {
        (contender, operation, documents)
        for contender in ("odm", "lambda")
        for operation in ("list", "stream", "page")
        for documents in (2, 20, 200)
    }
    assert {
        each["peak_mb"] is not None for each in document["scale"] if each["operation"] == "stream"
    } == {True}
    for trace in document["traces"]:
        assert len(trace["durations_ms"]) == 30
        assert trace["cold_starts"][0]["init_ms"] > 0
    for curve in document["connections"]:
        assert curve["answered"] == curve["callers"] == 2
        assert curve["peak"] > 0
    assert watched.left_behind() == []


def test_processes_of_every_kind_are_started_cold(
    odm_here: Any, mongod: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/the/application's/own")
    ran = odm_here("bench", "--json", *SMALL, "--only", "cold", "-c", "driver")
    assert ran.code == 0, ran.out + ran.err
    document = json.loads(ran.out)
    assert document["errors"] == []
    assert set(document["skipped"]) <= {"cold, 128 MB"}
    for each in document["cold"]:
        assert each["total_summary_ms"]["count"] == 1
    kinds = {(each["kind"], each["name"]) for each in document["cold"]}
    assert kinds >= {
        *(("function", name) for name in ("lambda", "lambda, connects late", "proxy-2020")),
        *(("caller", name) for name in ("direct", "lambda")),
    }
    assert os.environ["AWS_CA_BUNDLE"] == "/the/application's/own"


def test_a_given_deployment_is_used_and_left_as_it_was(odm_here: Any, mongod_uri: str) -> None:
    parts = ("--only", "read", "-c", "driver", "-c", "lambda", "--variant", "x=openTimeoutMS=9000")
    ran = odm_here("bench", "--json", "--no-tls", "--url", mongod_uri, *SMALL, *parts)
    assert ran.code == 0, ran.out + ran.err
    document = json.loads(ran.out)
    assert list(document["contenders"]) == ["driver", "lambda", "lambda:x"]
    assert document["tls"] is False
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(mongod_uri) as client:
        assert [name for name in client.list_database_names() if "odm_bench" in name] == []


@pytest.mark.parametrize("package", ["awslambdaric", "trustme"])
def test_a_package_that_is_not_there_is_exit_code_3(
    odm_here: Any, mongod_uri: str, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    ran = odm_here("bench", "--url", mongod_uri, *SMALL, "--only", "read")
    assert ran.code == 3
    assert package in ran.err
    assert "odm-transports[local]" in ran.err


def test_a_deployment_that_is_not_there_is_exit_code_3(odm_here: Any) -> None:
    url = "mongodb://user:secret@127.0.0.1:9/?serverSelectionTimeoutMS=200"
    ran = odm_here("bench", "--url", url, *SMALL)
    assert ran.code == 3
    assert "odm: " in ran.err
    assert "secret" not in ran.out + ran.err


def test_stopped_in_the_middle_it_reports_what_it_has(
    watched: Any, mongod: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    html = tmp_path_factory.mktemp("report") / "bench.html"
    parts = ("--only", "read", "--only", "write", "-c", "odm", "-c", "lambda")
    watched.start("bench", "--documents", "200", *parts, "--json", "--html", str(html))
    watched.wait_for("point write …")
    watched.signal(signal.SIGINT)
    ran = watched.finish()
    assert ran.code == 130
    document = json.loads(ran.out)
    assert document["complete"] is False
    assert document["workloads"]["read"]["contenders"]["odm"]["summary_ms"]["count"] > 0
    assert "this is a part" in html.read_text()
    assert watched.left_behind() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "everything"), "write one of read, write"),
        (("--html", "/nowhere/at/all.html"), "no directory of that name"),
        (("--url", "embedded:///b"), "is not measured"),
        (("--url", "fake:///b", "-c", "nobody"), "there are fake"),
    ],
)
def test_wrong_usage_is_exit_code_2(odm_here: Any, arguments: tuple[str, ...], words: str) -> None:
    ran = odm_here("bench", *SMALL, *arguments)
    assert ran.code == 2
    assert words in ran.err
    assert ran.out == ""
