"""What an AWS SDK sees of an invocation, by aiobotocore and by bare HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError

from transports.local_lambda import LocalLambda

LIMIT = 6_291_456


async def test_invoke_returns_the_response_and_the_version(serve: Any, connect: Any) -> None:
    client = await connect(await serve())
    answer = await client.invoke(FunctionName="f", Payload=b'{"a": 1}')
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    assert answer["ResponseMetadata"]["RequestId"]
    assert json.loads(await answer["Payload"].read())["served"] == 1


async def test_missing_payload_is_an_empty_event(serve: Any, connect: Any) -> None:
    client = await connect(await serve())
    answer = await client.invoke(FunctionName="f")
    assert json.loads(await answer["Payload"].read())["served"] == 1


async def test_dry_run_runs_nothing(serve: Any, connect: Any) -> None:
    service = await serve()
    client = await connect(service)
    answer = await client.invoke(FunctionName="f", InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    assert await answer["Payload"].read() == b""
    assert service.statistics("f").invocations == 0


async def test_unknown_function_raises_the_modelled_error(serve: Any, connect: Any) -> None:
    client = await connect(await serve())
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        await client.invoke(FunctionName="g")
    arn = "arn:aws:lambda:us-east-1:123456789012:function:g"
    assert caught.value.response["Error"]["Message"] == f"Function not found: {arn}"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


@pytest.mark.parametrize(
    "body",
    [b"no", b"{", b"NaN", b'{"a": Infinity}', b'"\xff"', "{}".encode("utf-16"), b"[" * 10**5],
)
async def test_payload_that_is_not_json_is_refused(serve: Any, connect: Any, body: bytes) -> None:
    service = await serve()
    client = await connect(service)
    with pytest.raises(client.exceptions.InvalidRequestContentException) as caught:
        await client.invoke(FunctionName="f", Payload=body)
    assert caught.value.response["Error"]["Message"].startswith("Could not parse request body")
    assert service.statistics("f").invocations == 0


async def test_request_of_exactly_the_limit_passes(serve: Any, post: Any) -> None:
    service = await serve()
    empty = len('{"do": "length", "text": ""}')
    text = "x" * (LIMIT - empty)
    answer = await post(service, {"do": "length", "text": text})
    assert (answer.status, answer.document) == (200, len(text))


@pytest.mark.parametrize("chunked", [False, True])
async def test_request_over_the_limit_is_refused_and_the_connection_kept(
    serve: Any, chunked: bool
) -> None:
    reader, writer = await _connect(await serve())
    body = b'"' + b"x" * (LIMIT - 1) + b'"'
    assert len(body) == LIMIT + 1
    head = _HEAD
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    else:
        head += b"Content-Length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    answer, _ = await _read_answer(reader)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"x-amzn-ErrorType: RequestEntityTooLargeException" in answer
    writer.write(_HEAD + b"Content-Length: 2\r\n\r\n{}")
    answer, body = await _read_answer(reader)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["served"] == 1
    writer.close()
    await writer.wait_closed()


async def test_client_that_waits_to_continue_is_refused_at_once(serve: Any) -> None:
    reader, writer = await _connect(await serve())
    writer.write(_HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1))
    answer, _ = await _read_answer(reader)
    assert answer.startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_client_that_leaves_in_the_middle_is_no_event(
    serve: Any, post: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service = await serve()
    _, writer = await _connect(service)
    writer.write(_HEAD + b"Content-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.transport.abort()
    assert (await post(service)).document["served"] == 1
    await service.aclose()
    assert caplog.text == ""


_HEAD = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\n"


async def _connect(service: LocalLambda) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = service.endpoint_url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def _read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = re.findall(rb"Content-Length: (\d+)", head)
    return head, await reader.readexactly(int(length))


async def test_sdk_raises_its_generic_error_over_the_limit(serve: Any, connect: Any) -> None:
    client = await connect(await serve())
    with pytest.raises(ClientError) as caught:
        await client.invoke(FunctionName="f", Payload=io.BytesIO(b'"' + b"x" * (LIMIT - 1) + b'"'))
    error = caught.value.response
    assert error["Error"]["Code"] == "RequestEntityTooLargeException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 413


async def test_expect_continue_is_answered(serve: Any) -> None:
    service = await serve()
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{service.endpoint_url}/2015-03-31/functions/f/invocations",
            data=b"{}",
            expect100=True,
        ) as answer,
    ):
        assert answer.status == 200


async def test_log_tail_has_the_lines_of_this_invocation(serve: Any, connect: Any) -> None:
    service = await serve()
    client = await connect(service)
    await client.invoke(FunctionName="f", Payload=b'{"do": "write", "lines": 1}')
    answer = await client.invoke(
        FunctionName="f", Payload=b'{"do": "write", "lines": 2}', LogType="Tail"
    )
    request_id = answer["ResponseMetadata"]["RequestId"]
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert lines[:5] == [
        f"START RequestId: {request_id} Version: $LATEST",
        "line 0",
        "line 1",
        "to stderr",
        f"END RequestId: {request_id}",
    ]
    assert lines[5].startswith(f"REPORT RequestId: {request_id}\tDuration: ")
    assert "Memory Size: 128 MB" in lines[5]
    assert len(lines) == 6


async def test_log_tail_is_the_last_four_kilobytes(serve: Any, connect: Any) -> None:
    client = await connect(await serve())
    answer = await client.invoke(
        FunctionName="f", Payload=b'{"do": "write", "lines": 5000}', LogType="Tail"
    )
    tail = base64.b64decode(answer["LogResult"])
    assert len(tail) == 4096
    assert b"line 4999\n" in tail
    assert b"line 0\n" not in tail
    assert tail.endswith(b"\t\n")


async def test_log_result_is_sent_only_when_asked_for(serve: Any, post: Any) -> None:
    answer = await post(await serve())
    assert "x-amz-log-result" not in answer.headers


async def test_client_context_reaches_the_function(serve: Any, connect: Any) -> None:
    client = await connect(await serve())
    context = base64.b64encode(json.dumps({"custom": {"tenant": "é"}}).encode()).decode()
    answer = await client.invoke(
        FunctionName="f", Payload=b'{"do": "describe"}', ClientContext=context
    )
    assert json.loads(await answer["Payload"].read())["custom"] == {"tenant": "é"}


@pytest.mark.parametrize("context", ["%%%", base64.b64encode(b"[1]").decode(), "e" * 4000])
async def test_client_context_that_is_none_is_refused(serve: Any, post: Any, context: str) -> None:
    answer = await post(await serve(), headers={"X-Amz-Client-Context": context})
    assert answer.status == 400
    assert answer.headers["x-amzn-errortype"] == "InvalidRequestContentException"


@pytest.mark.parametrize(
    ("header", "value"), [("X-Amz-Invocation-Type", "Later"), ("X-Amz-Log-Type", "Head")]
)
async def test_unknown_parameter_is_refused(serve: Any, post: Any, header: str, value: str) -> None:
    answer = await post(await serve(), headers={header: value})
    assert answer.status == 400
    assert answer.headers["x-amzn-errortype"] == "InvalidParameterValueException"


async def test_web_page_is_refused(serve: Any, post: Any) -> None:
    service = await serve()
    answer = await post(service, headers={"Origin": "https://example.com"})
    assert answer.status == 403
    assert service.statistics("f").invocations == 0


async def test_other_paths_and_methods_are_unknown(serve: Any) -> None:
    service = await serve()
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/2015-03-31/functions/f/invocations"):
            async with session.get(service.endpoint_url + path) as answer:
                assert answer.status == 404
                assert answer.headers["x-amzn-ErrorType"] == "UnknownOperationException"


async def test_bytes_are_answered_as_they_are(serve: Any, post: Any) -> None:
    answer = await post(await serve(), {"do": "bytes"})
    assert (answer.status, answer.body) == (200, b"raw")


async def test_qualifiers_name_versions(serve: Any, connect: Any) -> None:
    client = await connect(await serve(aliases={"live": "7", "next": "$LATEST"}))
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
    event = b'{"do": "describe"}'
    for name, qualifier, version, invoked in [
        ("f", None, "$LATEST", arn),
        ("f", "$LATEST", "$LATEST", f"{arn}:$LATEST"),
        ("f", "live", "7", f"{arn}:live"),
        ("f", "7", "7", f"{arn}:7"),
        ("f:next", None, "$LATEST", f"{arn}:next"),
        (f"{arn}:live", None, "7", f"{arn}:live"),
        (f"{arn}:live", "live", "7", f"{arn}:live"),
        ("123456789012:function:f", None, "$LATEST", arn),
    ]:
        options = {} if qualifier is None else {"Qualifier": qualifier}
        answer = await client.invoke(FunctionName=name, Payload=event, **options)
        seen = json.loads(await answer["Payload"].read())
        assert (answer["ExecutedVersion"], seen["version"]) == (version, version)
        assert seen["arn"] == invoked


async def test_unknown_qualifiers_are_not_found(serve: Any, connect: Any) -> None:
    client = await connect(await serve(aliases={"live": "7"}))
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
    for name, qualifier, message in [
        ("f", "gone", f"Cannot find alias arn: {arn}:gone"),
        ("f:8", None, f"Function not found: {arn}:8"),
        (arn.replace("us-east-1", "eu-west-1"), None, "Function not found: "),
    ]:
        options = {} if qualifier is None else {"Qualifier": qualifier}
        with pytest.raises(
            client.exceptions.ResourceNotFoundException, match=message.replace("$", r"\$")
        ):
            await client.invoke(FunctionName=name, **options)


async def test_contradictory_qualifiers_are_refused(serve: Any, connect: Any) -> None:
    client = await connect(await serve(aliases={"live": "7"}))
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        await client.invoke(FunctionName="f:live", Qualifier="7")
