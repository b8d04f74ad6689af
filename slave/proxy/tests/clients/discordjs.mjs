// A bot on @discordjs/ws that writes what it receives, one JSON object a line.

import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const { WebSocketManager, WebSocketShardEvents, CompressionMethod, version } =
  require("@discordjs/ws");

// What a bot changes: where its gateway is. The rest of its REST goes on to Discord.
const gateway = {
  url: process.env.GATEWAY,
  shards: Number(process.env.SHARDS ?? 1),
  session_start_limit: { total: 1000, remaining: 1000, reset_after: 86400000, max_concurrency: 1 },
};
const manager = new WebSocketManager({
  token: process.env.TOKEN,
  intents: Number(process.env.INTENTS ?? (1 | 512)),
  shardIds: [Number(process.env.SHARD ?? 0)],
  shardCount: Number(process.env.SHARDS ?? 1),
  compression: process.env.COMPRESSION === "zlib-stream" ? CompressionMethod.ZlibNative : null,
  rest: { get: async () => gateway },
});

const say = (what) => console.log(JSON.stringify(what));
manager.on(WebSocketShardEvents.Dispatch, ({ t, s, d }) => {
  say({
    t,
    s,
    n: d?.n,
    stamp: d?._stamp,
    ready: t === "READY" ? d.guilds.length : undefined,
    guilds: t === "READY" ? d.guilds.map((guild) => guild.id) : undefined,
    guild: t === "GUILD_CREATE" ? d.id : undefined,
  });
});
manager.on(WebSocketShardEvents.Closed, (code) => say({ closed: code }));
manager.on(WebSocketShardEvents.Error, (error) => console.error(error));

say({ version });
await manager.connect();
