#!/usr/bin/env python3
"""The machines and links of the Weft scenario links, for Mininet.

Written by `weft testbed export mininet`. It needs Linux, root and Mininet 2.3 or
later (Debian: apt install mininet), but neither a switch nor a controller: any
two hosts have a link of their own.

    sudo python3 links.py           opens Mininet's command line
    sudo python3 links.py --test    pings every host from every other

In the command line, "A ping B", with two of the names below, runs ping on A.

Mininet prints warnings of a "quantum" that "is big" for fast links; they don't
matter. Not in here: the workflow, the sources, the timeline, limits of memory,
what an instance has of slow cores.
"""

import argparse
import shutil
import sys
from functools import partial

from mininet.cli import CLI
from mininet.link import TCLink
from mininet.log import error, info, setLogLevel
from mininet.net import Mininet
from mininet.node import CPULimitedHost, Host
from mininet.topo import Topo
from mininet.util import numCores

# A host may use its cores times the one, and the other beyond (cpuScale and
# cpuOverhead in the scenario).
CPU_SCALE = 0.5
CPU_OVERHEAD = 0

# name, tier, cores, address
NODES = [
    ("edge-1", "edge", 0.25, "10.0.0.1"),
    ("edge-2", "edge", 0.25, "10.0.0.2"),
    ("a-node-with-a-name-that-is-longer-than-any-interface-may-have", "edge", 1, "10.0.0.3"),
    ("cloud-1", "cloud", 4, "10.0.0.4"),
]

# Both directions of a link have these properties: Mbit/s, delay one way, jitter,
# loss in percent, and packets that its queue holds. None leaves one as it is.
#
# - Mininet shapes up to 1000 Mbit/s; a faster link is left unshaped.
# - netem holds the packets under way as well as those that wait for the rate, so
#   its queue is longer than the scenario's by those. Without delay and loss there
#   is no netem, and a queue of 1000 packets is the interface's own.
# - Delays are in microseconds, so that those below 1 ms are not rounded; how
#   exactly they are kept depends on the kernel's timers.
# - netem's jitter is uniform, but lets packets overtake each other.
LINKS = [
    ("edge-1", "edge-2", 30, None, None, None, None),
    ("edge-1", "a-node-with-a-name-that-is-longer-than-any-interface-may-have", None, None, None, None, None),
    ("edge-1", "cloud-1", None, "10000us", "50us", None, 8380),
    ("edge-2", "a-node-with-a-name-that-is-longer-than-any-interface-may-have", None, None, None, None, None),
    ("edge-2", "cloud-1", None, None, None, None, None),  # 2 Gbit/s left unshaped
    ("a-node-with-a-name-that-is-longer-than-any-interface-may-have", "cloud-1", 0.0025, "250.001us", "50us", 0.5, 1001),
]

# Seconds that an answer may take, on the slowest path.
TIMEOUT = 2

# Of every ping, since links may lose packets on purpose.
ATTEMPTS = 20

ADDRESS = {name: address for name, _, _, address in NODES}
NUMBER = {node[0]: i for i, node in enumerate(NODES)}


def interface(name, peer):
    """The name of the interface of one host to another; Linux allows 15 characters."""
    return "n%d-%d" % (NUMBER[name], NUMBER[peer])


class Continuum(Topo):
    """Every two hosts joined by a link."""

    def build(self, limit_cpu=False):
        for name, _, cores, address in NODES:
            options = {}
            if limit_cpu:  # a fraction of all cores of this machine
                options["cpu"] = min(cores, cores * CPU_SCALE + CPU_OVERHEAD) / numCores()
            self.addHost(name, ip=address + "/32", **options)
        for a, b, rate, delay, jitter, loss, limit in LINKS:
            self.addLink(
                a, b, intfName1=interface(a, b), intfName2=interface(b, a),
                params1={"ip": ADDRESS[a] + "/32"}, params2={"ip": ADDRESS[b] + "/32"},
                bw=rate, delay=delay, jitter=jitter, loss=loss, max_queue_size=limit)


def route(net):
    """Give every host its address, and a route to each other over their link."""
    for name, address in ADDRESS.items():
        host = net[name]
        host.cmd("ip address add %s/32 dev lo" % address)
        for peer in ADDRESS:
            if peer != name:
                host.cmd("ip route add %s/32 dev %s src %s" % (ADDRESS[peer], interface(name, peer), address))


def unshaped(net):
    """The interfaces that are not shaped as LINKS says."""
    missing = []
    for a, b, rate, delay, _, loss, limit in LINKS:
        want = ["htb"] if rate else []
        if delay or loss or limit:
            want.append("netem")
        for here, there in ((a, b), (b, a)) if want else ():
            name = interface(here, there)
            found = net[here].cmd("tc qdisc show dev %s" % name)
            missing += ["%s (%s)" % (name, kind) for kind in want if " %s " % kind not in found]
    return missing


def unreachable(net):
    """The pairs of hosts of which one does not answer the other."""
    missing = []
    for a in ADDRESS:
        for b in ADDRESS:
            command = "ping -c 1 -W %d %s" % (TIMEOUT, ADDRESS[b])
            if a != b and not any(" 0% packet loss" in net[a].cmd(command) for _ in range(ATTEMPTS)):
                missing.append("%s to %s" % (a, b))
    return missing


class Names(CLI):
    """Mininet's command line, for host names with dashes."""

    identchars = CLI.identchars + "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", action="store_true", help="ping every host from every other, and exit with 1 if one does not answer")
    parser.add_argument("--cpu", action="store_true", help="limit the hosts' cores, times CPU_SCALE (Mininet 2.3.0 needs cgroups v1)")
    parser.add_argument("--keep-going", action="store_true", help="go on where this kernel can't shape a link")
    options = parser.parse_args()
    if options.test and not shutil.which("ping"):
        parser.error("there is no ping on this machine (Debian: apt install iputils-ping)")

    setLogLevel("info")
    net = Mininet(
        topo=Continuum(limit_cpu=options.cpu), link=TCLink, controller=None,
        host=partial(CPULimitedHost, sched="cfs") if options.cpu else Host)
    try:
        net.start()
        route(net)
        missing = unshaped(net)
        if missing:
            error("*** Not shaped: %s\n" % ", ".join(missing))
            if not options.keep_going:
                error("*** This kernel lacks a queueing discipline (try: modprobe sch_htb sch_netem); --keep-going goes on without\n")
                return 2
        if not options.test:
            Names(net)
            return 0
        missing = unreachable(net)
        for pair in missing:
            error("*** No answer: %s\n" % pair)
        info("*** %d of %d pairs answer\n" % (len(NODES) * (len(NODES) - 1) - len(missing), len(NODES) * (len(NODES) - 1)))
        return 1 if missing else 0
    finally:
        net.stop()


if __name__ == "__main__":
    sys.exit(main())
