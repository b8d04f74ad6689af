"""A bot in hikari that writes what it receives, one JSON object a line."""

import json
import os

import hikari

# A bot whose REST goes on to Discord overrides fetch_gateway_bot_info instead.
bot = hikari.GatewayBot(
    token=os.environ["TOKEN"],
    intents=hikari.Intents.GUILDS | hikari.Intents.GUILD_MESSAGES,
    rest_url=os.environ["GATEWAY"].replace("ws", "http", 1).rstrip("/") + "/api/v10",
    banner=None,
    auto_chunk_members=False,
)


def say(**what):
    print(json.dumps(what), flush=True)


@bot.listen(hikari.ShardPayloadEvent)
async def payload(event):
    say(t=event.name, n=event.payload.get("n"))


@bot.listen(hikari.ShardReadyEvent)
async def ready(event):
    say(ready=len(event.unavailable_guilds))


@bot.listen(hikari.GuildJoinEvent)
async def joined(event):
    say(joined=event.guild_id)


bot.run(check_for_updates=False)
