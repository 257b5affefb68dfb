"""What an examination has seen: facts, without a judgement and without a secret to be printed.

A fact that could not be looked at is `Unseen`, with the reason; `known` gives the fact or raises
it, so that a rule which needs it ends as skipped, for that reason, and never as a guess.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from transports.lambda_invoke.options import LambdaOptions
from transports.url import TransportURL

_T = TypeVar("_T")


class Unseen(Exception):
    """A fact that could not be looked at.

    Attributes:
        reason: why, in words.
        permission: the IAM action that would have let it be seen.
    """

    def __init__(self, reason: str, permission: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permission = permission


class Unreachable(Unseen):
    """AWS could not be asked at all: no credentials, no region, no network."""


class NoSuchFunction(Unseen):
    """AWS Lambda knows no such function, or no such version or alias of it."""


class KeptElsewhere(Unseen):
    """The function's URI is in a secret or a parameter, which was not read."""


def known(fact: _T | Unseen) -> _T:
    """Return *fact*.

    Raises:
        Unseen: it could not be looked at.
    """
    if isinstance(fact, Unseen):
        # A new one: rules share the fact, and a raised exception collects tracebacks.
        raise type(fact)(fact.reason, fact.permission)
    return fact


class Kind(StrEnum):
    """What a URL leads through."""

    DIRECT = "direct"
    LAMBDA = "lambda"
    LOCAL = "local"  # fake:// and embedded://: nothing outside of this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class UriFacts:
    """A ``mongodb://`` URI, without what is secret in it.

    Attributes:
        where: what holds it, as a message names it.
        srv: whether its hosts come from DNS.
        hosts: names, addresses and socket paths, without ports.
        user: whether it names one.
        secrets: what in it is secret, in words: ``password``, names of options.
        database: the one it names.
        options: by name in lower case; the values of secret ones are ``""``.
        redacted: the URI, for messages.
    """

    where: str
    srv: bool
    hosts: tuple[str, ...]
    user: bool = False
    secrets: tuple[str, ...] = ()
    database: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    redacted: str = ""

    def number(self, option: str) -> int | None:
        """Return the number that an option has, None if it has none."""
        text = self.options.get(option.lower(), "")
        return int(text) if text.removeprefix("-").isdecimal() else None

    @property
    def mechanism(self) -> str:
        """How the driver authenticates: ``MONGODB-AWS``, ``SCRAM``, …, ``""`` for not at all."""
        return self.options.get("authmechanism", "SCRAM" if self.user else "").upper()

    @property
    def tls(self) -> bool:
        """Whether the driver encrypts: SRV URIs do unless told not to."""
        text = self.options.get("tls", self.options.get("ssl", ""))
        return text.lower() == "true" if text else self.srv


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFacts:
    """The environment that the application runs in.

    Attributes:
        where: whose it is: this process's, or a function's configuration.
        variables: never printed but for single ones known to hold no secret.
        lambda_function: the name of the AWS Lambda function that the application is.
        region: of the application; ARNs, variables and profiles say it.
        release: of this distribution.
        pymongo: version of PyMongo here.
    """

    where: str
    variables: Mapping[str, str] | Unseen = field(repr=False)
    lambda_function: str | None = None
    region: str | None = None
    release: str = ""
    pymongo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerFacts:
    """The AWS Lambda function that the application is.

    Attributes:
        name: its name.
        configuration: as ``GetFunctionConfiguration`` returns it, without its variables.
        reserved: its reserved concurrency, None for none.
    """

    name: str
    configuration: Mapping[str, Any] | Unseen
    reserved: int | Unseen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFacts:
    """The DB proxy function as AWS Lambda has it.

    Attributes:
        name: as the URL names it: a name or an ARN.
        qualifier: as the URL has it.
        configuration: ``GetFunctionConfiguration`` of the qualifier, without its variables.
        variables: its environment variables.
        uri: where its MongoDB is.
        reserved: reserved concurrency, None for none.
        provisioned: ``ListProvisionedConcurrencyConfigs``.
        alias: ``GetAlias`` of the qualifier, None where it is no alias.
        account_concurrency: ``GetAccountSettings``: the account's limit.
        policy: the statements of its resource policy.
        url_auth: the ``AuthType`` of its function URL, None without one.
        retention_days: of its log group, None for for ever.
        missing: that the qualifier does not exist, in words; the rest is then that of ``$LATEST``.
    """

    name: str
    qualifier: str | None
    configuration: Mapping[str, Any] | Unseen
    variables: Mapping[str, str] | Unseen = field(repr=False)
    uri: UriFacts | Unseen
    reserved: int | Unseen | None
    provisioned: tuple[Mapping[str, Any], ...] | Unseen
    alias: Mapping[str, Any] | Unseen | None
    account_concurrency: int | Unseen
    policy: tuple[Mapping[str, Any], ...] | Unseen
    url_auth: str | Unseen | None
    retention_days: int | Unseen | None
    missing: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What answered under the URL.

    Attributes:
        error: why nothing did; None if it did.
        hello: the server's reply.
        build: ``buildInfo``'s.
        status: ``serverStatus``'s: ``connections``, ``uptime``.
        roles: of the authenticated users: ``("readWrite@cms", …)``; None without a user.
        release: of the DB proxy function, as it says itself.
        init_ms: of the function, as it says itself.
        opened_ms: how long opening took.
    """

    error: str | None = None
    hello: Mapping[str, Any] | Unseen = field(default_factory=dict)
    build: Mapping[str, Any] | Unseen = field(default_factory=dict)
    status: Mapping[str, Any] | Unseen = field(default_factory=dict)
    roles: tuple[str, ...] | Unseen | None = None
    release: str | None = None
    init_ms: float | None = None
    opened_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that rules judge.

    Attributes:
        url: the URL.
        kind: what it leads through.
        options: of a ``lambda://`` URL.
        today: the day of the examination, for ends of life.
        connection_limit: connections that one server accepts, if the user said so.
        clients_made_again: places in the application's source, None where it was not looked at.
        addresses: hosts of `uri` and where they are: ``local``, ``private`` or ``public``.
    """

    url: TransportURL
    kind: Kind
    options: LambdaOptions | None = None
    environment: EnvironmentFacts
    caller: CallerFacts | Unseen | None = None
    function: FunctionFacts | Unseen
    uri: UriFacts | Unseen
    server: ServerFacts | Unseen
    addresses: Mapping[str, str] | Unseen = field(default_factory=dict)
    today: datetime.date
    clients_made_again: tuple[str, ...] | Unseen | None = None
    connection_limit: int | None = None
