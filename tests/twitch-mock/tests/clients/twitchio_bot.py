"""A bot with TwitchIO: subscribes to a channel of the simulated Twitch, and says as JSON
what it reads and sends."""

import asyncio
import json
import os

import twitchio
import twitchio.http
from twitchio import eventsub
from twitchio.eventsub import websockets

# The library has no setting for them.
twitchio.http.Route.BASE = os.environ["HELIX"] + "/"
twitchio.http.Route.ID_BASE = os.environ["OAUTH"].removesuffix("/oauth2") + "/"
websockets.WSS = os.environ["EVENTSUB"]


def say(of, **rest):
    print(json.dumps({"of": of, **rest}), flush=True)


class Bot(twitchio.Client):
    async def setup_hook(self):
        await self.add_token("user-channel1", "refresh-channel1")
        wanted = eventsub.ChatMessageSubscription(
            broadcaster_user_id="100001", user_id="100001"
        )
        await self.subscribe_websocket(wanted, token_for="100001")
        say("ready")

    async def event_message(self, payload):
        if payload.chatter.id == "100001":
            return
        say("message", id=payload.id, text=payload.text, who=payload.chatter.name)
        channel = self.create_partialuser("100001")
        sent = await channel.send_message("an answer", sender="100001")
        say("sent", id=sent.id, sent=sent.sent)


async def main():
    async with Bot(client_id="client", client_secret="secret", bot_id="100001") as bot:
        await bot.start(load_tokens=False, save_tokens=False, with_adapter=False)


asyncio.run(main())
