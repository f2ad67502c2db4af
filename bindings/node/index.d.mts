// The types of the package for ESM: those of CommonJS.
export * from "./index.js";
