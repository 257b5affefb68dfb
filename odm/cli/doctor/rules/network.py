"""Rules about the way to the server: private, and encrypted."""

from __future__ import annotations

from odm.cli.doctor.changes import (
    command,
    parameters,
    uri_edit,
    uri_option,
    url_option,
    with_option,
)
from odm.cli.doctor.facts import Facts, Kind, Unseen, known
from odm.cli.doctor.inspect_server import LOCAL, PRIVATE, PUBLIC
from odm.cli.doctor.rule import (
    EVERY_KIND,
    Change,
    Fix,
    Verdict,
    ok,
    problem,
    rule,
    warning,
)
from odm.cli.doctor.rules import reading
from odm.cli.doctor.rules.sources import ATLAS, LAMBDA_VPC, URI_OPTIONS

_INSECURE = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")
_SPELT = {
    "tlsinsecure": "tlsInsecure",
    "tlsallowinvalidcertificates": "tlsAllowInvalidCertificates",
    "tlsallowinvalidhostnames": "tlsAllowInvalidHostnames",
}


@rule(
    "private-network",
    "The function is in a VPC: MongoDB is reached over private networking",
    why="Without a VPC the function's address changes, so that the cluster must accept every "
    "address (0.0.0.0/0).",
    source=ATLAS,
    kinds=EVERY_KIND,
)
def _private_network(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    subnets = _subnet_ids(facts)
    if subnets:
        vpc = reading.configuration(facts)["VpcConfig"].get("VpcId") or "a VPC"
        return ok(f"the function is in {vpc}")
    return warning(
        "the function is in no VPC",
        command(
            facts,
            "update-function-configuration --vpc-config "
            "SubnetIds=<subnet>,<subnet>,SecurityGroupIds=<security-group>",
        ),
        *parameters(
            facts, SubnetIds=("<subnet>", "<subnet>"), SecurityGroupIds=("<security-group>",)
        ),
    )


def _subnet_ids(facts: Facts) -> list[str]:
    return list(reading.configuration(facts).get("VpcConfig", {}).get("SubnetIds", ()))


@rule(
    "subnets",
    "The function has subnets in more than one availability zone",
    why="With one subnet the function cannot run while its availability zone fails, although the "
    "cluster's other members answer.",
    source=LAMBDA_VPC,
    kinds=EVERY_KIND,
)
def _subnets(facts: Facts) -> Verdict | None:
    if not reading.in_lambda(facts):
        return None
    found = _subnet_ids(facts)
    if not found:
        return None
    if len(found) == 1:
        return warning(
            f"the function has one subnet, {found[0]}",
            command(
                facts,
                f"update-function-configuration --vpc-config SubnetIds={found[0]},<subnet>",
            ),
            *parameters(facts, SubnetIds=(found[0], "<subnet>")),
        )
    return ok(f"the function has {len(found)} subnets")


@rule(
    "private-host",
    "The server's name leads to a private address",
    why="A server that the public internet reaches is protected by its passwords alone.",
    source=ATLAS,
    kinds=EVERY_KIND,
)
def _private_host(facts: Facts) -> Verdict | None:
    uri = known(facts.uri)
    addresses = known(facts.addresses)
    sorts = {host: addresses.get(host) for host in uri.hosts}
    named = ", ".join(uri.hosts)
    public = [host for host, sort in sorts.items() if sort == PUBLIC]
    unknown = [host for host, sort in sorts.items() if sort is None]
    fix = Fix(
        Change.URI if facts.kind is Kind.LAMBDA else Change.URL,
        "the connection string of a private endpoint (mongodb+srv://<cluster>-pl-0.…) or of a "
        "peering connection (<cluster>-pri.…), from the cluster's Connect dialogue",
    )
    if not public and not unknown:
        where = "on this machine" if set(sorts.values()) == {LOCAL} else "private"
        return ok(f"{named}: {where}")
    if reading.in_lambda(facts) and _subnet_ids(facts):
        raise Unseen(
            f"whether {named} is reached from the function's VPC by peering or through a NAT "
            "gateway cannot be seen from here: look at the subnets' routes"
        )
    if public:
        return warning(f"{', '.join(public)}: a public address, as seen from here", fix)
    if any(host.endswith(".mongodb.net") for host in unknown):
        return warning(f"{named}: the public name of an Atlas cluster", fix)
    raise Unseen(f"the address of {', '.join(unknown)} is not known here")


@rule(
    "tls",
    "The connection to MongoDB is encrypted, and the server's certificate is checked",
    why="Without TLS, or without checking who is there, commands, documents and credentials can "
    "be read and changed on the way.",
    source=URI_OPTIONS,
    kinds=EVERY_KIND,
)
def _tls(facts: Facts) -> Verdict | None:
    uri = known(facts.uri)
    unchecked = [name for name in _INSECURE if uri.options.get(name, "").lower() == "true"]
    if unchecked:
        named = ", ".join(_SPELT[name] for name in unchecked)
        fix = uri_edit(facts, uri, _checked)
        return problem(f"{uri.where} has {named}: nobody checks the certificate", fix)
    if uri.tls:
        return ok(f"{uri.where} asks for TLS" + (", as mongodb+srv:// does" if uri.srv else ""))
    if reading.is_local(facts):
        return ok("a server on the same machine, without TLS")
    fix = uri_option(facts, uri, "tls", "true")
    addresses = known(facts.addresses)
    if all(addresses.get(host) in (LOCAL, PRIVATE) for host in uri.hosts):
        return warning(f"{uri.where} asks for no TLS, in a private network", fix)
    return problem(f"{uri.where} asks for no TLS", fix)


def _checked(uri: str) -> str:
    """Return *uri* without the options that leave certificates unchecked."""
    for name in _INSECURE:
        uri = with_option(uri, name, None)
    return uri


@rule(
    "endpoint-tls",
    "The Lambda service is reached over https",
    why="An invoke's payload is the command itself; a signature does not hide it.",
    source="https://docs.aws.amazon.com/general/latest/gr/rande.html",
)
def _endpoint_tls(facts: Facts) -> Verdict | None:
    options = facts.options
    assert options is not None, "a lambda:// URL has options"
    if options.endpoint is None:
        return ok("AWS's own endpoint")
    if options.endpoint.startswith("https://"):
        return ok(f"{options.endpoint}")
    if options.is_local:
        return ok(f"{options.endpoint}, on this machine")
    return problem(
        f"the URL's endpoint is {options.endpoint}, without TLS",
        url_option(facts, "endpoint", options.endpoint.replace("http://", "https://", 1)),
    )


RULES = (_private_network, _subnets, _private_host, _tls, _endpoint_tls)
