from __future__ import annotations

import json
import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odm.cli import proxy_function
from odm.cli.console import Console
from odm.cli.local import _Log

OdmHere = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "nothing to serve"),
        (["--embedded", "--mongodb-uri", "mongodb://localhost"], "not both"),
        (["--mongodb-uri", "fake:///x"], "needs a mongodb:// URI"),
        (["--function", "hello"], "name=module.function"),
        (["--function", "hello=app.handler,cod=x"], "code=PATH"),
        (["--function", "hello=app.handler,code=/nowhere"], "neither a directory"),
        (["--function", "hel lo=app.handler"], "function name"),
        (["--function", "hello=app.handler", "--env", "NAME"], "NAME=VALUE"),
        (["--function", "hello=app.handler", "--memory", "1"], "128 to 10240"),
        (["--function", "hello=app.handler", "--request-rate", "0"], "--request-rate"),
    ],
)
def test_wrong_usage_is_told_with_what_to_write(
    odm_here: OdmHere, arguments: list[str], told: str
) -> None:
    ran = odm_here("local", "--port", "0", *arguments)
    assert ran.code == 2
    assert told in ran.err
    assert ran.out == ""


@pytest.fixture
def greeter(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(
        "import os\n"
        "def handler(event, context):\n"
        "    print('greeting', event['name'])\n"
        "    return os.environ['GREETING'] + ' ' + event['name']\n"
    )
    return tmp_path


def test_a_function_is_served_until_ctrl_c_and_summed_up(watched: Any, greeter: Path) -> None:
    watched.start(
        *("local", "--function", f"hello=app.handler,code={greeter}", "--env", "GREETING=Hei"),
        *("--port", "0", "--verbose", "--logs"),
    )
    endpoint = watched.wait_for("endpoint", on="stdout").split()[1]
    request = urllib.request.Request(
        f"{endpoint}/2015-03-31/functions/hello/invocations", data=b'{"name": "Ada"}'
    )
    with urllib.request.urlopen(request) as response:
        assert json.load(response) == "Hei Ada"
    watched.signal(signal.SIGINT)
    ran = watched.finish()
    assert ran.code == 130
    assert "greeting Ada" in ran.err
    assert "hello: 1 invocation, 1 cold start, 0 throttles, 0 errors" in ran.err
    assert watched.left_behind() == []


def test_tls_and_the_rate_of_aws_are_had_on_request(watched: Any, greeter: Path) -> None:
    watched.start(
        *("local", "--function", f"hello=app.handler,code={greeter}", "--env", "GREETING=Hei"),
        *("--port", "0", "--tls", "--request-rate", "1", "--concurrency", "1"),
    )
    endpoint = watched.wait_for("endpoint", on="stdout").split()[1]
    assert endpoint.startswith("https://")
    _, _, bundle = watched.wait_for("AWS_CA_BUNDLE=", on="stdout").strip().partition("=")
    context = ssl.create_default_context(cafile=bundle)
    request = urllib.request.Request(
        f"{endpoint}/2015-03-31/functions/hello/invocations", data=b'{"name": "Ada"}'
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        invoke_often(request, context)
    with refused.value as answer:
        assert answer.code == 429
        assert json.load(answer)["Reason"] == "ReservedFunctionInvocationRateLimitExceeded"
    watched.signal(signal.SIGINT)
    assert watched.finish().code == 130
    assert watched.left_behind() == []
    assert not Path(bundle).exists()


def invoke_often(request: urllib.request.Request, context: ssl.SSLContext) -> None:
    for _ in range(100):
        with urllib.request.urlopen(request, context=context) as response:
            assert json.load(response) == "Hei Ada"


def test_the_proxy_function_is_served_with_a_url_that_answers(
    watched: Any, odm_here: OdmHere, mongod: None
) -> None:
    watched.start("local", "--embedded", "--port", "0", "--concurrency", "1", "--verbose")
    url = watched.wait_for("lambda://", on="stdout").split()[1]
    ran = odm_here("ping", url, "--json", "-c", "1")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["transport"] == "lambda"
    assert document["server"]["version"].startswith("6.")
    assert document["cold_starts"] == 1
    assert document["function"]["release"]
    assert watched.wait_for("policy", on="stdout").split() == ["policy", "readWrite", "on", "*"]
    watched.signal(signal.SIGTERM)
    ran = watched.finish()
    assert ran.code == 143
    assert "db-proxy: " in ran.err
    assert watched.left_behind() == []


def test_what_functions_log_comes_in_pieces_and_is_written_in_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = _Log(Console(), everything=True)
    for function, data in (("a", b"one"), ("b", b"two\n"), ("a", b" more\nlast")):
        log(function, "0123456789", data)
    log.flush()
    assert capsys.readouterr().err == "b 01234567 two\na 01234567 one more\na 01234567 last\n"


def test_one_line_per_invocation_is_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    log = _Log(Console(), everything=False)
    log("a", "0123456789", b"START RequestId: x\nhello\nREPORT RequestId: x\tDuration: 1 ms\tB\t\n")
    assert capsys.readouterr().err == "a 01234567 Duration: 1 ms, B\n"


@pytest.mark.parametrize(
    ("uri", "policy", "in_force"),
    [
        ("mongodb://h/cms", None, "readWrite on cms"),
        ("mongodb://h/?replicaSet=rs", None, "readWrite on *"),
        ("mongodb://h/cms", "readOnly", "readOnly on cms"),
        ("mongodb://h/cms", "unrestricted", "unrestricted"),
    ],
)
def test_the_policy_of_the_proxy_function(uri: str, policy: str | None, in_force: str) -> None:
    function = proxy_function.configuration(uri, policy=policy)
    assert proxy_function.policy_in_force(function) == in_force


def test_the_policy_may_be_a_file_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.json").write_text('{"readOnly": true}')
    function = proxy_function.configuration("mongodb://h/cms", policy="policy.json")
    assert proxy_function.policy_in_force(function) == "readOnly on cms"


def test_a_policy_that_is_none_is_told_before_anything_is_served(odm_here: OdmHere) -> None:
    ran = odm_here("local", "--mongodb-uri", "mongodb://h/cms", "--policy", '{"readonly": true}')
    assert ran.code == 2
    assert "unknown field 'readonly'" in ran.err
