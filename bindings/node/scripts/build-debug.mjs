// Builds the addon as `cargo build` does and puts it where `lib/native.cjs` looks for it.
// Owns: the quick build for tests, which shares what `cargo test` has built. Does not own: what is published (`npm run build`).
// Invariant: it is the addon of this machine, with debug assertions; it fails when cargo does.
import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const { platform } = createRequire(import.meta.url)("../lib/platform.cjs");
const folder = fileURLToPath(new URL("..", import.meta.url));

const cargo = spawnSync("cargo", ["build", "--package", "quorate-node", "--message-format", "json-render-diagnostics"], {
  cwd: folder,
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
  maxBuffer: 2 ** 28,
});
if (cargo.error) throw cargo.error;
if (cargo.status !== 0) process.exit(cargo.status ?? 1);
const artifact = cargo.stdout
  .split("\n")
  .filter((line) => line.startsWith("{"))
  .map((line) => JSON.parse(line))
  .findLast(({ reason, target }) => reason === "compiler-artifact" && target.name === "quorate_node");
const file = artifact.filenames.find((name) => /\.(so|dylib|dll)$/.test(name));
const to = new URL(`../quorate.${platform}.node`, import.meta.url);
// A process may hold the old one open: it keeps its own copy.
rmSync(to, { force: true });
copyFileSync(file, to);
