"""Another end of RTP-MIDI that receives: PyPI's pymidi.

``pymidi_peer.py PORT`` prints ``ready``, ``here``, what it hears, and ``left``.
"""

import sys

from pymidi.server import Handler, Server


class Printer(Handler):
    """Prints."""

    def on_peer_connected(self, peer: object) -> None:
        print("here", flush=True)

    def on_peer_disconnected(self, peer: object) -> None:
        print("left", flush=True)

    def on_midi_commands(self, peer: object, command_list: list) -> None:
        for command in command_list:
            data = [int(value) for key, value in command.params.items() if not key.startswith("_")]
            print(command.command, *data, flush=True)


server = Server([("127.0.0.1", int(sys.argv[1]))])
server.add_handler(Printer())
print("ready", flush=True)
server.serve_forever()
