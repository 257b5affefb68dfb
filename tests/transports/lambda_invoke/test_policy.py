"""What passes the policy, unchanged; its configuration; views; ceilings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson.dbref import DBRef
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from tests.transports.lambda_invoke.op_msg import SESSION, decoded, message
from transports.lambda_invoke.function.policy import Policy, PolicyError, Refused, database_of
from transports.lambda_invoke.function.settings import ConfigurationError, FunctionSettings

URI = "mongodb://h/cms"


def policy(text: str | dict[str, Any] = "", uri: str = URI) -> Policy:
    written = text if isinstance(text, str) else json.dumps(text)
    return Policy.from_text(written, mongodb_uri=uri, staging="odm_proxy.staging")


def refusal(of: Policy, sent: bytes) -> str:
    with pytest.raises(Refused) as caught:
        of.check(sent)
    return caught.value.message


def aggregate(*stages: Any, **fields: Any) -> bytes:
    return message({"aggregate": "pages", "pipeline": list(stages), "cursor": {}, **fields})


_SENT_WITH_ALL = {
    "lsid": SESSION,
    "txnNumber": Int64(1),
    "$clusterTime": {
        "clusterTime": Timestamp(1, 1),
        "signature": {"hash": bytes(20), "keyId": Int64(0)},
    },
    "$readPreference": {"mode": "nearest", "tags": [{"a": "b"}]},
    "readConcern": {"level": "majority", "afterClusterTime": Timestamp(1, 1)},
    "writeConcern": {"w": "majority", "wtimeout": 100},
    "comment": {"$where": "what a comment says is not evaluated"},
    "apiVersion": "1",
    "apiStrict": True,
}

LEGITIMATE = {
    "find": message({"find": "pages", "filter": {"_id": ObjectId()}, **_SENT_WITH_ALL}),
    "find with everything": message(
        {
            "find": "fs.files",
            "filter": {
                "$and": [{"a": {"$gt": 1, "$not": {"$in": [1, Regex("a")]}}}],
                "$expr": {"$eq": ["$a", {"$literal": {"$where": "data"}}]},
                "b": {"$elemMatch": {"c": DBRef("d", 1, "cms")}},
                "$text": {"$search": "x"},
                "at": {"$gte": datetime.now(UTC), "$type": "date"},
                "place": {"$near": {"$geometry": {"type": "Point"}, "$maxDistance": 1}},
            },
            "projection": {"a": {"$slice": 1}, "score": {"$meta": "textScore"}},
            "sort": {"$natural": 1},
            "hint": {"$natural": 1},
            "collation": {"locale": "fi"},
            "let": {"x": 1},
            "limit": 1,
            "batchSize": 100,
            "maxTimeMS": 100,
        }
    ),
    "an operator that nobody knows": message({"find": "pages", "filter": {"$nonsense": 1}}),
    "insert of what looks like code": message(
        {"insert": "pages", "ordered": True},
        documents=[{"$where": "data"}, {"a": {"$function": {"body": "data"}}}],
    ),
    "insert in an array": message({"insert": "pages", "documents": [{"a": {"$out": 1}}]}),
    "replacement": message(
        {"update": "pages"}, updates=[{"q": {}, "u": {"a": {"$where": "data"}}, "upsert": True}]
    ),
    "update of what looks like code": message(
        {"update": "pages"},
        updates=[
            {"q": {"_id": 1}, "u": {"$set": {"a": {"$function": {"body": "data"}}}}},
            {"q": {}, "u": {"$push": {"a": {"$each": [{"$where": 1}], "$sort": 1}}}},
            {"q": {}, "u": {"$pull": {"a": {"$gt": 1}}}, "arrayFilters": [{"x": {"$gt": 1}}]},
            {"q": {}, "u": [{"$set": {"a": {"$literal": {"$function": {}}}}}], "multi": True},
        ],
    ),
    "delete": message({"delete": "pages"}, deletes=[{"q": {"a": {"$lt": 1}}, "limit": 1}]),
    "delete of a bulk": message(
        {"delete": "pages", "bypassDocumentValidation": True}, deletes=[{"q": {}, "limit": 0}]
    ),
    "findAndModify": message(
        {"findAndModify": "pages", "query": {"a": 1}, "update": {"$inc": {"n": 1}}, "new": True}
    ),
    "findandmodify": message({"findandmodify": "pages", "query": {}, "remove": True}),
    "bulkWrite": message(
        {"bulkWrite": 1, "ordered": True},
        "admin",
        ops=[
            {"insert": 0, "document": {"$where": "data"}},
            {"update": 0, "filter": {}, "updateMods": {"$set": {"a": {"$function": 1}}}},
            {"delete": 1, "filter": {"a": 1}, "multi": False},
        ],
        nsInfo=[{"ns": "cms.pages"}, {"ns": "cms.fs.files"}],
    ),
    "aggregate": aggregate(
        {"$match": {"a": {"$gt": 1}}},
        {"$lookup": {"from": "b", "let": {"x": "$a"}, "pipeline": [{"$limit": 1}], "as": "b"}},
        {"$lookup": {"from": {"db": "cms", "coll": "b"}, "as": "c"}},
        {"$graphLookup": {"from": "b", "startWith": "$a", "restrictSearchWithMatch": {"a": 1}}},
        {"$facet": {"x": [{"$count": "n"}], "y": [{"$sortByCount": "$a"}]}},
        {"$unionWith": {"coll": "c", "pipeline": [{"$unset": "a"}]}},
        {"$unionWith": "d"},
        {"$setWindowFields": {"output": {"r": {"$rank": {}}}}},
        {"$project": {"a": {"$literal": {"$function": "data"}}}},
        {"$merge": {"into": "e", "whenMatched": [{"$set": {"a": "$$new.a"}}]}},
    ),
    "$out": aggregate({"$out": {"db": "cms", "coll": "e"}}),
    "a change stream": aggregate({"$changeStream": {"fullDocument": "updateLookup"}}),
    "a change stream of the database": message(
        {
            "aggregate": 1,
            "pipeline": [{"$changeStream": {"resumeAfter": {"_data": "82"}}}, {"$match": {}}],
            "cursor": {},
        }
    ),
    "getMore": message(
        {"getMore": Int64(1), "collection": "pages", "batchSize": 2, "maxTimeMS": 99}
    ),
    "getMore of the database": message({"getMore": Int64(1), "collection": "$cmd.aggregate"}),
    "getMore of a bulkWrite": message(
        {"getMore": Int64(1), "collection": "$cmd.bulkWrite"}, "admin"
    ),
    "killCursors": message({"killCursors": "pages", "cursors": [Int64(1)]}),
    "count": message({"count": "pages", "query": {"a": 1}, "skip": 1}),
    "distinct": message({"distinct": "pages", "key": "a", "query": {"a": {"$ne": 1}}}),
    "explain": message({"explain": {"find": "pages", "filter": {}}, "verbosity": "queryPlanner"}),
    "createIndexes": message(
        {
            "createIndexes": "pages",
            "indexes": [
                {"key": {"$**": 1}, "name": "a", "wildcardProjection": {"a": 1}},
                {"key": {"a": 1}, "name": "b", "partialFilterExpression": {"a": {"$gt": 1}}},
            ],
        }
    ),
    "dropIndexes": message({"dropIndexes": "pages", "index": ["a"]}),
    "listIndexes": message({"listIndexes": "pages", "cursor": {}}),
    "listCollections": message(
        {"listCollections": 1, "filter": {"name": {"$regex": "^a"}}, "nameOnly": True, "cursor": {}}
    ),
    "create": message({"create": "b", "validator": {"$jsonSchema": {"required": ["a"]}}}),
    "a time series": message(
        {"create": "b", "timeseries": {"timeField": "t"}, "expireAfterSeconds": 3}
    ),
    "a view": message({"create": "v", "viewOn": "a", "pipeline": [{"$match": {"a": 1}}]}),
    "collMod": message(
        {"collMod": "a", "index": {"keyPattern": {"a": 1}, "expireAfterSeconds": 1}}
    ),
    "drop": message({"drop": "a"}),
    "renameCollection": message(
        {"renameCollection": "cms.a", "to": "cms.b", "dropTarget": True}, "admin"
    ),
    "a transaction": message(
        {"insert": "a", "startTransaction": True, "autocommit": False, "lsid": SESSION},
        documents=[{}],
    ),
    "commitTransaction": message(
        {"commitTransaction": 1, "recoveryToken": {}, "autocommit": False}, "admin"
    ),
    "abortTransaction": message({"abortTransaction": 1, "autocommit": False}, "admin"),
    "endSessions": message({"endSessions": [SESSION]}, "admin"),
    "refreshSessions": message({"refreshSessions": [SESSION]}, "admin"),
    "hello": message({"hello": 1, "helloOk": True, "comment": "x"}, "admin"),
    "ismaster": message({"ismaster": 1}, "admin"),
    "ping": message({"ping": 1}, "anything"),
    "buildInfo": message({"buildInfo": 1}, "admin"),
    "buildinfo": message({"buildinfo": 1}, "admin"),
    "dbStats": message({"dbstats": 1}),
    "collStats": message({"collstats": "a", "scale": 1}),
    "searched": aggregate({"$search": {"index": "x", "text": {"query": "q", "path": "p"}}}),
}


@pytest.mark.parametrize("name", LEGITIMATE)
def test_what_an_application_sends_passes_as_it_is(name: str) -> None:
    sent = LEGITIMATE[name]
    assert policy().check(sent) is sent
    assert policy().check(bytearray(sent)) == sent


def test_a_sequence_may_come_before_the_command() -> None:
    sent = message({"insert": "pages"}, documents=[{"a": 1}])
    size = int.from_bytes(sent[5:9], "little")
    turned = sent[:4] + sent[5 + size :] + sent[4 : 5 + size]
    assert policy().check(turned) == turned


def test_unrestricted_lets_everything_pass() -> None:
    sent = message({"shutdown": 1}, "admin")
    assert policy("unrestricted").check(sent) is sent
    assert policy("unrestricted").check(b"no message at all") == b"no message at all"


# -- databases -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("mongodb://h/cms", "cms"),
        ("mongodb://h/cms?a=b/c", "cms"),
        ("mongodb+srv://u:p%2Fx@h1,h2/cms.pages?x=y", "cms"),
        ("mongodb://%2Ftmp%2Fa.sock/c%20ms", "c ms"),
        ("mongodb://h", ""),
        ("mongodb://h/", ""),
        ("mongodb://h/?authSource=cms", ""),
        ("mongodb://u:p@h/admin", "admin"),
    ],
)
def test_the_uris_database(uri: str, database: str) -> None:
    assert database_of(uri) == database


@pytest.mark.parametrize("uri", ["mongodb://h", "mongodb://u:p@h/admin", "mongodb://h/local"])
def test_without_a_database_the_refusal_says_what_to_write(uri: str) -> None:
    unset = policy(uri=uri)
    words = refusal(unset, message({"find": "pages"}))
    assert words == (
        "not authorized on cms to execute command find: the function's policy (ODM_PROXY_POLICY) "
        'names no database: set it to {"databases": ["cms"]}, or put the database into '
        "ODM_PROXY_MONGODB_URI"
    )
    for name in ("hello", "ping", "buildInfo"):
        unset.check(message({name: 1}, "admin"))
    unset.check(message({"endSessions": [SESSION]}, "admin"))


def test_a_star_is_every_database_but_the_servers_own() -> None:
    everywhere = policy({"databases": ["*"]})
    for database in ("cms", "other", "Cms-2"):
        everywhere.check(message({"find": "a"}, database))
    everywhere.check(message({"listDatabases": 1, "nameOnly": True}, "admin"))
    for database in ("admin", "config", "local", "Admin", "", "a.b", "$external", "a/b"):
        assert "database" in refusal(everywhere, message({"find": "a"}, database))


@pytest.mark.parametrize("filter", [None, {}, {"name": "other"}, {"$or": [{"name": "cms"}]}])
def test_databases_are_listed_that_are_allowed(filter: Any) -> None:
    given = {} if filter is None else {"filter": filter}
    sent = message({"listDatabases": 1, **given, "nameOnly": True}, "admin")
    listed = decoded(policy({"databases": ["cms", "archive"]}).check(sent))
    allowed = {"name": {"$in": ["archive", "cms"]}}
    assert listed == {
        "listDatabases": 1,
        "nameOnly": True,
        "$db": "admin",
        "filter": allowed if filter is None else {"$and": [allowed, filter]},
    }
    everywhere = policy({"databases": ["*"]})
    assert everywhere.check(sent) is sent
    assert "names no database" in refusal(policy("", "mongodb://h"), sent)


def test_the_servers_own_databases_are_allowed_by_name_only() -> None:
    named = policy({"databases": ["local"]})
    named.check(message({"find": "oplog.rs"}, "local"))
    assert "admin" in refusal(named, message({"find": "a"}, "admin"))


# -- collections ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collections", "allowed", "refused"),
    [
        ({"allow": ["pages"]}, ["pages"], ["page", "pagesx", "other"]),
        ({"allow": ["page*", "fs.*"]}, ["page", "pages", "fs.files"], ["fs", "other"]),
        ({"allow": ["cms.pages"]}, ["pages"], ["cms.pages", "other"]),
        ({"allow": ["fs.files"]}, ["fs.files"], ["files"]),
        ({"allow": []}, [], ["pages"]),
        ({"deny": ["secret*"]}, ["pages", "a.secret"], ["secret", "secrets"]),
        ({"deny": ["cms.secrets"]}, ["pages"], ["secrets", "cms.secrets"]),
        ({"deny": ["cms.*"]}, [], ["secrets", "pages"]),
        ({"allow": ["a*"], "deny": ["ab"]}, ["a", "abc"], ["ab", "b"]),
        ({"allow": ["system.profile"]}, ["system.profile"], ["system.js", "pages"]),
        ({"allow": ["*"]}, ["pages"], ["system.profile"]),
        ({"allow": ["system.*"]}, [], ["system.profile"]),
    ],
    ids=str,
)
def test_collections(
    collections: dict[str, list[str]], allowed: list[str], refused: list[str]
) -> None:
    of = policy({"databases": ["cms"], "collections": collections})
    views = NoViews()
    for name in allowed:
        of.check(message({"find": name}), views)
        of.check(message({"insert": name}, documents=[{}]), views)
    for name in refused:
        assert name in refusal(of, message({"find": name}))
        assert name in refusal(of, message({"drop": name}))


def test_rules_of_collections_hold_for_every_namespace_of_a_command() -> None:
    of = policy({"collections": {"deny": ["secrets"]}})
    for sent in (
        aggregate({"$lookup": {"from": "secrets", "as": "a"}}),
        aggregate({"$facet": {"a": [{"$unionWith": "secrets"}]}}),
        aggregate({"$graphLookup": {"from": "secrets"}}),
        aggregate({"$out": "secrets"}),
        aggregate({"$merge": {"into": "secrets"}}),
        message({"create": "v", "viewOn": "secrets"}),
        message({"explain": {"find": "secrets"}}),
        message({"getMore": Int64(1), "collection": "secrets"}),
        message({"renameCollection": "cms.secrets", "to": "cms.a"}, "admin"),
        message({"bulkWrite": 1, "ops": [], "nsInfo": [{"ns": "cms.secrets"}]}, "admin"),
        message({"listIndexes": "secrets"}),
        message({"collStats": "secrets"}),
    ):
        assert "'secrets'" in refusal(of, sent)
    stream = {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}}
    assert "change stream" in refusal(of, message(stream))


# -- commands, stages, operators -----------------------------------------------------------------


def test_more_and_fewer_commands() -> None:
    of = policy({"commands": {"allow": ["dropDatabase", "validate"], "deny": ["findandmodify"]}})
    of.check(message({"dropDatabase": 1}))
    of.check(message({"validate": "pages", "full": True}))
    assert "findAndModify" in refusal(of, message({"findAndModify": "pages", "remove": True}))
    assert "commands.deny" in refusal(of, message({"findandmodify": "pages", "remove": True}))


@pytest.mark.parametrize(
    "sent",
    [
        message({"validate": "secrets"}),
        message({"validate": "pages"}, "other"),
        message({"validate": "pages", "x": {"$where": "1"}}),
        message({"validate": "pages"}, x=[{}]),
        message({"validate": bson.Binary(bytes(16), 4)}),
    ],
)
def test_a_command_that_is_not_known_is_held_to_its_namespace(sent: bytes) -> None:
    of = policy({"commands": {"allow": ["validate"]}, "collections": {"deny": ["secrets"]}})
    assert refusal(of, sent)


def test_more_and_fewer_stages_and_operators() -> None:
    of = policy(
        {
            "stages": {"allow": ["$indexStats"], "deny": ["$lookup"]},
            "operators": {"deny": ["$regex", "$rename"]},
        }
    )
    views = NoViews()
    of.check(aggregate({"$indexStats": {}}), views)
    assert "$lookup" in refusal(of, aggregate({"$lookup": {"from": "b"}}))
    nested = aggregate({"$facet": {"a": [{"$lookup": {"from": "b"}}]}})
    assert "$lookup" in refusal(of, nested)
    for sent in (
        message({"find": "pages", "filter": {"a": {"$regex": "x"}}}),
        message({"update": "pages"}, updates=[{"q": {}, "u": {"$rename": {"a": "b"}}}]),
        aggregate({"$match": {"$or": [{"a": {"$not": {"$regex": "x"}}}]}}),
    ):
        assert "operators.deny" in refusal(of, sent)


# -- the configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("readwrite", "write one of readWrite, readOnly, unrestricted"),
        ("[]", "a JSON object such as"),
        ("{", "is not JSON"),
        ('{"database": ["cms"]}', "unknown field 'database': write databases, collections"),
        ('{"databases": "cms"}', 'databases is a list of names: write ["cms"]'),
        ('{"databases": [1]}', "databases is a list of names"),
        ('{"databases": ["a.b"]}', "databases has 'a.b'"),
        ('{"databases": [""]}', "databases has ''"),
        ('{"databases": ["a"], "databases": ["b"]}', "has a field twice"),
        ('{"collections": ["a"]}', 'write {"allow": ["page*"]'),
        ('{"collections": {"only": ["a"]}}', "collections is an object of allow and deny"),
        ('{"collections": {"allow": "a"}}', "collections.allow is a list of names"),
        ('{"collections": {"deny": ["*a"]}}', "write a name, database.name, or prefix*"),
        ('{"readOnly": 1}', "readOnly is true or false, not 1"),
        ('{"javaScript": "yes"}', "javaScript is true or false"),
        ('{"commands": {"allow": ["saslStart"]}}', "commands.allow has 'saslStart'"),
        ('{"commands": {"allow": ["_mergeAuthzCollections"]}}', "commands.allow has"),
        ('{"commands": {"allow": ["mapReduce"]}}', 'write "javaScript": true'),
        ('{"commands": {"deny": ["inserts"]}}', "commands.deny has 'inserts'"),
        ('{"stages": {"deny": ["lookup"]}}', "write names such as $lookup"),
        ('{"operators": {"allow": ["$where"]}}', 'by "javaScript": true'),
        ('{"operators": {"allow": ["$lookup"]}}', 'stages by "stages"'),
        ('{"operators": {"allow": ["$_internalJsEmit"]}}', "operators has"),
        ('{"maxTimeMS": 0}', "maxTimeMS is a whole number above 0, not 0"),
        ('{"maxTimeMS": true}', "not True"),
        ('{"maxBatchSize": 1.5}', "not 1.5"),
        ('{"maxReplyBytes": null}', "not None"),
        ('{"maxReplyBytes": 9999999999}', "not 9999999999"),
    ],
)
def test_a_policy_that_is_none_says_what_to_write(text: str, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(text)
    assert "ODM_PROXY_POLICY" in str(caught.value)
    assert words in str(caught.value)


def test_the_policy_may_be_a_file_of_the_bundle(tmp_path: Any) -> None:
    (tmp_path / "policy.json").write_text('{"readOnly": true}')
    environment = {
        "ODM_PROXY_MONGODB_URI": URI,
        "ODM_PROXY_POLICY": "policy.json",
        "LAMBDA_TASK_ROOT": str(tmp_path),
    }
    read = Policy.from_settings(FunctionSettings.from_environment(environment))
    assert read.summary == "readOnly on cms"
    (tmp_path / "policy.json").unlink()
    with pytest.raises(ConfigurationError, match=r"names the file 'policy\.json'"):
        FunctionSettings.from_environment(environment)


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("", "readWrite on cms"),
        ("readWrite", "readWrite on cms"),
        ("readOnly", "readOnly on cms"),
        ("unrestricted", "unrestricted"),
        ('{"databases": []}', "readWrite on no database"),
        ('{"databases": ["b", "a"], "javaScript": true}', "readWrite on a, b, with JavaScript"),
        ('{"collections": {"deny": ["x"]}}', "readWrite on cms some collections"),
    ],
)
def test_the_policy_in_a_line(text: str, summary: str) -> None:
    assert policy(text).summary == summary


# -- views ---------------------------------------------------------------------------------------


class NoViews:
    def definition(self, database: str, collection: str) -> bytes | None:
        return None


class SomeViews:
    def __init__(self, **views: dict[str, Any]) -> None:
        self.views = views
        self.asked: list[str] = []

    def definition(self, database: str, collection: str) -> bytes | None:
        self.asked.append(f"{database}.{collection}")
        found = self.views.get(collection)
        return None if found is None else bson.encode(found)


def test_an_ordinary_policy_asks_for_no_view() -> None:
    for text in ("", "readOnly", '{"databases": ["*"], "maxTimeMS": 1000}', "unrestricted"):
        assert not policy(text).needs_views
        views = SomeViews()
        policy(text).check(message({"find": "a"}), views)
        assert views.asked == []


@pytest.mark.parametrize(
    "sent",
    [
        message({"find": "v"}),
        message({"count": "v"}),
        message({"distinct": "v", "key": "a"}),
        message({"aggregate": "v", "pipeline": [], "cursor": {}}),
        aggregate({"$lookup": {"from": "v", "as": "a"}}),
        aggregate({"$facet": {"a": [{"$unionWith": {"coll": "v"}}]}}),
        message({"create": "w", "viewOn": "v"}),
        message({"explain": {"find": "v"}}),
    ],
)
def test_a_view_is_what_it_leads_to(sent: bytes) -> None:
    of = policy({"collections": {"deny": ["secrets"]}})
    for definition in (
        {"viewOn": "secrets", "pipeline": []},
        {"viewOn": "between"},
        {"viewOn": "a", "pipeline": [{"$lookup": {"from": "secrets", "as": "s"}}]},
    ):
        views = SomeViews(v=definition, between={"viewOn": "secrets"})
        with pytest.raises(Refused, match=r"'secrets'.*so says the view"):
            of.check(sent, views)
    of.check(sent, SomeViews(v={"viewOn": "a", "pipeline": [{"$match": {"b": 1}}]}))


def test_a_view_with_a_denied_stage_or_javascript_is_refused() -> None:
    of = policy({"stages": {"deny": ["$unionWith"]}})
    with pytest.raises(Refused, match="unionWith"):
        of.check(
            message({"find": "v"}), SomeViews(v={"viewOn": "a", "pipeline": [{"$unionWith": "b"}]})
        )
    where = [{"$match": {"$where": "1"}}]
    with pytest.raises(Refused, match="javaScript"):
        of.check(message({"find": "v"}), SomeViews(v={"viewOn": "a", "pipeline": where}))


def test_views_in_a_circle_or_unknown_are_refused() -> None:
    of = policy({"collections": {"deny": ["secrets"]}})
    of.check(message({"find": "v"}), SomeViews(v={"viewOn": "w"}, w={"viewOn": "v"}))
    chain = {f"v{i}": {"viewOn": f"v{i + 1}"} for i in range(40)}
    with pytest.raises(Refused, match="20 views"):
        of.check(message({"find": "v0"}), SomeViews(**chain))
    assert "views" in refusal(of, message({"find": "v"}))

    class Silent:
        def definition(self, database: str, collection: str) -> bytes | None:
            raise LookupError

    with pytest.raises(Refused, match="needs to know"):
        of.check(message({"find": "v"}), Silent())


def test_views_are_asked_for_in_bounds() -> None:
    """Each is a question to the server, and what it says is remembered by name."""
    of = policy({"collections": {"deny": ["secrets"]}})
    views = SomeViews(v={"viewOn": "a"})
    of.check(aggregate(*({"$unionWith": f"c{i}"} for i in range(99))), views)
    assert len(views.asked) == 100
    views.asked.clear()
    with pytest.raises(Refused, match="no more than 100 collections"):
        of.check(aggregate(*({"$unionWith": f"c{i}"} for i in range(100))), views)
    many = SomeViews(v={"pipeline": [{"$unionWith": f"c{i}"} for i in range(100)]})
    with pytest.raises(Refused, match="no more than 100 collections"):
        of.check(message({"find": "v"}), many)
    for name in ("x" * 252, "\u20ac" * 84):
        with pytest.raises(Refused, match="255 bytes"):
            of.check(message({"find": name}), views)
    assert views.asked == []
    of.check(message({"find": "x" * 251}), views)


# -- ceilings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"find": "a"}, 500),
        ({"find": "a", "maxTimeMS": 100}, 100),
        ({"find": "a", "maxTimeMS": 501}, 500),
        ({"find": "a", "maxTimeMS": 0}, 500),
        ({"find": "a", "maxTimeMS": 5000.0}, 500),
        ({"find": "a", "maxTimeMS": Int64(2**40)}, 500),
        ({"find": "a", "tailable": True, "awaitData": True}, 500),
        ({"aggregate": 1, "pipeline": [], "cursor": {}}, 500),
        ({"count": "a"}, 500),
        ({"createIndexes": "a", "indexes": []}, 500),
        ({"explain": {"find": "a"}}, 500),
        ({"getMore": Int64(1), "collection": "a"}, None),
        ({"getMore": Int64(1), "collection": "a", "maxTimeMS": 100}, 100),
        ({"getMore": Int64(1), "collection": "a", "maxTimeMS": 1000}, 500),
        ({"commitTransaction": 1}, None),
        ({"killCursors": "a", "cursors": []}, None),
        ({"ping": 1}, None),
    ],
    ids=str,
)
def test_the_ceiling_of_time(command: dict[str, Any], expected: int | None) -> None:
    sent = policy({"maxTimeMS": 500}).check(message(command))
    assert decoded(sent) == {
        **command,
        "$db": "cms",
        **({} if expected is None else {"maxTimeMS": expected}),
    }
    assert next(iter(decoded(sent))) == next(iter(command))


def test_the_ceiling_keeps_document_sequences_as_they_are() -> None:
    sent = message({"insert": "a", "ordered": True}, documents=[{"a": 1}, {"b": 2}])
    changed = policy({"maxTimeMS": 500}).check(sent)
    sections = len(sent) - int.from_bytes(sent[5:9], "little") - 5
    assert changed[-sections:] == sent[-sections:]
    assert decoded(changed) == {"insert": "a", "ordered": True, "$db": "cms", "maxTimeMS": 500}
    assert policy({"maxTimeMS": 500}).check(changed) == changed


@pytest.mark.parametrize("value", ["1", None, 1.5, float("nan"), float("inf"), [1], True])
def test_a_time_that_is_no_number_does_not_hide_from_its_ceiling(value: Any) -> None:
    sent = message({"find": "a", "maxTimeMS": value})
    assert "maxTimeMS" in refusal(policy({"maxTimeMS": 500}), sent)


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        ({"find": "a"}, {"batchSize": 10}),
        ({"find": "a", "batchSize": 5}, {}),
        ({"find": "a", "batchSize": 11}, {"batchSize": 10}),
        ({"find": "a", "batchSize": 0}, {}),
        ({"find": "a", "limit": 10}, {}),
        ({"find": "a", "limit": 11}, {"batchSize": 10}),
        ({"find": "a", "limit": 1, "singleBatch": True}, {}),
        ({"getMore": Int64(1), "collection": "a"}, {"batchSize": 10}),
        ({"getMore": Int64(1), "collection": "a", "batchSize": 0}, {"batchSize": 10}),
        ({"getMore": Int64(1), "collection": "a", "batchSize": 9}, {}),
        ({"aggregate": "a", "pipeline": [], "cursor": {}}, {"cursor": {"batchSize": 10}}),
        ({"aggregate": "a", "pipeline": [], "cursor": {"batchSize": 2}}, {}),
        ({"aggregate": "a", "pipeline": [], "explain": True}, {}),
        ({"listIndexes": "a", "cursor": {"batchSize": 99}}, {"cursor": {"batchSize": 10}}),
        ({"listIndexes": "a"}, {"cursor": {"batchSize": 10}}),
        ({"listCollections": 1, "cursor": {}}, {"cursor": {"batchSize": 10}}),
        ({"listCollections": 1, "cursor": {"batchSize": 3}}, {}),
        ({"bulkWrite": 1, "ops": [], "nsInfo": []}, {"cursor": {"batchSize": 10}}),
        ({"insert": "a", "documents": []}, {}),
    ],
    ids=str,
)
def test_the_ceiling_of_batches(command: dict[str, Any], changes: dict[str, Any]) -> None:
    sent = policy({"maxBatchSize": 10}).check(message(command))
    assert decoded(sent) == {**command, "$db": "cms", **changes}


def test_only_aggregate_has_a_first_batch_of_its_own() -> None:
    of = policy({"maxBatchSize": 101})
    for command in ({"listCollections": 1, "cursor": {}}, {"listIndexes": "a"}):
        assert decoded(of.check(message(command)))["cursor"] == {"batchSize": 101}
    sent = aggregate()
    assert of.check(sent) is sent


def test_a_single_batch_is_not_cut_off_in_silence() -> None:
    sent = message({"find": "a", "limit": 50, "singleBatch": True})
    assert "maxBatchSize" in refusal(policy({"maxBatchSize": 10}), sent)


def test_the_ceiling_of_replies() -> None:
    of = policy({"maxReplyBytes": 1000})
    of.check_reply(bytes(1000))
    with pytest.raises(Refused, match=r"1,001 bytes.*maxReplyBytes.*The command ran"):
        of.check_reply(bytes(1001))
    policy().check_reply(bytes(20_000_000))


def test_names_of_a_caller_are_shown_harmlessly() -> None:
    words = refusal(policy(), message({"a\nb" + "x" * 1000: 1}))
    assert "\n" not in words
    assert len(words) < 500
