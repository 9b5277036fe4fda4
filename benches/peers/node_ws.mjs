// What `invigil bench ingest` is held against: the `ws` package on Node parses each event and acknowledges it at once,
// and stores nothing. The first argument is the folder that has `ws` in its node_modules.
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "package.json"));
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, maxPayload: 64 * 1024 });
server.on("listening", () => console.log(`127.0.0.1:${server.address().port}`));
server.on("connection", (socket, request) => {
  request.socket.setNoDelay(true);
  socket.on("message", (bytes) => {
    const event = JSON.parse(bytes);
    socket.send(`{"type":"ack","seq":${event.seq}}`);
  });
});
