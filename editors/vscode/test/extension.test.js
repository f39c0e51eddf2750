// The built extension, with a stand-in for VS Code: which server it starts, and that it says when there is none.
const assert = require("node:assert");
const Module = require("node:module");
const path = require("node:path");

const anything = () => new Proxy(function () {}, { get: (_, key) => (key === Symbol.toPrimitive ? () => "" : anything()), apply: anything, construct: anything });
const load = Module._load;
Module._load = (name, ...rest) => (name === "vscode" ? anything() : load(name, ...rest));

const { command, activate, deactivate } = require("../dist/extension.js");
assert.deepStrictEqual(command(["vrun", "lsp"], "/home/me"), ["vrun", ["lsp"]]);
assert.deepStrictEqual(command([], undefined), ["vrun", ["lsp"]]);
assert.deepStrictEqual(command([".venv/bin/vrun", "lsp"], "/home/me"), [path.join("/home/me", ".venv/bin/vrun"), ["lsp"]]);
assert.deepStrictEqual(command(["/opt/vrun", "lsp"], "/home/me"), ["/opt/vrun", ["lsp"]]);
assert.strictEqual(typeof activate, "function");
assert.strictEqual(deactivate(), undefined);
console.log("extension: ok");
process.exit(0);
