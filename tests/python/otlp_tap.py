"""A receiver of other people's making, OtelTap, and what it has received.

    python otlp_tap.py
        Listens on a free port of 127.0.0.1 for OTLP/HTTP and prints {"http": PORT}, then each span, metric and log
        record that OtelTap gives, as {"traces": SPAN} and its like on a line. It ends when its standard input does.
"""

import asyncio
import json
import os
import socket
import sys
import threading

from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

import otlp_json


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def end_with_standard_input():
    sys.stdin.buffer.read()
    os._exit(0)


async def show(signal, stream):
    async for item in stream:
        print(json.dumps({signal: otlp_json.render(item)}), flush=True)


async def main():
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    port = free_port()
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as receiver:
        shown = [
            asyncio.ensure_future(show("traces", receiver.stream_traces())),
            asyncio.ensure_future(show("metrics", receiver.stream_metrics())),
            asyncio.ensure_future(show("logs", receiver.stream_logs())),
        ]
        # Streams give what comes after they were first waited for.
        await asyncio.sleep(0)
        print(json.dumps({"http": port}), flush=True)
        await asyncio.gather(*shown)


asyncio.run(main())
