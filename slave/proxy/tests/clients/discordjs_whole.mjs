// A bot in discord.js, the whole library, that writes what it receives, one JSON object a line.

import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const { Client, version } = require("discord.js");

const bot = new Client({ intents: 1 | 512, shards: [0], shardCount: 1 });
// What a bot changes: where its gateway is.
const gateway = {
  url: process.env.GATEWAY,
  shards: 1,
  session_start_limit: { total: 1000, remaining: 1000, reset_after: 86400000, max_concurrency: 1 },
};
bot.rest.get = async () => gateway;

const say = (what) => console.log(JSON.stringify(what));
bot.on("raw", ({ t, s, d }) => say({ t, s, n: d?.n }));
bot.on("clientReady", () => say({ ready: bot.guilds.cache.size }));
bot.on("guildCreate", (guild) => say({ joined: guild.id }));
bot.on("messageCreate", (message) => say({ handled: message.content }));
bot.on("error", (error) => console.error(error));

say({ version });
await bot.login(process.env.TOKEN);
