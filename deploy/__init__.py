"""The courier: builds a signed bundle, pushes it to boxes over SSH, proves them healthy or rolls back.

Imports nothing of the instrument, the box's program or the workshop. ``deploy.box`` runs on the box with
Debian's ``python3`` alone; everything else runs on the laptop.
"""
