"""What runs on the box: verify, unpack, switch, prove, roll back. Debian's ``python3`` and nothing else.

Shipped as one zip application, ``/opt/kelly-edge/bin/kelly-edge-release``.

    /opt/kelly-edge/bin/kelly-edge-release   this program
    /opt/kelly-edge/incoming/ID.TOKEN/       one push's bundle on its way in: manifest, signature, objects/
    /opt/kelly-edge/store/layers/SHA256/     a layer unpacked once: INDEX and tree/
    /opt/kelly-edge/releases/ID/             a release: venv/, models/, system/, linked from the store
    /opt/kelly-edge/current                  -> releases/ID, flipped by one rename
    /opt/kelly-edge/state.json               which releases are good, which one is on trial
    /opt/kelly-edge/highest.json             the signed manifest with the highest counter that was good
    /opt/kelly-edge/inspection.json          what the last reading of every byte found
    /etc/kelly-edge/allowed_signers          the keys that are trusted
    /etc/kelly-edge/keys.json                the signed list they follow from: trusted, retired, revoked
"""
