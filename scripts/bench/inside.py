"""What lives in a host of the bench: it starts programs there, and times them.

    inside.py NETNS CGROUP

A process that is moved into a cgroup pays for the move, so nobody is moved while
something is measured: this one goes in once, and what it starts is born there. It
reads one JSON object a line and answers with one; its own CPU time comes with
every answer, so that it can be taken off the host's bill.
"""
import base64
import ctypes
import http.client
import json
import os
import random
import signal
import sys
import time

CLONE_NEWNET = 0x40000000
PIPE_BYTES_MAX = 60000


def enter(netns, cgroup):
    with open("/run/netns/" + netns) as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter " + netns)
    with open(cgroup + "/cgroup.procs", "w") as f:
        f.write("0")


def spawn(argv, env, given, out, err):
    """Starts a program; its input waits in a pipe already, as a hook's does."""
    read, write = os.pipe()
    if given is None or len(given) > PIPE_BYTES_MAX:
        os.close(read)
        read = os.open("/dev/null", os.O_RDONLY)
    else:
        os.write(write, given)
    os.close(write)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [(os.POSIX_SPAWN_DUP2, read, 0), (os.POSIX_SPAWN_OPEN, 1, out, append, 0o600), (os.POSIX_SPAWN_OPEN, 2, err, append, 0o600)]
    begin = time.monotonic()
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=actions, setsigdef=[signal.SIGPIPE, signal.SIGINT])
    os.close(read)
    return pid, begin


def ended(pid, begin):
    _, status, used = os.wait4(pid, 0)
    end = time.monotonic()
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return {"code": code, "begin": begin, "end": end, "cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss}


def given_of(order):
    text = order.get("input")
    return None if text is None else base64.b64decode(text)


def run(order):
    os.chdir(order["cwd"])
    return ended(*spawn(order["argv"], order["env"], given_of(order), order["out"], order["err"]))


def start(order):
    os.chdir(order["cwd"])
    pid, begin = spawn(order["argv"], order["env"], given_of(order), order["out"], order["err"])
    return {"pid": pid, "begin": begin}


def stop(order):
    """Ends what was started: in order, and after a while by force."""
    pid, end = order["pid"], time.monotonic() + order.get("patience", 10)
    try:
        os.kill(pid, order.get("signal", signal.SIGTERM))
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
            time.sleep(0.005)
    except (ProcessLookupError, ChildProcessError):
        pass
    return {}


def series(order):
    """Several programs in turns, in another order each round: seconds by name."""
    os.chdir(order["cwd"])
    names, dice = sorted(order["programs"]), random.Random("series")
    took = {name: [] for name in names}
    for _ in range(order["rounds"]):
        dice.shuffle(names)
        for name in names:
            program = order["programs"][name]
            how = ended(*spawn(program["argv"], order["env"], given_of(program), "/dev/null", "/dev/null"))
            took[name].append([how["end"] - how["begin"], how["cpu"], how["code"]])
            time.sleep(order.get("pause", 0))
    return {"took": took}


def ask(order):
    """A question over HTTP to a program of this host."""
    link = http.client.HTTPConnection("127.0.0.1", order["port"], timeout=order.get("timeout", 600))
    try:
        link.request(order["method"], order["path"], body=order.get("body"), headers=order.get("headers", {}))
        answer = link.getresponse()
        return {"status": answer.status, "body": answer.read().decode("utf-8", "replace")}
    except (OSError, http.client.HTTPException) as e:
        # Who speaks another protocol is there all the same.
        return {"status": 0, "body": str(e)}


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    enter(*sys.argv[1:3])
    does = {"run": run, "start": start, "stop": stop, "series": series, "ask": ask, "cpu": lambda _: {}}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = does[order["do"]](order)
        except OSError as e:
            answer = {"error": "%s: %s" % (order.get("argv", [order["do"]])[0], e)}
        answer["self"] = time.process_time()
        print(json.dumps(answer), flush=True)


main()
