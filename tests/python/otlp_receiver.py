"""An OTLP receiver made of the official Protocol Buffers, and a strict decoder of signal files.

    python otlp_receiver.py
        Listens on free ports of 127.0.0.1 and prints one line when it is ready: {"grpc": PORT, "http": PORT}.
        Takes OTLP over gRPC and over HTTP (protobuf and JSON). GET /dump gives everything received, as
        {"traces": [REQUEST, ...], "metrics": [...], "logs": [...]} in OTLP/JSON; POST /reset forgets it.
        With --until-stdin-closes it ends when its standard input does, and so never outlives the one who started it.

    python otlp_receiver.py --decode traces|metrics|logs FILE
        Reads a signal file, one object per line. Prints the number of its spans, data points or log records, or
        FILE:LINE and what is wrong there, with exit code 1.
"""

import argparse
import gzip
import json
import os
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

import otlp_json

REQUESTS = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
RESPONSES = {
    "traces": trace_service_pb2.ExportTraceServiceResponse,
    "metrics": metrics_service_pb2.ExportMetricsServiceResponse,
    "logs": logs_service_pb2.ExportLogsServiceResponse,
}
FILES = {"traces": trace_pb2.TracesData, "metrics": metrics_pb2.MetricsData, "logs": logs_pb2.LogsData}


class Received:
    """The requests of each signal, in the order in which they came."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = {signal: [] for signal in REQUESTS}

    def add(self, signal, request):
        with self.lock:
            self.requests[signal].append(request)

    def reset(self):
        with self.lock:
            for requests in self.requests.values():
                requests.clear()

    def dump(self):
        with self.lock:
            requests = {signal: list(requests) for signal, requests in self.requests.items()}
        return {signal: [otlp_json.render(request) for request in list_] for signal, list_ in requests.items()}


def grpc_servicer(base, signal, received):
    class Servicer(base):
        def Export(self, request, context):
            received.add(signal, request)
            return RESPONSES[signal]()

    return Servicer()


def start_grpc(received):
    unlimited = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=unlimited)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(
        grpc_servicer(trace_service_pb2_grpc.TraceServiceServicer, "traces", received), server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
        grpc_servicer(metrics_service_pb2_grpc.MetricsServiceServicer, "metrics", received), server
    )
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
        grpc_servicer(logs_service_pb2_grpc.LogsServiceServicer, "logs", received), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def start_http(received):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path == "/dump":
                self.answer(200, json.dumps(received.dump()).encode(), "application/json")
            else:
                self.answer(404)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            signal = self.path.removeprefix("/v1/")
            if self.path == "/reset":
                received.reset()
                self.answer(200)
            elif signal in REQUESTS:
                self.export(signal, body)
            else:
                self.answer(404)

        def export(self, signal, body):
            content_type = self.headers.get("content-type", "").split(";")[0].strip()
            try:
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if content_type == "application/json":
                    request = otlp_json.parse(body, REQUESTS[signal](), ids_optional=signal != "traces")
                    answer = b"{}"
                elif content_type == "application/x-protobuf":
                    request = REQUESTS[signal].FromString(body)
                    answer = RESPONSES[signal]().SerializeToString()
                else:
                    self.answer(415, f"content type {content_type!r}".encode())
                    return
            except (otlp_json.Malformed, DecodeError, OSError) as error:
                self.answer(400, str(error).encode())
                return
            received.add(signal, request)
            self.answer(200, answer, content_type)

        def answer(self, status, body=b"", content_type="text/plain"):
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def serve(until_stdin_closes):
    received = Received()
    server, grpc_port = start_grpc(received)
    http_port = start_http(received)
    print(json.dumps({"grpc": grpc_port, "http": http_port}), flush=True)
    if until_stdin_closes:
        sys.stdin.buffer.read()
        os._exit(0)
    server.wait_for_termination()


def spans(data):
    for resource in data.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def points(data):
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is None:
                    raise otlp_json.Malformed(f"metric {metric.name!r} has no data")
                yield from getattr(metric, kind).data_points


def records(data):
    for resource in data.resource_logs:
        for scope in resource.scope_logs:
            yield from scope.log_records


ITEMS = {"traces": spans, "metrics": points, "logs": records}


def check_item(signal, item):
    """What holds for each item of a file, beyond its form."""
    if signal == "traces":
        if not item.trace_id or not item.span_id:
            raise otlp_json.Malformed(f"span {item.name!r} has no ids")
        if not 0 < item.start_time_unix_nano <= item.end_time_unix_nano:
            raise otlp_json.Malformed(f"span {item.name!r} ends before it starts")
    elif item.time_unix_nano == 0:
        raise otlp_json.Malformed("an item has no time")
    keys = [attribute.key for attribute in item.attributes]
    if len(keys) != len(set(keys)):
        raise otlp_json.Malformed(f"a key stands twice among the attributes {keys}")
    for attribute in item.attributes:
        if attribute.value.WhichOneof("value") is None:
            raise otlp_json.Malformed(f"attribute {attribute.key!r} has no value")


def decode(signal, path):
    count = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if not line.endswith(b"\n"):
                    raise otlp_json.Malformed("the line has no end")
                data = otlp_json.parse(line, FILES[signal](), ids_optional=signal != "traces")
                for item in ITEMS[signal](data):
                    check_item(signal, item)
                    count += 1
            except (otlp_json.Malformed, UnicodeDecodeError) as error:
                print(f"{path}:{number}: {error}", file=sys.stderr)
                return 1
    print(count)
    return 0


def main():
    parser = argparse.ArgumentParser(description="An OTLP receiver and a strict decoder of signal files.")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the standard input")
    parser.add_argument("--decode", nargs=2, metavar=("SIGNAL", "FILE"), help="check a signal file instead")
    arguments = parser.parse_args()
    if arguments.decode:
        signal, path = arguments.decode
        if signal not in FILES:
            parser.error(f"signal {signal!r}: expected one of {', '.join(FILES)}")
        sys.exit(decode(signal, path))
    serve(arguments.until_stdin_closes)


if __name__ == "__main__":
    main()
