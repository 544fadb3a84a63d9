// Sends everything that the SDK logs to stderr: stdout carries the protocol. Must be imported before the SDK.
import { Console } from "node:console";

globalThis.console = new Console(process.stderr, process.stderr);
