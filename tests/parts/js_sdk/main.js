// A Matrix client (matrix-js-sdk) that a test controls by JSON lines, one object a line:
//
//   stdin   {"id": 1, "method": "send", "params": {"room_id": "!a:hs", "type": "m.room.message", "content": {…}}}
//   stdout  {"id": 1, "result": {"event_id": "$b"}}   or   {"id": 1, "error": {"message": "…", "errcode": "M_FORBIDDEN", …}}
//   stdout  {"event": "timeline", "room_id": "!a:hs", …}   whenever something happens
//
// Requests run at the same time. The end of stdin ends the process.
import "./stderr.js";
import { createInterface } from "node:readline";
import { crypto } from "./crypto.js";
import { events } from "./events.js";
import { polls } from "./polls.js";
import { reading } from "./reading.js";
import { rooms } from "./rooms.js";
import { Session, session } from "./session.js";
import { threads } from "./threads.js";
import { users } from "./users.js";

const METHODS = { ...crypto, ...events, ...polls, ...reading, ...rooms, ...session, ...threads, ...users };

const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const current = new Session((event, fields) => write({ event, ...fields }));

async function answer(line) {
  const { id, method, params } = JSON.parse(line);
  try {
    if (!Object.hasOwn(METHODS, method)) throw new Error(`no method ${method}`);
    write({ id, result: (await METHODS[method](current, params ?? {})) ?? null });
  } catch (error) {
    const { message, stack, errcode = null, httpStatus: status = null } = error;
    write({ id, error: { message, stack, errcode, status } });
  }
}

createInterface({ input: process.stdin })
  .on("line", answer)
  .on("close", () => {
    current.client?.stopClient();
    process.exit(0);
  });
