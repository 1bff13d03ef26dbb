"""The model runtimes, each behind one small class.

onnxruntime 1.32 makes a device id at import, keeps events in the user's cache and sends them to its maker
unless this variable is set: a box in a therapy room does neither.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
