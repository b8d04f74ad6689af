// A bot on oceanic.js that writes what it receives, one JSON object a line.

import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const { Client, Constants } = require("oceanic.js");

const gateway = {
  url: process.env.GATEWAY,
  shards: 1,
  sessionStartLimit: { total: 1000, remaining: 1000, resetAfter: 86400000, maxConcurrency: 1 },
};
const bot = new Client({
  auth: `Bot ${process.env.TOKEN}`,
  gateway: {
    intents: 1 | 512,
    maxShards: 1,
    guildCreateTimeout: 500,
    // What a bot changes: where its gateway is.
    override: { getBot: async () => gateway },
  },
});

const say = (what) => console.log(JSON.stringify(what));
bot.on("packet", ({ op, t, s, d }) => {
  if (op === 0) say({ t, s, n: d?.n });
});
bot.on("ready", () => say({ ready: bot.guilds.size }));
bot.on("guildCreate", (guild) => say({ joined: guild.id }));
bot.on("error", (error) => console.error(error));

say({ version: Constants.VERSION });
await bot.connect();
