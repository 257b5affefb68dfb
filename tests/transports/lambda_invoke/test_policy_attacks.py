"""Ways past the policy that are none: each is refused before anything is sent."""

from __future__ import annotations

import struct
from typing import Any
from uuid import UUID

import bson
import pytest
from bson.binary import Binary
from bson.code import Code
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from bson.son import SON

from tests.transports.lambda_invoke.op_msg import SESSION, flat, message, raw, section, sequence
from transports.lambda_invoke.function.policy import Policy, Refused

JS = {"$function": {"body": "function() { return 1 }", "args": [], "lang": "js"}}
ACCUMULATOR = {
    "$accumulator": {
        "init": "function() {}",
        "accumulate": "function() {}",
        "accumulateArgs": [],
        "merge": "function() {}",
        "lang": "js",
    }
}
WHERE = {"$where": "sleep(1000) || true"}


def policy(text: str = "", database: str = "cms") -> Policy:
    return Policy.from_text(
        text, mongodb_uri=f"mongodb://h/{database}", staging="odm_proxy.staging"
    )


def refusal(sent: bytes, text: str = "") -> str:
    with pytest.raises(Refused) as caught:
        policy(text).check(sent)
    with pytest.raises(Refused):  # as it arrives when it was staged
        policy(text).check(bytearray(sent))
    reply = bson.decode(caught.value.reply())
    assert (reply["ok"], reply["code"], reply["codeName"]) == (0.0, 13, "Unauthorized")
    assert "errorLabels" not in reply
    assert reply["errmsg"].startswith("not authorized")
    assert "ODM_PROXY_POLICY" in reply["errmsg"]
    return str(reply["errmsg"])


def aggregate(*stages: Any, collection: Any = "pages", **fields: Any) -> bytes:
    return message({"aggregate": collection, "pipeline": list(stages), "cursor": {}, **fields})


def find(filter: Any = None, **fields: Any) -> bytes:
    return message({"find": "pages", "filter": filter or {}, **fields})


def update(q: Any, u: Any, **fields: Any) -> bytes:
    return message({"update": "pages"}, updates=[{"q": q, "u": u, **fields}])


JAVASCRIPT = {
    "find": find(WHERE),
    "find, code": find({"$where": Code("true")}),
    "find, code with scope": find({"$where": Code("true", {"a": 1})}),
    "find, $and": find({"$and": [{"a": 1}, WHERE]}),
    "find, $nor in $or": find({"$or": [{"$nor": [{"$and": [WHERE]}]}]}),
    "find, $not $elemMatch": find({"a": {"$not": {"$elemMatch": WHERE}}}),
    "find, $expr": find({"$expr": JS}),
    "find, $expr nested": find({"$expr": {"$eq": [{"$add": [1, {"$cond": [JS, 1, 2]}]}, 1]}}),
    "find, $all $elemMatch": find({"a": {"$all": [{"$elemMatch": WHERE}]}}),
    "find, projection": find(projection={"a": JS}),
    "find, let": find({"$expr": "$$a"}, let={"a": JS}),
    "find, sort": find(sort={"a": JS}),
    "find, in an array as a document": find({"$or": {"0": WHERE}}),
    "find, beside a literal": find({"$expr": {"$literal": 1, "$function": JS["$function"]}}),
    "find, sorted keys": find({"a": 1, "z": {"b": {"c": [[{"d": WHERE}]]}}}),
    "count": message({"count": "pages", "query": WHERE}),
    "distinct": message({"distinct": "pages", "key": "a", "query": WHERE}),
    "delete": message({"delete": "pages"}, deletes=[{"q": WHERE, "limit": 0}]),
    "delete, array": message({"delete": "pages", "deletes": [{"q": WHERE, "limit": 0}]}),
    "delete, second": message(
        {"delete": "pages"}, deletes=[{"q": {}, "limit": 1}, {"q": {"$expr": JS}, "limit": 1}]
    ),
    "update, q": update(WHERE, {"$set": {"a": 1}}),
    "update, q, array": message(
        {"update": "pages", "updates": [{"q": WHERE, "u": {"$set": {"a": 1}}}]}
    ),
    "update, pipeline": update({}, [{"$set": {"a": JS}}]),
    "update, pipeline, $replaceWith": update({}, [{"$replaceWith": {"a": {"b": [JS]}}}]),
    "update, arrayFilters": update({}, {"$set": {"a.$[x]": 1}}, arrayFilters=[{"x": WHERE}]),
    "update, constants": update({}, [{"$set": {"a": "$$c"}}], c={"c": JS}),
    "update, $pull": update({}, {"$pull": {"a": WHERE}}),
    "update, let": message({"update": "pages", "let": {"a": JS}}, updates=[{"q": {}, "u": {}}]),
    "findAndModify": message({"findAndModify": "pages", "query": WHERE, "remove": True}),
    "findandmodify": message({"findandmodify": "pages", "query": WHERE, "remove": True}),
    "findAndModify, pipeline": message({"findAndModify": "pages", "update": [{"$set": {"a": JS}}]}),
    "findAndModify, fields": message({"findAndModify": "pages", "fields": {"a": JS}}),
    "findAndModify, arrayFilters": message(
        {"findAndModify": "pages", "update": {"$set": {"a": 1}}, "arrayFilters": [WHERE]}
    ),
    "bulkWrite, filter": message(
        {"bulkWrite": 1},
        "admin",
        ops=[{"delete": 0, "filter": WHERE, "multi": True}],
        nsInfo=[{"ns": "cms.pages"}],
    ),
    "bulkWrite, pipeline": message(
        {
            "bulkWrite": 1,
            "ops": [{"update": 0, "filter": {}, "updateMods": [{"$set": {"a": JS}}]}],
            "nsInfo": [{"ns": "cms.pages"}],
        },
        "admin",
    ),
    "$match": aggregate({"$match": WHERE}),
    "$project": aggregate({"$project": {"a": JS}}),
    "$addFields": aggregate({"$addFields": {"a": {"b": {"$map": {"input": [], "in": JS}}}}}),
    "$group": aggregate({"$group": {"_id": None, "a": ACCUMULATOR}}),
    "$group, _id": aggregate({"$group": {"_id": JS}}),
    "$bucket": aggregate({"$bucket": {"groupBy": "$a", "output": {"b": ACCUMULATOR}}}),
    "$bucketAuto": aggregate({"$bucketAuto": {"groupBy": JS, "buckets": 2}}),
    "$setWindowFields": aggregate({"$setWindowFields": {"output": {"a": ACCUMULATOR}}}),
    "$redact": aggregate({"$redact": JS}),
    "$sortByCount": aggregate({"$sortByCount": JS}),
    "$geoNear": aggregate({"$geoNear": {"near": [0, 0], "query": WHERE}}),
    "$fill": aggregate({"$fill": {"output": {"a": {"value": JS}}}}),
    "$documents": aggregate({"$documents": [{"a": JS}]}, collection=1),
    "$facet": aggregate({"$facet": {"a": [{"$match": WHERE}]}}),
    "$lookup pipeline": aggregate({"$lookup": {"from": "b", "pipeline": [{"$match": WHERE}]}}),
    "$lookup let": aggregate({"$lookup": {"from": "b", "let": {"a": JS}, "pipeline": []}}),
    "$lookup in $facet in $unionWith": aggregate(
        {
            "$unionWith": {
                "coll": "b",
                "pipeline": [
                    {
                        "$facet": {
                            "f": [
                                {
                                    "$lookup": {
                                        "from": "c",
                                        "pipeline": [{"$match": {"$expr": JS}}],
                                    }
                                }
                            ]
                        }
                    }
                ],
            }
        }
    ),
    "$graphLookup": aggregate({"$graphLookup": {"from": "b", "restrictSearchWithMatch": WHERE}}),
    "$graphLookup, startWith": aggregate({"$graphLookup": {"from": "b", "startWith": JS}}),
    "$merge whenMatched": aggregate(
        {"$merge": {"into": "b", "whenMatched": [{"$set": {"a": JS}}]}}
    ),
    "$merge let": aggregate({"$merge": {"into": "b", "let": {"a": JS}}}),
    "aggregate let": aggregate(let={"a": JS}),
    "two keys in a stage": aggregate({"$limit": 1, "$match": WHERE}),
    "internal emit": aggregate({"$project": {"a": {"$_internalJsEmit": {"eval": "x"}}}}),
    "explain find": message({"explain": {"find": "pages", "filter": WHERE}}),
    "explain aggregate": message(
        {"explain": {"aggregate": "pages", "pipeline": [{"$match": WHERE}], "cursor": {}}}
    ),
    "explain update": message({"explain": {"update": "pages", "updates": [{"q": WHERE, "u": {}}]}}),
    "create, validator": message({"create": "b", "validator": {"$expr": JS}}),
    "create, view": message(
        {"create": "v", "viewOn": "pages", "pipeline": [{"$project": {"a": JS}}]}
    ),
    "collMod, validator": message({"collMod": "pages", "validator": {"$expr": JS}}),
    "collMod, view": message({"collMod": "v", "viewOn": "pages", "pipeline": [{"$match": WHERE}]}),
    "createIndexes": message(
        {
            "createIndexes": "pages",
            "indexes": [{"key": {"a": 1}, "name": "a", "partialFilterExpression": {"$expr": JS}}],
        }
    ),
    "listCollections": message({"listCollections": 1, "filter": WHERE}),
    "listDatabases": message({"listDatabases": 1, "filter": WHERE}, "admin"),
    "mapReduce": message({"mapReduce": "pages", "map": "f", "reduce": "g", "out": {"inline": 1}}),
    "mapreduce": message({"mapreduce": "pages", "map": "f", "reduce": "g", "out": {"inline": 1}}),
}


@pytest.mark.parametrize("attack", JAVASCRIPT)
def test_javascript_is_refused_wherever_it_would_run(attack: str) -> None:
    assert refusal(JAVASCRIPT[attack], '{"databases": ["*"]}')


@pytest.mark.parametrize("attack", [name for name in JAVASCRIPT if name != "internal emit"])
def test_the_same_passes_where_javascript_is_allowed(attack: str) -> None:
    allowing = policy('{"databases": ["*"], "javaScript": true}')
    assert allowing.check(JAVASCRIPT[attack]) == JAVASCRIPT[attack]


def ns(stage: Any) -> bytes:
    return aggregate(stage)


NAMESPACES = {
    "another database": message({"find": "pages"}, "other"),
    "admin": message({"find": "pages"}, "admin"),
    "in another letter case": message({"find": "pages"}, "CMS"),
    "with a dot": message({"find": "pages"}, "cms.pages"),
    "with a zero byte": message({"find": "pages"}, "cms\x00admin"),
    "empty": message({"find": "pages"}, ""),
    "$external": message({"find": "pages"}, "$external"),
    "no $db": message({"find": "pages"}, None),
    "$db of another type": message({"find": "pages", "$db": 1}, None),
    "a collection as UUID": message({"find": Binary(UUID(int=1).bytes, 4)}),
    "an aggregation's collection as UUID": message(
        {"aggregate": Binary(bytes(16), 4), "pipeline": [], "cursor": {}}
    ),
    "a collection as code": message({"find": Code("pages")}),
    "a collection as number": message({"find": 1}),
    "aggregate: 2": message({"aggregate": 2, "pipeline": [], "cursor": {}}),
    "a collection with a zero byte": message({"find": "pages\x00x"}),
    "no name": message({"find": ""}),
    "$cmd": message({"find": "$cmd"}),
    "$cmd.sys.inprog": message({"find": "$cmd.sys.inprog"}),
    "system.users": message({"find": "system.users"}),
    "system.js, written": message({"insert": "system.js"}, documents=[{"_id": "f"}]),
    "system.views": message({"update": "system.views"}, updates=[{"q": {}, "u": {"a": 1}}]),
    "system.buckets": message({"find": "system.buckets.series"}),
    "$out to another database": ns({"$out": {"db": "other", "coll": "x"}}),
    "$out, keys turned round": ns({"$out": SON([("coll", "x"), ("db", "admin")])}),
    "$out to a system collection": ns({"$out": "system.js"}),
    "$out of a number": ns({"$out": 1}),
    "$merge to another database": ns({"$merge": {"into": {"db": "other", "coll": "x"}}}),
    "$merge to a system collection": ns({"$merge": "system.js"}),
    "$merge without into": ns({"$merge": {"on": "_id"}}),
    "$lookup from another database": ns({"$lookup": {"from": {"db": "other", "coll": "x"}}}),
    "$lookup from local": ns(
        {"$lookup": {"from": {"db": "local", "coll": "oplog.rs"}, "pipeline": [], "as": "a"}}
    ),
    "$lookup from a system collection": ns({"$lookup": {"from": "system.profile", "as": "a"}}),
    "$lookup with an internal field": ns({"$lookup": {"from": "b", "_internalUnwind": {}}}),
    "$graphLookup from another database": ns(
        {"$graphLookup": {"from": {"db": "other", "coll": "x"}}}
    ),
    "$unionWith another database": ns({"$unionWith": {"db": "other", "coll": "x"}}),
    "$unionWith a system collection": ns({"$unionWith": "system.users"}),
    "$unionWith in a $facet": ns({"$facet": {"a": [{"$unionWith": "system.users"}]}}),
    "$out in a view": message({"create": "v", "viewOn": "a", "pipeline": [{"$out": "system.js"}]}),
    "a view of a system collection": message({"create": "v", "viewOn": "system.users"}),
    "renamed into another database": message(
        {"renameCollection": "cms.pages", "to": "other.pages"}, "admin"
    ),
    "renamed from another database": message(
        {"renameCollection": "other.pages", "to": "cms.pages"}, "admin"
    ),
    "renamed to a system collection": message(
        {"renameCollection": "cms.pages", "to": "cms.system.js"}, "admin"
    ),
    "renamed to nothing": message({"renameCollection": "cms.pages"}, "admin"),
    "bulkWrite elsewhere": message(
        {"bulkWrite": 1},
        "admin",
        ops=[{"insert": 1, "document": {}}],
        nsInfo=[{"ns": "cms.pages"}, {"ns": "other.pages"}],
    ),
    "bulkWrite elsewhere, in an array": message(
        {"bulkWrite": 1, "ops": [], "nsInfo": [{"ns": "admin.system.users"}]}, "admin"
    ),
    "bulkWrite, a namespace twice": message(
        {"bulkWrite": 1, "ops": [], "nsInfo": [{"ns": "cms.a", "collectionUUID": 1}]}, "admin"
    ),
    "bulkWrite, unknown operation": message(
        {"bulkWrite": 1, "ops": [{"upsert": 0}], "nsInfo": [{"ns": "cms.a"}]}, "admin"
    ),
    "a cursor of another database": message({"getMore": Int64(1), "collection": "a"}, "other"),
    "a cursor of a system collection": message({"getMore": Int64(1), "collection": "system.js"}),
    "a cursor of admin": message({"getMore": Int64(1), "collection": "$cmd.aggregate"}, "admin"),
    "cursors killed elsewhere": message({"killCursors": "a", "cursors": [Int64(1)]}, "other"),
    "explained elsewhere": message({"explain": {"find": "a", "$db": "other"}}),
    "explained on admin": message({"explain": {"find": "a"}}, "admin"),
    "a change stream of the cluster": message(
        {
            "aggregate": 1,
            "pipeline": [{"$changeStream": {"allChangesForCluster": True}}],
            "cursor": {},
        }
    ),
    "a change stream of admin": message(
        {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}}, "admin"
    ),
    "a change stream with an internal field": ns({"$changeStream": {"showSystemEvents": True}}),
    "listDatabases by what is no filter": message({"listDatabases": 1, "filter": [{}]}, "admin"),
}


@pytest.mark.parametrize("attack", NAMESPACES)
def test_other_namespaces_are_refused(attack: str) -> None:
    assert refusal(NAMESPACES[attack])


@pytest.mark.parametrize(
    "out",
    ["system.js", {"merge": "system.js"}, {"reduce": "b", "db": "other"}, {"to": "x"}, 1],
    ids=str,
)
def test_map_reduce_writes_to_no_other_namespace(out: Any) -> None:
    sent = message({"mapReduce": "a", "map": "f", "reduce": "g", "out": out})
    assert refusal(sent, '{"databases": ["cms"], "javaScript": true}')


ADMINISTRATION = {
    name: message({name: 1}, database)
    for database, name in [
        *(("cms", name) for name in ("dropDatabase", "profile", "validate", "compact", "eval")),
        *(("cms", name) for name in ("createUser", "usersInfo", "createRole", "grantRolesToUser")),
        *(("admin", name) for name in ("shutdown", "serverStatus", "currentOp", "killOp")),
        *(("admin", name) for name in ("setParameter", "getParameter", "getCmdLineOpts", "getLog")),
        *(("admin", name) for name in ("replSetStepDown", "replSetReconfig", "fsync", "logRotate")),
        *(("admin", name) for name in ("configureFailPoint", "applyOps", "killAllSessions")),
        *(("admin", name) for name in ("killSessions", "setFeatureCompatibilityVersion")),
        *(("admin", name) for name in ("connectionStatus", "hostInfo", "listCommands", "top")),
        *(("cms", name) for name in ("saslStart", "saslContinue", "authenticate", "logout")),
        *(("cms", name) for name in ("convertToCapped", "cloneCollectionAsCapped", "reIndex")),
        *(("cms", name) for name in ("FIND", "Find", "findAndmodify", "$query", "find ", "_find")),
        *(("cms", name) for name in ("internalRenameIfOptionsAndIndexesMatch", "getnonce", "")),
    ]
}
STAGES = {
    name: message({"aggregate": 1, "pipeline": [{name: {}}], "cursor": {}})
    for name in (
        "$currentOp",
        "$listSessions",
        "$listLocalSessions",
        "$planCacheStats",
        "$indexStats",
        "$queryStats",
        "$backupCursor",
        "$shardedDataDistribution",
        "$listCatalog",
        "$mergeCursors",
        "$_internalInhibitOptimization",
        "$_internalReadAtClusterTime",
        "$rankFusion",
        "$nonsense",
        "$MATCH",
        "",
    )
}


@pytest.mark.parametrize("attack", [*ADMINISTRATION, *STAGES])
def test_administration_and_what_is_unknown_is_refused(attack: str) -> None:
    sent = {**ADMINISTRATION, **STAGES}[attack]
    assert refusal(sent, '{"databases": ["*", "admin"]}')


def nested(levels: int, innermost: Any) -> Any:
    for _ in range(levels):
        innermost = {"a": innermost}
    return innermost


def facets(levels: int) -> list[Any]:
    pipeline: list[Any] = [{"$limit": 1}]
    for _ in range(levels):
        pipeline = [{"$facet": {"a": pipeline}}]
    return pipeline


HARMFUL = {"aggregate": "pages", "pipeline": [{"$match": WHERE}], "cursor": {}}
AMBIGUOUS = {
    "$db twice": flat(("find", "pages"), ("$db", "cms"), ("$db", "admin")),
    "pipeline twice": flat(
        ("aggregate", "pages"), ("pipeline", []), ("pipeline", [{"$match": WHERE}]), ("$db", "cms")
    ),
    "the name twice": flat(("find", "pages"), ("find", "system.users"), ("$db", "cms")),
    "an update's filter twice": bytes(4)
    + section({"update": "pages", "$db": "cms"})
    + b"\x01"
    + struct.pack("<i", 12 + len(raw(("q", {}), ("q", {}), ("u", {}))))
    + b"updates\x00"
    + raw(("q", {}), ("q", {}), ("u", {})),
    "$out's database twice": flat(
        ("aggregate", "pages"),
        (
            "pipeline",
            [{"$out": RawBSONDocument(raw(("db", "cms"), ("db", "x"), ("coll", "x")))}],
        ),
        ("cursor", {}),
        ("$db", "cms"),
    ),
    "a field and a sequence": bytes(4)
    + section({"update": "pages", "updates": [], "$db": "cms"})
    + sequence("updates", [{"q": {}, "u": {"a": 1}}]),
    "a sequence twice": message({"update": "pages"}, updates=[])
    + sequence("updates", [{"q": {}, "u": {"a": 1}}]),
    "a pipeline as a sequence": message(
        {"aggregate": "pages", "cursor": {}}, pipeline=[{"$match": WHERE}]
    ),
    "documents of a find": message({"find": "pages"}, filter=[{}]),
    "two bodies": message({"ping": 1}) + section({**HARMFUL, "$db": "cms"}),
    "a body after a sequence after a body": message({"insert": "pages"}, documents=[{}])
    + section({"dropDatabase": 1, "$db": "cms"}),
    "a section of kind 2": message({"ping": 1}) + b"\x02" + bson.encode({}),
    "bytes at the end": message({"ping": 1}) + b"\x00\x00\x00\x00",
    "a checksum": message({"ping": 1}, flags=1) + b"\x00\x00\x00\x00",
    "an unknown flag": message({"ping": 1}, flags=4),
    "exhaust": message({"getMore": Int64(1), "collection": "pages"}, flags=1 << 16),
    "no body": bytes(4) + sequence("documents", [{}]),
    "nothing": b"",
    "flags only": bytes(4),
    "an empty command": bytes(4) + section({}),
    "a body that is cut off": message({"find": "pages", "filter": {"a": "b" * 100}})[:-20],
    "a length too long": bytes(4) + b"\x00" + struct.pack("<i", 1000) + bytes(100),
    "a negative length": bytes(4) + b"\x00" + struct.pack("<i", -5) + bytes(100),
    "a document that ends early": bytes(4) + b"\x00" + b"\x07\x00\x00\x00\x00\x00\x00",
    "a value longer than its document": bytes(4)
    + section(b"\x13\x00\x00\x00\x02find\x00\x40\x00\x00\x00a\x00\x00"),
    "an unknown type": bytes(4) + section(b"\x0c\x00\x00\x00\x15find\x00\x00\x00"),
    "a string that does not end": flat(("find", "pages"), ("$db", "cms")).replace(
        b"cms\x00", b"cmsx"
    ),
    "a wrapped query": message({"$query": {"find": "pages"}, "$readPreference": {}}),
    "the command is not the first field": message({"ping": 1, "dropDatabase": 1}),
    "another command's field": message({"find": "pages", "pipeline": [{"$out": "x"}]}),
    "a pipeline that is a document": message(
        {"aggregate": "pages", "pipeline": {"0": {"$match": WHERE}}, "cursor": {}}
    ),
    "a stage that is an array": aggregate([{"$match": WHERE}]),
    "a facet that is a document": aggregate({"$facet": {"a": {"0": {"$match": WHERE}}}}),
    "updates that are a document": message({"update": "pages", "updates": {"0": {"q": WHERE}}}),
    "an update in an array in an array": message({"update": "pages", "updates": [[{"q": WHERE}]]}),
    "explain of explain": message({"explain": {"explain": {"find": "pages", "filter": WHERE}}}),
    "explain of administration": message({"explain": {"dropDatabase": 1}}),
    "explain with a sequence": message({"explain": {"update": "a"}}, updates=[{"q": {}, "u": {}}]),
    "explain of nothing": message({"explain": {}}),
    "explain of a string": message({"explain": "find"}),
    "a filter too deep to look at": find(nested(200, {"$nonsense": 1})),
    "pipelines too deep in each other": aggregate(*facets(40)),
    "an internal client": message({"hello": 1, "internalClient": {"maxWireVersion": 17}}, "admin"),
    "authentication in hello": message({"hello": 1, "speculativeAuthenticate": {}}, "admin"),
    "metadata in hello": message({"isMaster": 1, "client": {"application": {}}}, "admin"),
    "a hello that waits": message({"hello": 1, "maxAwaitTimeMS": 10_000}, "admin"),
    "another user's session": message({"find": "a", "lsid": {**SESSION, "uid": b"0" * 32}}),
    "a session that is no session": message({"find": "a", "lsid": {"id": {"$exists": True}}}),
    "sessions ended that are none": message({"endSessions": [{"id": 1}]}, "admin"),
    "sessions of all": message({"endSessions": {}}, "admin"),
    "impersonation": message({"find": "a", "$audit": {"$impersonatedUsers": []}}),
    "a mongos": message({"aggregate": "a", "pipeline": [], "cursor": {}, "fromMongos": True}),
    "encryption": message({"find": "a", "encryptionInformation": {"schema": {}}}),
    "a storage engine": message({"create": "a", "storageEngine": {"wiredTiger": {}}}),
    "an index's storage engine": message(
        {"createIndexes": "a", "indexes": [{"key": {"a": 1}, "name": "a", "storageEngine": {}}]}
    ),
    "an update of the oplog": update({}, {"$v": 2, "$_diff": {}}),
    "a stage as an operator": find({"a": {"$lookup": {"from": "b"}}}),
    "$out in a filter": find({"$and": [{"$out": "b"}]}),
    "$currentOp in an expression": find({"$expr": {"$currentOp": {}}}),
    "an internal operator": find({"$_internalSchemaAllowedProperties": {}}),
}


@pytest.mark.parametrize("attack", AMBIGUOUS)
def test_what_could_be_read_in_two_ways_is_refused(attack: str) -> None:
    assert refusal(AMBIGUOUS[attack])


_ODD = {"$nonsense": 1}  # what makes a value be walked
MANY = {
    "fields": find({**_ODD, **{f"a{i}": 1 for i in range(1000)}}),
    "documents in an array": find({**_ODD, "a": [{}] * 1000}),
    "fields of many documents": find({**_ODD, "a": [{"a": 1, "b": 2}] * 400}),
    "operators": find({"$and": [{"a": {"$gt": 1}}] * 1001}),
    "in many clauses": find({"$and": [{**_ODD, "a": [1] * 40}] * 30}),
    "stages": aggregate(*[{"$limit": 1}] * 600),
    "what is no stage": message({"aggregate": "a", "pipeline": [None] * 1001, "cursor": {}}),
    "parts of stages": aggregate(*[{"$match": {**_ODD, "a": [1] * 40}}] * 30),
    "pipelines in pipelines": aggregate(*[{"$facet": {"a": [{"$limit": 1}] * 10}}] * 50),
    "lookups": aggregate(*[{"$lookup": {"from": "a", "as": "b"}}] * 300),
    "statements": message({"update": "a"}, updates=[{"q": {}, "u": {"$set": {"a": 1}}}] * 400),
    "statements in an array": message({"update": "a", "updates": [{"q": {}, "u": {}}] * 400}),
    "what is no statement": message({"delete": "a", "deletes": [None] * 1001}),
    "changes": update({}, {"$set": {}, **{f"a{i}": 1 for i in range(1000)}}),
    "update pipelines": message({"update": "a"}, updates=[{"u": [{"$set": {"a": 1}}] * 20}] * 30),
    "indexes": message({"createIndexes": "a", "indexes": [{"key": {}, "name": "a"}] * 400}),
    "sessions": message({"endSessions": [SESSION] * 1001}, "admin"),
    "explained": message({"explain": {"find": "a", "filter": {**_ODD, "a": [1] * 1000}}}),
    "a view": message({"create": "v", "viewOn": "a", "pipeline": [{"$limit": 1}] * 600}),
}


@pytest.mark.parametrize("attack", MANY)
def test_millions_of_fields_are_not_looked_at(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small invoke may unpack to them, and they would take the function's whole time."""
    policy().check(MANY[attack])
    monkeypatch.setattr("transports.lambda_invoke.function.policy.message.MAX_LOOKED_AT", 1000)
    assert "no more than 1,000 fields" in refusal(MANY[attack])


def test_what_is_only_data_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.lambda_invoke.function.policy.message.MAX_LOOKED_AT", 20)
    many = {f"a{i}": {"$gt": i} for i in range(100)}
    policy().check(message({"insert": "a"}, documents=[many] * 100))
    policy().check(update({}, {"$set": many}))
    policy().check(update({}, many))


STAGING = {
    "find": message({"find": "staging"}, "odm_proxy"),
    "insert": message({"insert": "staging"}, "odm_proxy", documents=[{}]),
    "drop": message({"drop": "staging"}, "odm_proxy"),
    "$lookup": ns({"$lookup": {"from": {"db": "odm_proxy", "coll": "staging"}}}),
    "$out": ns({"$out": {"db": "odm_proxy", "coll": "staging"}}),
    "rename": message({"renameCollection": "odm_proxy.staging", "to": "cms.a"}, "admin"),
    "rename over": message({"renameCollection": "cms.a", "to": "odm_proxy.staging"}, "admin"),
    "change stream": message(
        {"aggregate": "staging", "pipeline": [{"$changeStream": {}}], "cursor": {}}, "odm_proxy"
    ),
    "change stream of the database": message(
        {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}}, "odm_proxy"
    ),
    "dropDatabase": message({"dropDatabase": 1}, "odm_proxy"),
    "bulkWrite": message(
        {"bulkWrite": 1, "ops": [], "nsInfo": [{"ns": "odm_proxy.staging"}]}, "admin"
    ),
}


@pytest.mark.parametrize("attack", STAGING)
def test_the_functions_own_collection_is_nobodys(attack: str) -> None:
    everything = '{"databases": ["*", "odm_proxy"], "commands": {"allow": ["dropDatabase"]}}'
    assert refusal(STAGING[attack], everything)


WRITES = {
    "insert": message({"insert": "a"}, documents=[{}]),
    "update": message({"update": "a"}, updates=[{"q": {}, "u": {}}]),
    "delete": message({"delete": "a"}, deletes=[{"q": {}, "limit": 0}]),
    "findAndModify": message({"findAndModify": "a", "remove": True}),
    "findandmodify": message({"findandmodify": "a", "remove": True}),
    "bulkWrite": message({"bulkWrite": 1, "ops": [], "nsInfo": [{"ns": "cms.a"}]}, "admin"),
    "$out": ns({"$out": "b"}),
    "$merge": ns({"$merge": "b"}),
    "$merge into": ns({"$merge": {"into": "b"}}),
    "explain $out": message(
        {"explain": {"aggregate": "a", "pipeline": [{"$out": "b"}], "cursor": {}}}
    ),
    "create": message({"create": "a"}),
    "drop": message({"drop": "a"}),
    "collMod": message({"collMod": "a"}),
    "createIndexes": message({"createIndexes": "a", "indexes": []}),
    "dropIndexes": message({"dropIndexes": "a", "index": "*"}),
    "deleteIndexes": message({"deleteIndexes": "a", "index": "*"}),
    "renameCollection": message({"renameCollection": "cms.a", "to": "cms.b"}, "admin"),
    "createSearchIndexes": message({"createSearchIndexes": "a", "indexes": []}),
}


@pytest.mark.parametrize("attack", WRITES)
@pytest.mark.parametrize("preset", ["readOnly", '{"readOnly": true, "databases": ["cms"]}'])
def test_read_only_writes_nothing(attack: str, preset: str) -> None:
    assert "readOnly" in refusal(WRITES[attack], preset)


@pytest.mark.parametrize("attack", [key for key in WRITES if not key.startswith("explain")])
def test_the_same_is_written_where_it_may_be(attack: str) -> None:
    assert policy().check(WRITES[attack]) == WRITES[attack]


@pytest.mark.parametrize(
    "lsid",
    [
        {"id": {"$exists": True}},
        {"id": "x"},
        {"id": Binary(bytes(16), 0)},
        {"id": Binary(bytes(15), 4)},
        {},
        {**SESSION, "more": 1},
    ],
)
def test_operations_are_ended_by_a_sessions_id_only(lsid: dict[str, Any]) -> None:
    for text in ("", "unrestricted"):
        with pytest.raises(Refused):
            policy(text).check_session(bson.encode(lsid))
        policy(text).check_session(bson.encode(SESSION))
