"""A WebSocket service that says back what it is told, and a client that tries everything."""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.server import serve as listen

LARGE = 1 << 20
UNANSWERED = 1000
SECONDS = 40
CODES = [1000, 1001, 1008, 1011, 3000, 4321]


def echo(chat):
    try:
        while True:
            message = chat.recv()
            if isinstance(message, str) and message.startswith("close "):
                _, code, reason = message.split(" ", 2)
                chat.close(int(code), reason)
            else:
                chat.send(message)
    except ConnectionClosed as closed:
        told = closed.rcvd
        print(*("closed", told.code, told.reason) if told else ("closed", 1006))


def serve():
    with listen(echo, "127.0.0.1", 0, subprotocols=["echo"], max_size=None) as server:
        print(server.socket.getsockname()[1])
        server.serve_forever()


async def talk(url, authority, token, many):
    trust = ssl.create_default_context(cafile=authority)

    def open_one(token=token, **more):
        fields = {"Authorization": "Bearer " + token}
        return connect(
            url, ssl=trust, additional_headers=fields, subprotocols=["echo"], max_size=None,
            open_timeout=SECONDS, proxy=None, **more,
        )

    async with open_one(compression=None) as chat:
        assert chat.subprotocol == "echo"

        async def back(message):
            await chat.send(message)
            return await asyncio.wait_for(chat.recv(), SECONDS)

        assert await back("grüß dich") == "grüß dich" and await back("") == ""
        print("text")
        assert await back(bytes(range(256))) == bytes(range(256))
        print("binary")
        large = os.urandom(LARGE)
        assert await back(large) == large
        print("large")
        assert await back(["one ", "two ", "three"]) == "one two three"
        print("fragments")
        await asyncio.wait_for(await chat.ping(b"here"), SECONDS)
        print("ping")

        # What a pong has to wait for is bounded, as pings are given up after 20 s.
        unanswered = asyncio.Semaphore(UNANSWERED)

        async def send():
            for number in range(int(many)):
                await unanswered.acquire()
                await chat.send(str(number))

        sender = asyncio.create_task(send())
        for number in range(int(many)):
            assert await asyncio.wait_for(chat.recv(), SECONDS) == str(number)
            unanswered.release()
        await sender
        print("many")
    for code in CODES:
        async with open_one() as chat:
            await chat.send(f"close {code} enough of this")
            try:
                await asyncio.wait_for(chat.recv(), SECONDS)
                raise AssertionError("it goes on")
            except ConnectionClosed as closed:
                assert (closed.rcvd.code, closed.rcvd.reason) == (code, "enough of this"), closed
    print("closed-by-service")
    for code in CODES:
        await (await open_one()).close(code, "bye")
    (await open_one()).transport.abort()
    print("closes")
    try:
        await open_one(token="nonsense")
        raise AssertionError("a token that is none is good for nothing")
    except InvalidStatus as refused:
        assert refused.response.status_code == 401, refused
    print("refused")


if sys.argv[1] == "serve":
    serve()
else:
    asyncio.run(talk(*sys.argv[2:]))
