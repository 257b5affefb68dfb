"""The envelope: what a caller and the DB proxy function say to each other in one invoke.

Both sides import this package, so it knows the standard library and nothing else. It turns
values into JSON bytes and back, checks everything it reads, and does no I/O.

Request (the invoke's payload)::

    {"odm": 1, "items": [
        {"kind": "command", "server": "host:27017", "message": "<base64>", "ack": true,
         "caller": "cms-api", "trace": "00-<32 hex digits>-<16>-01"},           (both optional)
        {"kind": "command", "server": "…", "message": "<base64>", "encoding": "zlib", "ack": true},
        {"kind": "command", "server": "…", "staged": "<id>", "parts": 3, "ack": true},
        {"kind": "stage", "id": "<id>", "part": 0, "data": "<base64>"},
        {"kind": "fetch", "id": "<id>", "part": 0},
        {"kind": "discard", "id": "<id>"},
        {"kind": "describe"},
        {"kind": "cancel", "server": "host:27017", "lsid": "<base64>", "started_ms": 1767225600000}
    ]}

With ``"within_ms": 50`` beside the items, the function begins none of them later than that after
the first, and answers those with ``{"deferred": true}``: others wait for the response as a whole.

Response (the function's result), one reply per item, in order::

    {"odm": 1, "function": {"release": "0.1.0", "environment": "…", "cold_start": true,
                            "init_ms": 312.0, "duration_ms": 4.1, "timeout_ms": 30000},
     "replies": [
        {"reply": "<base64>"},                   (or with "encoding", or "staged" and "parts")
        {"members": [{"address": "host:27017", "hello": "<base64>"}]},
        {"failure": {"code": 6, "code_name": "HostUnreachable", "message": "…", "ran": "no"}},
        {"deferred": true}
    ]}

``message`` is the OP_MSG after its header (flags and sections) and ``reply`` the BSON document of
the reply's section 0: the bytes the driver sent and the server answered, nothing decoded between.
What is too large for one invoke is compressed or staged (`transports.lambda_invoke.bodies`), and
then alone in its envelope: it may unpack to 48 MB.
A version this release does not speak is answered with ``{"odm": 1, "refusal": "…"}``.

Sizes: base64 makes 4 bytes of 3, and a synchronous payload is at most `MAX_PAYLOAD_BYTES`
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), so about 4.5 MiB of BSON.
"""

from transports.lambda_invoke.envelope.fields import (
    MAX_ADDRESS_CHARS,
    MAX_PAYLOAD_BYTES,
    MAX_TEXT_CHARS,
    EnvelopeError,
)
from transports.lambda_invoke.envelope.requests import (
    MAX_CALLER_CHARS,
    MAX_ITEMS,
    MIN_MESSAGE_BYTES,
    CancelItem,
    CommandItem,
    DescribeItem,
    DiscardItem,
    FetchItem,
    Item,
    StageItem,
    decode_request,
    decode_within_ms,
    encode_request,
)
from transports.lambda_invoke.envelope.responses import (
    MAX_MEMBERS,
    DeferredResult,
    FailureResult,
    FunctionInfo,
    MembersResult,
    Ran,
    RefusedEnvelope,
    ReplyResult,
    Response,
    Result,
    decode_response,
    encode_refusal,
    encode_response,
)

__all__ = [
    "MAX_ADDRESS_CHARS",
    "MAX_CALLER_CHARS",
    "MAX_ITEMS",
    "MAX_MEMBERS",
    "MAX_PAYLOAD_BYTES",
    "MAX_TEXT_CHARS",
    "MIN_MESSAGE_BYTES",
    "CancelItem",
    "CommandItem",
    "DeferredResult",
    "DescribeItem",
    "DiscardItem",
    "EnvelopeError",
    "FailureResult",
    "FetchItem",
    "FunctionInfo",
    "Item",
    "MembersResult",
    "Ran",
    "RefusedEnvelope",
    "ReplyResult",
    "Response",
    "Result",
    "StageItem",
    "decode_request",
    "decode_response",
    "decode_within_ms",
    "encode_refusal",
    "encode_request",
    "encode_response",
]
