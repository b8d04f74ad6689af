// A bot on cloudstorm that writes what it receives, one JSON object a line.

import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const { Client } = require("cloudstorm");

const bot = new Client(process.env.TOKEN, {
  intents: 1 | 512,
  shards: [0],
  totalShards: 1,
  ws: { compress: process.env.COMPRESSION === "zlib-stream", encoding: "json" },
});
// What a bot changes: where its gateway is.
bot.getGatewayBot = async () => ({
  url: process.env.GATEWAY,
  shards: 1,
  session_start_limit: { total: 1000, remaining: 1000, reset_after: 86400000, max_concurrency: 1 },
});

const say = (what) => console.log(JSON.stringify(what));
bot.on("dispatch", ({ t, s, d }) => {
  say({ t, s, n: d?.n, ready: t === "READY" ? d.guilds.length : undefined });
});
bot.on("error", (error) => console.error(error));

say({ version: require("cloudstorm/package.json").version });
await bot.connect();
