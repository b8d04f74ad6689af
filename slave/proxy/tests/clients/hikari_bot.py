"""A bot in hikari that writes what it receives, one JSON object a line."""

import json
import os

import hikari
from hikari.api.shard import GatewayCompression
from hikari.impl.shard import GatewayShardImpl

# It has no option for the compression.
COMPRESSIONS = {
    "none": None,
    "payload": GatewayCompression.PAYLOAD_ZLIB_STREAM,
    "zlib-stream": GatewayCompression.TRANSPORT_ZLIB_STREAM,
    "zstd-stream": GatewayCompression.TRANSPORT_ZSTD_STREAM,
}
if "COMPRESSION" in os.environ:
    compression = COMPRESSIONS[os.environ["COMPRESSION"]]
    GatewayShardImpl.__init__.__kwdefaults__["compression"] = compression

# A bot whose REST goes on to Discord overrides fetch_gateway_bot_info instead.
bot = hikari.GatewayBot(
    token=os.environ["TOKEN"],
    intents=hikari.Intents(int(os.environ.get("INTENTS", 1 | 512))),
    rest_url=os.environ["GATEWAY"].replace("ws", "http", 1).rstrip("/") + "/api/v10",
    banner=None,
    auto_chunk_members=False,
)


def say(**what):
    print(json.dumps(what), flush=True)


@bot.listen(hikari.ShardPayloadEvent)
async def payload(event):
    d = event.payload
    what = {"t": event.name, "n": d.get("n"), "stamp": d.get("_stamp")}
    if event.name == "READY":
        what["guilds"] = [guild["id"] for guild in d["guilds"]]
    if event.name == "GUILD_CREATE":
        what["guild"] = d["id"]
    say(**what)


@bot.listen(hikari.ShardReadyEvent)
async def ready(event):
    say(ready=len(event.unavailable_guilds))


@bot.listen(hikari.GuildJoinEvent)
async def joined(event):
    say(joined=event.guild_id)


say(version=hikari.__version__)
bot.run(
    check_for_updates=False,
    shard_ids=[int(os.environ.get("SHARD", 0))],
    shard_count=int(os.environ.get("SHARDS", 1)),
)
