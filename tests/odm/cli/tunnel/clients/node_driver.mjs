// What an application of the Node driver does, through a tunnel: `node node_driver.mjs URI NAME`,
// where the driver is found by NODE_PATH. It writes what it saw to stdout, as JSON.
import { createRequire } from "node:module";
import { delimiter } from "node:path";

const paths = (process.env.NODE_PATH ?? "").split(delimiter);
const { MongoClient } = createRequire(import.meta.url)(
  createRequire(import.meta.url).resolve("mongodb", { paths }),
);

const [uri, name] = process.argv.slice(2);
const client = new MongoClient(uri, { appName: "node-driver" });
const collection = client.db().collection(name);
const seen = {};
try {
  await collection.insertMany(Array.from({ length: 1000 }, (_, n) => ({ _id: n, n })));
  let sum = 0;
  for await (const document of collection.find().batchSize(100)) sum += document.n;
  seen.sum = sum;

  const stream = collection.watch([{ $match: { "fullDocument.kind": "watched" } }]);
  const next = stream.next(); // opens it
  await new Promise((resolve) => stream.once("resumeTokenChanged", resolve));

  const session = client.startSession();
  await session.withTransaction(async () => {
    await collection.insertOne({ _id: "kept", kind: "watched" }, { session });
    await collection.updateOne({ _id: 1 }, { $inc: { n: 41 } }, { session });
  });
  try {
    await session.withTransaction(async () => {
      await collection.insertOne({ _id: "dropped" }, { session });
      throw new Error("changed my mind");
    });
  } catch (error) {
    seen.aborted = error.message;
  }
  await session.endSession();
  seen.inTransaction = (await collection.findOne({ _id: 1 })).n;
  seen.dropped = await collection.countDocuments({ _id: "dropped" });
  seen.watched = (await next).documentKey._id;
  await stream.close();

  try {
    await collection.insertOne({ _id: 1 });
  } catch (error) {
    seen.duplicate = error.code;
  }
} finally {
  await client.close();
}
console.log(JSON.stringify(seen));
