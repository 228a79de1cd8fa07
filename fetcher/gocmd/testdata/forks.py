"""Runs commands of Mercurial or Bazaar without starting Python for each of them.

forks.py hg|bzr SOCKET: loads the program once, listens on the Unix socket, and forks a
process for each connection, which runs the real program. A connection brings the standard
files of a command together with one byte, then its folder, arguments and environment as a
line of JSON, and gets the exit status as a line. The end of standard input ends the server.
"""

import json
import os
import selectors
import socket
import sys


def hg(args):
    from mercurial import dispatch, pycompat

    pycompat.sysargv = [os.fsencode(arg) for arg in ["hg"] + args]
    dispatch.run()


def bzr(args):
    import breezy
    import breezy.commands

    sys.argv = ["bzr"] + args
    with breezy.initialize():
        sys.exit(breezy.commands.main())


def load(tool):
    """Imports what almost every command needs."""
    if tool == hg:
        for name in "commands dispatch exchange httppeer localrepo templater".split():
            __import__("mercurial." + name)
        import hgdemandimport

        hgdemandimport.enable()
    else:
        for name in "commands builtins log tag export branch controldir".split():
            __import__("breezy." + name)
        for name in "workingtree_4 knitpack_repo groupcompress_repo branch remote".split():
            __import__("breezy.bzr." + name)
        import breezy.transport.http.urllib


def command(tool, connection):
    """Runs a command in this process, and exits as it does."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile("r", encoding="utf-8").readline())
    for target, fd in enumerate(files):
        os.dup2(fd, target)
        os.close(fd)
    os.chdir(request["dir"])
    os.environ.clear()
    os.environ.update(request["env"])
    status = 255
    try:
        tool(request["args"])
        status = 0
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(b"%d\n" % (status & 255))
        os._exit(0)


def main():
    tool = {"hg": hg, "bzr": bzr}[sys.argv[1]]
    load(tool)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[2])
    listener.listen()
    print("ready", flush=True)
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    ready.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is sys.stdin:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                command(tool, connection)
            connection.close()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


main()
