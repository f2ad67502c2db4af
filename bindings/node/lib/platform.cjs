// The name of this machine's platform as @napi-rs/cli writes it.
// Owns: that name. Does not own: what is loaded for it. Invariant: it is the end of the addon's file and package name.
"use strict";

/** Whether the C library is musl: Node.js tells the version of the other one. */
const isMusl = () => !process.report.getReport().header.glibcVersionRuntime;

const ABI = { linux: () => (isMusl() ? "-musl" : "-gnu"), win32: () => "-msvc" };

const platform = `${process.platform}-${process.arch}${ABI[process.platform]?.() ?? ""}`;

module.exports = { platform };
