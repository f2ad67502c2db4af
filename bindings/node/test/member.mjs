// One process of a test's cluster: does what it is told by its parent and says what it came to.
// Owns: the messages that it has received. Does not own: any check. Invariant: it ends when its parent does.
import { ClusterDriver, ClusterPresence, Node } from "quorate";

const presence = new ClusterPresence(JSON.parse(process.argv[2]));
const node = new Node(presence);
const driver = new ClusterDriver(presence);
const received = [];

const own = {
  listen: (topic) => presence.subscribe(topic, (data) => received.push([topic, data])).then(() => true),
  received: () => received,
  publishMany(topics, count) {
    for (let at = 0; at < count; at += 1) presence.publish(topics[at % topics.length], at);
    return presence.handle.flush();
  },
  pushMany(key, count) {
    for (let at = 0; at < count; at += 1) presence.rpush(key, String(at));
    return presence.handle.flush();
  },
  increment: (key, count) => Promise.all(Array.from({ length: count }, () => presence.hincrbyex(key, "f", 1, 60))),
  persist: (room) => driver.persist(room),
  bind: (key, value) => node.bound.set(key, value),
  respond: (channel) => node.respond(channel, (payload) => `${payload} from ${process.pid}`).then(() => process.pid),
  async shutdown() {
    presence.shutdown();
    await node.leave();
    setImmediate(() => process.disconnect());
  },
};

function find(name) {
  const [object, method] = name.split(".");
  if (method === undefined) return own[object];
  const target = object === "presence" ? presence : node;
  return target[method].bind(target);
}

process.on("message", async ({ call, name, args }) => {
  try {
    const value = await find(name)(...args);
    process.send({ call, value: name === "presence.subscribe" ? null : value });
  } catch (error) {
    process.send({ call, error: { message: error.message, code: error.code } });
  }
});
process.on("disconnect", () => process.exit(0));
