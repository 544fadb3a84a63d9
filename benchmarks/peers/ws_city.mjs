// WebSockets by `ws`: reads changes, one in each line of the control port, and sends each to every client.
//
// Usage: node ws_city.mjs PORT CONTROL_PORT NODE_MODULES
import { createRequire } from "node:module";
import { createServer } from "node:net";

const [port, controlPort, packages] = process.argv.slice(2);
const { WebSocketServer } = createRequire(packages)("ws");
const host = "127.0.0.1";
const sockets = new WebSocketServer({ host, port: Number(port), backlog: 1024, perMessageDeflate: false });

createServer((control) => {
  let waiting = "";
  control.setEncoding("utf8");
  control.on("error", () => {});
  control.on("data", (text) => {
    const lines = (waiting + text).split("\n");
    waiting = lines.pop();
    for (const line of lines) {
      for (const client of sockets.clients) client.send(line);
    }
  });
}).listen(Number(controlPort), host);
