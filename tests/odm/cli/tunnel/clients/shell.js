// What somebody types into mongosh, through a tunnel: `mongosh URI --quiet --file shell.js`, with
// the collection's name in TUNNEL_COLLECTION. It writes what it saw to stdout, as JSON.
const collection = db.getCollection(process.env.TUNNEL_COLLECTION);
const seen = {};
collection.insertMany([...Array(500).keys()].map((n) => ({ _id: n, n })));
seen.sum = collection
  .find()
  .batchSize(50)
  .toArray()
  .reduce((sum, document) => sum + document.n, 0);
seen.grouped = collection
  .aggregate([{ $group: { _id: { $mod: ["$n", 2] }, count: { $sum: 1 } } }, { $sort: { _id: 1 } }])
  .toArray()
  .map((group) => Number(group.count));

const session = db.getMongo().startSession();
const inside = session.getDatabase(db.getName()).getCollection(collection.getName());
session.startTransaction();
inside.insertOne({ _id: "kept" });
session.commitTransaction();
session.startTransaction();
inside.insertOne({ _id: "dropped" });
session.abortTransaction();
session.endSession();
seen.kept = collection.countDocuments({ _id: { $in: ["kept", "dropped"] } });

const stream = collection.watch();
collection.insertOne({ _id: "watched" });
let change = null;
while (change === null) change = stream.tryNext();
seen.watched = change.documentKey._id;
stream.close();
seen.collections = db.getCollectionNames().includes(collection.getName());
print(JSON.stringify(seen));
