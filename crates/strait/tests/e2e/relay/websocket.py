"""A WebSocket service that says back what it is told, and a client that tries everything."""

import os
import socket
import ssl
import sys
import threading

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve as listen

LARGE = 1 << 20
MANY = 20_000
SECONDS = 40


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


def talk(url, authority, token):
    trust = ssl.create_default_context(cafile=authority)

    def open_one(token=token, **more):
        fields = {"Authorization": "Bearer " + token}
        return connect(
            url, ssl=trust, additional_headers=fields, subprotocols=["echo"], max_size=None,
            open_timeout=SECONDS, proxy=None, **more,
        )

    with open_one(compression=None) as chat:
        assert chat.subprotocol == "echo"
        back = lambda message: (chat.send(message), chat.recv(SECONDS))[1]
        assert back("grüß dich") == "grüß dich" and back("") == ""
        print("text")
        assert back(bytes(range(256))) == bytes(range(256))
        print("binary")
        large = os.urandom(LARGE)
        assert back(large) == large
        print("large")
        assert back(["one ", "two ", "three"]) == "one two three"
        print("fragments")
        assert chat.ping(b"here").wait(SECONDS)
        print("ping")
        sender = threading.Thread(target=lambda: [chat.send(str(n)) for n in range(MANY)])
        sender.start()
        assert all(chat.recv(SECONDS) == str(number) for number in range(MANY))
        sender.join()
        print("many")
    with open_one() as chat:
        chat.send("close 4321 enough of this")
        try:
            chat.recv(SECONDS)
            raise AssertionError("it goes on")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4321, "enough of this"), closed
    print("closed-by-service")
    open_one().close(4001, "bye")
    broken = open_one()
    broken.socket.shutdown(socket.SHUT_RDWR)
    print("closes")
    try:
        open_one(token="nonsense")
        raise AssertionError("a token that is none is good for nothing")
    except InvalidStatus as refused:
        assert refused.response.status_code == 401, refused
    print("refused")


if sys.argv[1] == "serve":
    serve()
else:
    talk(*sys.argv[2:])
