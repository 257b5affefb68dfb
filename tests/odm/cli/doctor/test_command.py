"""``odm doctor`` as its users meet it: deployments good and bad, and what newcomers do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OdmHere = Callable[..., Any]
Deploy = Callable[..., None]


def document(ran: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out)
    assert found["exit_code"] == ran.code
    return found


def by_status(found: dict[str, Any], status: str) -> set[str]:
    return {each["rule"] for each in found["findings"] if each["status"] == status}


def test_a_well_configured_function_gives_no_alarm(
    odm_here: OdmHere, front: Any, deploy: Deploy
) -> None:
    deploy("db-proxy", good=True)
    ran = odm_here("doctor", front.lambda_url("db-proxy:live"), "--no-connect", "--json")
    found = document(ran)
    assert by_status(found, "problem") == set()
    assert by_status(found, "warning") == set()
    assert ran.code == 0
    assert found["ok"] is True
    assert by_status(found, "skipped") == {
        # --no-connect
        "reachable",
        "database-user",
        "cluster-region",
        "release",
        "server-version",
        "topology",
        "connection-ceiling",
        # no --caller
        "caller-timeout",
    }
    assert not any("/invocations" in line for line in front.asked)


def test_every_fault_of_a_badly_configured_function_is_found(
    odm_here: OdmHere, front: Any, deploy: Deploy, aws: Callable[[str], Any]
) -> None:
    deploy("db-proxy", good=False)
    deploy("api", good=True, variables={"AWS_MAX_ATTEMPTS": "5"}, Timeout=3)
    client = aws("lambda")
    client.add_permission(
        FunctionName="db-proxy", StatementId="all", Action="lambda:InvokeFunction", Principal="*"
    )
    client.create_function_url_config(FunctionName="db-proxy", AuthType="NONE")
    url = front.lambda_url("db-proxy", invokeTimeoutMS="2000")
    ran = odm_here("doctor", url, "--no-connect", "--json", "--caller", "api")
    found = document(ran)
    assert ran.code == 1
    assert found["ok"] is False
    assert by_status(found, "problem") == {
        "staging",
        "reserved-concurrency",
        "tls",
        "credentials-in-uri",
        "policy",
        "resource-policy",
        "function-url",
        "server-timeout",
        "invoke-timeout",
        "runtime",
    }
    assert by_status(found, "warning") == {
        "handler",
        "qualifier",
        "tracing",
        "log-retention",
        "max-idle-time",
        "max-pool-size",
        "memory",
        "private-network",
        "credentials-in-environment",
        "function-timeout",
        "regional-sts",
    }
    assert "AWS_MAX_ATTEMPTS=5" in ran.out
    assert "hunter" not in ran.out + ran.err


def test_the_same_in_words_and_with_exact_changes(
    odm_here: OdmHere, front: Any, deploy: Deploy
) -> None:
    deploy("db-proxy", good=False)
    url = front.lambda_url("db-proxy")
    plain = odm_here("doctor", url, "--no-connect", "--quiet")
    assert plain.code == 1
    assert plain.err == ""
    assert "reserved-concurrency" in plain.out
    assert "put-function-concurrency" not in plain.out
    assert "--fix prints the exact changes" in plain.out
    fixed = odm_here("doctor", url, "--no-connect", "--fix")
    assert "put-function-concurrency --function-name db-proxy" in fixed.out
    assert "--parameter-overrides ReservedConcurrency=15" in fixed.out
    assert "looking at the function db-proxy" in fixed.err
    assert "hunter" not in plain.out + fixed.out + fixed.err
    assert {line.partition(" ")[0] for line in front.asked} == {"GET"}


def test_a_configuration_change_reaches_the_alias_only_when_published(
    odm_here: OdmHere, front: Any, deploy: Deploy
) -> None:
    deploy("db-proxy", good=True, MemorySize=128)
    ran = odm_here("doctor", front.lambda_url("db-proxy:live"), "--no-connect", "--fix")
    assert ran.code == 0
    assert "Then, so that what the URL names" in ran.out
    assert "update-alias --function-name db-proxy --name live" in ran.out


def test_strict_counts_warnings(odm_here: OdmHere, front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True, MemorySize=128)
    url = front.lambda_url("db-proxy:live")
    assert odm_here("doctor", url, "--no-connect").code == 0
    assert odm_here("doctor", url, "--no-connect", "--strict").code == 1


def test_a_connection_limit_that_is_told_is_held_against_the_ceiling(
    odm_here: OdmHere, front: Any, deploy: Deploy
) -> None:
    deploy("db-proxy", good=True)
    url = front.lambda_url("db-proxy:live")
    ran = odm_here("doctor", url, "--no-connect", "--connection-limit", "1500", "--json")
    assert "connection-ceiling" in by_status(document(ran), "ok")
    ran = odm_here("doctor", url, "--no-connect", "--connection-limit", "60", "--json")
    assert ran.code == 1
    assert by_status(document(ran), "problem") == {"connection-ceiling"}


def test_a_real_function_and_server_are_looked_at_together(
    odm_here: OdmHere, front: Any, deploy: Deploy, local_proxy: str, mongod_uri: str
) -> None:
    """The control plane is moto's; the invokes reach function processes and a real server."""
    variables = {
        "ODM_PROXY_MONGODB_URI": mongod_uri.replace("/?", "/cms?"),
        "ODM_PROXY_POLICY": '{"databases": ["cms"], "commands": {"allow": ["serverStatus"]}}',
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }
    deploy("db-proxy", good=True, variables=variables, Timeout=20)
    front.invokes = local_proxy
    ran = odm_here("doctor", front.lambda_url("db-proxy:live"), "--json")
    found = document(ran)
    assert by_status(found, "problem") == set()
    assert by_status(found, "warning") == {"server-version"}  # MongoDB 6.0 has ended
    assert {"reachable", "handler", "client-reuse", "release", "topology"} <= by_status(found, "ok")
    assert {"connection-ceiling", "private-host", "tls"} <= by_status(found, "ok")
    assert ran.code == 0


def test_a_server_is_looked_at_directly(odm_here: OdmHere, mongod_uri: str) -> None:
    ran = odm_here("doctor", mongod_uri, "--json")
    found = document(ran)
    assert ran.code == 0
    assert by_status(found, "problem") == set()
    assert by_status(found, "warning") == {"server-version"}


@pytest.mark.parametrize("url", ["fake:///cms", "embedded:///cms"])
def test_what_is_of_this_machine_alone_has_little_to_inspect(odm_here: OdmHere, url: str) -> None:
    ran = odm_here("doctor", url)
    assert ran.code == 0
    assert "little to inspect" in ran.out
    assert document(odm_here("doctor", url, "--json"))["findings"] == []


# What a newcomer does.


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("db-proxy", "no scheme"),
        ("lamda://db-proxy/cms", "did you mean"),
        ("lambda://db-proxy/cms?regoin=eu-central-1", "did you mean 'region'"),
        ("mongodb://127.0.0.1:9/x?maxIdleTime=3", "maxIdleTime"),
        ("mongodb://me:hunter2@@/x", "host"),
    ],
)
def test_a_wrong_url_is_wrong_usage(
    odm_here: OdmHere, aws_environment: None, url: str, told: str
) -> None:
    ran = odm_here("doctor", url)
    assert ran.code == 2
    assert told in ran.err
    assert "hunter2" not in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_wrong_url_is_told_in_json_too(odm_here: OdmHere, aws_environment: None) -> None:
    ran = odm_here("doctor", "lambda://db-proxy/cms?regoin=eu", "--json")
    assert ran.code == 2
    assert json.loads(ran.out)["error"]["type"] == "InvalidURL"


def test_no_credentials_are_told_and_what_could_be_seen(
    odm_here: OdmHere, aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    ran = odm_here("doctor", "lambda://db-proxy/cms?region=eu-central-1", "--no-connect")
    assert ran.code == 3
    assert "Unable to locate credentials" in ran.out
    assert "qualifier" in ran.out  # the URL alone tells that


def test_a_misspelt_region_is_told(
    odm_here: OdmHere, aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    ran = odm_here("doctor", "lambda://db-proxy/cms?region=us-eats-1", "--no-connect", "--fix")
    assert "the AWS SDK knows no region 'us-eats-1'; did you mean 'us-east-1'?" in ran.out
    assert "lambda://db-proxy/cms?region=us-east-1" in ran.out


def test_no_region_is_told(
    odm_here: OdmHere, aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    ran = odm_here("doctor", "lambda://db-proxy/cms", "--json")
    assert ran.code == 3
    assert "region" in by_status(document(ran), "problem")


def test_no_network_is_told_and_what_could_be_seen(
    odm_here: OdmHere, aws_environment: None
) -> None:
    url = "lambda://db-proxy/cms?region=eu-central-1&endpoint=http%3A%2F%2F127.0.0.1%3A9"
    ran = odm_here("doctor", url, "--json", "--timeout", "20")
    found = document(ran)
    assert ran.code == 3
    assert "reachable" in by_status(found, "problem")
    assert "127.0.0.1:9" in found["looked_at"]["function"]
    assert "qualifier" in by_status(found, "warning")


def test_a_missing_function_is_a_problem(odm_here: OdmHere, front: Any) -> None:
    ran = odm_here("doctor", front.lambda_url("nobody"), "--no-connect", "--json")
    found = document(ran)
    assert ran.code == 1
    assert by_status(found, "problem") == {"function"}


def test_a_missing_alias_is_a_problem(odm_here: OdmHere, front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True)
    ran = odm_here("doctor", front.lambda_url("db-proxy:prod"), "--no-connect")
    assert ran.code == 1
    assert "no function 'db-proxy:prod'" in ran.out
    assert "its aliases are live" in ran.out


def test_the_unauthorised_hear_which_permissions_to_grant(
    odm_here: OdmHere, front: Any, deploy: Deploy
) -> None:
    deploy("db-proxy", good=True)
    front.answers = {"": (403, {"Code": "AccessDeniedException", "message": "not authorized"})}
    ran = odm_here("doctor", front.lambda_url("db-proxy:live"), "--no-connect", "--json")
    found = document(ran)
    assert ran.code == 3  # nothing of the function could be looked at
    assert by_status(found, "problem") == set()
    permissions = {each["permission"] for each in found["findings"]} - {None}
    assert {"lambda:GetFunctionConfiguration", "lambda:GetPolicy"} <= permissions


def test_the_unauthorised_to_invoke_are_told(odm_here: OdmHere, front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True)
    front.answers["/invocations"] = (
        403,
        {"Code": "AccessDeniedException", "Message": "not authorized to perform: InvokeFunction"},
    )
    ran = odm_here("doctor", front.lambda_url("db-proxy:live"), "--json")
    found = document(ran)
    assert ran.code == 3
    assert by_status(found, "problem") == {"reachable"}
    assert "reserved-concurrency" in by_status(found, "ok")


def test_a_missing_caller_is_told(odm_here: OdmHere, front: Any, deploy: Deploy) -> None:
    deploy("db-proxy", good=True)
    ran = odm_here(
        "doctor", front.lambda_url("db-proxy:live"), "--no-connect", "--caller", "nobody"
    )
    assert ran.code == 0
    assert "there is no function 'nobody'" in ran.out


def test_the_rules_are_listed(odm_here: OdmHere) -> None:
    ran = odm_here("doctor", "--rules")
    assert ran.code == 0
    assert "reserved-concurrency" in ran.out


def test_the_url_may_come_from_the_environment(
    odm_here: OdmHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODM_URL", "fake:///cms")
    assert "little to inspect" in odm_here("doctor").out


def test_an_application_that_connects_directly_is_held_to_the_rules_of_functions(
    odm_here: OdmHere,
    front: Any,
    deploy: Deploy,
    mongod_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deploy("api", good=False, variables={"DB_PASSWORD": "hunter3"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", front.url)
    ran = odm_here("doctor", mongod_uri, "--caller", "api", "--json", "--fix")
    found = document(ran)
    assert ran.code == 1
    assert by_status(found, "problem") == {"reserved-concurrency", "runtime"}
    assert by_status(found, "warning") == {
        "max-pool-size",
        "direct-from-lambda",
        "memory",
        "private-network",
        "credentials-in-environment",
        "regional-sts",
        "server-version",
    }
    assert "hunter3" not in ran.out + ran.err


def test_source_with_a_client_in_its_handler_is_a_problem(
    odm_here: OdmHere, tmp_path: Path, mongod_uri: str
) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context):\n    MongoClient('x')\n")
    ran = odm_here("doctor", mongod_uri, "--no-connect", "--code", str(tmp_path), "--fix")
    assert ran.code == 1
    assert "app.py:2: MongoClient" in ran.out
    assert "lambda_handler" in ran.out
