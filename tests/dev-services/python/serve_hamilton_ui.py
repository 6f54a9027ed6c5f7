"""Serves the Hamilton UI on 127.0.0.1: python serve_hamilton_ui.py PORT.

HAMILTON_BASE_DIR names its folder, DJANGO_SETTINGS_MODULE its kind of database. It ends when standard input closes, so that it never outlives
the process that started it, however that one ended.
"""

import os
import sys
import threading
from pathlib import Path


def end_with_parent() -> None:
    # Not sys.stdin: its lock would be held here while Django looks at it.
    while os.read(0, 1024):
        pass
    os._exit(0)


def main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    (Path(os.environ["HAMILTON_BASE_DIR"]) / "blobs").mkdir(parents=True, exist_ok=True)

    import hamilton_ui

    package = hamilton_ui.__path__[0]
    sys.path.insert(0, package)
    os.chdir(package)

    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "migrate", "--verbosity", "0"])
    execute_from_command_line(["manage.py", "runserver", f"127.0.0.1:{sys.argv[1]}", "--noreload", "--insecure"])


main()
