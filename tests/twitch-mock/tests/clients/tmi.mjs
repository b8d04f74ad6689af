// A bot with tmi.js: joins a channel of the simulated Twitch, and says as JSON what it reads.
import { createRequire } from "node:module";

const tmi = createRequire(`${process.env.MODULES}/package.json`)("tmi.js");
const url = new URL(process.env.IRC_WS);
const client = new tmi.Client({
  options: { skipUpdatingEmotesets: true },
  connection: { server: url.hostname, port: Number(url.port), secure: false, reconnect: false },
  identity: { username: "bot", password: "oauth:secret" },
  channels: ["channel1"],
});
const say = (of, rest) => console.log(JSON.stringify({ of, ...rest }));

client.on("join", (channel, user, self) => self && say("join", { channel }));
client.on("message", (channel, tags, text, self) => {
  if (!self) say("message", { id: tags.id, room: tags["room-id"], text });
});
client.on("subscription", (channel, who) => say("sub", { who }));
client.on("raided", (channel, who, viewers) => say("raid", { who, viewers }));
client.on("messagedeleted", (channel, who, text, tags) => say("deleted", { id: tags["target-msg-id"] }));
client.on("timeout", async (channel, who, reason, seconds) => {
  say("timeout", { seconds });
  const [, text] = await client.say("channel1", "an answer");
  say("said", { text });
});
await client.connect();
