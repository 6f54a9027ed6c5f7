"""An OTLP receiver made of the official Protocol Buffers, and a strict decoder of signal files.

    python otlp_receiver.py
        Listens on free ports of 127.0.0.1 and prints one line when it is ready: {"grpc": PORT, "http": PORT,
        "control": PORT}. The last is for /dump and its like, and never speaks TLS.
        Takes OTLP over gRPC and over HTTP (protobuf and JSON). GET /dump gives everything received, as
        {"traces": [REQUEST, ...], "metrics": [...], "logs": [...]} in OTLP/JSON; POST /reset forgets it.
        POST /answer {"refuse": N, "rejected": M, "reason": TEXT} has it refuse the next N requests as one that is busy
        for a moment, and say of all others that it rejected M of their items.
        With --until-stdin-closes it ends when its standard input does, and so never outlives the one who started it.
        With --tls CERTIFICATE KEY AUTHORITY it speaks TLS, to clients with a certificate of that authority only.

    python otlp_receiver.py --decode traces|metrics|logs FILE
        Reads a signal file, one object per line. Prints the number of its spans, data points or log records, or
        FILE:LINE and what is wrong there, with exit code 1. With --values it prints what each of them holds instead, as
        a line of JSON, with the scope and the resource that it stands under.
"""

import argparse
import gzip
import json
import os
import ssl
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
import otlp_values

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


REJECTED = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}


class Answers:
    """What requests are answered."""

    def __init__(self):
        self.lock = threading.Lock()
        self.set({})

    def set(self, script):
        with self.lock:
            self.refuse = script.get("refuse", 0)
            self.rejected = script.get("rejected", 0)
            self.reason = script.get("reason", "")

    def next(self, signal):
        """The answer, or None where the request is refused."""
        with self.lock:
            if self.refuse > 0:
                self.refuse -= 1
                return None
            answer = RESPONSES[signal]()
            if self.rejected or self.reason:
                setattr(answer.partial_success, REJECTED[signal], self.rejected)
                answer.partial_success.error_message = self.reason
            return answer


def grpc_servicer(base, signal, received, answers):
    class Servicer(base):
        def Export(self, request, context):
            answer = answers.next(signal)
            if answer is None:
                context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
            received.add(signal, request)
            return answer

    return Servicer()


def start_grpc(received, answers, tls):
    unlimited = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=unlimited)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(
        grpc_servicer(trace_service_pb2_grpc.TraceServiceServicer, "traces", received, answers), server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
        grpc_servicer(metrics_service_pb2_grpc.MetricsServiceServicer, "metrics", received, answers), server
    )
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
        grpc_servicer(logs_service_pb2_grpc.LogsServiceServicer, "logs", received, answers), server
    )
    if tls:
        certificate, key, authority = (open(path, "rb").read() for path in tls)
        credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def start_http(received, answers, tls):
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
            elif self.path == "/answer":
                answers.set(json.loads(body))
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
                elif content_type == "application/x-protobuf":
                    request = REQUESTS[signal].FromString(body)
                else:
                    self.answer(415, f"content type {content_type!r}".encode())
                    return
            except (otlp_json.Malformed, DecodeError, OSError) as error:
                self.answer(400, str(error).encode())
                return
            answer = answers.next(signal)
            if answer is None:
                self.answer(503, b"busy")
                return
            received.add(signal, request)
            if content_type == "application/json":
                self.answer(200, json.dumps(otlp_json.render(answer)).encode(), content_type)
            else:
                self.answer(200, answer.SerializeToString(), content_type)

        def answer(self, status, body=b"", content_type="text/plain"):
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        certificate, key, authority = tls
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def serve(until_stdin_closes, tls):
    received, answers = Received(), Answers()
    server, grpc_port = start_grpc(received, answers, tls)
    http_port = start_http(received, answers, tls)
    control_port = start_http(received, answers, None) if tls else http_port
    print(json.dumps({"grpc": grpc_port, "http": http_port, "control": control_port}), flush=True)
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


def values(signal, data):
    """What the items of a file hold, with their scope and resource."""
    resources = {"traces": "resource_spans", "metrics": "resource_metrics", "logs": "resource_logs"}
    scopes = {"traces": "scope_spans", "metrics": "scope_metrics", "logs": "scope_logs"}
    for resource in getattr(data, resources[signal]):
        for scope in getattr(resource, scopes[signal]):
            if signal == "traces":
                items = map(otlp_values.span, scope.spans)
            elif signal == "logs":
                items = map(otlp_values.log_record, scope.log_records)
            else:
                items = (point for metric in scope.metrics for point in otlp_values.data_points(metric))
            for item in items:
                yield item | {
                    "scope": {"name": scope.scope.name, "version": scope.scope.version},
                    "resource": otlp_values.attributes(resource.resource.attributes),
                }


def decode(signal, path, show):
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
                if show:
                    for known in values(signal, data):
                        print(json.dumps(known, allow_nan=False))
            except (otlp_json.Malformed, UnicodeDecodeError) as error:
                print(f"{path}:{number}: {error}", file=sys.stderr)
                return 1
    if not show:
        print(count)
    return 0


def main():
    parser = argparse.ArgumentParser(description="An OTLP receiver and a strict decoder of signal files.")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the standard input")
    parser.add_argument("--tls", nargs=3, metavar=("CERTIFICATE", "KEY", "AUTHORITY"), help="PEM files")
    parser.add_argument("--decode", nargs=2, metavar=("SIGNAL", "FILE"), help="check a signal file instead")
    parser.add_argument("--values", action="store_true", help="show what the file holds")
    arguments = parser.parse_args()
    if arguments.decode:
        signal, path = arguments.decode
        if signal not in FILES:
            parser.error(f"signal {signal!r}: expected one of {', '.join(FILES)}")
        sys.exit(decode(signal, path, arguments.values))
    serve(arguments.until_stdin_closes, arguments.tls)


if __name__ == "__main__":
    main()
