// A bot on eris that writes what it receives, one JSON object a line.

import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const Eris = require("eris");

const bot = new Eris(process.env.TOKEN, {
  intents: 1 | 512,
  maxShards: 1,
  guildCreateTimeout: 500,
});
// What a bot changes: where its gateway is.
const gateway = {
  url: process.env.GATEWAY,
  shards: 1,
  session_start_limit: { total: 1000, remaining: 1000, reset_after: 86400000, max_concurrency: 1 },
};
bot.getGateway = bot.getBotGateway = async () => gateway;

const say = (what) => console.log(JSON.stringify(what));
bot.on("rawWS", ({ op, t, s, d }) => {
  if (op === 0) say({ t, s, n: d?.n });
});
bot.on("ready", () => say({ ready: bot.guilds.size }));
bot.on("guildCreate", (guild) => say({ joined: guild.id }));
bot.on("error", (error) => console.error(error));

say({ version: Eris.VERSION });
await bot.connect();
