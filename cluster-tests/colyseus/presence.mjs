// A Colyseus game of two and of four processes on one presence: `node presence.mjs embedded|redis`.
// Owns: the places and how many processes there are. Does not own: what is played (`plays.mjs`). Invariant: what runs on the
// embedded cluster is what runs on the published RedisPresence and RedisDriver.
import { finish, fragile, quiet, startAll, step, until } from "./harness.mjs";
import { embedded, redisServer } from "./place.mjs";
import { end, play, share } from "./plays.mjs";

for (const count of [2, 4]) {
  const backend = process.argv[2] === "redis" ? await redisServer() : embedded();
  const sides = await startAll(count, backend);
  const mode = `${count} processes`;
  await end(sides, mode, await play(sides, mode));
  await share(sides, mode);
  if (count > 2) await end(sides.toReversed(), "the others", await play(sides.toReversed(), "the others"));
  await step(`${mode}: one that leaves takes its rooms along`, async () => {
    fragile(quiet(await sides[0].client.create("game", { mode: "leaving" })));
    await sides[0].stop();
    for (const side of sides.slice(1)) {
      await until(async () => (await side.ask("query", {})).every((room) => room.processId !== sides[0].processId));
    }
  });
  await Promise.all(sides.map((side) => side.stop()));
  await backend.close();
}
finish();
