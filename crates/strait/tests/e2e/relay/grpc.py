"""A gRPC service that does every kind of call, and a client that makes them."""

import sys
import threading
from concurrent import futures

import grpc

LARGE = 3 << 20
SECONDS = 40


class Service(grpc.GenericRpcHandler):
    def service(self, call):
        name = call.method.removeprefix("/test.Service/")
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "Down": grpc.unary_stream_rpc_method_handler(down),
            "Up": grpc.stream_unary_rpc_method_handler(up),
            "Both": grpc.stream_stream_rpc_method_handler(both),
            "Status": grpc.unary_unary_rpc_method_handler(status),
            "Late": grpc.unary_stream_rpc_method_handler(late),
            "Wait": grpc.unary_stream_rpc_method_handler(wait),
        }
        return handlers.get(name)


def unary(message, context):
    told = {key: value for key, value in context.invocation_metadata()}
    assert "authorization" not in told, "the client's token is not for the service"
    context.send_initial_metadata([("x-begin", told.get("x-text", ""))])
    context.set_trailing_metadata([("x-end-bin", told.get("x-bytes-bin", b""))])
    return message


def down(message, context):
    for number in range(int(message)):
        yield b"%d" % number


def up(messages, context):
    return b"%d" % sum(len(message) for message in messages)


def both(messages, context):
    for message in messages:
        yield message.upper()


def status(message, context):
    context.set_trailing_metadata([("x-why-bin", bytes(range(256)))])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ½ %")


def late(message, context):
    yield b"first"
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "that was all")


def wait(message, context):
    left = context.time_remaining()
    assert (message == b"deadline") == (left is not None and left < 2), left
    ended = threading.Event()

    # What comes behind the answer is not run where its client was quick to leave.
    def end():
        print("ended", message.decode())
        ended.set()

    context.add_callback(end)
    yield b"begun"
    assert ended.wait(SECONDS)


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Service(),))
    print(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


def call(address, authority, prefix, token):
    with open(authority, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    channel = grpc.secure_channel(address, credentials)
    method = calls(channel, prefix, [("authorization", "Bearer " + token)])
    stranger = [("authorization", "Bearer nonsense")]
    error = failed(lambda: method("unary_unary", "Unary", stranger)(b""))
    assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
    print("refused")


def failed(ask):
    try:
        ask()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it did not fail")


def calls(channel, prefix, own):

    def method(kind, name, metadata=own):
        made = getattr(channel, kind)(prefix + "/test.Service/" + name)
        return lambda given, **more: made(given, metadata=metadata, **({"timeout": SECONDS} | more))

    ask = method("unary_unary", "Unary")
    assert ask(b"hello") == b"hello" and ask(b"") == b""
    print("unary")
    large = bytes(index * 7 & 255 for index in range(LARGE))
    assert ask(large) == large
    print("large")
    marked = own + [("x-text", "some text"), ("x-bytes-bin", bytes(range(256)))]
    answer, told = channel.unary_unary(prefix + "/test.Service/Unary").with_call(b"", metadata=marked)
    assert ("x-begin", "some text") in [tuple(pair) for pair in told.initial_metadata()]
    assert ("x-end-bin", bytes(range(256))) in [tuple(pair) for pair in told.trailing_metadata()]
    print("metadata")
    got = list(method("unary_stream", "Down")(b"2000"))
    assert got == [b"%d" % number for number in range(2000)]
    print("down")
    pieces = (b"x" * 1000 for _ in range(2000))
    assert method("stream_unary", "Up")(pieces) == b"2000000"
    print("up")

    # Each message waits for the answer to the one before.
    answered = threading.Semaphore(1)

    def in_turn():
        for number in range(500):
            assert answered.acquire(timeout=SECONDS)
            yield b"word %d" % number

    count = 0
    for message in method("stream_stream", "Both")(in_turn()):
        assert message == b"WORD %d" % count
        count += 1
        answered.release()
    assert count == 500
    print("both")

    error = failed(lambda: method("unary_unary", "Status")(b""))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
    assert error.details() == "not today: ½ %", error
    assert ("x-why-bin", bytes(range(256))) in [tuple(pair) for pair in error.trailing_metadata()]
    print("status")
    answers = method("unary_stream", "Late")(b"")
    assert next(answers) == b"first"
    error = failed(lambda: next(answers))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and error.details() == "that was all"
    print("late-status")
    error = failed(lambda: next(method("unary_stream", "Status")(b"")))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
    print("trailers-only")
    error = failed(lambda: method("unary_unary", "Nothing")(b""))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    print("unknown")
    answers = method("unary_stream", "Wait")(b"deadline", timeout=1)
    assert next(answers) == b"begun"
    assert failed(lambda: next(answers)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    print("deadline")
    answers = method("unary_stream", "Wait")(b"cancel", timeout=None)
    assert next(answers) == b"begun"
    answers.cancel()
    assert failed(lambda: next(answers)).code() == grpc.StatusCode.CANCELLED
    print("cancel")
    return method


if sys.argv[1] == "serve":
    serve()
elif sys.argv[1] == "beside":
    # Of a socket this library would make a name with %, which not every server takes.
    named = [("grpc.default_authority", "localhost")]
    calls(grpc.insecure_channel(sys.argv[2], options=named), "", [])
else:
    call(*sys.argv[2:])
