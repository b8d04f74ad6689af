"""A client of somebody else (lavalink.py) with the stand-in: HOST PORT. It brings a voice
gateway of its own. Ends with 0 if both agree."""

import asyncio
import sys

import aiohttp.web
import lavalink

GUILD, BOT = 81, 7
HEARD = []


async def voice_gateway(request):
    """Version 8, as Discord's documentation has it."""
    socket = aiohttp.web.WebSocketResponse()
    await socket.prepare(request)
    assert request.query["v"] == "8"
    await socket.send_json({"op": 8, "d": {"heartbeat_interval": 200}})
    request.app["sockets"].append(socket)
    async for message in socket:
        payload = message.json()
        HEARD.append(payload["op"])
        if payload["op"] == 0:
            wanted = {"server_id": str(GUILD), "user_id": str(BOT), "session_id": "s", "token": "t"}
            assert payload["d"] == wanted, payload
            modes = ["aead_xchacha20_poly1305_rtpsize"]
            ready = {"ssrc": 1, "ip": "127.0.0.1", "port": 9, "modes": modes}
            await socket.send_json({"op": 2, "d": ready})
        elif payload["op"] == 1:
            assert payload["d"]["protocol"] == "udp"
            await socket.send_json({"op": 4, "d": {"mode": payload["d"]["data"]["mode"]}})
        elif payload["op"] == 3:
            await socket.send_json({"op": 6, "d": {"t": payload["d"]["t"]}})
    return socket


async def until(what, condition):
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"it never came to this: {what}")


class Peer:
    """A client, and what it was told."""

    def __init__(self, session=None, password="youshallnotpass"):
        self.events = []
        self.client = lavalink.Client(BOT)
        self.client.add_event_hook(self.take)
        host, port = sys.argv[1:]
        self.node = self.client.add_node(host, int(port), password, "eu", session_id=session)

    async def take(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    async def ready(self):
        await until("it is ready", lambda: self.of(lavalink.NodeReadyEvent))
        return self.of(lavalink.NodeReadyEvent)[0]


async def main():
    app = aiohttp.web.Application()
    app["sockets"] = []
    app.router.add_get("/", voice_gateway)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint = "127.0.0.1:%d" % runner.addresses[0][1]

    stranger = Peer(password="wrong")
    try:
        await stranger.node.get_stats()
        raise AssertionError("it was let in")
    except lavalink.errors.AuthenticationError:
        await stranger.client.close()

    peer = Peer()
    ready = await peer.ready()
    assert not ready.resumed and len(ready.session_id) == 16
    assert (await peer.node.get_version()).startswith("4.")
    assert (await peer.node.get_info())["version"]["major"] == 4
    assert (await peer.node.get_stats())["players"] == 0
    await until("it is told how the server does", lambda: peer.node.stats is not None)
    assert await peer.node.update_session(resuming=True, timeout=30) == {
        "resuming": True, "timeout": 30,
    }
    found = await peer.node.get_tracks("silence:1")
    assert found.load_type == lavalink.LoadType.TRACK and found.tracks[0].duration == 1000
    nothing = await peer.node.get_tracks("a song")
    assert nothing.load_type == lavalink.LoadType.EMPTY
    decoded = await peer.node.decode_track(found.tracks[0].track)
    assert decoded.identifier == "silence:1"

    player = peer.client.player_manager.create(GUILD)
    state = {"user_id": str(BOT), "guild_id": str(GUILD), "channel_id": "5", "session_id": "s"}
    server = {"guild_id": str(GUILD), "endpoint": endpoint, "token": "t"}
    await peer.client.voice_update_handler({"t": "VOICE_STATE_UPDATE", "d": state})
    await peer.client.voice_update_handler({"t": "VOICE_SERVER_UPDATE", "d": server})
    raw = await peer.node.get_player(GUILD)
    assert raw["voice"] == {"token": "t", "endpoint": endpoint, "sessionId": "s"}
    assert raw["state"]["connected"] and raw["track"] is None
    await player.play(found.tracks[0])
    await until("it starts", lambda: peer.of(lavalink.TrackStartEvent))
    await until("it ends", lambda: peer.of(lavalink.TrackEndEvent))
    assert peer.of(lavalink.TrackEndEvent)[0].reason == lavalink.EndReason.FINISHED
    await until("heartbeats go", lambda: HEARD.count(3) > 2)
    assert (await peer.node.get_player(GUILD))["state"]["ping"] >= 0

    await player.play((await peer.node.get_tracks("silence:60")).tracks[0])
    await player.set_volume(50)
    await player.seek(30_000)
    await until("it is told where it is", lambda: player.position >= 30_000)
    await player.set_pause(True)
    paused = (await peer.node.get_player(GUILD))["state"]["position"]
    await asyncio.sleep(0.2)
    raw = await peer.node.get_player(GUILD)
    assert (raw["state"]["position"], raw["paused"], raw["volume"]) == (paused, True, 50)
    await player.set_pause(False)

    # It goes away, and the next one goes on.
    session = peer.node.session_id
    await peer.client.close()
    await asyncio.sleep(0.3)
    peer = Peer(session)
    ready = await peer.ready()
    assert ready.resumed and ready.session_id == session
    [raw] = await peer.node.get_players()
    assert raw["guildId"] == str(GUILD) and raw["state"]["position"] > paused + 200, raw
    assert HEARD.count(0) == 1, "its voice connection is the same"

    # The same again is no new connection, and Discord's end of it is told.
    peer.client.player_manager.create(GUILD)
    await peer.client.voice_update_handler({"t": "VOICE_STATE_UPDATE", "d": state})
    await peer.client.voice_update_handler({"t": "VOICE_SERVER_UPDATE", "d": server})
    assert HEARD.count(0) == 1
    await app["sockets"][0].close(code=4014, message=b"Disconnected.")
    await until("it is told", lambda: peer.of(lavalink.WebSocketClosedEvent))
    closed = peer.of(lavalink.WebSocketClosedEvent)[0]
    assert (closed.code, closed.by_remote) == (4014, True)
    assert not (await peer.node.get_player(GUILD))["state"]["connected"]
    await peer.node.destroy_player(GUILD)
    try:
        await peer.node.get_player(GUILD)
        raise AssertionError("there is a player still")
    except lavalink.errors.RequestError as error:
        assert error.status == 404 and error.message == "Player not found", error
    await peer.client.close()
    await runner.cleanup()


asyncio.run(asyncio.wait_for(main(), 120))
