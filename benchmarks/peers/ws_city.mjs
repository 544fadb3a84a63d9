// WebSockets by `ws`: reads changes, one in each line of the control port, and sends each to every client.
//
// Usage: node ws_city.mjs PORT CONTROL_PORT NODE_MODULES
import { createRequire } from "node:module";
import { createServer } from "node:net";

const [port, controlPort, packages] = process.argv.slice(2);
const { WebSocketServer } = createRequire(packages)("ws");
const host = "127.0.0.1";
const clients = new Set();

const changes = createServer((control) => {
  let waiting = "";
  control.setEncoding("utf8");
  control.on("error", () => {});
  control.on("data", (text) => {
    const lines = (waiting + text).split("\n");
    waiting = lines.pop();
    for (const line of lines) {
      for (const client of clients) client.send(line);
    }
  });
});

// The port of the sockets listens last: once it accepts connections, the other one does, too.
changes.listen(Number(controlPort), host, () => {
  const sockets = new WebSocketServer({ host, port: Number(port), backlog: 1024, perMessageDeflate: false });
  sockets.on("connection", (client) => {
    clients.add(client);
    client.on("close", () => clients.delete(client));
  });
});
