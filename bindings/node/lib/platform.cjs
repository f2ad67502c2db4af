// The name of this machine's platform as @napi-rs/cli writes it.
// Owns: that name. Does not own: what is loaded for it. Invariant: it is the end of the addon's file and package name.
"use strict";

const { readFileSync } = require("node:fs");

/** Whether the C library is musl. Its `ldd` says so; without one, Node.js tells the version of the other library. */
const isMusl = () => {
  try {
    return readFileSync("/usr/bin/ldd", "latin1").includes("musl");
  } catch {
    // A report looks up the names of peers otherwise, which takes its time.
    process.report.excludeNetwork = true;
    return !process.report.getReport().header.glibcVersionRuntime;
  }
};

const ABI = { linux: () => (isMusl() ? "-musl" : "-gnu"), win32: () => "-msvc" };

const platform = `${process.platform}-${process.arch}${ABI[process.platform]?.() ?? ""}`;

module.exports = { platform };
