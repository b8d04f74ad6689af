"""A bot in nextcord that writes what it receives, one JSON object a line."""

import asyncio
import json
import os

import aiohttp
import nextcord
from nextcord.http import DiscordClientWebSocketResponse, HTTPClient


# What a bot changes: where its gateway is.
async def get_gateway(self, *, encoding="json", zlib=True):
    compress = "&compress=zlib-stream" if zlib else ""
    return f"{os.environ['GATEWAY']}?encoding={encoding}&v=10{compress}"


HTTPClient.get_gateway = get_gateway


def say(**what):
    print(json.dumps(what), flush=True)


class Bot(nextcord.Client):
    async def on_socket_raw_receive(self, text):
        payload = json.loads(text)
        if payload["op"] == 0:
            d = payload["d"] or {}
            say(t=payload["t"], s=payload["s"], n=d.get("n"))

    async def on_ready(self):
        say(ready=len(self.guilds))

    async def on_guild_join(self, guild):
        say(joined=guild.id)


async def main():
    say(version=nextcord.__version__)
    intents = nextcord.Intents.none()
    intents.guilds = intents.guild_messages = True
    bot = Bot(
        intents=intents,
        enable_debug_events=True,
        chunk_guilds_at_startup=False,
        guild_ready_timeout=0.1,
        rollout_all_guilds=False,
        rollout_associate_known=False,
        rollout_delete_unknown=False,
        rollout_register_new=False,
        rollout_update_known=False,
    )
    # What login() does, without asking Discord's REST who the bot is.
    bot.http.token = os.environ["TOKEN"]
    bot.http._HTTPClient__session = aiohttp.ClientSession(
        ws_response_class=DiscordClientWebSocketResponse
    )
    await bot.connect()


asyncio.run(main())
