// Writes warnings and errors of the SDK to stderr, as stdout carries the protocol, and drops the rest: at its own levels, the
// SDK logs each request. Must be imported before the SDK.
import { Console } from "node:console";

const stderr = new Console(process.stderr, process.stderr);
const drop = () => {};

globalThis.console = Object.assign(stderr, { debug: drop, info: drop, log: drop, trace: drop });
