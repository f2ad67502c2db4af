// A Colyseus game of two processes, each at another node: what players and rooms must be able to do.
// Owns: the kill of the leader and the count of the steps, which are in `plays.mjs`. `cluster-tests with` says where the nodes are; on a cluster all is done once
// more while the leader is killed. Invariant: every wait has a deadline, and a failed step is printed as such.
import assert from "node:assert/strict";
import { echo, finish, fragile, https, isCluster, nodes, pids, quiet, start, startAll, step, until, within } from "./harness.mjs";
import { addresses } from "./place.mjs";
import { end, play, share } from "./plays.mjs";

async function leader() {
  return within(20_000, until(async () => {
    for (const [index, address] of https.entries()) {
      const status = await fetch(`http://${address}/status`).then((answer) => answer.json()).catch(() => null);
      if (status?.raft?.role === "leader") return { index };
    }
    return null;
  })).then(({ index }) => index);
}

async function killTheLeader() {
  const index = await leader();
  const others = nodes.filter((_, n) => n !== index);
  const [one, two] = [await start({ redis: others[0] }), await start({ redis: others[1] })];
  const game = await play([one, two], "before");
  const talking = { stop: false, count: 0 };
  const talk = (async () => {
    while (!talking.stop) {
      await echo(game.room, `r${talking.count}`);
      await echo(game.guest, `g${talking.count++}`);
    }
  })();
  await step("kill: the leader is still the same one", async () => assert.equal(await leader(), index));
  process.kill(pids[index], "SIGKILL");
  const killed = performance.now();
  await step("kill: new rooms can be made at both", async () => {
    const makers = [one, two].map(async (side) => {
      const made = await until(() => side.client.create("game", { mode: "after-kill" }).catch(() => null));
      const time = Math.round(performance.now() - killed);
      await quiet(made).leave();
      return `${time} ms after the kill`;
    });
    return (await Promise.all(makers)).join(", ");
  });
  await step("kill: the game went on", async () => {
    await Promise.race([talk, until(() => talking.count > 10)]);
    talking.stop = true;
    await talk;
    for (const side of [one, two]) {
      const rooms = await side.ask("query", { roomId: game.room.roomId });
      assert.deepEqual(rooms.map((room) => room.clients), [2]);
    }
    return `${talking.count} messages each`;
  });
  await end([one, two], "before", game);
  await end([one, two], "after", await play([one, two], "after"));
  await step("kill: no listing is left behind", async () => {
    await until(async () => (await one.ask("query", { name: "game" })).length === 0);
  });
  await Promise.all([one.stop(), two.stop()]);
}

const sides = await startAll(2, addresses(nodes));
const [one, two] = sides;
await end(sides, "calm", await play(sides, "calm"));
await share(sides, "calm");
await step("calm: a process that leaves takes its rooms along", async () => {
  const room = quiet(await one.client.create("game", { mode: "leaving" }));
  fragile(room);
  await one.stop();
  await until(async () => (await two.ask("query", {})).every((listed) => listed.processId !== one.processId));
});
await Promise.all([one.stop(), two.stop()]);
if (isCluster) await killTheLeader();
finish();
