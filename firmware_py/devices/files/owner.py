"""Root, where another user owns what a command is about to touch: that user, for good.

A name in a folder that somebody else may write leads wherever they want: to a link, a device, another file.
"""

import os
import pwd
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from kelly_edge.errors import OutputError

RT_PRIORITY: Final = 95
"""As ``LimitRTPRIO`` in our systemd units: what they grant."""
UNLIMITED: Final = resource.RLIM_INFINITY


def foreign_owner(*folders: Path) -> int:
    """The first user other than root who owns a folder of ``folders``, or one on the way to it; 0: nobody."""
    for folder in folders:
        absolute = Path(os.path.abspath(folder))
        for part in (*reversed(absolute.parents), absolute):
            try:
                stat = part.lstat()
            except OSError:
                break
            if stat.st_uid != 0:
                return stat.st_uid
    return 0


def become_owner_of(*folders: Path) -> None:
    """If root runs this and another user owns one of ``folders``, become that user from here on.

    Raises
    ------
    OutputError: the owner is no user, or the kernel refuses.
    """
    if os.geteuid() != 0 or (owner := foreign_owner(*folders)) == 0:
        return
    where = " and ".join(map(str, folders))
    # What its units grant the service; in a container even root may be refused.
    for limit, value in ((resource.RLIMIT_RTPRIO, RT_PRIORITY), (resource.RLIMIT_MEMLOCK, UNLIMITED)):
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    try:
        user = pwd.getpwuid(owner)
        groups = os.getgrouplist(user.pw_name, user.pw_gid)
        os.setgroups(groups)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except KeyError:
        raise OutputError(f"{where}: user {owner}, who owns it, does not exist; correct its owner") from None
    except OSError as error:
        raise OutputError(f"cannot become user {owner}, who owns {where} ({error.strerror})") from None
    os.environ["HOME"] = user.pw_dir
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        os.environ.pop(name, None)
