"""Runs the code of a notebook in its order, with the folder of tables that is named, and prints frames of it as JSON.

The arguments are the notebook, the folder, and the names of the frames.
"""

import json
import os
import sys

notebook, tables, *names = sys.argv[1:]
with open(notebook, encoding="utf-8") as file:
    cells = json.load(file)["cells"]
# The notebook says "tables" as whoever has followed its first line.
os.chdir(os.path.dirname(tables))
scope = {}
for cell in cells:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), scope)
print(json.dumps({name: json.loads(scope[name].write_json()) for name in names}))
