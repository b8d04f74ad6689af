"""A bot in discord.py that writes what it receives, one JSON object a line."""

import asyncio
import json
import os
import sys

# It takes zstd where there is a module for it.
if os.environ.get("COMPRESSION") == "zlib-stream":
    sys.modules["zstandard"] = None

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import DiscordClientWebSocketResponse

# The one line that a bot changes.
DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["GATEWAY"])


def say(**what):
    print(json.dumps(what), flush=True)


class Bot(discord.Client):
    async def on_socket_raw_receive(self, text):
        payload = json.loads(text)
        if payload["op"] == 0:
            d = payload["d"] or {}
            what = {"t": payload["t"], "s": payload["s"], "n": d.get("n"), "stamp": d.get("_stamp")}
            if payload["t"] == "READY":
                what["guilds"] = [guild["id"] for guild in d["guilds"]]
            if payload["t"] == "GUILD_CREATE":
                what["guild"] = d["id"]
            say(**what)

    async def on_ready(self):
        say(ready=len(self.guilds), members=[g.member_count for g in self.guilds])

    async def on_guild_join(self, guild):
        say(joined=guild.id)

    async def on_message(self, message):
        say(handled=message.content)


async def main():
    say(version=discord.__version__)
    intents = discord.Intents(guilds=True, guild_messages=True)
    intents.value = int(os.environ.get("INTENTS", intents.value))
    bot = Bot(
        intents=intents,
        enable_debug_events=True,
        chunk_guilds_at_startup=False,
        shard_id=int(os.environ.get("SHARD", 0)),
        shard_count=int(os.environ.get("SHARDS", 1)),
        guild_ready_timeout=0.1,
    )
    # What login() does, without asking Discord's REST who the bot is.
    await bot._async_setup_hook()
    bot.http.token = os.environ["TOKEN"]
    bot.http.connector = aiohttp.TCPConnector(limit=0)
    bot.http._HTTPClient__session = aiohttp.ClientSession(
        connector=bot.http.connector, ws_response_class=DiscordClientWebSocketResponse
    )
    async with bot:
        await bot.connect()


asyncio.run(main())
